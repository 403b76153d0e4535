//! What a statement does to the part of a session that goes along from connection to connection: user variables,
//! roles, statements prepared as text.

use std::sync::Arc;

use super::classify::Verdict;
use super::functions::{self, Call};
use super::lex::{Lexer, Token, TokenKind};
use super::literal::{self, Literal};
use super::words::Lower;
use super::{Dialect, Kind, PinCause};
use crate::flavour::Flavour;

/// What stays of a statement, as far as the text tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Assigns(Assigned),
    /// MariaDB's SET STATEMENT: variables that have their old values again when it is over, whatever the server
    /// reports of them.
    Borrows(Vec<Arc<str>>),
    /// SET ROLE: which roles are active then, the server knows.
    Role,
    /// PREPARE name FROM …
    Prepare {
        name: Arc<str>,
        text: TextSource,
    },
    /// EXECUTE name
    Execute {
        name: Arc<str>,
        /// The variables that are its parameters; a procedure may write them.
        using: Assigned,
    },
    /// MariaDB's EXECUTE IMMEDIATE.
    ExecuteImmediate {
        text: TextSource,
    },
    /// DEALLOCATE PREPARE name, DROP PREPARE name
    Deallocate {
        name: Arc<str>,
    },
}

/// The user variables a statement writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assigned {
    /// Names in lower case and in order; the value where it is a literal.
    pub variables: Vec<(Arc<str>, Option<Literal>)>,
    /// It may write others, whose names it does not tell.
    pub others: bool,
    /// It sets something else too.
    pub mixed: bool,
}

/// Where the text of a statement to be prepared comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum TextSource {
    Literal(Arc<[u8]>),
    /// A user variable's value.
    Variable(Arc<str>),
    Unknown,
}

/// More tokens than this are not looked through.
const TOKENS_MAX: usize = 4_096;

/// Longer names no server takes.
const NAME_LEN_MAX: usize = 64;

/// What a statement of this kind and with these pins leaves in the session. `None` where the text does not tell,
/// or there is nothing.
pub(super) fn of(verdict: &Verdict, text: &[u8], dialect: &Dialect) -> Option<Effect> {
    let Verdict { kind, pins, needs, .. } = verdict;
    if dialect.version.flavour == Flavour::MariaDb && begins_set_statement(text, dialect) {
        return Some(Effect::Borrows(borrowed(&Tokens::read(text, dialect)?)));
    }
    let assigns = pins.contains(PinCause::UserVariable);
    let concerned = match kind {
        Kind::Prepare => true,
        Kind::Set => assigns || pins.contains(PinCause::Role),
        Kind::Select => assigns,
        Kind::Administer => assigns,
        Kind::Modify => needs.user_variable && !assigns,
        _ => false,
    };
    if !concerned {
        return None;
    }
    let tokens = Tokens::read(text, dialect)?;
    match kind {
        Kind::Prepare => prepared(&tokens),
        Kind::Set if assigns => Some(Effect::Assigns(set(&tokens)?)),
        Kind::Set => tokens.is_set_role().then_some(Effect::Role),
        // Parameters that a procedure writes, and fields of a file: no server says that these have changed.
        Kind::Modify => (tokens.is(0, b"call") || tokens.is(0, b"load"))
            .then(|| Effect::Assigns(all(&tokens)))
            .filter(|effect| *effect != Effect::Assigns(Assigned::default())),
        _ => Some(Effect::Assigns(written(&tokens))),
    }
}

impl Effect {
    /// Whether it says what becomes of a statement prepared as text.
    pub fn is_of_text(&self) -> bool {
        !matches!(self, Effect::Assigns(_) | Effect::Borrows(_) | Effect::Role)
    }
}

impl Assigned {
    /// Whether every value is known.
    pub fn is_literal(&self) -> bool {
        !self.others && self.variables.iter().all(|(_, value)| value.is_some())
    }
}

/// The tokens of one statement.
struct Tokens<'a> {
    text: &'a [u8],
    dialect: &'a Dialect,
    tokens: Vec<Token>,
}

