//! `/* pointsman: … */`: what a statement's leading comments ask of the proxy.

use super::comment::{self, Opening};
use super::{Dialect, Hint, LevelHint};
use crate::consistency::Consistency;

/// What the comments before the first token ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hints {
    pub(super) route: Option<Hint>,
    pub(super) level: Option<LevelHint>,
}

/// The hints in the comments before the first token; of several of one sort, the last. An unknown word is no hint.
pub(super) fn leading(text: &[u8], dialect: &Dialect) -> Hints {
    let mut at = 0;
    let mut hints = Hints::default();
    loop {
        at += text[at..].iter().take_while(|byte| matches!(byte, b'\t'..=b'\r' | b' ')).count();
        let (body, end) = match &text[at..] {
            [b'/', b'*', ..] => match comment::open(text, at, dialect.version) {
                Opening::Comment { end } => (&text[at + 2..end - 2], end),
                Opening::Code { .. } | Opening::Malformed => return hints,
            },
            [b'-', b'-', b' ' | b'\t', ..] => {
                let end = comment::line_end(text, at);
                (&text[at + 2..end], end)
            }
            [b'#', ..] => {
                let end = comment::line_end(text, at);
                (&text[at + 1..end], end)
            }
            _ => return hints,
        };
        hints.read(body);
        at = end;
    }
}

impl Hints {
    fn read(&mut self, comment: &[u8]) {
        let Ok(text) = std::str::from_utf8(comment) else { return };
        let Some((mark, wishes)) = text.split_once(':') else { return };
        if mark.trim().eq_ignore_ascii_case("pointsman") {
            wishes.split(',').for_each(|wish| self.wish(wish.trim()));
        }
    }

    fn wish(&mut self, wish: &str) {
        if wish.eq_ignore_ascii_case("primary") {
            self.route = Some(Hint::Primary);
        } else if wish.eq_ignore_ascii_case("replica") {
            self.route = Some(Hint::Replica);
        } else if let Some((key, value)) = wish.split_once('=') {
            let (key, value) = (key.trim(), value.trim());
            if key.eq_ignore_ascii_case("server") && !value.is_empty() {
                self.route = Some(Hint::Server(value.into()));
            } else if key.eq_ignore_ascii_case("consistency") {
                let level = Consistency::named(value).map(LevelHint::Level);
                self.level = Some(level.unwrap_or_else(|| LevelHint::Unknown(value.into())));
            }
        }
    }
}
