//! Walks over the tokens of one statement and collects what it does besides reading.

use std::sync::Arc;

use super::functions::{self, Call};
use super::lex::TokenKind;
use super::proxy_variables;
use super::set::SetScan;
use super::variables;
use super::words::{self, Lower};
use super::{Catalog, Needs, PinCause, PinSet, WriteBecause};
use crate::flavour::{Flavour, Version};

/// Deeper nesting than this no server parses; nor do we.
const DEPTH_MAX: usize = 4_000;

/// How many leading words decide what a statement is.
const HEAD_MAX: usize = 6;

/// A token with what its neighbours make of it.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) kind: TokenKind,
    pub(super) bytes: &'a [u8],
    /// In lower case; empty unless it is a word.
    pub(super) word: Lower,
    pub(super) gap: bool,
    /// A word that is not part of a dotted name.
    pub(super) keyword: bool,
    /// What follows.
    pub(super) next: TokenKind,
}

impl Item<'_> {
    const NONE: Item<'static> = Item {
        kind: TokenKind::End,
        bytes: b"",
        word: Lower::EMPTY,
        gap: false,
        keyword: false,
        next: TokenKind::End,
    };

    pub(super) fn is(&self, word: &[u8]) -> bool {
        self.keyword && self.word.get() == word
    }

    fn is_any(&self, words: &[&[u8]]) -> bool {
        self.keyword && words.contains(&self.word.get())
    }

    fn is_name(&self) -> bool {
        matches!(self.kind, TokenKind::Word | TokenKind::Quoted)
    }
}

/// What a parenthesis encloses, as far as it changes the reading of `name (`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Plain,
    /// COLUMNS ( … ) of JSON_TABLE.
    Columns,
    /// CONVERT ( … ).
    Convert,
}

#[derive(Clone, Copy)]
struct Frame {
    inside: Inside,
    /// Between WITH and the query that uses it: names before `(` are those of common table expressions.
    with_list: bool,
}

const BASE: Frame = Frame { inside: Inside::Plain, with_list: false };

pub(super) struct Scan<'a> {
    version: Version,
    schema: Option<&'a str>,
    catalog: &'a Catalog,
    frames: Vec<Frame>,
    /// The three tokens before, the latest first.
    before: [Item<'a>; 3],
    /// The first words, in lower case; the place of anything else is empty.
    head: Vec<Lower>,
    /// What CREATE, ALTER or DROP is about.
    pub(super) object: Lower,
    set: SetScan,
    /// In the body of a stored program or a view, which this statement does not run.
    stored: bool,
    /// In the list of variables behind INTO.
    into_variables: bool,
    /// A body in BEGIN … END: semicolons do not end the statement.
    compound: bool,
    /// A variable of the proxy's is written, by another statement than SET.
    pub(super) writes_proxys: bool,
    /// START TRANSACTION … READ ONLY.
    pub(super) begins_read_only: bool,
    /// FLUSH … WITH READ LOCK or FOR EXPORT.
    pub(super) flush_locks: bool,
    pub(super) temporary: bool,
    /// SET STATEMENT stood before it.
    pub(super) borrows: bool,
    /// The statement itself writes, though its first word is WITH.
    pub(super) writes_outside: bool,
    /// It yields a thread in the server's own numbers.
    pub(super) names_thread: bool,
    pub(super) objection: Option<WriteBecause>,
    pub(super) pins: PinSet,
    pub(super) unpins: PinSet,
    pub(super) needs: Needs,
}

impl<'a> Scan<'a> {
    pub(super) fn new(version: Version, schema: Option<&'a str>, catalog: &'a Catalog) -> Self {
        Self {
            version,
            schema,
            catalog,
            frames: vec![BASE],
            before: [Item::NONE; 3],
            head: Vec::new(),
            object: Lower::EMPTY,
            set: SetScan::default(),
            stored: false,
            into_variables: false,
            compound: false,
            writes_proxys: false,
            begins_read_only: false,
            flush_locks: false,
            temporary: false,
            borrows: false,
            writes_outside: false,
            names_thread: false,
            objection: None,
            pins: PinSet::EMPTY,
            unpins: PinSet::EMPTY,
            needs: Needs::default(),
        }
    }

