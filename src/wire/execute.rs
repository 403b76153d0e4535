//! Prepared statements: the head of the server's reply to COM_STMT_PREPARE, and that of COM_STMT_EXECUTE.

use std::ops::Range;

use super::read::Cursor;
use super::{Malformed, capability};

/// Where the statement's number stands in every command about one.
pub const STATEMENT_ID: Range<usize> = 1..5;

/// Asks for a cursor, in one of three kinds.
const CURSOR_FLAGS: u8 = 0x07;
/// Of COM_STMT_BULK_EXECUTE: types follow the flags.
const BULK_SEND_TYPES: u8 = 0x80;
/// The number of parameters is given, because query attributes are among them.
const PARAMETER_COUNT_AVAILABLE: u8 = 0x08;

const TYPE_NULL: u16 = 0x06;
/// VARCHAR, the blobs, VAR_STRING and STRING.
const TEXT_TYPES: [u16; 7] = [0x0F, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE];

/// The first packet of the reply to COM_STMT_PREPARE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparedHead {
    pub id: u32,
    pub columns: u16,
    pub parameters: u16,
}

impl PreparedHead {
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.u8()?;
        Ok(Self { id: cursor.u32()?, columns: cursor.u16()?, parameters: cursor.u16()? })
    }
}

/// What must be known of a COM_STMT_EXECUTE before it is sent to a server that may know the statement by
/// another number, and may not have been told its parameters' types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecuteHead {
    pub wants_cursor: bool,
    /// Each type has the name of a query attribute behind it.
    pub names: bool,
    /// Where the byte stands that says whether types follow; `None` without parameters.
    pub types_flag_at: Option<usize>,
    /// Where types stand, if they do.
    types_at: usize,
    types_flag: u8,
    /// The types, where they are given.
    pub types: Option<Range<usize>>,
}

