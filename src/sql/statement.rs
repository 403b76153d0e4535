//! The vocabulary: what the judges say of a statement.

use std::fmt;
use std::sync::Arc;

use super::effect::Effect;
use crate::consistency::Consistency;
use crate::flavour::Version;

/// How the server that will run the text reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialect {
    pub version: Version,
    /// `"x"` is an identifier.
    pub ansi_quotes: bool,
    /// `\` in a string is an ordinary character.
    pub no_backslash_escapes: bool,
    /// `character_set_client`, as far as the lexer must know it.
    pub charset: Charset,
}

impl Dialect {
    /// As a server of that version reads under the usual `sql_mode`, in an ASCII-safe character set.
    pub const fn plain(version: Version) -> Self {
        Self { version, ansi_quotes: false, no_backslash_escapes: false, charset: Charset::AsciiSafe }
    }
}

/// Character sets whose second bytes may look like a quote or a backslash, and all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Charset {
    /// Every byte below 0x80 is that ASCII character, and letters above it are UTF-8 or as harmless.
    #[default]
    AsciiSafe,
    /// latin1 and other single-byte sets: some of their high bytes are spaces, others letters.
    SingleByte,
    Gbk,
    Gb18030,
    Big5,
    /// `sjis` and `cp932`.
    ShiftJis,
}

/// What both judges hold of the statements in one packet. Independent of literals and comments, so
/// that it may be remembered by digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub kind: Kind,
    pub access: Access,
    /// Session state this statement may leave on its connection that cannot be replayed elsewhere.
    pub pins: PinSet,
    /// Causes that end with this statement.
    pub unpins: PinSet,
    /// What it reads that lives on the connection of the statements before it.
    pub needs: Needs,
    /// What it leaves in the session that goes along to other connections. Where it depends on literals, the
    /// statement is not remembered by digest.
    pub effect: Option<Box<Effect>>,
    /// The text with literals replaced by `?` and comments and needless space dropped.
    pub digest: Arc<str>,
}

impl Statement {
    /// One that leaves nothing and needs nothing.
    pub fn bare(kind: Kind, access: Access, digest: &str) -> Self {
        Self {
            kind,
            access,
            pins: PinSet::EMPTY,
            unpins: PinSet::EMPTY,
            needs: Needs::default(),
            effect: None,
            digest: digest.into(),
        }
    }

    /// Whether it, or stored code that it runs, may read user variables.
    pub fn may_read_user_variables(&self) -> bool {
        let may_run_code =
            matches!(self.kind, Kind::Modify | Kind::Select | Kind::Describe | Kind::Several | Kind::Unknown);
        self.needs.user_variable || (may_run_code && self.access != Access::Read)
    }

    /// Whether it may commit the transaction it runs in: by name, implicitly, or in a procedure.
    pub fn may_commit(&self) -> bool {
        match (&self.kind, &self.access) {
            (_, Access::Read) => false,
            (Kind::Select | Kind::Show | Kind::Describe | Kind::Savepoint | Kind::Rollback, access) => {
                // Of one too long to be read, something may follow.
                *access == Access::Write(WriteBecause::TooLong)
            }
            (Kind::Modify, Access::Write(WriteBecause::Keyword(word))) => {
                !matches!(&**word, "INSERT" | "UPDATE" | "DELETE" | "REPLACE")
            }
            _ => true,
        }
    }
}

/// A statement and what its comments ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub statement: Arc<Statement>,
    /// Where a hint would have it run.
    pub hint: Option<Hint>,
    /// What a hint would have it see.
    pub consistency: Option<LevelHint>,
}

/// `/* pointsman: … */` before the statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Hint {
    /// `primary`
    Primary,
    /// `replica`; obeyed for reads only.
    Replica,
    /// `server=name`; obeyed for reads only.
    Server(Arc<str>),
}

/// `/* pointsman: consistency=… */`
#[derive(Clone, Debug, PartialEq)]
pub enum LevelHint {
    Level(Consistency),
    /// The word that names no level.
    Unknown(Arc<str>),
}

