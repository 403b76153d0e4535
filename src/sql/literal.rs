//! Literals, as far as they can be written down again for another connection.

use super::{Charset, Dialect};

/// A value that is the same wherever it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    Null,
    /// As written: numbers, TRUE, FALSE, hexadecimal and binary digits.
    Plain(Box<str>),
    Text {
        /// Without quotes and escapes, in the character set it was sent in.
        bytes: Box<[u8]>,
        /// As its introducer names it; the bytes are in it then.
        charset: Option<Box<str>>,
        collation: Option<Box<str>>,
    },
}

/// What a text without introducer is read by: `character_set_client`, `character_set_connection`,
/// `collation_connection`.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    pub client: &'a str,
    pub connection: &'a str,
    pub collation: &'a str,
}

impl Literal {
    /// An expression that has this value, type, character set and collation on any connection, whatever its
    /// character sets and mode. `None`: there is none that is certain.
    pub fn expression(&self, reading: Reading<'_>) -> Option<String> {
        let (bytes, charset, collation) = match self {
            Literal::Null => return Some("NULL".to_owned()),
            Literal::Plain(text) => return Some(text.to_string()),
            Literal::Text { bytes, charset, collation } => (bytes, charset, collation),
        };
        let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let (value, default) = match charset {
            Some(charset) => (format!("_{charset} X'{digits}'"), None),
            None if !is_valid(bytes, reading.client) => return None,
            None if reading.client == reading.connection => {
                (format!("_{} X'{digits}'", reading.connection), Some(reading.collation))
            }
            None => {
                let Reading { client, connection, collation } = reading;
                (format!("CONVERT(_{client} X'{digits}' USING {connection})"), Some(collation))
            }
        };
        match collation.as_deref().or(default) {
            // Binary strings have but one collation, and no name for it everywhere.
            Some("binary") | None => Some(value),
            Some(collation) => Some(format!("{value} COLLATE {collation}")),
        }
    }
}

/// What a server would not take as it is.
fn is_valid(bytes: &[u8], charset: &str) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            charset == "utf8mb4" || !charset.starts_with("utf8") || text.chars().all(|c| c <= '\u{FFFF}')
        }
        Err(_) => !charset.starts_with("utf8"),
    }
}

pub(super) fn plain(sign: &str, digits: &[u8]) -> Option<Literal> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.is_ascii())?;
    // `\N` is read as a number too.
    (!digits.starts_with('\\')).then(|| Literal::Plain(format!("{sign}{digits}").into()))
}

/// A string token, or digits in quotes.
pub(super) fn text(
    token: &[u8],
    introducer: Option<Box<str>>,
    collation: Option<Box<str>>,
    dialect: &Dialect,
) -> Option<Literal> {
    match token.first()? {
        b'x' | b'X' | b'b' | b'B' if introducer.is_none() && collation.is_none() => plain("", token),
        b'x' | b'X' if introducer.is_some() => {
            let bytes = hexadecimal(token.get(2..token.len().checked_sub(1)?)?)?;
            Some(Literal::Text { bytes, charset: introducer, collation })
        }
        b'\'' | b'"' => {
            let bytes = unescaped(token, dialect)?.into();
            Some(Literal::Text { bytes, charset: introducer, collation })
        }
        _ => None,
    }
}

/// What a quoted string holds. `None` where that depends on more than its bytes.
pub(super) fn unescaped(token: &[u8], dialect: &Dialect) -> Option<Vec<u8>> {
    let quote = *token.first()?;
    let inner = token.get(1..token.len().checked_sub(1)?)?;
    let wide = !matches!(dialect.charset, Charset::AsciiSafe | Charset::SingleByte);
    if wide && !inner.is_ascii() {
        return None;
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.iter().copied();
    while let Some(byte) = rest.next() {
        if byte == quote {
            // The second of two.
            rest.next();
            bytes.push(byte);
        } else if byte == b'\\' && !dialect.no_backslash_escapes {
            push_escape(&mut bytes, rest.next()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

fn hexadecimal(digits: &[u8]) -> Option<Box<[u8]>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let whole = digits.len().is_multiple_of(2);
    digits.chunks(2).map(byte).collect::<Option<_>>().filter(|_| whole)
}

fn push_escape(bytes: &mut Vec<u8>, letter: u8) {
    match letter {
        b'0' => bytes.push(0),
        b'b' => bytes.push(8),
        b'n' => bytes.push(b'\n'),
        b'r' => bytes.push(b'\r'),
        b't' => bytes.push(b'\t'),
        b'Z' => bytes.push(26),
        // They keep their backslash, for LIKE.
        b'%' | b'_' => bytes.extend_from_slice(&[b'\\', letter]),
        other => bytes.push(other),
    }
}

/// A text as a string literal of this dialect. `None` where quotes cannot be told from halves of characters.
pub fn quoted(text: &[u8], dialect: &Dialect) -> Option<Vec<u8>> {
    let wide = !matches!(dialect.charset, Charset::AsciiSafe | Charset::SingleByte);
    if wide && !text.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'\'');
    for byte in text {
        if *byte == b'\'' || (*byte == b'\\' && !dialect.no_backslash_escapes) {
            out.push(*byte);
        }
        out.push(*byte);
    }
    out.push(b'\'');
    Some(out)
}

/// The character set an introducer (`_utf8mb4`) names.
pub(super) fn charset_name(introducer: &[u8]) -> Option<Box<str>> {
    plain_name(introducer.strip_prefix(b"_")?).map(Box::from)
}

/// A name that needs no quotes and holds nothing else.
pub(super) fn plain_name(name: &[u8]) -> Option<&str> {
    let plain = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    std::str::from_utf8(name).ok().filter(|_| plain)
}
