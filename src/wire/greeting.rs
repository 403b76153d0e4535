//! The first packet of a connection: what the server is, what it offers, and what the password is mixed with.

use super::auth::NONCE_LEN;
use super::read::Cursor;
use super::{Malformed, capability, write};

/// The only protocol version in use since MySQL 3.21.
const PROTOCOL_VERSION: u8 = 10;

/// Bytes of the nonce that stand before the capability flags; the rest stands behind them.
const NONCE_HEAD_LEN: usize = 8;

/// The initial handshake packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// `VERSION()`; MariaDB before 11 puts `5.5.5-` before it.
    pub version: String,
    pub thread_id: u32,
    pub nonce: [u8; NONCE_LEN],
    /// Those of MariaDB's own field among them.
    pub capabilities: u32,
    pub collation: u8,
    pub status: u16,
    /// The login plugin that `nonce` is meant for; empty when the server knows no plugins.
    pub plugin: String,
}

impl Greeting {
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != PROTOCOL_VERSION {
            return Err(Malformed("protocol version of the greeting"));
        }
        let version = String::from_utf8_lossy(cursor.nul_bytes()?).into_owned();
        let thread_id = cursor.u32()?;
        let head = cursor.bytes(NONCE_HEAD_LEN)?;
        cursor.u8()?;
        let capabilities_low = cursor.u16()?;
        let collation = cursor.u8()?;
        let status = cursor.u16()?;
        let capabilities = u32::from(capabilities_low) | (u32::from(cursor.u16()?) << 16);
        cursor.u8()?;
        cursor.bytes(6)?;
        let extended = cursor.u32()?;
        if capabilities & capability::SECURE_CONNECTION == 0 {
            return Err(Malformed("a server without 4.1 authentication"));
        }
        // Servers send 13 bytes, the last one NUL. Longer nonces than ours belong to no plugin we speak.
        let tail = cursor.bytes(NONCE_LEN - NONCE_HEAD_LEN)?;
        if !cursor.is_empty() {
            cursor.u8()?;
        }
        let plugin = if capabilities & capability::PLUGIN_AUTH == 0 { &[] } else { until_nul(cursor.rest()) };
        let mut nonce = [0; NONCE_LEN];
        nonce[..NONCE_HEAD_LEN].copy_from_slice(head);
        nonce[NONCE_HEAD_LEN..].copy_from_slice(tail);
        Ok(Self {
            version,
            thread_id,
            nonce,
            capabilities: capability::joined(capabilities, extended),
            collation,
            status,
            plugin: String::from_utf8_lossy(plugin).into_owned(),
        })
    }

    /// As sent to a client.
    pub fn payload(&self) -> Vec<u8> {
        let (capabilities, mariadb) = capability::split(self.capabilities);
        let [c0, c1, c2, c3] = capabilities.to_le_bytes();
        let mut out = Vec::with_capacity(96);
        out.push(PROTOCOL_VERSION);
        write::nul_bytes(&mut out, self.version.as_bytes());
        out.extend_from_slice(&self.thread_id.to_le_bytes());
        out.extend_from_slice(&self.nonce[..NONCE_HEAD_LEN]);
        out.push(0);
        out.extend_from_slice(&[c0, c1, self.collation]);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&[c2, c3, NONCE_LEN as u8 + 1]);
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&mariadb.to_le_bytes());
        out.extend_from_slice(&self.nonce[NONCE_HEAD_LEN..]);
        out.push(0);
        write::nul_bytes(&mut out, self.plugin.as_bytes());
        out
    }
}

/// The bytes before the first NUL, or all of them: some servers leave the last NUL out.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}
