//! Connections to the database servers: opened, pooled, settled, leased.

pub mod conn;
mod fence;
mod lease;
mod pool;
mod prepared;
mod session;
mod settings;
mod slots;
#[cfg(test)]
mod tests;
pub mod tls;

pub use conn::{Conn, ConnectError, Credential, Login, Target};
pub use lease::Lease;
pub use pool::{CheckoutError, Counters, Gauge, Key, Opening, Pool, Wanted};
pub use prepared::StatementKey;
pub use session::{Backend, ExchangeError, SessionSetup, charset_of_collation};
pub use settings::{Baseline, Settings};
pub use tls::{BackendTlsSetup, TlsSetupError};
