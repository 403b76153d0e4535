//! The few statements whose meaning lies in a literal, which the digest does not keep.

use super::classify::Verdict;
use super::effect::{self, Effect, TextSource};
use super::lex::{Lexer, TokenKind};
use super::variables::PRIMARY_ONLY;
use super::{Access, Dialect, Kind, PinCause, PinSet, WriteBecause};

/// Completes the verdict from the text. True if it now holds for this text only, not for its digest.
pub(super) fn refine(verdict: &mut Verdict, text: &[u8], dialect: &Dialect) -> bool {
    match &mut verdict.kind {
        Kind::Kill { id, .. } => {
            *id = kill_id(text, dialect);
            true
        }
        Kind::Show => {
            let mut literals = Literals::of(text, dialect);
            let Some(literal) = literals.next() else { return false };
            let asked = std::iter::once(literal).chain(literals).find_map(|literal| primary_only(&literal));
            if verdict.access == Access::Read
                && let Some(name) = asked
            {
                verdict.access = Access::Write(WriteBecause::PrimaryOnly(format!("@@{name}").into()));
            }
            true
        }
        _ => leave(verdict, text, dialect),
    }
}

/// What the statement leaves in the session. What is known of it needs no connection.
fn leave(verdict: &mut Verdict, text: &[u8], dialect: &Dialect) -> bool {
    let Some(effect) = effect::of(verdict, text, dialect) else { return false };
    let known = match &effect {
        Effect::Assigns(assigned) if assigned.is_literal() => Some(PinCause::UserVariable),
        Effect::Role => Some(PinCause::Role),
        Effect::Prepare { text: TextSource::Literal(_) | TextSource::Variable(_), .. } => {
            Some(PinCause::PreparedText)
        }
        Effect::ExecuteImmediate { text: TextSource::Unknown | TextSource::Variable(_) } => {
            verdict.pins.insert(PinCause::Unknown);
            None
        }
        _ => None,
    };
    if let Some(known) = known {
        verdict.pins = verdict.pins.without(PinSet::of(known));
    }
    let depends_on_literals = match &effect {
        Effect::Assigns(_) => verdict.kind == Kind::Set,
        Effect::Prepare { .. } | Effect::ExecuteImmediate { .. } => true,
        Effect::Borrows(_) | Effect::Role | Effect::Execute { .. } | Effect::Deallocate { .. } => false,
    };
    verdict.effect = Some(Box::new(effect));
    depends_on_literals
}

/// The id of KILL where it is a plain number and the last token.
fn kill_id(text: &[u8], dialect: &Dialect) -> Option<u64> {
    let mut lexer = Lexer::new(text, dialect);
    let mut id = None;
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => return id,
            TokenKind::Semicolon => {}
            TokenKind::Number if id.is_none() => {
                id = std::str::from_utf8(token.bytes(text)).ok().and_then(|digits| digits.parse().ok());
            }
            TokenKind::Word => id = None,
            _ => return None,
        }
    }
}

/// The strings of a text, without their quotes; escapes are left as they are.
struct Literals<'a> {
    lexer: Lexer<'a>,
    text: &'a [u8],
}

impl<'a> Literals<'a> {
    fn of(text: &'a [u8], dialect: &Dialect) -> Self {
        Self { lexer: Lexer::new(text, dialect), text }
    }
}

impl Iterator for Literals<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let token = self.lexer.next();
            match token.kind {
                TokenKind::End => return None,
                TokenKind::Text => {
                    let text = String::from_utf8_lossy(token.bytes(self.text)).to_lowercase();
                    return Some(text.trim_matches(['\'', '"']).to_owned());
                }
                _ => {}
            }
        }
    }
}

/// The first variable of the primary's that a LIKE pattern, or a name, asks for among few others. A pattern
/// of nothing but wildcards asks for all, and so for none of them.
fn primary_only(pattern: &str) -> Option<&'static str> {
    let plain = pattern.replace('\\', "");
    if plain.chars().all(|c| matches!(c, '%' | '_')) {
        return None;
    }
    PRIMARY_ONLY.iter().copied().find(|name| like(name.as_bytes(), plain.as_bytes()))
}

/// SQL's LIKE with `%` and `_`, in time proportional to both lengths' product at worst.
fn like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut pat) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(pat) {
            Some(b'%') => {
                retry = Some((at, pat + 1));
                pat += 1;
            }
            Some(&byte) if byte == b'_' || byte == text[at] => {
                at += 1;
                pat += 1;
            }
            _ => match &mut retry {
                Some((from, after)) => {
                    *from += 1;
                    (at, pat) = (*from, *after);
                }
                None => return false,
            },
        }
    }
    pattern[pat.min(pattern.len())..].iter().all(|byte| *byte == b'%')
}
