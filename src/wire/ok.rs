//! OK and EOF packets, with what the server says of the session's state.

use super::read::Cursor;
use super::{Malformed, capability, status, write};

/// An OK packet, or the OK that ends a result set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OkPacket<'a> {
    pub affected_rows: u64,
    pub last_insert_id: u64,
    pub status: u16,
    pub warnings: u16,
    pub info: &'a [u8],
    /// The session-state block as sent, without its length; read it with `changes`.
    pub state: &'a [u8],
}

/// One thing the server says has changed in the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange<'a> {
    Variable {
        name: &'a [u8],
        value: &'a [u8],
    },
    Schema(&'a [u8]),
    /// Something, whether or not it is also reported by itself: user variables, temporary tables, prepared
    /// statements, variables.
    State,
    Gtids(&'a [u8]),
    /// The statements that would open the same transaction elsewhere.
    TransactionCharacteristics(&'a [u8]),
    TransactionState(&'a [u8]),
    Other(u8),
}

impl<'a> OkPacket<'a> {
    /// `payload` begins with 0x00 or 0xFE and came over a connection that speaks `capabilities`.
    pub fn parse(payload: &'a [u8], capabilities: u32) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if !matches!(cursor.u8()?, 0x00 | 0xFE) {
            return Err(Malformed("not an OK packet"));
        }
        let mut ok = Self {
            affected_rows: cursor.lenenc_int()?,
            last_insert_id: cursor.lenenc_int()?,
            status: cursor.u16()?,
            warnings: cursor.u16()?,
            ..Self::default()
        };
        let tracks = capabilities & capability::SESSION_TRACK != 0;
        // The manual has the text run to the packet's end where sessions are not tracked. Servers write a
        // length before it all the same, and clients read one.
        if !cursor.is_empty() {
            ok.info = cursor.lenenc_bytes()?;
            if tracks && ok.status & status::SESSION_STATE_CHANGED != 0 {
                ok.state = cursor.lenenc_bytes()?;
            }
        }
        Ok(ok)
    }

    /// Appends the payload, with `first` 0x00 or 0xFE, for a peer that speaks `capabilities`.
    pub fn push_payload(&self, out: &mut Vec<u8>, first: u8, capabilities: u32) {
        let tracks = capabilities & capability::SESSION_TRACK != 0;
        let mut status = self.status & !status::SESSION_STATE_CHANGED;
        if tracks && !self.state.is_empty() {
            status |= status::SESSION_STATE_CHANGED;
        }
        out.push(first);
        write::lenenc_int(out, self.affected_rows);
        write::lenenc_int(out, self.last_insert_id);
        out.extend_from_slice(&status.to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        let state = if tracks { self.state } else { &[] };
        if !self.info.is_empty() || !state.is_empty() {
            write::lenenc_bytes(out, self.info);
            if !state.is_empty() {
                write::lenenc_bytes(out, state);
            }
        }
    }

    /// What changed, in the order the server says it. Stops at what it cannot read.
    pub fn changes(&self) -> impl Iterator<Item = SessionChange<'a>> + use<'a> {
        let mut entries = Cursor::new(self.state);
        let mut variables = Cursor::new(&[]);
        std::iter::from_fn(move || {
            loop {
                if !variables.is_empty() {
                    let name = variables.lenenc_bytes().ok()?;
                    let value = variables.lenenc_bytes().ok()?;
                    return Some(SessionChange::Variable { name, value });
                }
                if entries.is_empty() {
                    return None;
                }
                let kind = entries.u8().ok()?;
                let mut data = Cursor::new(entries.lenenc_bytes().ok()?);
                match kind {
                    // MySQL sends one pair per entry; MariaDB may send several.
                    0 => variables = data,
                    1 => return Some(SessionChange::Schema(data.lenenc_bytes().ok()?)),
                    2 => return Some(SessionChange::State),
                    3 => {
                        data.u8().ok()?;
                        return Some(SessionChange::Gtids(data.lenenc_bytes().ok()?));
                    }
                    4 => {
                        return Some(SessionChange::TransactionCharacteristics(data.lenenc_bytes().ok()?));
                    }
                    5 => return Some(SessionChange::TransactionState(data.lenenc_bytes().ok()?)),
                    other => return Some(SessionChange::Other(other)),
                }
            }
        })
    }

    /// Appends one entry to a session-state block.
    pub fn push_change(state: &mut Vec<u8>, change: &SessionChange<'_>) {
        let mut data = Vec::new();
        let kind = match change {
            SessionChange::Variable { name, value } => {
                write::lenenc_bytes(&mut data, name);
                write::lenenc_bytes(&mut data, value);
                0
            }
            SessionChange::Schema(name) => {
                write::lenenc_bytes(&mut data, name);
                1
            }
            SessionChange::State => {
                write::lenenc_bytes(&mut data, b"1");
                2
            }
            SessionChange::Gtids(gtids) => {
                data.push(0);
                write::lenenc_bytes(&mut data, gtids);
                3
            }
            SessionChange::TransactionCharacteristics(text) => {
                write::lenenc_bytes(&mut data, text);
                4
            }
            SessionChange::TransactionState(text) => {
                write::lenenc_bytes(&mut data, text);
                5
            }
            SessionChange::Other(_) => return,
        };
        state.push(kind);
        write::lenenc_bytes(state, &data);
    }
}

/// The payload of an EOF packet, for peers that did not negotiate DEPRECATE_EOF.
pub fn eof_packet(status: u16, warnings: u16) -> [u8; 5] {
    let [w0, w1] = warnings.to_le_bytes();
    let [s0, s1] = status.to_le_bytes();
    [0xFE, w0, w1, s0, s1]
}
