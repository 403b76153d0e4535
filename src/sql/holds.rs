//! What a statement takes hold of on its connection and what it lets go, by name. Read only where a session is tied
//! to its connection, or is about to be: names and values are not in a digest, and no verdict depends on them.

use std::sync::Arc;

use super::functions::{self, Call};
use super::lex::{Lexer, Token, TokenKind};
use super::words::Lower;
use super::{Dialect, PinCause, PinSet, variables};

/// One step, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldChange {
    Takes(PinCause, Held),
    LetsGo(PinCause, Arc<str>),
    LetsGoOfAll(PinCause),
    /// Only the server can tell whether anything of the kind is held now.
    Ask(PinCause),
    /// What is held may have another name from now on.
    Renames(PinCause),
}

/// What is held: by a name that a later statement can let go of, or by one that nobody here can tell.
pub type Held = Option<Arc<str>>;

/// A text longer than this is not read for names.
const TEXT_MAX: usize = 64 * 1024;

/// The name under which a cause is held that has only one of its kind.
const ONLY: &str = "";

/// What the text does to the things that tie a session to its connection. `schema` is where unqualified names are
/// looked up, `pins` what the judges say that the text may leave behind: of each such cause something is in the
/// result, nameless if need be.
pub fn hold_changes(text: &[u8], dialect: &Dialect, schema: Option<&str>, pins: PinSet) -> Vec<HoldChange> {
    let mut reader = Reader { dialect, schema: schema.filter(|name| is_plain(name)), changes: Vec::new() };
    let whole = text.len() <= TEXT_MAX && reader.read(text);
    let mut changes = reader.changes;
    for cause in pins.intersection(PinSet::NAMED).iter() {
        if !whole || !changes.iter().any(|change| change.cause() == cause) {
            changes.push(HoldChange::Takes(cause, None));
        }
    }
    changes
}

impl HoldChange {
    pub fn cause(&self) -> PinCause {
        match self {
            HoldChange::Takes(cause, _)
            | HoldChange::LetsGo(cause, _)
            | HoldChange::LetsGoOfAll(cause)
            | HoldChange::Ask(cause)
            | HoldChange::Renames(cause) => *cause,
        }
    }
}

struct Reader<'a> {
    dialect: &'a Dialect,
    schema: Option<&'a str>,
    changes: Vec<HoldChange>,
}

