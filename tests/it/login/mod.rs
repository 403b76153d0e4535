//! Logging in, both sides: packets, plugins, our client against scripted servers, our front against clients.

mod client;
mod codec;
mod front;
mod hostile;
mod plugins;
mod rig;
mod tls;
