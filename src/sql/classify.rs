//! The first judge: what the lexer's tokens prove about a text.

use std::sync::Arc;

use super::effect::Effect;
use super::lex::{Lexer, Token, TokenKind};
use super::scan::{Item, Scan};
use super::show;
use super::words::Lower;
use super::{Access, Catalog, Dialect, Kind, Needs, PinCause, PinSet, WriteBecause};

/// What the first judge holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) kind: Kind,
    pub(super) access: Access,
    pub(super) pins: PinSet,
    pub(super) unpins: PinSet,
    pub(super) needs: Needs,
    pub(super) effect: Option<Box<Effect>>,
}

/// Judges all statements of a text. Costs a pass over its tokens and memory for its nesting only.
pub(super) fn classify(text: &[u8], dialect: &Dialect, schema: Option<&str>, catalog: &Catalog) -> Verdict {
    let mut lexer = Lexer::new(text, dialect);
    let new_scan = || Scan::new(dialect.version, schema, catalog);
    let mut scan = new_scan();
    let mut packet = Packet::default();
    let mut before = TokenKind::End;
    let mut token = lexer.next();
    while token.kind != TokenKind::End {
        let next = lexer.next();
        if token.kind == TokenKind::Semicolon && !scan.is_in_body() {
            packet.add(std::mem::replace(&mut scan, new_scan()));
        } else {
            scan.token(item(text, &token, before, &next));
        }
        before = token.kind;
        token = next;
    }
    packet.add(scan);
    packet.finish(lexer.is_odd())
}

fn item<'a>(text: &'a [u8], token: &Token, before: TokenKind, next: &Token) -> Item<'a> {
    let bytes = token.bytes(text);
    let is_word = token.kind == TokenKind::Word;
    Item {
        kind: token.kind,
        bytes,
        word: if is_word { Lower::of(bytes) } else { Lower::EMPTY },
        gap: token.gap,
        keyword: is_word && before != TokenKind::Dot && (next.kind != TokenKind::Dot || next.gap),
        next: next.kind,
    }
}

/// The statements of one packet.
#[derive(Default)]
struct Packet {
    only: Option<Verdict>,
    /// A second statement was found, or an empty one before the first.
    several: bool,
    pins: PinSet,
    unpins: PinSet,
    needs: Needs,
    /// One begins with SET STATEMENT.
    borrows: bool,
    /// One of them sets a variable of the proxy's.
    proxys: bool,
}

impl Packet {
    fn add(&mut self, scan: Scan<'_>) {
        if scan.is_empty() {
            return;
        }
        self.borrows |= scan.borrows;
        let verdict = judge(scan);
        self.pins = self.pins.union(verdict.pins);
        self.unpins = self.unpins.union(verdict.unpins);
        self.needs = self.needs.union(verdict.needs);
        self.several |= self.only.is_some();
        self.proxys |= verdict.access == Access::Write(WriteBecause::ProxyVariable);
        self.only.get_or_insert(verdict);
    }

    fn finish(mut self, odd: bool) -> Verdict {
        let empty = Verdict {
            kind: Kind::Empty,
            access: Access::Write(WriteBecause::Unknown),
            pins: PinSet::EMPTY,
            unpins: PinSet::EMPTY,
            needs: Needs::default(),
            effect: None,
        };
        let mut verdict = self.only.unwrap_or(empty);
        if self.several {
            if self.borrows {
                // What the server reports of the variables it set is not what they are in the end.
                self.pins.insert(PinCause::Unknown);
            }
            // A statement in the middle may fail, and then those behind it are not run: what one pins
            // stays pinned even if a later one would end it.
            verdict = Verdict {
                kind: Kind::Several,
                access: Access::Write(match self.proxys {
                    true => WriteBecause::ProxyVariable,
                    false => WriteBecause::Several,
                }),
                pins: self.pins,
                unpins: self.unpins.without(self.pins),
                needs: self.needs,
                effect: None,
            };
        }
        if odd {
            verdict.access = Access::Write(WriteBecause::Malformed);
        }
        verdict
    }
}

/// How a statement's first words let it be judged.
enum Class {
    /// Read-only unless the scan found something.
    Reading,
    Writing(WriteBecause),
    Decided(Access),
}

