//! Comments: where they end, and which of them the server runs as code.

use memchr::memmem;

use crate::flavour::{Flavour, Version};

/// What `/*` opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A comment; it ends before this offset.
    Comment { end: usize },
    /// Code from this offset on, up to the `*/` that pairs with it.
    Code { start: usize },
    /// No `*/`, or one that cannot be told from text.
    Malformed,
}

/// Reads the `/*` at `at`.
pub(super) fn open(text: &[u8], at: usize, version: Version) -> Opening {
    let rest = &text[at + 2..];
    match rest {
        [b'!', ..] => executable(text, at + 3, version, false),
        [b'M', b'!', ..] if version.flavour == Flavour::MariaDb => executable(text, at + 4, version, true),
        [b'+', ..] => hint(text, at + 2),
        _ => plain(text, at + 2),
    }
}

/// The end of the line that starts at `at`: where `-- ` and `#` comments end. A NUL ends them too, as it
/// does in both servers; the lexer then meets it and gives up.
pub(super) fn line_end(text: &[u8], at: usize) -> usize {
    memchr::memchr2(b'\n', 0, &text[at..]).map_or(text.len(), |length| at + length)
}

fn plain(text: &[u8], at: usize) -> Opening {
    match memmem::find(&text[at..], b"*/") {
        Some(length) => Opening::Comment { end: at + length + 2 },
        None => Opening::Malformed,
    }
}

/// An optimizer hint. Its names may be quoted, and a quoted `*/` does not end it: an odd number of quotes
/// before the first `*/` means that we cannot tell.
fn hint(text: &[u8], at: usize) -> Opening {
    let opening = plain(text, at);
    if let Opening::Comment { end } = opening {
        for quote in [b'`', b'"', b'\''] {
            if !memchr::memchr_iter(quote, &text[at..end]).count().is_multiple_of(2) {
                return Opening::Malformed;
            }
        }
    }
    opening
}

/// `/*!` and `/*M!`: run without a version, or where the version says so. `at` is behind the `!`.
fn executable(text: &[u8], at: usize, version: Version, mariadb_mark: bool) -> Opening {
    let digits = text[at..].iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let digits = match (version.flavour, digits) {
        (_, 0..=4) => return Opening::Code { start: at },
        (Flavour::MySql, 6) => match text.get(at + 6) {
            // Servers before 8.4 read five digits, some of them six: not worth a wrong guess. Nor is a byte
            // that may be a space or not.
            Some(b'\t'..=b'\r' | b' ') if version.number < 80_400 => return Opening::Malformed,
            Some(0x80..) => return Opening::Malformed,
            Some(b'\t'..=b'\r' | b' ') => 6,
            // Without a space behind it the sixth digit is code.
            _ => 5,
        },
        _ => digits,
    };
    let number = text[at..at + digits].iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let runs = match version.flavour {
        Flavour::MySql => number <= version.number,
        // MariaDB leaves out what is meant for MySQL 5.7 and later.
        Flavour::MariaDb => {
            number <= version.number && (mariadb_mark || !(50_700..=99_999).contains(&number))
        }
    };
    if runs { Opening::Code { start: at + digits } } else { skipped(text, at + digits) }
}

/// An executable comment that is not run may hold comments, one level deep.
fn skipped(text: &[u8], mut at: usize) -> Opening {
    while let Some(length) = memchr::memchr2(b'*', b'/', &text[at..]) {
        at += length;
        match &text[at..] {
            [b'*', b'/', ..] => return Opening::Comment { end: at + 2 },
            [b'/', b'*', ..] => match plain(text, at + 2) {
                Opening::Comment { end } => at = end,
                other => return other,
            },
            _ => at += 1,
        }
    }
    Opening::Malformed
}
