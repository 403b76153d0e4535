//! COM_CHANGE_USER: a login inside an open session.

use super::handshake::last_text;
use super::read::Cursor;
use super::{Malformed, capability, command, write};

/// The command and its fields; which of them are there depends on the connection's capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeUser<'a> {
    pub user: &'a [u8],
    pub auth: &'a [u8],
    pub schema: Option<&'a [u8]>,
    /// `None` when the client leaves the session's default as it is.
    pub collation: Option<u16>,
    pub plugin: Option<&'a [u8]>,
    pub attributes: &'a [u8],
}

impl<'a> ChangeUser<'a> {
    /// `payload` begins with the command byte and came over a connection that speaks `capabilities`.
    pub fn parse(payload: &'a [u8], capabilities: u32) -> Result<Self, Malformed> {
        let has = |flag: u32| capabilities & flag != 0;
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != command::Command::CHANGE_USER {
            return Err(Malformed("not COM_CHANGE_USER"));
        }
        let user = cursor.nul_bytes()?;
        let auth = if has(capability::SECURE_CONNECTION) {
            let len = cursor.u8()?;
            cursor.bytes(usize::from(len))?
        } else {
            cursor.nul_bytes()?
        };
        let schema = Some(cursor.nul_bytes()?).filter(|name| !name.is_empty());
        let mut message = Self { user, auth, schema, ..Self::default() };
        if !cursor.is_empty() {
            message.collation = Some(cursor.u16()?);
        }
        if has(capability::PLUGIN_AUTH) && !cursor.is_empty() {
            message.plugin = Some(last_text(&mut cursor)?);
        }
        if has(capability::CONNECT_ATTRS) && !cursor.is_empty() {
            message.attributes = cursor.lenenc_bytes()?;
        }
        Ok(message)
    }

    /// As sent over a connection that speaks `capabilities`; those of every connection of ours include
    /// SECURE_CONNECTION.
    pub fn payload(&self, capabilities: u32) -> Vec<u8> {
        let mut out = vec![command::Command::CHANGE_USER];
        write::nul_bytes(&mut out, self.user);
        let len = u8::try_from(self.auth.len()).unwrap_or(u8::MAX);
        out.push(len);
        out.extend_from_slice(&self.auth[..usize::from(len)]);
        write::nul_bytes(&mut out, self.schema.unwrap_or_default());
        let Some(collation) = self.collation else { return out };
        out.extend_from_slice(&collation.to_le_bytes());
        if capabilities & capability::PLUGIN_AUTH != 0 {
            write::nul_bytes(&mut out, self.plugin.unwrap_or_default());
        }
        if capabilities & capability::CONNECT_ATTRS != 0 {
            write::lenenc_bytes(&mut out, self.attributes);
        }
        out
    }
}