    /// True until the first token but `(`.
    pub(super) fn is_empty(&self) -> bool {
        self.before[0].kind == TokenKind::End
    }

    /// The leading word of that number; empty if there is none or it is no word.
    pub(super) fn head(&self, index: usize) -> &[u8] {
        self.head.get(index).map_or(b"", Lower::get)
    }

    pub(super) fn head_has(&self, word: &[u8]) -> bool {
        self.head.iter().any(|lower| lower.get() == word)
    }

    /// In a definition, whose text is kept and not run.
    pub(super) fn is_stored(&self) -> bool {
        self.stored
    }

    pub(super) fn set(&self) -> &SetScan {
        &self.set
    }

    /// True if a semicolon here belongs to a stored program's body.
    pub(super) fn is_in_body(&self) -> bool {
        self.compound
    }

    pub(super) fn token(&mut self, item: Item<'a>) {
        if self.ends_set_statement(&item) {
            return self.restart();
        }
        if self.before[0].is(b"into") {
            self.after_into(&item);
        }
        self.into_variables &= matches!(item.kind, TokenKind::UserVariable | TokenKind::Comma);
        if item.keyword {
            self.keyword(&item);
        } else if item.kind == TokenKind::Word {
            self.dotted_word(&item);
        }
        match item.kind {
            TokenKind::Word | TokenKind::Quoted if item.next != TokenKind::Open => self.name(&item),
            TokenKind::Open => self.opened(&item),
            TokenKind::Close => self.closed(),
            TokenKind::UserVariable => self.user_variable(&item),
            TokenKind::SystemVariable if item.next != TokenKind::Dot => {
                self.system_variable(&item.bytes[2..])
            }
            TokenKind::Assign => self.assigned(),
            _ => {}
        }
        self.record_head(&item);
        if self.head(0) == b"set" && self.depth() == 0 && !self.is_empty() {
            self.set.token(&item, self.version.flavour);
        }
        self.before = [item, self.before[0], self.before[1]];
    }

    /// MariaDB's `SET STATEMENT x = y FOR …`: what follows is the statement.
    fn ends_set_statement(&self, item: &Item<'a>) -> bool {
        self.version.flavour == Flavour::MariaDb
            && item.is(b"for")
            && self.depth() == 0
            && self.head(0) == b"set"
            && self.head(1) == b"statement"
    }

    fn restart(&mut self) {
        self.borrows = true;
        self.head.clear();
        self.set = SetScan::default();
        self.before = [Item::NONE; 3];
    }

    fn depth(&self) -> usize {
        self.frames.len() - 1
    }

    fn object_to(&mut self, because: WriteBecause) {
        if !self.stored {
            self.objection.get_or_insert(because);
        }
    }

    fn pin(&mut self, cause: PinCause) {
        if !self.stored {
            self.pins.insert(cause);
        }
    }

    fn record_head(&mut self, item: &Item<'a>) {
        if self.head.len() < HEAD_MAX && !(self.head.is_empty() && item.kind == TokenKind::Open) {
            self.head.push(if item.keyword { item.word } else { Lower::EMPTY });
        }
    }

