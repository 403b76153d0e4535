//! Why a login failed, and what the client is told.

use std::io;

use crate::wire::{ErrPacket, Malformed, code};

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("the client left: {0}")]
    Client(io::Error),
    #[error("TLS with the client: {0}")]
    Tls(io::Error),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("the client took longer than the login may take")]
    TimedOut,
    #[error("the client does not use TLS, which is required")]
    TlsRequired,
    #[error("the client speaks no login plugin of ours")]
    OldClient,
    /// Wrong password or unknown user; the two are not told apart.
    #[error("access denied for {user:?} from {host} (using password: {})", yes_no(*.with_password))]
    Denied { user: String, host: String, with_password: bool },
    /// The account may be used over TLS only, and the client does not.
    #[error("the account of {user:?} requires TLS, which the client at {host} does not use")]
    AccountRequiresTls { user: String, host: String },
    /// A server refused for another reason than the password; its own words.
    #[error("a server refused: {0}")]
    Refused(ErrPacket),
    /// What the PROXY protocol says of the client, or that it says nothing, cannot be accepted.
    #[error("PROXY protocol: {0}")]
    Announced(&'static str),
    /// No server could be asked; the reason of each.
    #[error("no server could verify the login: {0}")]
    NoServer(String),
}

impl LoginError {
    /// What the client is told before the connection is closed; `None` where it cannot or need not be.
    pub fn packet(&self) -> Option<ErrPacket> {
        Some(match self {
            LoginError::Client(_) | LoginError::Tls(_) | LoginError::Announced(_) => return None,
            LoginError::Malformed(_) => ErrPacket::new(code::HANDSHAKE, "Bad handshake"),
            LoginError::TimedOut => {
                ErrPacket::new(code::NET_READ_INTERRUPTED, "Got timeout reading communication packets")
            }
            LoginError::TlsRequired => ErrPacket::new(
                code::SECURE_TRANSPORT_REQUIRED,
                "Connections using insecure transport are prohibited while --require_secure_transport=ON.",
            ),
            LoginError::OldClient => ErrPacket::new(
                code::NOT_SUPPORTED_AUTH_MODE,
                "Client does not support authentication protocol requested by server; consider upgrading MySQL client",
            ),
            LoginError::Denied { user, host, with_password } => access_denied(user, host, *with_password),
            LoginError::AccountRequiresTls { user, host } => access_denied(user, host, true),
            LoginError::Refused(words) => words.clone(),
            LoginError::NoServer(_) => {
                ErrPacket::new(code::UNKNOWN, "No database server is available to verify the login")
            }
        })
    }
}

fn access_denied(user: &str, host: &str, with_password: bool) -> ErrPacket {
    let using = yes_no(with_password);
    let words = format!("Access denied for user '{user}'@'{host}' (using password: {using})");
    ErrPacket::new(code::ACCESS_DENIED, words)
}

const fn yes_no(yes: bool) -> &'static str {
    if yes { "YES" } else { "NO" }
}