impl<'a> Tokens<'a> {
    /// `None`: too many, or not to be read for certain.
    fn read(text: &'a [u8], dialect: &'a Dialect) -> Option<Self> {
        let mut lexer = Lexer::new(text, dialect);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next();
            match token.kind {
                TokenKind::End => break,
                TokenKind::Semicolon => continue,
                _ if tokens.len() == TOKENS_MAX => return None,
                _ => tokens.push(token),
            }
        }
        (!lexer.is_odd()).then_some(Self { text, dialect, tokens })
    }

    fn kind(&self, at: usize) -> TokenKind {
        self.tokens.get(at).map_or(TokenKind::End, |token| token.kind)
    }

    fn bytes(&self, at: usize) -> &'a [u8] {
        self.tokens.get(at).map_or(b"", |token| token.bytes(self.text))
    }

    fn word(&self, at: usize) -> Lower {
        match self.kind(at) {
            TokenKind::Word => Lower::of(self.bytes(at)),
            _ => Lower::EMPTY,
        }
    }

    fn is(&self, at: usize, word: &[u8]) -> bool {
        self.word(at).get() == word
    }

    fn is_equals(&self, at: usize) -> bool {
        self.kind(at) == TokenKind::Assign || self.bytes(at) == b"="
    }

    /// SET ROLE and nothing besides. MariaDB sets a role among other things.
    fn is_set_role(&self) -> bool {
        let alone = self.dialect.version.flavour == Flavour::MySql
            || !self.tokens.iter().any(|token| token.kind == TokenKind::Comma);
        self.is(0, b"set") && self.is(1, b"role") && alone
    }

    /// Whether a function is called that is none of the server's own: it may do anything.
    fn calls_unknown(&self) -> bool {
        (1..self.tokens.len()).filter(|at| self.kind(*at) == TokenKind::Open).any(|open| {
            let (name, prior) = (open - 1, open.checked_sub(2));
            match self.kind(name) {
                TokenKind::Quoted => true,
                TokenKind::Word if prior.is_some_and(|at| self.kind(at) == TokenKind::Dot) => true,
                TokenKind::Word if name > 0 => {
                    let gap = self.tokens[open].gap;
                    functions::call(self.word(name).get(), gap, self.dialect.version) == Call::Unknown
                }
                _ => false,
            }
        })
    }
}

fn begins_set_statement(text: &[u8], dialect: &Dialect) -> bool {
    let mut lexer = Lexer::new(text, dialect);
    let (set, statement) = (lexer.next(), lexer.next());
    set.bytes(text).eq_ignore_ascii_case(b"set") && statement.bytes(text).eq_ignore_ascii_case(b"statement")
}

/// The variables that SET STATEMENT sets.
fn borrowed(tokens: &Tokens<'_>) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    let mut at = 2;
    while at < tokens.tokens.len() {
        let end = end_of_item(tokens, at);
        let equals = (at..end).find(|at| tokens.is_equals(*at)).unwrap_or(end);
        let name = String::from_utf8_lossy(tokens.bytes(equals - 1)).to_lowercase();
        names.push(name.trim_matches(['`', '"', '@']).into());
        if (equals..end).any(|at| tokens.is(at, b"for")) {
            break;
        }
        at = end + 1;
    }
    names
}

/// The assignments of SET.
fn set(tokens: &Tokens<'_>) -> Option<Assigned> {
    if !tokens.is(0, b"set") || tokens.is(1, b"statement") {
        return None;
    }
    let mut assigned = Assigned { others: tokens.calls_unknown(), ..Assigned::default() };
    let mut at = 1;
    while at < tokens.tokens.len() {
        let end = end_of_item(tokens, at);
        if tokens.kind(at) == TokenKind::UserVariable && tokens.is_equals(at + 1) {
            let value = literal(tokens, at + 2, end);
            note(&mut assigned, tokens, at, value);
        } else {
            assigned.mixed = true;
        }
        // An assignment within a value.
        for inner in at + 2..end {
            if tokens.kind(inner) == TokenKind::UserVariable && tokens.kind(inner + 1) == TokenKind::Assign {
                note(&mut assigned, tokens, inner, None);
            }
        }
        at = end + 1;
    }
    Some(assigned)
}

/// Where the item that begins at `at` ends: at a comma outside of parentheses, or at the end.
fn end_of_item(tokens: &Tokens<'_>, at: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.tokens.iter().enumerate().skip(at) {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            TokenKind::Comma if depth == 0 => return at,
            _ => {}
        }
    }
    tokens.tokens.len()
}

fn note(assigned: &mut Assigned, tokens: &Tokens<'_>, at: usize, value: Option<Literal>) {
    match variable_name(tokens.bytes(at)) {
        Some(name) => assigned.variables.push((name, value)),
        None => assigned.others = true,
    }
}

/// The variables that a statement other than SET writes: `@x :=`, INTO @x, and all of GET DIAGNOSTICS.
fn written(tokens: &Tokens<'_>) -> Assigned {
    let mut assigned = Assigned { others: tokens.calls_unknown(), ..Assigned::default() };
    let mut listed = false;
    let gets = tokens.is(0, b"get");
    for at in 0..tokens.tokens.len() {
        match tokens.kind(at) {
            TokenKind::UserVariable => {
                if gets || listed || tokens.kind(at + 1) == TokenKind::Assign {
                    note(&mut assigned, tokens, at, None);
                }
            }
            TokenKind::Comma => {}
            _ => listed = tokens.is(at, b"into"),
        }
    }
    // It writes something, that is known.
    assigned.others |= assigned.variables.is_empty();
    assigned
}

