//! Line one: the life of a client and of its statements.

mod commands;
mod digests;
mod house;
mod kill;
mod listener;
mod query;
mod refusal;
mod registry;
mod relay;
mod session;

pub use digests::{DigestStats, Digests};
pub use house::{Counters, House};
pub use listener::{Bound, bind};
pub use registry::{Activity, Registry, SessionInfo};
