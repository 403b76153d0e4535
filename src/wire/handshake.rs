//! A client's answer to the greeting: who it is and how it wants to talk.

use super::compressed::ZSTD_LEVELS;
use super::greeting::until_nul;
use super::read::Cursor;
use super::{Malformed, capability, write};

/// The part before the user name; a request for TLS ends there.
pub const SSL_REQUEST_LEN: usize = 32;

/// What the client says it can take; servers do not look at it.
const MAX_PACKET: u32 = 1 << 30;

/// HandshakeResponse41.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandshakeResponse<'a> {
    pub capabilities: u32,
    pub collation: u8,
    pub user: &'a [u8],
    /// What the login plugin says first.
    pub auth: &'a [u8],
    pub schema: Option<&'a [u8]>,
    /// The plugin that made `auth`; `None` from clients that know no plugins.
    pub plugin: Option<&'a [u8]>,
    /// Connection attributes as sent, without their length.
    pub attributes: &'a [u8],
    /// How hard zstd is to try, where it was asked for.
    pub zstd_level: u8,
}

/// The capabilities at the head of a response or of a request for TLS.
pub fn client_capabilities(payload: &[u8]) -> Result<u32, Malformed> {
    let mut cursor = Cursor::new(payload);
    let low = cursor.u16()?;
    if u32::from(low) & capability::PROTOCOL_41 == 0 {
        return Err(Malformed("a client of the protocol before 4.1"));
    }
    Ok(u32::from(low) | (u32::from(cursor.u16()?) << 16))
}

/// The request to go on with a TLS handshake.
pub fn ssl_request(capabilities: u32, collation: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(SSL_REQUEST_LEN);
    push_head(&mut out, capabilities | capability::SSL, collation);
    out
}

impl<'a> HandshakeResponse<'a> {
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let capabilities = client_capabilities(payload)?;
        let has = |flag: u32| capabilities & flag != 0;
        let mut cursor = Cursor::new(payload);
        cursor.bytes(8)?;
        let collation = cursor.u8()?;
        cursor.bytes(19)?;
        let capabilities = capability::joined(capabilities, cursor.u32()?);
        let user = cursor.nul_bytes()?;
        let auth = if has(capability::PLUGIN_AUTH_LENENC_DATA) {
            cursor.lenenc_bytes()?
        } else if has(capability::SECURE_CONNECTION) {
            let len = cursor.u8()?;
            cursor.bytes(usize::from(len))?
        } else {
            cursor.nul_bytes()?
        };
        let mut schema = None;
        if has(capability::CONNECT_WITH_DB) && !cursor.is_empty() {
            schema = Some(cursor.nul_bytes()?).filter(|name| !name.is_empty());
        }
        let plugin = match has(capability::PLUGIN_AUTH) {
            true => Some(last_text(&mut cursor)?),
            false => None,
        };
        let mut attributes: &[u8] = &[];
        if has(capability::CONNECT_ATTRS) && !cursor.is_empty() {
            attributes = cursor.lenenc_bytes()?;
        }
        let mut zstd_level = 0;
        if has(capability::ZSTD_COMPRESSION) {
            zstd_level = cursor.u8()?;
            if !ZSTD_LEVELS.contains(&zstd_level) {
                return Err(Malformed("level of compression"));
            }
        }
        Ok(Self { capabilities, collation, user, auth, schema, plugin, attributes, zstd_level })
    }

    /// As sent to a server that offers `self.capabilities`. Without a schema the flag for one is left out.
    pub fn payload(&self) -> Vec<u8> {
        let mut capabilities = self.capabilities;
        if self.schema.is_none() {
            capabilities &= !capability::CONNECT_WITH_DB;
        }
        let has = |flag: u32| capabilities & flag != 0;
        let mut out = Vec::with_capacity(SSL_REQUEST_LEN + 128 + self.attributes.len());
        push_head(&mut out, capabilities, self.collation);
        write::nul_bytes(&mut out, self.user);
        if has(capability::PLUGIN_AUTH_LENENC_DATA) {
            write::lenenc_bytes(&mut out, self.auth);
        } else {
            // Only the password itself could be longer than 255 bytes, and no plugin begins with it.
            let len = u8::try_from(self.auth.len()).unwrap_or(u8::MAX);
            out.push(len);
            out.extend_from_slice(&self.auth[..usize::from(len)]);
        }
        if let (true, Some(schema)) = (has(capability::CONNECT_WITH_DB), self.schema) {
            write::nul_bytes(&mut out, schema);
        }
        if has(capability::PLUGIN_AUTH) {
            write::nul_bytes(&mut out, self.plugin.unwrap_or_default());
        }
        if has(capability::CONNECT_ATTRS) {
            write::lenenc_bytes(&mut out, self.attributes);
        }
        if has(capability::ZSTD_COMPRESSION) {
            out.push(self.zstd_level);
        }
        out
    }
}

fn push_head(out: &mut Vec<u8>, capabilities: u32, collation: u8) {
    let (capabilities, mariadb) = capability::split(capabilities);
    out.extend_from_slice(&capabilities.to_le_bytes());
    out.extend_from_slice(&MAX_PACKET.to_le_bytes());
    out.push(collation);
    out.extend_from_slice(&[0; 19]);
    out.extend_from_slice(&mariadb.to_le_bytes());
}

/// A text that ends with NUL, or with the packet where the client forgot the NUL.
pub(super) fn last_text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    let text = until_nul(cursor.rest());
    let len = cursor.rest().len().min(text.len() + 1);
    cursor.bytes(len)?;
    Ok(text)
}