/// Every user variable that is named.
fn all(tokens: &Tokens<'_>) -> Assigned {
    let mut assigned = Assigned::default();
    for at in 0..tokens.tokens.len() {
        if tokens.kind(at) == TokenKind::UserVariable {
            note(&mut assigned, tokens, at, None);
        }
    }
    assigned
}

/// The literal that the tokens from `at` to `end` are, if they are one and nothing else.
fn literal(tokens: &Tokens<'_>, mut at: usize, end: usize) -> Option<Literal> {
    let introducer = match tokens.word(at).get() {
        word @ [b'_', ..] if end > at + 1 => Some(literal::charset_name(word)?),
        _ => None,
    };
    at += usize::from(introducer.is_some());
    let left = end.checked_sub(at)?;
    let bytes = tokens.bytes(at);
    match tokens.kind(at) {
        TokenKind::Text => {
            let collation = match left {
                1 => None,
                3 if tokens.is(at + 1, b"collate") => Some(collation(tokens, at + 2)?),
                _ => return None,
            };
            literal::text(bytes, introducer, collation, tokens.dialect)
        }
        TokenKind::Number if left == 1 && introducer.is_none() => literal::plain("", bytes),
        TokenKind::Operator if left == 2 && tokens.kind(at + 1) == TokenKind::Number => match bytes {
            b"-" => literal::plain("-", tokens.bytes(at + 1)),
            b"+" => literal::plain("", tokens.bytes(at + 1)),
            _ => None,
        },
        TokenKind::Word if left == 1 && introducer.is_none() => match tokens.word(at).get() {
            b"null" => Some(Literal::Null),
            b"true" | b"false" => literal::plain("", bytes),
            _ => None,
        },
        _ => None,
    }
}

fn collation(tokens: &Tokens<'_>, at: usize) -> Option<Box<str>> {
    let name = tokens.bytes(at);
    let name = match tokens.kind(at) {
        TokenKind::Word => name,
        TokenKind::Quoted | TokenKind::Text => name.get(1..name.len().checked_sub(1)?)?,
        _ => return None,
    };
    literal::plain_name(name).map(Box::from)
}

fn prepared(tokens: &Tokens<'_>) -> Option<Effect> {
    match tokens.word(0).get() {
        b"prepare" if tokens.is(2, b"from") => {
            Some(Effect::Prepare { name: statement_name(tokens, 1)?, text: source(tokens, 3) })
        }
        b"execute" if tokens.dialect.version.flavour == Flavour::MariaDb && tokens.is(1, b"immediate") => {
            Some(Effect::ExecuteImmediate { text: source(tokens, 2) })
        }
        b"execute" => Some(Effect::Execute { name: statement_name(tokens, 1)?, using: all(tokens) }),
        b"deallocate" | b"drop" if tokens.is(1, b"prepare") && tokens.tokens.len() == 3 => {
            Some(Effect::Deallocate { name: statement_name(tokens, 2)? })
        }
        _ => None,
    }
}

/// Names that are compared alike by every server, in lower case.
fn statement_name(tokens: &Tokens<'_>, at: usize) -> Option<Arc<str>> {
    let bytes = tokens.bytes(at);
    match tokens.kind(at) {
        TokenKind::Word => plain_lower(bytes),
        TokenKind::Quoted => plain_lower(bytes.get(1..bytes.len().checked_sub(1)?)?),
        _ => None,
    }
}

/// The text to be prepared, which must be all that is left but for MariaDB's parameters.
fn source(tokens: &Tokens<'_>, at: usize) -> TextSource {
    let over = tokens.tokens.len() == at + 1 || tokens.is(at + 1, b"using");
    let found = match tokens.kind(at) {
        TokenKind::Text if over => match literal::text(tokens.bytes(at), None, None, tokens.dialect) {
            Some(Literal::Text { bytes, .. }) => Some(TextSource::Literal(Arc::from(bytes))),
            _ => None,
        },
        TokenKind::UserVariable if over => variable_name(tokens.bytes(at)).map(TextSource::Variable),
        _ => None,
    };
    found.unwrap_or(TextSource::Unknown)
}

/// The name of `@x` in lower case. Of names that servers might compare in another way, `None`.
fn variable_name(token: &[u8]) -> Option<Arc<str>> {
    match token.get(1..)? {
        [quote @ (b'`' | b'\'' | b'"'), inner @ .., last] if quote == last => plain_lower(inner),
        name => plain_lower(name),
    }
}

fn plain_lower(name: &[u8]) -> Option<Arc<str>> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$' | b'-');
    let fits = (1..=NAME_LEN_MAX).contains(&name.len()) && name.iter().all(plain);
    let name = std::str::from_utf8(name).ok().filter(|_| fits)?;
    Some(name.to_ascii_lowercase().into())
}
