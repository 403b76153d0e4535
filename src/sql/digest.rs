//! The digest: a statement's tokens with literals replaced, lists collapsed, comments dropped, and space and
//! the case of words folded, so that all executions of one statement share one text.

use super::lex::{Lexer, Token, TokenKind};
use super::words;
use super::{Charset, Dialect};

/// A digest longer than this is not read to its end.
pub(super) const DIGEST_READ_MAX: usize = 16 * 1024;

/// Digests up to this length need no allocation.
const INLINE: usize = 768;

pub(super) struct Digest {
    inline: [u8; INLINE],
    /// Once the inline part is too short: all of it, with room to spare behind `len`.
    spill: Vec<u8>,
    len: usize,
    /// The lexer met something that it cannot read for certain.
    pub(super) odd: bool,
    /// All of the statement is in the digest.
    pub(super) complete: bool,
}

impl Digest {
    pub(super) fn empty() -> Self {
        Digest { inline: [0; INLINE], spill: Vec::new(), len: 0, odd: false, complete: true }
    }

    /// Fills an empty digest: in place, since moving it would cost as much as reading a short statement.
    pub(super) fn read(&mut self, text: &[u8], dialect: &Dialect) {
        let mut lexer = Lexer::new(text, dialect);
        let mut writer = Writer::new(text, dialect.charset, self);
        loop {
            let token = lexer.next();
            if token.kind == TokenKind::End {
                break;
            }
            writer.token(&token);
            if writer.out.len > DIGEST_READ_MAX {
                writer.out.complete = false;
                break;
            }
        }
        self.odd = lexer.is_odd();
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        if self.spill.is_empty() { &self.inline[..self.len] } else { &self.spill[..self.len] }
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.grow(bytes.len()).copy_from_slice(bytes);
    }

    #[inline]
    fn push_byte(&mut self, byte: u8) {
        self.grow(1)[0] = byte;
    }

    /// Room for `count` bytes more, at the end.
    #[inline]
    fn grow(&mut self, count: usize) -> &mut [u8] {
        let start = self.len;
        let end = start + count;
        let room = if self.spill.is_empty() { INLINE } else { self.spill.len() };
        if end > room {
            self.make_room(end);
        }
        self.len = end;
        if self.spill.is_empty() { &mut self.inline[start..end] } else { &mut self.spill[start..end] }
    }

    #[cold]
    fn make_room(&mut self, end: usize) {
        if self.spill.is_empty() {
            self.spill.extend_from_slice(&self.inline[..self.len]);
        }
        self.spill.resize(end.next_power_of_two().max(4 * INLINE), 0);
    }

    fn truncate(&mut self, len: usize) {
        self.len = len;
    }
}

const LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).to_ascii_lowercase();
        byte += 1;
    }
    table
};

/// Puts tokens into a digest.
struct Writer<'a> {
    text: &'a [u8],
    charset: Charset,
    out: &'a mut Digest,
    before: TokenKind,
    /// Where the last word began.
    word_at: usize,
    depth: u32,
    /// Behind the last `(`, while nothing but literals has followed it.
    literals_from: Option<usize>,
    /// The list may be collapsed: it follows IN, VALUES or another row.
    collapsible: bool,
    rows: Option<Rows>,
}

/// Rows of VALUES: each that reads like the one before is dropped.
struct Rows {
    depth: u32,
    start: usize,
    /// Where the last kept row begins and ends.
    kept: Option<(usize, usize)>,
}

impl<'a> Writer<'a> {
    fn new(text: &'a [u8], charset: Charset, out: &'a mut Digest) -> Self {
        Self {
            text,
            charset,
            out,
            before: TokenKind::Open,
            word_at: 0,
            depth: 0,
            literals_from: None,
            collapsible: false,
            rows: None,
        }
    }

    #[inline]
    fn token(&mut self, token: &Token) {
        match token.kind {
            TokenKind::Word => self.word(token),
            TokenKind::Number | TokenKind::Text | TokenKind::Placeholder => self.literal(),
            TokenKind::Open => self.open(token),
            TokenKind::Close => self.close(),
            TokenKind::Comma => self.out.push_byte(b','),
            TokenKind::Dot => {
                // A word is a keyword still if a space stands between it and the dot: `UPDATE .t SET …`.
                if token.gap && self.before == TokenKind::Word {
                    self.space();
                }
                self.mark(b'.');
            }
            TokenKind::Semicolon => self.mark(b';'),
            TokenKind::Operator => self.operator(token),
            TokenKind::Quoted => self.quoted(token),
            TokenKind::UserVariable | TokenKind::SystemVariable => self.variable(token),
            TokenKind::Assign => self.spaced(b":="),
            TokenKind::End => {}
        }
        self.before = token.kind;
    }

    #[inline]
    fn space(&mut self) {
        if !matches!(self.before, TokenKind::Open | TokenKind::Dot) {
            self.out.push_byte(b' ');
        }
    }

