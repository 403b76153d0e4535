//! `/* pointsman: … */`: what a statement's leading comments ask of the proxy.

use super::comment::{self, Opening};
use super::{Dialect, Hint};

/// The hint in the comments before the first token; of several, the last. An unknown word is no hint.
pub(super) fn leading(text: &[u8], dialect: &Dialect) -> Option<Hint> {
    let mut at = 0;
    let mut hint = None;
    loop {
        at += text[at..].iter().take_while(|byte| matches!(byte, b'\t'..=b'\r' | b' ')).count();
        let (body, end) = match &text[at..] {
            [b'/', b'*', ..] => match comment::open(text, at, dialect.version) {
                Opening::Comment { end } => (&text[at + 2..end - 2], end),
                Opening::Code { .. } | Opening::Malformed => return hint,
            },
            [b'-', b'-', b' ' | b'\t', ..] => {
                let end = comment::line_end(text, at);
                (&text[at + 2..end], end)
            }
            [b'#', ..] => {
                let end = comment::line_end(text, at);
                (&text[at + 1..end], end)
            }
            _ => return hint,
        };
        hint = parse(body).or(hint);
        at = end;
    }
}

fn parse(comment: &[u8]) -> Option<Hint> {
    let text = std::str::from_utf8(comment).ok()?.trim();
    let (mark, wish) = text.split_once(':')?;
    if !mark.trim().eq_ignore_ascii_case("pointsman") {
        return None;
    }
    let wish = wish.trim();
    if wish.eq_ignore_ascii_case("primary") {
        return Some(Hint::Primary);
    }
    if wish.eq_ignore_ascii_case("replica") {
        return Some(Hint::Replica);
    }
    let (key, name) = wish.split_once('=')?;
    let name = name.trim();
    (key.trim().eq_ignore_ascii_case("server") && !name.is_empty()).then(|| Hint::Server(name.into()))
}
