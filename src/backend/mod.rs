//! Connections to database servers.

pub mod conn;
pub mod tls;

pub use conn::{Conn, ConnectError, Credential, Login, Target};
pub use tls::{BackendTlsSetup, TlsSetupError};