    fn keyword(&mut self, item: &Item<'a>) {
        let [before, before2, _] = self.before;
        match item.word.get() {
            b"update" if before.is(b"for") => self.object_to(WriteBecause::RowLocks),
            b"share" if before.is(b"for") || (before.is(b"in") && before2.is(b"lock")) => {
                self.object_to(WriteBecause::RowLocks);
            }
            b"update" if before.is(b"on") => {}
            b"update" | b"delete" | b"call" => self.writing_verb(item),
            b"insert" | b"replace" if item.next != TokenKind::Open => self.writing_verb(item),
            b"for" if before.is(b"value") && before2.is_any(&[b"next", b"previous"]) => {
                self.object_to(WriteBecause::Sequence);
            }
            b"connection" if before.is(b"for") => {
                self.object_to(WriteBecause::PrimaryOnly("EXPLAIN FOR CONNECTION".into()));
            }
            b"sql_calc_found_rows" => self.pin(PinCause::FoundRows),
            b"with" if self.begins_query() => self.frame().with_list = true,
            b"select" | b"values" | b"table" => self.frame().with_list = false,
            b"lock" if before.is(b"read") && before2.is(b"with") => self.flush_locks = true,
            b"only" if before.is(b"read") => self.begins_read_only = self.head(0) == b"start",
            b"export" if before.is(b"for") => self.flush_locks = true,
            b"temporary" if self.head.len() < 4 => self.temporary = true,
            b"begin" => self.compound |= self.stored,
            b"package" if self.head(0) == b"create" => self.compound = true,
            b"atomic" if before.is(b"not") && self.head(0) == b"begin" => self.compound = true,
            _ => {}
        }
        self.note_object(item);
    }

    fn after_into(&mut self, item: &Item<'a>) {
        if item.kind == TokenKind::UserVariable {
            self.into_variables = true;
            self.pin(PinCause::UserVariable);
            self.object_to(WriteBecause::UserVariable);
        } else if item.is_any(&[b"outfile", b"dumpfile"]) {
            self.object_to(WriteBecause::IntoFile);
        } else {
            self.object_to(WriteBecause::WritesInside("INTO".into()));
        }
    }

    /// A query may begin here, or its WITH.
    fn begins_query(&self) -> bool {
        let explained = matches!(self.head(0), b"explain" | b"describe" | b"desc" | b"analyze")
            && self.depth() == 0
            && !self.head_has(b"select");
        matches!(self.before[0].kind, TokenKind::End | TokenKind::Open) || explained
    }

