//! Puts values in the place of calls whose answer only the proxy knows.

use super::Dialect;
use super::lex::{Lexer, Token, TokenKind};
use super::words::Lower;

/// What to put in the place of each call without arguments, as it should stand in the text; `None` leaves
/// the call alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replacements<'a> {
    pub row_count: Option<&'a str>,
    pub found_rows: Option<&'a str>,
    pub connection_id: Option<&'a str>,
    pub last_insert_id: Option<&'a str>,
}

/// Longer names the server would cut.
const ALIAS_MAX: usize = 256;

/// The text with each such call replaced, whatever its case, spaces and comments; where the call is a whole
/// item of a select list, an alias keeps the column's name. `None` if there is nothing to replace, and also
/// where the value could be wrong: in several statements at once, in definitions of stored programs and views, and in
/// texts that cannot be read for certain.
pub fn substitute_calls(text: &[u8], dialect: &Dialect, replacements: &Replacements<'_>) -> Option<Vec<u8>> {
    let mut rewrite = Rewrite::new(text, replacements);
    let mut lexer = Lexer::new(text, dialect);
    loop {
        let token = lexer.next();
        if !rewrite.may_hold(&token) {
            return None;
        }
        rewrite.replace_call_before(&token);
        rewrite.note(token, lexer.depth());
        if token.kind == TokenKind::End {
            break;
        }
    }
    if lexer.is_odd() || rewrite.copied == 0 {
        return None;
    }
    rewrite.out.extend_from_slice(&text[rewrite.copied..]);
    Some(rewrite.out)
}

struct Rewrite<'a> {
    text: &'a [u8],
    replacements: &'a Replacements<'a>,
    out: Vec<u8>,
    /// How much of the text is in `out` already.
    copied: usize,
    /// For each open parenthesis: between SELECT and the end of its list.
    in_list: Vec<bool>,
    /// The tokens before, the latest first, and how many executable comments were open after each.
    window: [(Token, u32); 4],
}

const NOTHING: Token = Token { kind: TokenKind::End, start: 0, end: 0, gap: false };

impl<'a> Rewrite<'a> {
    fn new(text: &'a [u8], replacements: &'a Replacements<'a>) -> Self {
        let window = [(NOTHING, 0); 4];
        Self { text, replacements, out: Vec::new(), copied: 0, in_list: vec![false], window }
    }

    /// False where a value put in would be kept (in a definition) or be that of the wrong moment (behind
    /// another statement).
    fn may_hold(&self, token: &Token) -> bool {
        match self.window[0].0.kind {
            TokenKind::End => !matches!(self.word(token).get(), b"create" | b"alter"),
            TokenKind::Semicolon => matches!(token.kind, TokenKind::End | TokenKind::Semicolon),
            _ => true,
        }
    }

    fn word(&self, token: &Token) -> Lower {
        match token.kind {
            TokenKind::Word => Lower::of(token.bytes(self.text)),
            _ => Lower::EMPTY,
        }
    }

    /// Replaces the call that ended before `next`, if one did.
    fn replace_call_before(&mut self, next: &Token) {
        let [(close, depth_after), (open, _), (name, depth_before), (prior, _)] = self.window;
        if (name.kind, open.kind, close.kind) != (TokenKind::Word, TokenKind::Open, TokenKind::Close) {
            return;
        }
        let value = match self.word(&name).get() {
            b"row_count" => self.replacements.row_count,
            b"found_rows" => self.replacements.found_rows,
            b"connection_id" => self.replacements.connection_id,
            b"last_insert_id" => self.replacements.last_insert_id,
            _ => None,
        };
        // A qualified name is a stored function. A call that begins in an executable comment and ends
        // outside of it is left alone.
        let Some(value) = value.filter(|_| prior.kind != TokenKind::Dot && depth_before == depth_after)
        else {
            return;
        };
        self.out.extend_from_slice(&self.text[self.copied..name.start]);
        self.out.extend_from_slice(value.as_bytes());
        if self.begins_item(&prior) && self.ends_item(next) {
            self.alias(name.start, close.end);
        }
        self.copied = close.end;
    }

    fn begins_item(&self, prior: &Token) -> bool {
        let listed = self.in_list.last() == Some(&true);
        let modifier: &[&[u8]] = &[
            b"select",
            b"distinct",
            b"distinctrow",
            b"all",
            b"sql_no_cache",
            b"sql_cache",
            b"high_priority",
        ];
        listed && (prior.kind == TokenKind::Comma || modifier.contains(&self.word(prior).get()))
    }

    fn ends_item(&self, next: &Token) -> bool {
        match next.kind {
            TokenKind::Comma | TokenKind::Close | TokenKind::Semicolon | TokenKind::End => true,
            _ => ends_list(self.word(next).get()),
        }
    }

    /// Names the column as the server would have named it: by the text of the call.
    fn alias(&mut self, start: usize, end: usize) {
        let call = &self.text[start..end];
        if call.len() <= ALIAS_MAX && call.is_ascii() {
            self.out.extend_from_slice(b" AS `");
            for byte in call {
                self.out.extend_from_slice(if *byte == b'`' { b"``" } else { std::slice::from_ref(byte) });
            }
            self.out.push(b'`');
        }
    }

    fn note(&mut self, token: Token, depth: u32) {
        match token.kind {
            TokenKind::Open => self.in_list.push(false),
            TokenKind::Close if self.in_list.len() > 1 => {
                self.in_list.pop();
            }
            TokenKind::Word => {
                let word = self.word(&token);
                let here = self.in_list.len() - 1;
                if word.get() == b"select" {
                    self.in_list[here] = true;
                } else if ends_list(word.get()) {
                    self.in_list[here] = false;
                }
            }
            _ => {}
        }
        self.window = [(token, depth), self.window[0], self.window[1], self.window[2]];
    }
}

/// Words that end a select list.
fn ends_list(word: &[u8]) -> bool {
    let words: &[&[u8]] = &[
        b"from",
        b"where",
        b"group",
        b"having",
        b"order",
        b"limit",
        b"into",
        b"union",
        b"except",
        b"intersect",
        b"for",
        b"lock",
        b"window",
        b"procedure",
    ];
    words.contains(&word)
}