impl<'a> Reader<'a> {
    /// False where there may be more than was read.
    fn read(&mut self, text: &'a [u8]) -> bool {
        let mut lexer = Lexer::new(text, self.dialect);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next();
            if matches!(token.kind, TokenKind::Semicolon | TokenKind::End) {
                let statement = Words { text, tokens: &tokens };
                if !statement.is_empty() && !self.statement(statement) {
                    return false;
                }
                tokens.clear();
                if token.kind == TokenKind::End {
                    break;
                }
            } else {
                tokens.push(token);
            }
        }
        if lexer.is_odd() {
            self.changes.clear();
        }
        !lexer.is_odd()
    }

    /// False where what follows cannot be told from the body of a stored program.
    fn statement(&mut self, words: Words<'_>) -> bool {
        if words.begins_stored_program() {
            return false;
        }
        match words.lower(0).get() {
            b"create" => self.create(words),
            b"drop" => self.drop(words),
            b"alter" | b"rename" if words.has(b"rename") => {
                self.push(HoldChange::Renames(PinCause::TemporaryTable));
            }
            b"use" => self.schema = None,
            b"handler" => self.handler(words),
            b"set" if words.is(1, b"statement") => {
                // MariaDB: what follows FOR is the statement.
                let inner = (2..words.tokens.len()).find(|at| words.is(*at, b"for"));
                let tokens = inner.map_or(&[][..], |at| &words.tokens[at + 1..]);
                return tokens.is_empty() || self.statement(Words { tokens, ..words });
            }
            b"set" => self.set(words),
            b"xa" => self.xa(words),
            b"lock" | b"unlock" | b"backup" => self.instance(words),
            _ => {}
        }
        self.locks(words);
        true
    }

    fn push(&mut self, change: HoldChange) {
        self.changes.push(change);
    }

    fn create(&mut self, words: Words<'_>) {
        let mut at = 1;
        at += usize::from(words.is(at, b"or")) * 2;
        if !words.is(at, b"temporary") {
            return;
        }
        at += 2;
        at += usize::from(words.is(at, b"if")) * 3;
        let name = words.name(at).and_then(|(name, _)| self.qualified(name));
        self.push(HoldChange::Takes(PinCause::TemporaryTable, name));
    }

    fn drop(&mut self, words: Words<'_>) {
        let mut at = 1;
        at += usize::from(words.is(at, b"temporary"));
        if ![&b"table"[..], b"tables", b"sequence"].contains(&words.lower(at).get()) {
            return;
        }
        at += 1;
        at += usize::from(words.is(at, b"if")) * 2;
        while let Some((name, next)) = words.name(at) {
            if let Some(name) = self.qualified(name) {
                self.push(HoldChange::LetsGo(PinCause::TemporaryTable, name));
            }
            if words.kind(next) != TokenKind::Comma {
                break;
            }
            at = next + 1;
        }
    }

    fn handler(&mut self, words: Words<'_>) {
        let Some((name, at)) = words.name(1) else { return };
        let alias = || {
            let at = at + 1 + usize::from(words.is(at + 1, b"as"));
            words.name(at).map_or(name.table.clone(), |(alias, _)| alias.table)
        };
        match words.lower(at).get() {
            b"open" => self.push(HoldChange::Takes(PinCause::Handler, Some(alias().into()))),
            b"close" => self.push(HoldChange::LetsGo(PinCause::Handler, name.table.into())),
            _ => {}
        }
    }

    fn xa(&mut self, words: Words<'_>) {
        match words.lower(1).get() {
            b"start" | b"begin" => self.push(HoldChange::Takes(PinCause::Xa, Some(ONLY.into()))),
            b"commit" | b"rollback" => self.push(HoldChange::LetsGoOfAll(PinCause::Xa)),
            // Since 8.0.29 a prepared transaction leaves its connection, unless that is switched off.
            b"prepare" if self.dialect.version.is_mysql_from(80_029) => {
                self.push(HoldChange::Ask(PinCause::Xa));
            }
            _ => {}
        }
    }

    /// LOCK INSTANCE, and MariaDB's BACKUP STAGE and BACKUP LOCK, which are two things.
    fn instance(&mut self, words: Words<'_>) {
        let (first, second) = (words.lower(0), words.lower(1));
        let held = |name: &str| HoldChange::Takes(PinCause::InstanceLock, Some(name.into()));
        let ended = |name: &str| HoldChange::LetsGo(PinCause::InstanceLock, name.into());
        let change = match (first.get(), second.get()) {
            (b"lock", b"instance") => held("instance"),
            (b"unlock", b"instance") => ended("instance"),
            (b"backup", b"stage") if words.is(2, b"end") => ended("stage"),
            (b"backup", b"stage") => held("stage"),
            (b"backup", b"lock") => held("lock"),
            (b"backup", b"unlock") => ended("lock"),
            _ => return,
        };
        self.push(change);
    }

    /// GET_LOCK and its kin, wherever they are called.
    fn locks(&mut self, words: Words<'_>) {
        for at in 0..words.tokens.len() {
            if words.kind(at + 1) != TokenKind::Open {
                continue;
            }
            // In quotes it is the same function.
            let Some(word) = words.name_part(at).map(|name| name.to_ascii_lowercase()) else { continue };
            let gap = words.kind(at) == TokenKind::Word && words.tokens[at + 1].gap;
            match functions::call(word.as_bytes(), gap, self.dialect.version) {
                // Those of the locking service are not let go of by RELEASE_ALL_LOCKS.
                Call::TakesLock if word != "get_lock" => {
                    self.push(HoldChange::Takes(PinCause::Unknown, None));
                }
                Call::TakesLock => {
                    self.push(HoldChange::Takes(PinCause::UserLock, words.literal_argument(at + 2)));
                    // It may not have got it.
                    self.push(HoldChange::Ask(PinCause::UserLock));
                }
                Call::TouchesLock if word != "release_lock" => {}
                Call::TouchesLock => self.push(HoldChange::Ask(PinCause::UserLock)),
                Call::ReleasesAllLocks => {
                    // Called for certain where nothing else is said.
                    let alone = at == 1 && words.tokens.len() == 4;
                    let certain = alone && (words.is(0, b"select") || words.is(0, b"do"));
                    self.push(if certain {
                        HoldChange::LetsGoOfAll(PinCause::UserLock)
                    } else {
                        HoldChange::Ask(PinCause::UserLock)
                    });
                }
                _ => {}
            }
        }
    }

    fn qualified(&self, name: Name) -> Held {
        let schema = name.schema.or_else(|| self.schema.map(str::to_owned))?;
        Some(format!("{schema}.{}", name.table).into())
    }

    fn set(&mut self, words: Words<'_>) {
        let mut set = Assignments { words, at: 1, global: false, steps: Vec::new() };
        if !set.read(self.dialect) {
            set.steps.push(HoldChange::Takes(PinCause::SessionVariable, None));
        }
        self.changes.append(&mut set.steps);
    }
}

