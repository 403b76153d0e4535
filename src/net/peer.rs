//! Where a client is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    Ip(SocketAddr),
    /// On this machine, at a Unix socket.
    Local,
}

impl PeerAddress {
    /// The address in its shortest form; `None` at a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            PeerAddress::Ip(address) => Some(address.ip().to_canonical()),
            PeerAddress::Local => None,
        }
    }

    /// As servers name it in an account's host part.
    pub fn host(&self) -> String {
        self.ip().map_or_else(|| "localhost".to_owned(), |ip| ip.to_string())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Ip(address) => write!(f, "{address}"),
            PeerAddress::Local => f.write_str("localhost"),
        }
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        PeerAddress::Ip(address)
    }
}
