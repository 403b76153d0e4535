//! Packets: a 3-byte length, a sequence number, and at most 16 MiB − 1 of payload.

use super::Malformed;

pub const HEADER_LEN: usize = 4;

/// A packet with a payload this long is continued by the next one.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// The four bytes before each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub len: usize,
    pub sequence: u8,
}

impl Header {
    /// `None` when fewer than four bytes have come.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, sequence] = *bytes.first_chunk::<HEADER_LEN>()?;
        Some(Self { len: u32::from_le_bytes([a, b, c, 0]) as usize, sequence })
    }

    pub fn bytes(self) -> [u8; HEADER_LEN] {
        let [a, b, c, _] = (self.len as u32).to_le_bytes();
        [a, b, c, self.sequence]
    }
}

/// Appends `payload` as one message, split into as many packets as it needs, numbered from `sequence`.
/// Returns the number after the last.
pub fn push_packet(out: &mut Vec<u8>, payload: &[u8], mut sequence: u8) -> u8 {
    let mut rest = payload;
    loop {
        let (chunk, tail) = rest.split_at(rest.len().min(MAX_PAYLOAD));
        out.extend_from_slice(&Header { len: chunk.len(), sequence }.bytes());
        out.extend_from_slice(chunk);
        sequence = sequence.wrapping_add(1);
        // A message of an exact multiple ends with an empty packet.
        if chunk.len() < MAX_PAYLOAD {
            return sequence;
        }
        rest = tail;
    }
}

/// Reads one message that is wholly in `bytes`. `None` when more must come; else the payload, the bytes
/// it took, and the sequence number that follows.
pub fn whole_message(bytes: &[u8], limit: usize) -> Result<Option<(Vec<u8>, usize, u8)>, Malformed> {
    let mut payload = Vec::new();
    let mut at = 0;
    loop {
        let Some(header) = Header::read(&bytes[at..]) else { return Ok(None) };
        if payload.len() + header.len > limit {
            return Err(Malformed("longer than allowed"));
        }
        let Some(chunk) = bytes.get(at + HEADER_LEN..at + HEADER_LEN + header.len) else { return Ok(None) };
        payload.extend_from_slice(chunk);
        at += HEADER_LEN + header.len;
        if header.len < MAX_PAYLOAD {
            return Ok(Some((payload, at, header.sequence.wrapping_add(1))));
        }
    }
}
