//! COM_QUERY: where the statement begins behind the query attributes.

use std::ops::Range;

use super::read::Cursor;
use super::{Malformed, capability};

/// The bytes of a COM_QUERY payload that are its statement.
pub fn statement_range(payload: &[u8], capabilities: u32) -> Result<Range<usize>, Malformed> {
    let mut cursor = Cursor::new(payload);
    cursor.u8()?;
    if capabilities & capability::QUERY_ATTRIBUTES != 0 {
        let count = cursor.lenenc_int()?;
        cursor.lenenc_int()?;
        if count > 0 {
            skip_attributes(&mut cursor, count)?;
        }
    }
    Ok(payload.len() - cursor.rest().len()..payload.len())
}

fn skip_attributes(cursor: &mut Cursor<'_>, count: u64) -> Result<(), Malformed> {
    let count = usize::from(u16::try_from(count).map_err(|_| Malformed("too many attributes"))?);
    let nulls = cursor.bytes(count.div_ceil(8))?;
    if cursor.u8()? != 1 {
        return Err(Malformed("attributes without types"));
    }
    let mut kinds = Vec::with_capacity(count);
    for _ in 0..count {
        kinds.push(cursor.u16()?);
        cursor.lenenc_bytes()?;
    }
    for (at, kind) in kinds.into_iter().enumerate() {
        if nulls[at / 8] & (1 << (at % 8)) == 0 {
            skip_value(cursor, kind)?;
        }
    }
    Ok(())
}

/// Passes over one value of the binary protocol.
fn skip_value(cursor: &mut Cursor<'_>, kind: u16) -> Result<(), Malformed> {
    // The high byte holds the sign.
    let len = match kind & 0xFF {
        0x01 => 1,
        0x02 | 0x0D => 2,
        0x03 | 0x04 | 0x09 => 4,
        0x05 | 0x08 => 8,
        0x06 => 0,
        0x07 | 0x0A | 0x0B | 0x0C => usize::from(cursor.u8()?),
        _ => {
            cursor.lenenc_bytes()?;
            0
        }
    };
    cursor.bytes(len).map(drop)
}
