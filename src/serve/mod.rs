//! Line one: the life of a client and of its statements.

mod digests;
mod registry;
mod relay;

pub use digests::{DigestStats, Digests};
pub use registry::{Activity, Registry, SessionInfo};