    fn frame(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// UPDATE, DELETE and the like behind other words.
    fn writing_verb(&mut self, item: &Item<'a>) {
        if self.head.is_empty() {
            return;
        }
        self.frame().with_list = false;
        self.writes_outside |= self.depth() == 0;
        let verb = String::from_utf8_lossy(item.word.get()).to_uppercase();
        self.object_to(WriteBecause::WritesInside(verb.into()));
    }

    fn note_object(&mut self, item: &Item<'a>) {
        let creates = matches!(self.head(0), b"create" | b"alter" | b"drop" | b"rename");
        if !creates || !self.object.get().is_empty() || self.depth() > 0 {
            return;
        }
        let word = item.word.get();
        let stored: &[&[u8]] =
            &[b"procedure", b"function", b"trigger", b"event", b"view", b"package", b"library"];
        let others: &[&[u8]] = &[
            b"table",
            b"database",
            b"schema",
            b"user",
            b"role",
            b"index",
            b"server",
            b"tablespace",
            b"logfile",
            b"resource",
            b"sequence",
            b"instance",
            b"undo",
            b"reference",
            b"json",
            b"prepare",
        ];
        if stored.contains(&word) {
            self.stored = true;
            self.object = item.word;
        } else if others.contains(&word) {
            self.object = item.word;
        }
    }

    /// A word behind a dot: the last part of a system variable's name, or a sequence in Oracle mode.
    fn dotted_word(&mut self, item: &Item<'a>) {
        let [before, before2, _] = self.before;
        if before.kind != TokenKind::Dot {
            return;
        }
        let sequence = matches!(item.word.get(), b"nextval" | b"currval");
        if before2.kind == TokenKind::SystemVariable {
            self.system_variable(item.bytes);
        } else if sequence && self.version.flavour == Flavour::MariaDb && item.next != TokenKind::Open {
            self.object_to(WriteBecause::Sequence);
        }
    }

    /// A name that is not called: it may be that of a view.
    fn name(&mut self, item: &Item<'a>) {
        let [before, before2, _] = self.before;
        let dotted = before.kind == TokenKind::Dot;
        if item.kind == TokenKind::Quoted && dotted && before2.kind == TokenKind::SystemVariable {
            self.system_variable(item.bytes);
        }
        let word = item.word.get();
        self.needs.user_variable |= matches!(word, b"user_variables" | b"user_variables_by_thread");
        if !self.catalog.has_unproven_views() {
            return;
        }
        let schema = if dotted && before2.is_name() { Some(unquoted(before2.bytes)) } else { None };
        let schema = schema.as_deref().or(self.schema);
        let name = unquoted(item.bytes);
        if self.catalog.is_unproven_view(schema, &name) {
            self.object_to(WriteBecause::View(name.into()));
        }
    }

    fn opened(&mut self, item: &Item<'a>) {
        let name = self.before[0];
        // The first word calls nothing: `EXPLAIN (SELECT 1)`.
        if name.is_name() && self.head.len() > 1 && !self.is_list_or_type(&name) {
            self.called(&name, item);
        }
        if self.frames.len() > DEPTH_MAX {
            return self.object_to(WriteBecause::Malformed);
        }
        if name.kind == TokenKind::Close {
            // WITH … AS (…) (SELECT …): the list is over.
            self.frame().with_list = false;
        }
        let inside = match name.word.get() {
            b"columns" => Inside::Columns,
            b"convert" => Inside::Convert,
            _ => Inside::Plain,
        };
        self.frames.push(Frame { inside, ..BASE });
    }

    fn closed(&mut self) {
        if self.frames.len() > 1 {
            self.frames.pop();
        }
    }

    /// Whether `name (` gives the columns of a derived table or of a common table expression, or the length
    /// of a type. A call never follows AS, a `)`, a literal or another name.
    fn is_list_or_type(&mut self, name: &Item<'a>) -> bool {
        let prior = self.before[1];
        let frame = *self.frame();
        if prior.is(b"as") || prior.kind == TokenKind::Close || is_literal(prior.kind) {
            return true;
        }
        if frame.with_list && (prior.is_any(&[b"with", b"recursive"]) || prior.kind == TokenKind::Comma) {
            return true;
        }
        let typed = match frame.inside {
            Inside::Columns => prior.is_name(),
            Inside::Convert => prior.kind == TokenKind::Comma,
            Inside::Plain => prior.is(b"returning"),
        };
        typed && words::is_plain_type(name.word.get())
    }

    fn called(&mut self, name: &Item<'a>, paren: &Item<'a>) {
        if self.before[1].kind == TokenKind::Dot || name.kind == TokenKind::Quoted {
            // In quotes a builtin may be called as well.
            let plain = unquoted(name.bytes).to_lowercase();
            if functions::call(plain.as_bytes(), false, self.version) == Call::TakesLock {
                self.pin(PinCause::UserLock);
            }
            return self.called_stored(name);
        }
        let what = || Arc::from(String::from_utf8_lossy(name.bytes).to_uppercase());
        match functions::call(name.word.get(), paren.gap, self.version) {
            Call::Keyword => {}
            Call::Pure if self.is_shadowed(name, paren) => self.called_stored(name),
            Call::Pure => {}
            Call::Unknown => self.called_stored(name),
            Call::LastInsertId => {
                self.needs.last_insert_id = true;
                if paren.next != TokenKind::Close {
                    self.pin(PinCause::LastInsertId);
                }
                self.object_to(WriteBecause::OwnWriteValue(what()));
            }
            Call::RowCount => {
                self.needs.row_count = true;
                self.object_to(WriteBecause::OwnWriteValue(what()));
            }
            Call::FoundRows => {
                self.needs.found_rows = true;
                self.object_to(WriteBecause::OwnWriteValue(what()));
            }
            Call::ConnectionId => self.needs.connection_id = true,
            Call::TakesLock => {
                self.pin(PinCause::UserLock);
                self.object_to(WriteBecause::UserLock);
            }
            Call::ReleasesAllLocks => {
                self.unpins.insert(PinCause::UserLock);
                self.object_to(WriteBecause::UserLock);
            }
            Call::TouchesLock => self.object_to(WriteBecause::UserLock),
            Call::NamesThread => {
                self.names_thread = true;
                self.object_to(WriteBecause::UserLock);
            }
            Call::Sequence => self.object_to(WriteBecause::Sequence),
            Call::PrimaryOnly => self.object_to(WriteBecause::PrimaryOnly(what())),
            Call::OwnWriteValue => self.object_to(WriteBecause::OwnWriteValue(what())),
        }
    }

    /// A stored function of a builtin's name that may write: which of the two is called depends on spaces,
    /// and on arguments.
    fn is_shadowed(&self, name: &Item<'a>, paren: &Item<'a>) -> bool {
        let bare = paren.next == TokenKind::Close;
        (bare && functions::needs_arguments(name.word.get(), self.version.flavour))
            || self.catalog.function(self.schema, &String::from_utf8_lossy(name.word.get())) == Some(false)
    }

    /// A function that only the catalog can prove.
    fn called_stored(&mut self, name: &Item<'a>) {
        let [_, prior, before_prior] = self.before;
        let qualifier = (prior.kind == TokenKind::Dot).then(|| unquoted(before_prior.bytes));
        let function = unquoted(name.bytes);
        let schema = qualifier.as_deref().or(self.schema);
        let proven = self.catalog.function(schema, &function) == Some(true);
        // Whatever its author declared, it may read them. Other writes are taken to do so anyway.
        self.needs.user_variable |= proven || (self.head(0) == b"set" && self.head(1) != b"password");
        if !proven {
            let full = match qualifier {
                Some(schema) => format!("{schema}.{function}"),
                None => function,
            };
            self.object_to(WriteBecause::Function(full.into()));
        }
    }

    fn user_variable(&mut self, item: &Item<'a>) {
        let before = self.before[0];
        // `'user'@'host'`
        let host = !item.gap && (before.kind == TokenKind::Quoted || is_literal(before.kind));
        let account = self.head(0) == b"show" && (self.head_has(b"grants") || self.head_has(b"user"));
        let assigned = self.head(0) == b"set" && self.depth() == 0 && self.set.expects_name();
        if host || account || assigned {
            return;
        }
        let written = self.into_variables || item.next == TokenKind::Assign;
        match proxy_variables::is_proxys(item.bytes) {
            true if written => self.writes_proxys = !self.stored,
            true => self.needs.proxy_variable = true,
            false if self.into_variables => {}
            false => self.needs.user_variable = true,
        }
    }

    /// `:=` writes a user variable, unless it is the `=` of SET.
    fn assigned(&mut self) {
        if self.head(0) != b"set" || self.depth() > 0 {
            self.pin(PinCause::UserVariable);
            self.object_to(WriteBecause::UserVariable);
        }
    }

    /// Reads of variables that differ between servers and whose value clients act on.
    fn system_variable(&mut self, name: &[u8]) {
        let name = unquoted(name).to_lowercase();
        let what = || Arc::from(format!("@@{name}"));
        match name.as_str() {
            "last_insert_id" | "identity" | "insert_id" => {
                self.needs.last_insert_id = true;
                self.object_to(WriteBecause::OwnWriteValue(what()));
            }
            "warning_count" | "error_count" => {
                self.needs.diagnostics = true;
                self.object_to(WriteBecause::OwnWriteValue(what()));
            }
            "last_gtid" | "wsrep_last_written_gtid" => self.object_to(WriteBecause::OwnWriteValue(what())),
            "pseudo_thread_id" => self.needs.connection_id = true,
            _ if variables::is_primary_only(&name) => self.object_to(WriteBecause::PrimaryOnly(what())),
            _ => {}
        }
    }
}

fn is_literal(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Text | TokenKind::Number | TokenKind::Placeholder)
}

/// A name without its quotes.
fn unquoted(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    for quote in ['`', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.replace(&format!("{quote}{quote}"), &quote.to_string());
        }
    }
    text.into_owned()
}
