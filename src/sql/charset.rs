//! Where one character ends in the character sets whose second bytes may look like a quote or a backslash.

use super::Charset;

impl Charset {
    /// What the lexer must know of the character set of this name (`character_set_client`).
    pub fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "utf8" | "utf8mb3" | "utf8mb4" | "ascii" | "binary" | "ujis" | "eucjpms" | "euckr" | "gb2312" => {
                Charset::AsciiSafe
            }
            "gbk" => Charset::Gbk,
            "gb18030" => Charset::Gb18030,
            "big5" => Charset::Big5,
            "sjis" | "cp932" => Charset::ShiftJis,
            _ => Charset::SingleByte,
        }
    }

    /// True where a byte below 0x80 may be the second half of a character.
    pub(super) fn hides_ascii(self) -> bool {
        !matches!(self, Charset::AsciiSafe | Charset::SingleByte)
    }

    /// The length of the multi-byte character at the start of `bytes`, or 1. As the servers do, a lead
    /// byte without a valid second byte is a character by itself.
    pub(super) fn char_len(self, bytes: &[u8]) -> usize {
        let (Some(&lead), Some(&second)) = (bytes.first(), bytes.get(1)) else { return 1 };
        let wide = match self {
            Charset::AsciiSafe | Charset::SingleByte => false,
            Charset::Gbk => matches!(lead, 0x81..=0xFE) && matches!(second, 0x40..=0x7E | 0x80..=0xFE),
            Charset::Gb18030 => return gb18030_len(lead, second, bytes),
            Charset::Big5 => matches!(lead, 0xA1..=0xF9) && matches!(second, 0x40..=0x7E | 0xA1..=0xFE),
            Charset::ShiftJis => {
                matches!(lead, 0x81..=0x9F | 0xE0..=0xFC) && matches!(second, 0x40..=0x7E | 0x80..=0xFC)
            }
        };
        if wide { 2 } else { 1 }
    }
}

fn gb18030_len(lead: u8, second: u8, bytes: &[u8]) -> usize {
    if !matches!(lead, 0x81..=0xFE) {
        return 1;
    }
    match (second, bytes.get(2), bytes.get(3)) {
        (0x40..=0x7E | 0x80..=0xFE, _, _) => 2,
        (0x30..=0x39, Some(0x81..=0xFE), Some(0x30..=0x39)) => 4,
        _ => 1,
    }
}