/// What sort of statement; where the proxy must act itself, with what it must know.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// SELECT, TABLE, VALUES, WITH … SELECT, parenthesised or not.
    Select,
    Show,
    /// EXPLAIN, DESCRIBE, HELP, CHECKSUM TABLE.
    Describe,
    /// INSERT, UPDATE, DELETE, REPLACE, LOAD, TRUNCATE, IMPORT, CALL, DO.
    Modify,
    /// CREATE, ALTER, DROP, RENAME and all that commits implicitly.
    Define,
    /// START TRANSACTION and BEGIN.
    Begin {
        read_only: bool,
    },
    Commit,
    Rollback,
    /// SAVEPOINT, RELEASE SAVEPOINT, ROLLBACK TO.
    Savepoint,
    Xa,
    Set,
    Use,
    /// PREPARE, EXECUTE, DEALLOCATE as text.
    Prepare,
    Lock,
    Unlock,
    Handler,
    /// KILL [CONNECTION | QUERY] id; the id where it is a plain number.
    Kill {
        query_only: bool,
        id: Option<u64>,
    },
    /// Replication, FLUSH, plugins, resource groups, account management and the like.
    Administer,
    /// More than one statement in the packet.
    Several,
    /// Nothing but space and comments.
    Empty,
    /// Not recognised; the server will say what is wrong with it.
    Unknown,
}

/// Whether a replica may run it.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// Both judges hold it to be read-only.
    Read,
    /// Not proven read-only, and why.
    Write(WriteBecause),
}

/// Why a statement is not proven read-only.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteBecause {
    /// Its first keyword changes data, structure, accounts or the server; the keyword.
    Keyword(Arc<str>),
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE, anywhere.
    RowLocks,
    /// INTO OUTFILE, INTO DUMPFILE: a file on the server.
    IntoFile,
    /// WITH … UPDATE, EXPLAIN of a write, a writing statement inside another.
    WritesInside(Arc<str>),
    /// EXPLAIN ANALYZE and the like run what they explain.
    ExplainExecutes,
    /// A function that is neither a known pure builtin nor proven by the catalog; its name.
    Function(Arc<str>),
    /// A view that is not proven read-only; its name.
    View(Arc<str>),
    /// GET_LOCK and its kin.
    UserLock,
    /// `@x := …`, `INTO @x`: writes a user variable.
    UserVariable,
    /// Sets a variable of the proxy's: `@pointsman_…`.
    ProxyVariable,
    /// Reads what only the primary can tell: `@@read_only`, `@@gtid_executed`, binary logs; which.
    PrimaryOnly(Arc<str>),
    /// LAST_INSERT_ID() and other values of the writing connection.
    OwnWriteValue(Arc<str>),
    /// START TRANSACTION that is not READ ONLY, COMMIT, XA, SAVEPOINT, …
    Transaction,
    /// Changes the session: SET, USE, PREPARE, …
    Session,
    /// Sequence access.
    Sequence,
    /// More than one statement in the packet.
    Several,
    /// Longer than the statement buffer; judged by its beginning.
    TooLong,
    /// The lexer could not read it: an unterminated string or comment, a NUL byte, …
    Malformed,
    /// The lexer and the parser disagree; what the parser saw.
    JudgesDisagree(Arc<str>),
    /// First keyword not known.
    Unknown,
    /// A replica refused it as a write before.
    Learned,
}

/// Session state that cannot be carried to another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PinCause {
    TemporaryTable,
    /// LOCK TABLES, FLUSH TABLES with names and WITH READ LOCK or FOR EXPORT.
    TableLocks,
    /// FLUSH TABLES WITH READ LOCK.
    GlobalReadLock,
    /// LOCK INSTANCE FOR BACKUP, BACKUP STAGE, BACKUP LOCK: what UNLOCK TABLES does not end.
    InstanceLock,
    /// GET_LOCK and its kin.
    UserLock,
    Handler,
    /// A user variable that is not a replayable literal.
    UserVariable,
    /// sql_log_bin, gtid_next, timestamp, insert_id, rand_seed, profiling, resource group, FLUSH STATUS, …
    SessionVariable,
    Role,
    /// SQL_CALC_FOUND_ROWS.
    FoundRows,
    /// LAST_INSERT_ID(expression).
    LastInsertId,
    /// Text PREPARE.
    PreparedText,
    /// COM_STMT_SEND_LONG_DATA: the server holds a parameter's value until the statement is executed.
    LongData,
    /// An open cursor of the binary protocol.
    Cursor,
    Xa,
    /// SET TRANSACTION without GLOBAL or SESSION: it holds for the next transaction on this connection,
    /// an autocommitted statement included, and no longer.
    NextTransaction,
    /// Not recognised, so it may have changed anything.
    Unknown,
}

