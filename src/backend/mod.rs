//! Connections to the database servers: opened, pooled, settled, leased.

mod carried;
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
mod user_variables;

pub use carried::TextStatement;
pub use conn::{Conn, ConnectError, Credential, Login, Target};
pub use lease::Lease;
pub use pool::{CheckoutError, Counters, Gauge, Key, Opening, Pool, Wanted};
pub use prepared::StatementKey;
pub use session::{Backend, ExchangeError, SessionSetup, baseline, charset_of_collation};
pub use settings::{Baseline, Settings};
pub use tls::{BackendTlsSetup, TlsSetupError};
pub use user_variables::UserVariables;
