//! The packets between handshake response and OK.

use crate::wire::read::Cursor;
use crate::wire::{Malformed, write};

/// First byte of a request to go on with another plugin.
pub(super) const SWITCH: u8 = 0xFE;
/// First byte of what a plugin says on the server's side.
pub(super) const MORE: u8 = 0x01;

/// What caching_sha2_password says after a proof: it was good, or the password itself is needed.
pub(super) const FAST_AUTH_SUCCESS: u8 = 3;
pub(super) const PERFORM_FULL_AUTHENTICATION: u8 = 4;
/// The client's request for the server's RSA key.
pub(super) const REQUEST_PUBLIC_KEY: u8 = 2;
/// The same, to sha256_password.
pub(super) const SHA256_REQUEST_PUBLIC_KEY: u8 = 1;

/// AuthSwitchRequest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSwitch<'a> {
    pub plugin: &'a [u8],
    /// The nonce, without the NUL that ends it.
    pub data: &'a [u8],
}

impl<'a> AuthSwitch<'a> {
    /// `payload` begins with 0xFE. A payload of that byte alone asks for the hash of before MySQL 4.1.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != SWITCH {
            return Err(Malformed("not an authentication switch"));
        }
        if cursor.is_empty() {
            return Ok(Self { plugin: b"mysql_old_password", data: &[] });
        }
        let plugin = cursor.nul_bytes()?;
        let data = cursor.rest();
        Ok(Self { plugin, data: data.strip_suffix(&[0]).unwrap_or(data) })
    }

    pub fn payload(&self) -> Vec<u8> {
        let mut out = vec![SWITCH];
        write::nul_bytes(&mut out, self.plugin);
        out.extend_from_slice(self.data);
        out.push(0);
        out
    }
}

/// The payload of AuthMoreData.
pub fn auth_more(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + data.len());
    out.push(MORE);
    out.extend_from_slice(data);
    out
}