    fn mark(&mut self, byte: u8) {
        self.literals_from = None;
        self.out.push_byte(byte);
    }

    fn spaced(&mut self, bytes: &[u8]) {
        self.literals_from = None;
        self.space();
        self.out.push(bytes);
    }

    #[inline]
    fn word(&mut self, token: &Token) {
        self.space();
        let word = token.bytes(self.text);
        self.word_at = self.out.len;
        // Words are short: a plain loop is faster than what vectors would save.
        for (to, from) in self.out.grow(word.len()).iter_mut().zip(word) {
            *to = LOWER[usize::from(*from)];
        }
        if self.rows.as_ref().is_some_and(|rows| rows.depth == self.depth)
            && self.out.bytes()[self.word_at..] != *b"row"
        {
            self.rows = None;
        }
        if self.literals_from.is_some() {
            let word = &self.out.bytes()[self.word_at..];
            if !matches!(word, b"null" | b"true" | b"false" | b"default") {
                self.literals_from = None;
            }
        }
    }

    #[inline]
    fn literal(&mut self) {
        self.space();
        self.out.push_byte(b'?');
    }

    fn operator(&mut self, token: &Token) {
        let operator = token.bytes(self.text);
        if !matches!(operator, b"-" | b"+") {
            self.literals_from = None;
        }
        self.space();
        match operator {
            [byte] => self.out.push_byte(*byte),
            _ => self.out.push(operator),
        }
    }

    /// Identifiers keep their case; their quotes become backticks, whichever they were.
    fn quoted(&mut self, token: &Token) {
        self.literals_from = None;
        self.space();
        self.backticked(token.bytes(self.text));
    }

    fn backticked(&mut self, quoted: &[u8]) {
        let quote = quoted[0];
        if quote == b'`' {
            return self.out.push(quoted);
        }
        self.out.push(b"`");
        let inner = &quoted[1..quoted.len() - 1];
        let mut at = 0;
        while let Some(&byte) = inner.get(at) {
            let length = self.charset.char_len(&inner[at..]);
            self.out.push(if byte == b'`' { b"``" } else { &inner[at..at + length] });
            at += if byte == quote { 2 } else { length };
        }
        self.out.push(b"`");
    }

    /// Names of variables are compared without case, quoted or not.
    fn variable(&mut self, token: &Token) {
        self.literals_from = None;
        let glued =
            matches!(self.before, TokenKind::Word | TokenKind::Quoted | TokenKind::Text) && !token.gap;
        if !glued {
            self.space();
        }
        let name = token.bytes(self.text);
        for (to, from) in self.out.grow(name.len()).iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
    }

    fn open(&mut self, token: &Token) {
        let keyword = self.before == TokenKind::Word && {
            let word = &self.out.bytes()[self.word_at..];
            self.collapsible = matches!(word, b"in" | b"values" | b"value" | b"row");
            if matches!(word, b"values" | b"value" | b"row") && self.rows.is_none() {
                self.rows = Some(Rows { depth: self.depth, start: self.out.len, kept: None });
            }
            words::is_spaced_before_paren(word) || (token.gap && words::is_space_kept(word))
        };
        let spaced = match self.before {
            TokenKind::Word => keyword,
            TokenKind::Open | TokenKind::Quoted | TokenKind::Dot => false,
            _ => true,
        };
        if self.before != TokenKind::Word {
            self.collapsible = false;
        }
        if spaced {
            self.out.push_byte(b' ');
        }
        if let Some(rows) = &mut self.rows
            && rows.depth == self.depth
        {
            let with_row =
                self.before == TokenKind::Word && self.out.bytes()[self.word_at..].starts_with(b"row");
            rows.start = if with_row { self.word_at } else { self.out.len };
            self.collapsible = true;
        }
        self.out.push_byte(b'(');
        self.depth += 1;
        self.literals_from = Some(self.out.len);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if let Some(start) = self.literals_from.take()
            && self.collapsible
            && self.out.len > start
        {
            self.out.truncate(start);
            self.out.push(b"...");
        }
        self.out.push_byte(b')');
        match &self.rows {
            Some(rows) if rows.depth == self.depth => self.end_row(),
            Some(rows) if rows.depth > self.depth => self.rows = None,
            _ => {}
        }
    }

    /// Drops the row that just ended if it reads like the one before.
    fn end_row(&mut self) {
        let Some(rows) = &mut self.rows else { return };
        let row = (rows.start, self.out.len);
        let text = |from: usize, to: usize| self.out.bytes().get(from..to);
        match rows.kept {
            Some((start, end))
                if text(end, row.0) == Some(b", ") && text(start, end) == text(row.0, row.1) =>
            {
                self.out.truncate(end);
            }
            _ => rows.kept = Some(row),
        }
    }
}