impl PinCause {
    pub const ALL: [PinCause; 17] = [
        PinCause::TemporaryTable,
        PinCause::TableLocks,
        PinCause::GlobalReadLock,
        PinCause::InstanceLock,
        PinCause::UserLock,
        PinCause::Handler,
        PinCause::UserVariable,
        PinCause::SessionVariable,
        PinCause::Role,
        PinCause::FoundRows,
        PinCause::LastInsertId,
        PinCause::PreparedText,
        PinCause::LongData,
        PinCause::Cursor,
        PinCause::Xa,
        PinCause::NextTransaction,
        PinCause::Unknown,
    ];
}

/// A set of causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinSet(u32);

impl PinSet {
    pub const EMPTY: PinSet = PinSet(0);

    /// The causes of which there may be several at a time; `HoldChange` tells them apart.
    pub const NAMED: PinSet = PinSet::of(PinCause::UserLock)
        .union(PinSet::of(PinCause::TemporaryTable))
        .union(PinSet::of(PinCause::Handler))
        .union(PinSet::of(PinCause::SessionVariable))
        .union(PinSet::of(PinCause::InstanceLock))
        .union(PinSet::of(PinCause::Xa));

    pub const fn of(cause: PinCause) -> Self {
        Self(1 << cause as u16)
    }

    pub fn insert(&mut self, cause: PinCause) {
        self.0 |= 1 << cause as u16;
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn contains(self, cause: PinCause) -> bool {
        self.0 & (1 << cause as u16) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = PinCause> {
        PinCause::ALL.into_iter().filter(move |cause| self.contains(*cause))
    }
}

/// What a statement reads that the statements before it left on their connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `LAST_INSERT_ID()`, `@@last_insert_id`, `@@identity`.
    pub last_insert_id: bool,
    /// `ROW_COUNT()`.
    pub row_count: bool,
    /// `FOUND_ROWS()`.
    pub found_rows: bool,
    /// SHOW WARNINGS, SHOW ERRORS, GET DIAGNOSTICS, `@@warning_count`, `@@error_count`.
    pub diagnostics: bool,
    /// `CONNECTION_ID()`, `@@pseudo_thread_id`.
    pub connection_id: bool,
    /// Shows the numbers of all sessions: SHOW PROCESSLIST.
    pub process_list: bool,
    /// Reads a user variable (`@x`).
    pub user_variable: bool,
    /// Reads a variable of the proxy's (`@pointsman_…`).
    pub proxy_variable: bool,
    /// EXECUTE or DEALLOCATE of a text prepared statement.
    pub prepared_text: bool,
    /// Sets what the session is told of its changes: `session_track_…`.
    pub own_trackers: bool,
    /// A replica lacked a table or the like that it names. Found out, never read from the text.
    pub newest: bool,
}

impl Needs {
    pub fn union(self, other: Self) -> Self {
        Self {
            last_insert_id: self.last_insert_id || other.last_insert_id,
            row_count: self.row_count || other.row_count,
            found_rows: self.found_rows || other.found_rows,
            diagnostics: self.diagnostics || other.diagnostics,
            connection_id: self.connection_id || other.connection_id,
            process_list: self.process_list || other.process_list,
            user_variable: self.user_variable || other.user_variable,
            proxy_variable: self.proxy_variable || other.proxy_variable,
            prepared_text: self.prepared_text || other.prepared_text,
            own_trackers: self.own_trackers || other.own_trackers,
            newest: self.newest || other.newest,
        }
    }

    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The names of what is needed.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.last_insert_id, "last_insert_id"),
            (self.row_count, "row_count"),
            (self.found_rows, "found_rows"),
            (self.diagnostics, "diagnostics"),
            (self.connection_id, "connection_id"),
            (self.process_list, "process_list"),
            (self.user_variable, "user_variable"),
            (self.proxy_variable, "proxy_variable"),
            (self.prepared_text, "prepared_text"),
            (self.own_trackers, "own_trackers"),
        ];
        all.into_iter().filter(|(needed, _)| *needed).map(|(_, name)| name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Select => "select",
            Kind::Show => "show",
            Kind::Describe => "describe",
            Kind::Modify => "modify",
            Kind::Define => "define",
            Kind::Begin { read_only: true } => "begin read only",
            Kind::Begin { read_only: false } => "begin",
            Kind::Commit => "commit",
            Kind::Rollback => "rollback",
            Kind::Savepoint => "savepoint",
            Kind::Xa => "xa",
            Kind::Set => "set",
            Kind::Use => "use",
            Kind::Prepare => "prepare",
            Kind::Lock => "lock",
            Kind::Unlock => "unlock",
            Kind::Handler => "handler",
            Kind::Kill { query_only: true, .. } => "kill query",
            Kind::Kill { query_only: false, .. } => "kill",
            Kind::Administer => "administer",
            Kind::Several => "several",
            Kind::Empty => "empty",
            Kind::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hint::Primary => f.write_str("primary"),
            Hint::Replica => f.write_str("replica"),
            Hint::Server(name) => write!(f, "server={name}"),
        }
    }
}