fn judge(mut scan: Scan<'_>) -> Verdict {
    let (kind, class) = by_head(&mut scan);
    let access = match class {
        _ if scan.writes_proxys || scan.set().proxys => Access::Write(WriteBecause::ProxyVariable),
        Class::Reading => scan.objection.take().map_or(Access::Read, Access::Write),
        Class::Writing(because) => Access::Write(because),
        Class::Decided(access) => access,
    };
    let pins = scan.pins.union(scan.set().pins);
    let mut needs = if scan.is_stored() { Needs::default() } else { scan.needs };
    // It compares them, most likely: then both must be the server's.
    needs.connection_id &= !scan.names_thread;
    Verdict { kind, access, pins, unpins: scan.unpins.without(pins), needs, effect: None }
}

fn by_head(scan: &mut Scan<'_>) -> (Kind, Class) {
    let head = scan.head(0).to_vec();
    match head.as_slice() {
        b"with" if scan.writes_outside => (Kind::Modify, Class::Reading),
        b"select" | b"with" | b"table" | b"values" => (Kind::Select, Class::Reading),
        b"show" => (Kind::Show, Class::Decided(show::access(scan))),
        b"explain" | b"describe" | b"desc" => (Kind::Describe, explained(scan)),
        b"help" => (Kind::Describe, Class::Reading),
        b"checksum" => (Kind::Describe, Class::Reading),
        b"do" => (Kind::Modify, Class::Reading),
        b"insert" | b"update" | b"delete" | b"replace" | b"truncate" | b"import" | b"call" => {
            (Kind::Modify, keyword(&head))
        }
        b"load" if scan.head(1) == b"index" => (Kind::Administer, keyword(&head)),
        b"load" => (Kind::Modify, keyword(&head)),
        b"create" | b"alter" | b"drop" | b"rename" => defined(scan, &head),
        b"set" => set(scan),
        _ => by_head_of_session(scan, &head),
    }
}

/// Transactions, locks, and what else belongs to the session.
fn by_head_of_session(scan: &mut Scan<'_>, head: &[u8]) -> (Kind, Class) {
    let second = scan.head(1);
    match head {
        b"begin" if second == b"not" => (Kind::Modify, keyword(b"begin not atomic")),
        b"begin" => begin(scan),
        b"start" if second == b"transaction" => begin(scan),
        b"commit" => ended(scan, Kind::Commit),
        b"rollback" if scan.head_has(b"to") => (Kind::Savepoint, Class::Writing(WriteBecause::Transaction)),
        b"rollback" => ended(scan, Kind::Rollback),
        b"savepoint" | b"release" => (Kind::Savepoint, Class::Writing(WriteBecause::Transaction)),
        b"xa" => xa(scan),
        b"use" => (Kind::Use, Class::Writing(WriteBecause::Session)),
        b"prepare" => {
            scan.pins.insert(PinCause::PreparedText);
            (Kind::Prepare, Class::Writing(WriteBecause::Session))
        }
        b"execute" | b"deallocate" => {
            // EXECUTE IMMEDIATE needs none prepared before.
            scan.needs.prepared_text = second != b"immediate";
            (Kind::Prepare, Class::Writing(WriteBecause::Session))
        }
        b"lock" | b"unlock" => lock(scan, head),
        b"handler" => {
            if scan.head_has(b"open") {
                scan.pins.insert(PinCause::Handler);
            }
            (Kind::Handler, keyword(head))
        }
        b"kill" => (Kind::Kill { query_only: scan.head_has(b"query"), id: None }, keyword(head)),
        _ => administered(scan, head),
    }
}

fn administered(scan: &mut Scan<'_>, head: &[u8]) -> (Kind, Class) {
    let maintains_tables = scan.head(1) == b"table" || scan.head(2) == b"table";
    match head {
        b"analyze" if !maintains_tables && scan.head(1) != b"tables" && scan.head(2) != b"tables" => {
            (Kind::Describe, Class::Writing(WriteBecause::ExplainExecutes))
        }
        b"flush" => {
            if scan.flush_locks {
                scan.pins.insert(flush_lock(scan));
            }
            if (1..3).any(|at| scan.head(at) == b"status") {
                // Whoever sets the session's counters to zero wants to see what they come to.
                scan.pins.insert(PinCause::SessionVariable);
            }
            (Kind::Administer, keyword(head))
        }
        b"backup" => backup(scan),
        b"get" => {
            scan.needs.diagnostics = true;
            // Its targets are user variables.
            scan.pins.insert(PinCause::UserVariable);
            (Kind::Administer, Class::Writing(WriteBecause::OwnWriteValue("GET DIAGNOSTICS".into())))
        }
        b"analyze" | b"optimize" | b"repair" | b"check" | b"cache" | b"reset" | b"purge" | b"change"
        | b"start" | b"stop" | b"grant" | b"revoke" | b"install" | b"uninstall" | b"shutdown"
        | b"restart" | b"binlog" | b"clone" | b"signal" | b"resignal" => (Kind::Administer, keyword(head)),
        _ => (Kind::Unknown, Class::Writing(WriteBecause::Unknown)),
    }
}

