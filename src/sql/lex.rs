//! A statement's tokens, read in one pass over its bytes as the server would read them.

use super::comment::{self, Opening};
use super::{Charset, Dialect};
use crate::flavour::Flavour;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// An unquoted identifier or a keyword.
    Word,
    /// An identifier in backticks, or in double quotes under ANSI_QUOTES.
    Quoted,
    Number,
    /// A string, with its `N`, `X` or `B` where it has one.
    Text,
    /// `@x`, also where it is the host of an account.
    UserVariable,
    /// `@@x`: the first part of the name.
    SystemVariable,
    /// `?`
    Placeholder,
    /// `:=`
    Assign,
    Open,
    Close,
    Comma,
    Dot,
    Semicolon,
    Operator,
    End,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Space or a comment stood before it.
    pub(super) gap: bool,
}

impl Token {
    pub(super) fn bytes<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start..self.end]
    }
}

#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
    /// How many executable comments are open.
    depth: u32,
    /// The kind of the token before and where it ended: a word, then a dot, then digits is a name.
    before: TokenKind,
    name_dot: bool,
    /// Something in it may mean another thing to the server; the statement cannot be trusted.
    odd: bool,
}

/// What a byte may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Digit,
    /// 0x80 and above.
    High,
    Quote,
    DoubleQuote,
    Backtick,
    Punctuation(TokenKind),
    Dot,
    At,
    Dash,
    Slash,
    Star,
    Hash,
    Backslash,
    Operator,
    Never,
}

const CLASSES: [Class; 256] = {
    let mut table = [Class::Never; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class_of(byte as u8);
        byte += 1;
    }
    table
};

const fn class_of(byte: u8) -> Class {
    match byte {
        b'\t'..=b'\r' | b' ' => Class::Space,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        0x80..=0xFF => Class::High,
        b'\'' => Class::Quote,
        b'"' => Class::DoubleQuote,
        b'`' => Class::Backtick,
        b'(' => Class::Punctuation(TokenKind::Open),
        b')' => Class::Punctuation(TokenKind::Close),
        b',' => Class::Punctuation(TokenKind::Comma),
        b';' => Class::Punctuation(TokenKind::Semicolon),
        b'?' => Class::Punctuation(TokenKind::Placeholder),
        b'.' => Class::Dot,
        b'@' => Class::At,
        b'-' => Class::Dash,
        b'/' => Class::Slash,
        b'*' => Class::Star,
        b'#' => Class::Hash,
        b'\\' => Class::Backslash,
        b'!' | b'%' | b'&' | b'+' | b':' | b'<' | b'=' | b'>' | b'[' | b']' | b'^' | b'{' | b'|' | b'}'
        | b'~' => Class::Operator,
        _ => Class::Never,
    }
}

const fn word_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | b'0'..=b'9' | 0x80..)
}

const WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = word_byte(byte as u8);
        byte += 1;
    }
    table
};

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], dialect: &Dialect) -> Self {
        Self { text, at: 0, dialect: *dialect, depth: 0, before: TokenKind::End, name_dot: false, odd: false }
    }

    /// True once something was met that cannot be read for certain. Then the tokens may end early.
    pub(super) fn is_odd(&self) -> bool {
        self.odd
    }

    /// How many executable comments are open.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// The next token; `End` for ever once there is none.
    #[inline]
    pub(super) fn next(&mut self) -> Token {
        let gap = self.skip_space();
        let start = self.at;
        let kind = match self.text.get(start) {
            Some(&byte) => self.token(byte),
            None => {
                self.odd |= self.depth > 0;
                TokenKind::End
            }
        };
        self.name_dot = kind == TokenKind::Dot && self.before == TokenKind::Word && !gap;
        self.before = kind;
        Token { kind, start, end: self.at, gap }
    }

    /// Passes space and comments; whether there was any.
    #[inline]
    fn skip_space(&mut self) -> bool {
        let start = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            match CLASSES[byte as usize] {
                Class::Space => self.at += 1,
                Class::Dash | Class::Slash | Class::Star | Class::Hash => {
                    if !self.skip_comment(byte) {
                        break;
                    }
                }
                _ => break,
            }
        }
        self.at > start
    }

    /// Passes the comment mark that begins with `byte`; false where it is none.
    #[inline]
    fn skip_comment(&mut self, byte: u8) -> bool {
        match (byte, self.text.get(self.at + 1)) {
            (b'#', _) | (b'-', Some(b'-')) | (b'/', Some(b'*')) | (b'*', Some(b'/')) => self.comment(byte),
            _ => false,
        }
    }

    fn comment(&mut self, byte: u8) -> bool {
        let next = self.text.get(self.at + 1).copied();
        match (byte, next) {
            (b'#', _) => self.at = comment::line_end(self.text, self.at),
            (b'-', Some(b'-')) => match self.text.get(self.at + 2) {
                None | Some(0..=b' ' | 0x7F) => self.at = comment::line_end(self.text, self.at + 2),
                Some(0x80..) if self.dialect.charset == Charset::SingleByte => self.give_up(),
                _ => return false,
            },
            (b'/', Some(b'*')) => match comment::open(self.text, self.at, self.dialect.version) {
                Opening::Comment { end } => self.at = end,
                Opening::Code { start } => {
                    self.at = start;
                    self.depth += 1;
                }
                Opening::Malformed => self.give_up(),
            },
            (b'*', Some(b'/')) if self.depth > 0 => {
                self.at += 2;
                self.depth -= 1;
            }
            _ => return false,
        }
        true
    }

    fn give_up(&mut self) {
        self.odd = true;
        self.depth = 0;
        self.at = self.text.len();
    }

    #[inline]
    fn token(&mut self, byte: u8) -> TokenKind {
        match CLASSES[byte as usize] {
            Class::Letter => self.letter(byte),
            Class::Digit if self.name_dot => self.word(),
            Class::Digit => self.number(),
            Class::Quote => self.string(b'\''),
            Class::Punctuation(kind) => {
                self.at += 1;
                kind
            }
            Class::Dot => self.dot(),
            Class::Backtick => self.quoted(b'`'),
            Class::DoubleQuote if self.dialect.ansi_quotes => self.quoted(b'"'),
            Class::DoubleQuote => self.string(b'"'),
            Class::At => self.variable(),
            Class::High => self.word(),
            Class::Operator | Class::Dash | Class::Slash | Class::Star => self.operator(),
            Class::Backslash => self.backslash(),
            Class::Hash | Class::Space | Class::Never => {
                self.give_up();
                TokenKind::End
            }
        }
    }

    fn letter(&mut self, byte: u8) -> TokenKind {
        if self.text.get(self.at + 1) == Some(&b'\'') && !self.name_dot {
            match byte {
                b'n' | b'N' => {
                    self.at += 1;
                    return self.string(b'\'');
                }
                b'x' | b'X' | b'b' | b'B' => return self.digits_in_quotes(),
                _ => {}
            }
        }
        self.word()
    }

    #[inline]
    fn word(&mut self) -> TokenKind {
        let start = self.at;
        let mut at = start;
        let mut high = 0u8;
        while let Some(&byte) = self.text.get(at) {
            if !WORD[byte as usize] {
                break;
            }
            high |= byte;
            at += 1;
        }
        self.at = at;
        if high >= 0x80 {
            self.high_word(start);
        } else if self.text[start] == b'$' {
            self.dollar_word(start);
        }
        TokenKind::Word
    }

    /// A word with bytes above 0x7F: letters in UTF-8 and in multi-byte characters; in a single-byte set
    /// they may be spaces.
    fn high_word(&mut self, start: usize) {
        let charset = self.dialect.charset;
        if charset == Charset::SingleByte {
            self.odd = true;
        } else if charset == Charset::AsciiSafe {
            self.odd |= std::str::from_utf8(&self.text[start..self.at]).is_err();
        } else {
            let mut at = start;
            while let Some(&byte) = self.text.get(at).filter(|byte| WORD[**byte as usize]) {
                let length = charset.char_len(&self.text[at..]);
                self.odd |= byte >= 0x80 && length == 1;
                at += length;
            }
            self.at = at;
        }
    }

    /// `$tag$` opens a string in MySQL 9, which only routine bodies use.
    fn dollar_word(&mut self, start: usize) {
        let more = &self.text[start + 1..self.at];
        if self.dialect.version.flavour == Flavour::MySql && more.contains(&b'$') {
            self.give_up();
        }
    }

    /// Integers, decimals, floats, `0x…`, `0b…`, and identifiers that begin with a digit.
    fn number(&mut self) -> TokenKind {
        if let Some(end) = self.prefixed_number() {
            self.at = end;
            return TokenKind::Number;
        }
        let mut at = self.digits(self.at);
        match self.text.get(at) {
            Some(b'.') => {
                at = self.digits(at + 1);
                self.at = self.exponent(at).unwrap_or(at);
            }
            Some(byte) if WORD[*byte as usize] => match self.exponent(at) {
                Some(end) => self.at = end,
                None => return self.word(),
            },
            _ => self.at = at,
        }
        TokenKind::Number
    }

    /// `0x1F` and `0b01`, unless more letters make a name of it.
    fn prefixed_number(&self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let is_digit: fn(&u8) -> bool = match rest {
            [b'0', b'x', ..] => u8::is_ascii_hexdigit,
            [b'0', b'b', ..] => |byte| matches!(byte, b'0' | b'1'),
            _ => return None,
        };
        let digits = rest[2..].iter().take_while(|byte| is_digit(byte)).count();
        let named = rest.get(2 + digits).is_some_and(|byte| WORD[*byte as usize]);
        (digits > 0 && !named).then_some(self.at + 2 + digits)
    }

    fn digits(&self, mut at: usize) -> usize {
        while self.text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    }

    /// The end of an exponent at `at`, if there is a whole one.
    fn exponent(&self, at: usize) -> Option<usize> {
        let digits = match &self.text[at..] {
            [b'e' | b'E', b'+' | b'-', digit, ..] if digit.is_ascii_digit() => at + 2,
            [b'e' | b'E', digit, ..] if digit.is_ascii_digit() => at + 1,
            _ => return None,
        };
        Some(self.digits(digits))
    }

    fn dot(&mut self) -> TokenKind {
        let digit = self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit);
        let glued = self.before == TokenKind::Word && !self.gap_before();
        if digit && !glued {
            let at = self.digits(self.at + 1);
            self.at = self.exponent(at).unwrap_or(at);
            return TokenKind::Number;
        }
        if self.text[self.at..].starts_with(b"...") {
            self.at += 3;
            return TokenKind::Operator;
        }
        self.at += 1;
        TokenKind::Dot
    }

    fn gap_before(&self) -> bool {
        !self.at.checked_sub(1).and_then(|at| self.text.get(at)).is_some_and(|byte| WORD[*byte as usize])
    }

    /// A string; `at` is on its opening quote.
    #[inline]
    fn string(&mut self, quote: u8) -> TokenKind {
        self.at += 1;
        let found = if self.dialect.charset.hides_ascii() {
            self.end_of_multibyte(quote, !self.dialect.no_backslash_escapes)
        } else if self.dialect.no_backslash_escapes {
            self.end_of_plain(quote)
        } else {
            self.end_of_escaped(quote)
        };
        self.close(found, TokenKind::Text)
    }

    /// Moves behind the closing quote that was found, or gives up.
    #[inline]
    fn close(&mut self, end: Option<usize>, kind: TokenKind) -> TokenKind {
        match end {
            Some(end) => {
                self.at = end;
                kind
            }
            None => {
                self.give_up();
                TokenKind::End
            }
        }
    }

    #[inline]
    fn end_of_escaped(&self, quote: u8) -> Option<usize> {
        let mut at = self.at;
        loop {
            at += memchr::memchr2(quote, b'\\', self.text.get(at..)?)?;
            if self.text[at] == b'\\' || self.text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return Some(at + 1);
            }
        }
    }

    fn end_of_plain(&self, quote: u8) -> Option<usize> {
        let mut at = self.at;
        loop {
            at += memchr::memchr(quote, self.text.get(at..)?)?;
            if self.text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return Some(at + 1);
            }
        }
    }

    /// As the servers do: whole characters first, then the backslash, which takes one byte with it.
    fn end_of_multibyte(&self, quote: u8, escapes: bool) -> Option<usize> {
        let mut at = self.at;
        loop {
            let byte = *self.text.get(at)?;
            if byte >= 0x80 {
                at += self.dialect.charset.char_len(&self.text[at..]);
            } else if byte == b'\\' && escapes {
                at += 2;
            } else if byte != quote {
                at += 1;
            } else if self.text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return Some(at + 1);
            }
        }
    }

    /// An identifier in quotes; `at` is on its opening quote. No backslash escapes, no NUL.
    fn quoted(&mut self, quote: u8) -> TokenKind {
        let start = self.at;
        self.at += 1;
        let found = if self.dialect.charset.hides_ascii() {
            self.end_of_multibyte(quote, false)
        } else {
            self.end_of_plain(quote)
        };
        let found = found.filter(|end| !self.text[start..*end].contains(&0));
        self.close(found, TokenKind::Quoted)
    }

    /// `x'1F'` and `b'01'`.
    fn digits_in_quotes(&mut self) -> TokenKind {
        let start = self.at + 2;
        let digits = self.text[start..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let closed = self.text.get(start + digits) == Some(&b'\'');
        self.close(closed.then_some(start + digits + 1), TokenKind::Text)
    }

    /// `@x`, `@'x'`, `@"x"`, `` @`x` ``, `@` with nothing behind it, and the same after `@@`.
    fn variable(&mut self) -> TokenKind {
        self.at += 1;
        let system = self.text.get(self.at) == Some(&b'@');
        if system {
            self.at += 1;
        }
        let kind = if system { TokenKind::SystemVariable } else { TokenKind::UserVariable };
        let quote = self.text.get(self.at).copied();
        let closed = match quote {
            Some(b'`') => self.quoted(b'`') == TokenKind::Quoted,
            Some(b'\'') if !system => self.string(b'\'') == TokenKind::Text,
            Some(b'"') if !system && self.dialect.ansi_quotes => self.quoted(b'"') == TokenKind::Quoted,
            Some(b'"') if !system => self.string(b'"') == TokenKind::Text,
            _ => {
                self.variable_name(system);
                true
            }
        };
        if closed { kind } else { TokenKind::End }
    }

    fn variable_name(&mut self, system: bool) {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|byte| WORD[*byte as usize] || (!system && *byte == b'.')) {
            self.odd |= self.text[self.at] >= 0x80;
            self.at += 1;
        }
        if system && self.at == start {
            self.give_up();
        }
    }

    /// `\N` is NULL in older servers; a backslash begins nothing else.
    fn backslash(&mut self) -> TokenKind {
        if self.text.get(self.at + 1) == Some(&b'N') {
            self.at += 2;
            TokenKind::Number
        } else {
            self.give_up();
            TokenKind::End
        }
    }

    fn operator(&mut self) -> TokenKind {
        let length = match &self.text[self.at..] {
            [b':', b'=', ..] => {
                self.at += 2;
                return TokenKind::Assign;
            }
            [b'<', b'=', b'>', ..] | [b'-', b'>', b'>', ..] => 3,
            [b'<', b'=' | b'>' | b'<', ..] | [b'>', b'=' | b'>', ..] | [b'!', b'=', ..] => 2,
            [b'-', b'>', ..] | [b'|', b'|', ..] | [b'&', b'&', ..] => 2,
            _ => 1,
        };
        self.at += length;
        TokenKind::Operator
    }
}
