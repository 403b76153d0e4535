//! Text result sets, for answers that are the proxy's own: definitions, rows and the end of rows.

use super::frame::push_packet;
use super::ok::{OkPacket, eof_packet};
use super::{capability, write};

/// What a column holds. Clients align and convert by it; the values are texts all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextType {
    Text,
    Integer,
    /// Digits after the point, or `None` where they vary.
    Float {
        decimals: Option<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextColumn<'a> {
    /// Where it comes from; empty for an expression.
    pub schema: &'a str,
    pub table: &'a str,
    pub name: &'a str,
    pub kind: TextType,
}

/// utf8mb4_general_ci: the one utf8mb4 collation that every client of either flavour knows.
const UTF8MB4: u16 = 45;
/// What numbers are said to be encoded in.
const BINARY: u16 = 63;

/// Characters a text column is said to hold at most; clients take it as a hint for display.
const TEXT_LEN: u32 = 1024;
/// As servers say of BIGINT and DOUBLE.
const INTEGER_LEN: u32 = 20;
const FLOAT_LEN: u32 = 22;

const TYPE_LONGLONG: u8 = 0x08;
const TYPE_DOUBLE: u8 = 0x05;
const TYPE_VAR_STRING: u8 = 0xFD;

const FLAG_BINARY: u16 = 0x80;
const FLAG_NUM: u16 = 0x8000;

/// Decimals of a number whose digits after the point vary.
const DECIMALS_VARY: u8 = 31;

/// Writes one result set for a peer that speaks `capabilities`, packet by packet.
pub struct TextResult {
    out: Vec<u8>,
    /// One packet's payload, kept for its memory.
    payload: Vec<u8>,
    sequence: u8,
    capabilities: u32,
    status: u16,
}

impl TextResult {
    /// Begins with the definitions. `sequence` is the number of the first packet, `status` what the last says.
    pub fn begin<'a>(
        columns: impl ExactSizeIterator<Item = TextColumn<'a>>,
        capabilities: u32,
        status: u16,
        sequence: u8,
    ) -> Self {
        let mut result = Self { out: Vec::new(), payload: Vec::new(), sequence, capabilities, status };
        write::lenenc_int(&mut result.payload, columns.len() as u64);
        result.push();
        for column in columns {
            push_definition(&mut result.payload, &column);
            result.push();
        }
        if !result.deprecates_eof() {
            result.payload.extend_from_slice(&eof_packet(status, 0));
            result.push();
        }
        result
    }

    /// Appends a row with a value, or NULL, for each column.
    pub fn row<'v>(&mut self, values: impl IntoIterator<Item = Option<&'v [u8]>>) {
        for value in values {
            match value {
                Some(bytes) => write::lenenc_bytes(&mut self.payload, bytes),
                None => self.payload.push(0xFB),
            }
        }
        self.push();
    }

    /// What was written since the last call, so that a long result need not be held whole.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes that wait to be taken.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Ends the rows. Returns what was not taken yet.
    pub fn finish(mut self) -> Vec<u8> {
        if self.deprecates_eof() {
            let ok = OkPacket { status: self.status, ..OkPacket::default() };
            ok.push_payload(&mut self.payload, 0xFE, self.capabilities);
        } else {
            self.payload.extend_from_slice(&eof_packet(self.status, 0));
        }
        self.push();
        self.out
    }

    fn deprecates_eof(&self) -> bool {
        self.capabilities & capability::DEPRECATE_EOF != 0
    }

    fn push(&mut self) {
        self.sequence = push_packet(&mut self.out, &self.payload, self.sequence);
        self.payload.clear();
    }
}

/// The reply to COM_FIELD_LIST: definitions with their (absent) defaults, and the end.
pub fn field_list<'a>(
    columns: impl Iterator<Item = TextColumn<'a>>,
    capabilities: u32,
    status: u16,
    mut sequence: u8,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut payload = Vec::new();
    for column in columns {
        push_definition(&mut payload, &column);
        payload.push(0xFB);
        sequence = push_packet(&mut out, &payload, sequence);
        payload.clear();
    }
    if capabilities & capability::DEPRECATE_EOF != 0 {
        OkPacket { status, ..OkPacket::default() }.push_payload(&mut payload, 0xFE, capabilities);
    } else {
        payload.extend_from_slice(&eof_packet(status, 0));
    }
    push_packet(&mut out, &payload, sequence);
    out
}

fn push_definition(payload: &mut Vec<u8>, column: &TextColumn<'_>) {
    let (kind, charset, len, flags, decimals) = match column.kind {
        // Four bytes a character at most.
        TextType::Text => (TYPE_VAR_STRING, UTF8MB4, TEXT_LEN * 4, 0, DECIMALS_VARY),
        TextType::Integer => (TYPE_LONGLONG, BINARY, INTEGER_LEN, FLAG_BINARY | FLAG_NUM, 0),
        TextType::Float { decimals } => {
            let decimals = decimals.unwrap_or(DECIMALS_VARY);
            (TYPE_DOUBLE, BINARY, FLOAT_LEN, FLAG_BINARY | FLAG_NUM, decimals)
        }
    };
    for text in ["def", column.schema, column.table, column.table, column.name, column.name] {
        write::lenenc_bytes(payload, text.as_bytes());
    }
    payload.push(0x0C);
    payload.extend_from_slice(&charset.to_le_bytes());
    payload.extend_from_slice(&len.to_le_bytes());
    payload.push(kind);
    payload.extend_from_slice(&flags.to_le_bytes());
    payload.push(decimals);
    payload.extend_from_slice(&[0, 0]);
}
