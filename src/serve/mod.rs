//! Line one, performed: from a client's connection to the answer of its last statement.

pub mod accounts;
mod acknowledged;
mod carried;
mod commands;
mod digests;
mod effects;
mod house;
mod kill;
mod listener;
pub mod login;
mod own_writes;
mod pins;
mod positions;
mod prepared;
mod proxy_variables;
mod query;
mod refusal;
mod registry;
mod relay;
mod session;
mod socket;
mod split;
mod state;
mod statements;
pub mod tls;

pub use acknowledged::Acknowledged;
pub use digests::{DigestStats, Digests};
pub use house::{Counters, House};
pub use listener::{Bound, bind};
pub use pins::{PinCounter, PinCounters, PinnedSince};
pub use positions::Positions;
pub use registry::{Activity, Registry, Seen, SessionInfo};
pub use session::client_hash;
pub use socket::BoundSocket;
pub use statements::Statements;