impl fmt::Display for LevelHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LevelHint::Level(level) => write!(f, "consistency={level}"),
            LevelHint::Unknown(word) => write!(f, "consistency={word}"),
        }
    }
}

impl fmt::Display for WriteBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteBecause::Keyword(word) => write!(f, "{word} is not read-only"),
            WriteBecause::RowLocks => f.write_str("takes row locks"),
            WriteBecause::IntoFile => f.write_str("writes a file on the server"),
            WriteBecause::WritesInside(word) => write!(f, "holds a writing {word}"),
            WriteBecause::ExplainExecutes => f.write_str("EXPLAIN that executes"),
            WriteBecause::Function(name) => write!(f, "function {name} is not known to be read-only"),
            WriteBecause::View(name) => write!(f, "view {name} is not known to be read-only"),
            WriteBecause::UserLock => f.write_str("takes or reads user locks"),
            WriteBecause::UserVariable => f.write_str("writes a user variable"),
            WriteBecause::ProxyVariable => f.write_str("sets a variable of the proxy"),
            WriteBecause::PrimaryOnly(what) => write!(f, "only the primary can tell {what}"),
            WriteBecause::OwnWriteValue(what) => write!(f, "{what} belongs to the writing connection"),
            WriteBecause::Transaction => f.write_str("transaction control"),
            WriteBecause::Session => f.write_str("changes the session"),
            WriteBecause::Sequence => f.write_str("uses a sequence"),
            WriteBecause::Several => f.write_str("several statements in one packet"),
            WriteBecause::TooLong => f.write_str("longer than the statement buffer"),
            WriteBecause::Malformed => f.write_str("cannot be read to its end"),
            WriteBecause::JudgesDisagree(what) => write!(f, "the parser sees {what}"),
            WriteBecause::Unknown => f.write_str("not recognised"),
            WriteBecause::Learned => f.write_str("a replica refused it as a write"),
        }
    }
}

impl fmt::Display for PinCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PinCause::TemporaryTable => "temporary_table",
            PinCause::TableLocks => "table_locks",
            PinCause::GlobalReadLock => "global_read_lock",
            PinCause::InstanceLock => "instance_lock",
            PinCause::UserLock => "user_lock",
            PinCause::Handler => "handler",
            PinCause::UserVariable => "user_variable",
            PinCause::SessionVariable => "session_variable",
            PinCause::Role => "role",
            PinCause::FoundRows => "found_rows",
            PinCause::LastInsertId => "last_insert_id",
            PinCause::PreparedText => "prepared_text",
            PinCause::LongData => "long_data",
            PinCause::Cursor => "cursor",
            PinCause::Xa => "xa",
            PinCause::NextTransaction => "next_transaction",
            PinCause::Unknown => "unknown",
        })
    }
}