/// FLUSH TABLES with names locks as LOCK TABLES does; without, it locks everything, and a transaction does not end it.
fn flush_lock(scan: &Scan<'_>) -> PinCause {
    let tables = (1..4).find(|at| matches!(scan.head(*at), b"table" | b"tables"));
    match tables {
        Some(at) if scan.head(at + 1) != b"with" => PinCause::TableLocks,
        _ => PinCause::GlobalReadLock,
    }
}

fn keyword(head: &[u8]) -> Class {
    Class::Writing(WriteBecause::Keyword(upper(head)))
}

fn upper(word: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(word).to_uppercase().into()
}

/// EXPLAIN of a query reads; the scan objects to what it explains if that writes.
fn explained(scan: &Scan<'_>) -> Class {
    let executes = (1..6).take_while(|at| !matches!(scan.head(*at), b"select" | b"with" | b"table"));
    if executes.into_iter().any(|at| scan.head(at) == b"analyze") {
        return Class::Writing(WriteBecause::ExplainExecutes);
    }
    Class::Reading
}

fn defined(scan: &mut Scan<'_>, head: &[u8]) -> (Kind, Class) {
    let object = scan.object.get().to_vec();
    if head == b"create" && scan.temporary {
        scan.pins.insert(PinCause::TemporaryTable);
    }
    let kind = match object.as_slice() {
        b"prepare" => {
            scan.needs.prepared_text = true;
            return (Kind::Prepare, Class::Writing(WriteBecause::Session));
        }
        b"user" | b"role" | b"server" | b"resource" | b"instance" | b"tablespace" | b"logfile" | b"undo" => {
            Kind::Administer
        }
        _ => Kind::Define,
    };
    let mut what = head.to_vec();
    if !object.is_empty() {
        what.push(b' ');
        what.extend_from_slice(&object);
    }
    (kind, keyword(&what))
}

fn set(scan: &mut Scan<'_>) -> (Kind, Class) {
    scan.needs.own_trackers = scan.set().trackers;
    let because = match scan.set().outside {
        Some(what) if !scan.set().session => WriteBecause::Keyword(what.into()),
        _ => WriteBecause::Session,
    };
    (Kind::Set, Class::Writing(because))
}

fn begin(scan: &mut Scan<'_>) -> (Kind, Class) {
    // A transaction lets go of LOCK TABLES; of FLUSH TABLES WITH READ LOCK it does not.
    scan.unpins.insert(PinCause::TableLocks);
    let read_only = scan.begins_read_only;
    let class = if read_only { Class::Reading } else { Class::Writing(WriteBecause::Transaction) };
    (Kind::Begin { read_only }, class)
}

fn ended(scan: &mut Scan<'_>, kind: Kind) -> (Kind, Class) {
    scan.unpins.insert(PinCause::NextTransaction);
    (kind, Class::Writing(WriteBecause::Transaction))
}

fn xa(scan: &mut Scan<'_>) -> (Kind, Class) {
    match scan.head(1) {
        b"start" | b"begin" => scan.pins.insert(PinCause::Xa),
        b"commit" | b"rollback" => scan.unpins.insert(PinCause::Xa),
        _ => {}
    }
    (Kind::Xa, Class::Writing(WriteBecause::Transaction))
}

fn lock(scan: &mut Scan<'_>, head: &[u8]) -> (Kind, Class) {
    let instance = scan.head(1) == b"instance";
    if head == b"lock" {
        scan.pins.insert(if instance { PinCause::InstanceLock } else { PinCause::TableLocks });
        return (Kind::Lock, keyword(head));
    }
    if instance {
        scan.unpins.insert(PinCause::InstanceLock);
    } else {
        scan.unpins.insert(PinCause::TableLocks);
        scan.unpins.insert(PinCause::GlobalReadLock);
    }
    (Kind::Unlock, keyword(head))
}

/// MariaDB's BACKUP STAGE and BACKUP LOCK.
fn backup(scan: &mut Scan<'_>) -> (Kind, Class) {
    match (scan.head(1), scan.head(2)) {
        (b"stage", b"end") | (b"unlock", _) => scan.unpins.insert(PinCause::InstanceLock),
        _ => scan.pins.insert(PinCause::InstanceLock),
    }
    (Kind::Lock, keyword(b"backup"))
}