impl ExecuteHead {
    /// `parameters` as the server counted them when the statement was prepared. Only the head is looked at.
    pub fn parse(payload: &[u8], parameters: u16, capabilities: u32) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.bytes(STATEMENT_ID.end)?;
        let flags = cursor.u8()?;
        cursor.u32()?;
        let names = capabilities & capability::QUERY_ATTRIBUTES != 0;
        let counted = names && flags & PARAMETER_COUNT_AVAILABLE != 0;
        let count = if counted { cursor.lenenc_int()? } else { u64::from(parameters) };
        let count = usize::from(u16::try_from(count).map_err(|_| Malformed("too many parameters"))?);
        let mut head =
            Self { wants_cursor: flags & CURSOR_FLAGS != 0, names: names && counted, ..Self::none() };
        if count == 0 {
            return Ok(head);
        }
        cursor.bytes(count.div_ceil(8))?;
        let at = payload.len() - cursor.rest().len();
        head.types_flag_at = Some(at);
        head.types_at = at + 1;
        head.types_flag = 1;
        if cursor.u8()? == 1 {
            for _ in 0..count {
                cursor.u16()?;
                if names && counted {
                    cursor.lenenc_bytes()?;
                }
            }
            head.types = Some(at + 1..payload.len() - cursor.rest().len());
        }
        Ok(head)
    }

    /// The values, where all are texts or NULL; `types` as they were given last. Many rows of them are none.
    pub fn texts(&self, payload: &[u8], types: &[u8], names: bool) -> Result<Vec<Option<String>>, Malformed> {
        if self.types_flag & BULK_SEND_TYPES != 0 {
            return Err(Malformed("many rows of values"));
        }
        let Some(flag_at) = self.types_flag_at else { return Ok(Vec::new()) };
        let mut kinds = Vec::new();
        let mut cursor = Cursor::new(types);
        while !cursor.is_empty() {
            kinds.push(cursor.u16()? & 0xFF);
            if names {
                cursor.lenenc_bytes()?;
            }
        }
        let nulls_at = flag_at.checked_sub(kinds.len().div_ceil(8)).ok_or(Malformed("no place for NULLs"))?;
        let values_at = self.types.as_ref().map_or(flag_at + 1, |types| types.end);
        let mut values = Cursor::new(payload.get(values_at..).ok_or(Malformed("no values"))?);
        let text = |(at, kind): (usize, u16)| {
            if payload[nulls_at + at / 8] & (1 << (at % 8)) != 0 || kind == TYPE_NULL {
                return Ok(None);
            }
            if !TEXT_TYPES.contains(&kind) {
                return Err(Malformed("a parameter that is no text"));
            }
            let bytes = values.lenenc_bytes()?;
            let text = std::str::from_utf8(bytes).map_err(|_| Malformed("a text that is not UTF-8"))?;
            Ok(Some(text.to_owned()))
        };
        kinds.into_iter().enumerate().map(text).collect()
    }

    /// As `parse`, of MariaDB's COM_STMT_BULK_EXECUTE.
    pub fn parse_bulk(payload: &[u8], parameters: u16) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.bytes(STATEMENT_ID.end)?;
        let at = STATEMENT_ID.end;
        let [flags, _] = cursor.u16()?.to_le_bytes();
        let mut head = Self::none();
        if parameters == 0 {
            return Ok(head);
        }
        head.types_flag_at = Some(at);
        head.types_at = at + 2;
        head.types_flag = flags | BULK_SEND_TYPES;
        if flags & BULK_SEND_TYPES != 0 {
            let len = 2 * usize::from(parameters);
            cursor.bytes(len)?;
            head.types = Some(head.types_at..head.types_at + len);
        }
        Ok(head)
    }

    fn none() -> Self {
        Self {
            wants_cursor: false,
            names: false,
            types_flag_at: None,
            types_at: 0,
            types_flag: 0,
            types: None,
        }
    }

    /// The command with the types put in that its sender left out.
    pub fn with_types(&self, payload: &[u8], types: &[u8]) -> Option<Vec<u8>> {
        let at = self.types_flag_at?;
        let mut with = Vec::with_capacity(payload.len() + types.len());
        with.extend_from_slice(&payload[..at]);
        with.push(self.types_flag);
        with.extend_from_slice(&payload[at + 1..self.types_at]);
        with.extend_from_slice(types);
        with.extend_from_slice(&payload[self.types_at..]);
        Some(with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execute(flag: u8, types: &[u8], values: &[u8]) -> Vec<u8> {
        let mut payload = vec![0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0, 0b01, flag];
        payload.extend_from_slice(types);
        payload.extend_from_slice(values);
        payload
    }

    #[test]
    fn types_are_found_and_put_in() {
        let (types, values) = ([3, 0, 0xFD, 0], [1, 0, 0, 0, 1, b'x']);
        let full = execute(1, &types, &values);
        let head = ExecuteHead::parse(&full, 2, 0).expect("well-formed");
        assert_eq!((head.wants_cursor, head.names, head.types_flag_at), (false, false, Some(11)));
        assert_eq!(head.types, Some(12..16));
        let bare = execute(0, &[], &values);
        let head = ExecuteHead::parse(&bare, 2, 0).expect("well-formed");
        assert_eq!(head.types, None);
        assert_eq!(head.with_types(&bare, &types), Some(full));
    }

    #[test]
    fn texts_are_read_and_nothing_else_is() {
        let types = [0xFD, 0, 0xFC, 0];
        // The first is NULL, by the map of NULLs.
        let full = execute(1, &types, &[2, b'o', b'k']);
        let head = ExecuteHead::parse(&full, 2, 0).expect("well-formed");
        assert_eq!(head.texts(&full, &types, head.names), Ok(vec![None, Some("ok".to_owned())]));
        let bare = execute(0, &[], &[2, b'o', b'k']);
        let head = ExecuteHead::parse(&bare, 2, 0).expect("well-formed");
        assert_eq!(head.texts(&bare, &types, head.names), Ok(vec![None, Some("ok".to_owned())]));
        for (types, values) in
            [([0xFD, 0, 3, 0], &[1, 0, 0, 0][..]), (types, &[9, b'x']), (types, &[1, 0xFF])]
        {
            let full = execute(1, &types, values);
            let head = ExecuteHead::parse(&full, 2, 0).expect("well-formed");
            assert!(head.texts(&full, &types, head.names).is_err(), "{types:?} {values:?}");
        }
        assert!(head.texts(&bare, &[0xFD], false).is_err());
        assert!(head.texts(&bare[..12], &[0xFD; 400], false).is_err(), "more types than places for NULLs");
    }

    #[test]
    fn attributes_count_and_have_names() {
        let mut payload = vec![0x17, 7, 0, 0, 0, 0x09, 1, 0, 0, 0, 2, 0, 1];
        payload.extend_from_slice(&[3, 0, 0, 0xFD, 0, 1, b'a']);
        payload.extend_from_slice(&[9, 9]);
        let head = ExecuteHead::parse(&payload, 1, capability::QUERY_ATTRIBUTES).expect("well-formed");
        assert_eq!((head.wants_cursor, head.names, head.types_flag_at), (true, true, Some(12)));
        assert_eq!(head.types, Some(13..20));
    }

    #[test]
    fn types_of_many_rows_are_found_and_put_in() {
        let (types, rows) = ([3, 0, 0xFD, 0], [0, 1, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1, b'x']);
        let full = [&[0xFA, 7, 0, 0, 0, 0xC0, 0][..], &types, &rows].concat();
        let head = ExecuteHead::parse_bulk(&full, 2).expect("well-formed");
        assert_eq!(head.types, Some(7..11));
        assert!(head.texts(&full, &[0xFD, 0, 0xFD, 0], false).is_err(), "rows are laid out otherwise");
        let bare = [&[0xFA, 7, 0, 0, 0, 0x40, 0][..], &rows].concat();
        let head = ExecuteHead::parse_bulk(&bare, 2).expect("well-formed");
        assert_eq!(head.types, None);
        assert_eq!(head.with_types(&bare, &types), Some(full.clone()));
        for len in 0..11 {
            assert!(ExecuteHead::parse_bulk(&full[..len], 2).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn cut_short_is_malformed() {
        let full = execute(1, &[3, 0, 3, 0], &[]);
        for len in 0..16 {
            assert!(ExecuteHead::parse(&full[..len], 2, 0).is_err(), "{len} bytes");
        }
        assert_eq!(ExecuteHead::parse(&full[..10], 0, 0).expect("no parameters").types_flag_at, None);
    }
}