/// SET's list, behind its first word.
struct Assignments<'a> {
    words: Words<'a>,
    at: usize,
    /// GLOBAL holds for all later names without a scope of their own.
    global: bool,
    steps: Vec<HoldChange>,
}

impl Assignments<'_> {
    /// False where the text is none that is known.
    fn read(&mut self, dialect: &Dialect) -> bool {
        while self.at < self.words.tokens.len() {
            let assigned = matches!(
                self.words.kind(self.at + 1),
                TokenKind::Operator | TokenKind::Assign | TokenKind::Dot
            );
            let word = self.words.lower(self.at);
            match (self.words.kind(self.at), word.get()) {
                (TokenKind::UserVariable, _) => {}
                (TokenKind::Word, b"global" | b"persist" | b"persist_only") if !assigned => {
                    self.global = true;
                    self.at += 1;
                    continue;
                }
                (TokenKind::Word, b"session" | b"local") if !assigned => {
                    self.global = false;
                    self.at += 1;
                    continue;
                }
                (TokenKind::Word, b"resource") if !assigned => {
                    self.resource_group();
                    return true;
                }
                // Nothing of these is told by name, or another cause.
                (TokenKind::Word, b"names" | b"character" | b"charset" | b"char") if !assigned => {}
                (TokenKind::Word, b"password" | b"default" | b"role" | b"transaction") if !assigned => {
                    // Of what stands behind it, nothing is read.
                    return self.steps.is_empty();
                }
                (TokenKind::Word | TokenKind::SystemVariable | TokenKind::Quoted, _) => {
                    if !self.variable(dialect) {
                        return false;
                    }
                }
                _ => return false,
            }
            self.pass_value();
        }
        true
    }

    fn pass_value(&mut self) {
        let mut depth = 0_u32;
        while self.at < self.words.tokens.len() {
            match self.words.kind(self.at) {
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth = depth.saturating_sub(1),
                TokenKind::Comma if depth == 0 => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// `[@@][scope.]name = value`; stands on the `=` afterwards.
    fn variable(&mut self, dialect: &Dialect) -> bool {
        let mut global = self.global;
        let mut name = self.words.variable_name(self.at);
        let scopes = ["global", "persist", "persist_only", "session", "local"];
        if self.words.kind(self.at) == TokenKind::SystemVariable
            && self.words.kind(self.at + 1) == TokenKind::Dot
            && scopes.contains(&name.as_str())
        {
            global = !matches!(name.as_str(), "session" | "local");
            self.at += 2;
            name = self.words.variable_name(self.at);
        }
        self.at += 1;
        let is_assigned = self.words.kind(self.at) == TokenKind::Assign || self.words.bytes(self.at) == b"=";
        if !is_assigned {
            return false;
        }
        if global || variables::is_replayable_variable(&name, dialect.version.flavour) {
            return true;
        }
        let single = matches!(self.words.kind(self.at + 2), TokenKind::Comma | TokenKind::End);
        let value = if single { self.words.value(self.at + 1) } else { String::new() };
        self.steps.push(if variables::is_at_rest(&name, &value) {
            HoldChange::LetsGo(PinCause::SessionVariable, name.into())
        } else {
            HoldChange::Takes(PinCause::SessionVariable, Some(name.into()))
        });
        true
    }

    /// `RESOURCE GROUP name [FOR threads]`.
    fn resource_group(&mut self) {
        const GROUP: &str = "resource group";
        let default = self.words.name(self.at + 2);
        let back = default.is_some_and(|(name, next)| {
            name.schema.is_none()
                && name.table.eq_ignore_ascii_case("usr_default")
                && next == self.words.tokens.len()
        });
        self.steps.push(if back {
            HoldChange::LetsGo(PinCause::SessionVariable, GROUP.into())
        } else {
            HoldChange::Takes(PinCause::SessionVariable, Some(GROUP.into()))
        });
    }
}

/// A table's name; of plain ASCII only, since other bytes mean what the character set says at the moment.
struct Name {
    schema: Option<String>,
    table: String,
}

/// One statement's tokens.
#[derive(Clone, Copy)]
struct Words<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

impl Words<'_> {
    fn is_empty(self) -> bool {
        self.tokens.is_empty()
    }

    fn kind(self, at: usize) -> TokenKind {
        self.tokens.get(at).map_or(TokenKind::End, |token| token.kind)
    }

    fn bytes(&self, at: usize) -> &[u8] {
        self.tokens.get(at).map_or(b"", |token| token.bytes(self.text))
    }

    /// A word in lower case; empty if it is none.
    fn lower(self, at: usize) -> Lower {
        if self.kind(at) == TokenKind::Word { Lower::of(self.bytes(at)) } else { Lower::EMPTY }
    }

    fn is(self, at: usize, word: &[u8]) -> bool {
        self.lower(at).get() == word
    }

    fn has(self, word: &[u8]) -> bool {
        (0..self.tokens.len()).any(|at| self.is(at, word))
    }

    fn begins_stored_program(self) -> bool {
        let programs: [&[u8]; 7] =
            [b"procedure", b"function", b"trigger", b"event", b"package", b"library", b"view"];
        let others: [&[u8]; 4] = [b"temporary", b"table", b"database", b"schema"];
        let defines = self.is(0, b"create") || self.is(0, b"alter");
        let is_object = |at: &usize| {
            let word = self.lower(*at);
            programs.contains(&word.get()) || others.contains(&word.get())
        };
        let object = (1..self.tokens.len()).find(is_object);
        (defines && object.is_some_and(|at| programs.contains(&self.lower(at).get())))
            || (self.is(0, b"begin") && self.is(1, b"not"))
    }

    /// `[schema.]name`, and where it ends. An unquoted name after a dot may look like anything.
    fn name(self, at: usize) -> Option<(Name, usize)> {
        let first = self.name_part(at)?;
        if self.kind(at + 1) != TokenKind::Dot {
            return Some((Name { schema: None, table: first }, at + 1));
        }
        let table = self.name_part(at + 2)?;
        Some((Name { schema: Some(first), table }, at + 3))
    }

    fn name_part(self, at: usize) -> Option<String> {
        let bytes = self.bytes(at);
        let inner = match self.kind(at) {
            TokenKind::Word => bytes,
            TokenKind::Quoted => bytes.get(1..bytes.len().checked_sub(1)?)?,
            _ => return None,
        };
        let name = std::str::from_utf8(inner).ok()?;
        is_plain(name).then(|| name.to_owned())
    }

    fn variable_name(self, at: usize) -> String {
        let name = String::from_utf8_lossy(self.bytes(at)).to_lowercase();
        name.trim_start_matches("@@").replace(['`', '"'], "")
    }

    /// A value of one token, in lower case and without quotes.
    fn value(self, at: usize) -> String {
        String::from_utf8_lossy(self.bytes(at)).to_lowercase().trim_matches(['\'', '"']).to_owned()
    }

    /// A string as a whole argument, if it can be said again under any mode and character set.
    fn literal_argument(self, at: usize) -> Held {
        let whole = self.kind(at) == TokenKind::Text
            && matches!(self.kind(at + 1), TokenKind::Comma | TokenKind::Close);
        let text = std::str::from_utf8(self.bytes(at)).ok().filter(|_| whole)?;
        let quoted = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let name = quoted('\'').or_else(|| quoted('"'))?;
        (is_sayable(name) && !name.is_empty()).then(|| name.into())
    }
}

/// Whether a table's name is the same in every character set, and is not two.
fn is_plain(name: &str) -> bool {
    is_sayable(name) && !name.contains('.')
}

/// Whether a text means the same in quotes of any kind under every mode and character set.
fn is_sayable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'\'' | b'"' | b'`'))
}
