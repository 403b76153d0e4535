//! Compressed frames: the layer below packets on connections that negotiated one, and the negotiation.

use super::capability;

pub const FRAME_HEADER_LEN: usize = 7;

/// Levels that zstd knows and a client may ask for.
pub const ZSTD_LEVELS: std::ops::RangeInclusive<u8> = 1..=22;

/// How frames are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Zlib,
    Zstd { level: u8 },
}

impl Compression {
    /// What two peers with these flags in common use. Servers and clients prefer zlib where both are agreed on.
    pub fn agreed(capabilities: u32, zstd_level: u8) -> Option<Self> {
        if capabilities & capability::COMPRESS != 0 {
            Some(Compression::Zlib)
        } else if capabilities & capability::ZSTD_COMPRESSION != 0 {
            Some(Compression::Zstd { level: zstd_level })
        } else {
            None
        }
    }

    /// What a handshake response says of it.
    pub const fn level(self) -> u8 {
        match self {
            Compression::Zlib => 0,
            Compression::Zstd { level } => level,
        }
    }

    pub const fn flag(self) -> u32 {
        match self {
            Compression::Zlib => capability::COMPRESS,
            Compression::Zstd { .. } => capability::ZSTD_COMPRESSION,
        }
    }
}

/// The seven bytes before each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes that follow.
    pub len: usize,
    pub sequence: u8,
    /// Bytes that come of them; 0 where they were not packed.
    pub plain_len: usize,
}

impl FrameHeader {
    /// `None` when fewer than seven bytes have come.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, sequence, d, e, f] = *bytes.first_chunk::<FRAME_HEADER_LEN>()?;
        let number = |a, b, c| u32::from_le_bytes([a, b, c, 0]) as usize;
        Some(Self { len: number(a, b, c), sequence, plain_len: number(d, e, f) })
    }

    pub fn bytes(self) -> [u8; FRAME_HEADER_LEN] {
        let [a, b, c, _] = (self.len as u32).to_le_bytes();
        let [d, e, f, _] = (self.plain_len as u32).to_le_bytes();
        [a, b, c, self.sequence, d, e, f]
    }
}

/// Follows packets in a stream of bytes that comes in pieces, and may number them anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketWalk {
    /// Bytes of the header that have come, and the length as far as they tell it.
    header: usize,
    len: usize,
    /// Bytes of the payload still to come.
    left: usize,
}

impl PacketWalk {
    /// Where the sequence number of the next packet stands in `bytes`, from `at` on, which is moved behind it. `None`:
    /// no further packet begins in these bytes; the walk goes on with those that follow them.
    pub fn next_number(&mut self, bytes: &[u8], at: &mut usize) -> Option<usize> {
        while *at < bytes.len() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len() - *at);
                self.left -= passed;
                *at += passed;
                continue;
            }
            let found = *at;
            *at += 1;
            if self.header == 3 {
                *self = Self { left: self.len, ..Self::default() };
                return Some(found);
            }
            self.len |= usize::from(bytes[found]) << (8 * self.header);
            self.header += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::push_packet;
    use super::*;

    #[test]
    fn headers_read_back_as_written() {
        let header = FrameHeader { len: 0x01_02_03, sequence: 7, plain_len: 0xFF_FF_FE };
        assert_eq!(header.bytes(), [3, 2, 1, 7, 0xFE, 0xFF, 0xFF]);
        assert_eq!(FrameHeader::read(&header.bytes()), Some(header));
        assert_eq!(FrameHeader::read(&[0; 6]), None);
    }

    #[test]
    fn packets_are_numbered_anew_in_whatever_pieces_they_come() {
        let lens = [0, 1, 300, 0, 70_000, 5];
        let packets = |first: u8| {
            let mut bytes = Vec::new();
            for (number, len) in (first..).zip(lens) {
                push_packet(&mut bytes, &vec![number; len], number);
            }
            bytes
        };
        let number_anew = |bytes: &mut [u8], piece: usize| {
            let (mut walk, mut next) = (PacketWalk::default(), 4_u8);
            for piece in bytes.chunks_mut(piece) {
                let mut at = 0;
                while let Some(number) = walk.next_number(piece, &mut at) {
                    piece[number] = next;
                    next += 1;
                }
            }
            next
        };
        let mut expected = packets(200);
        assert_eq!(number_anew(&mut expected, usize::MAX), 10);
        assert_eq!((expected[3], expected[4 + 3]), (4, 5));
        let payload = expected.len() - 5;
        assert_eq!(expected[payload..], [205; 5], "payloads stay as they are");
        for piece in [1, 2, 3, 5, 4096] {
            let mut bytes = packets(200);
            assert_eq!(number_anew(&mut bytes, piece), 10);
            assert!(bytes == expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn zlib_is_preferred() {
        let both = capability::COMPRESS | capability::ZSTD_COMPRESSION;
        assert_eq!(Compression::agreed(both, 5), Some(Compression::Zlib));
        let zstd = Compression::Zstd { level: 5 };
        assert_eq!(Compression::agreed(capability::ZSTD_COMPRESSION, 5), Some(zstd));
        assert_eq!(Compression::agreed(0, 5), None);
        assert_eq!(zstd.flag(), capability::ZSTD_COMPRESSION);
    }
}
