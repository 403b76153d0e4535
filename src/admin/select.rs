//! SELECT over the tables: an SQLite in memory, filled for one statement and gone with it.

use std::time::{Duration, Instant};

use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, Value as SqliteValue, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};

use super::sqlite_text::{VARIABLE_FUNCTION, heading};
use super::table::{Answer, Heading, Row, SCHEMA, Table, Value};
use super::{View, tables, variables};
use crate::net::PeerAddress;
use crate::wire::text::TextType;
use crate::wire::{ErrPacket, code};

/// How long one statement may take.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Rows and bytes of one answer.
const ROWS_MAX: usize = 100_000;
const ANSWER_MAX: usize = 64 << 20;
/// One value, in bytes.
const VALUE_MAX: i32 = 16 << 20;
/// Memory of all statements together: SQLite knows one limit for the process.
const MEMORY_MAX: i64 = 256 << 20;
/// Instructions of SQLite's machine between looks at the clock: some tens of microseconds.
const LOOK_EVERY: i32 = 10_000;

/// The table of one row that clients read from when they mean none.
const DUAL: &str = "dual";

/// Who asks, for `USER()` and the like.
#[derive(Clone, Debug)]
pub struct Asker {
    pub user: String,
    pub peer: PeerAddress,
    pub schema: Option<String>,
    pub connection_id: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error("{0}")]
    Wrong(String),
    #[error("{0}; SHOW TABLES names the tables")]
    UnknownTable(String),
    #[error("only SELECT over the tables that SHOW TABLES names")]
    Forbidden,
    #[error("the statement took longer than {TIME_MAX:?}")]
    TooLong,
    #[error("the answer is larger than {ROWS_MAX} rows or {} MiB; add a LIMIT", ANSWER_MAX >> 20)]
    TooLarge,
    #[error("the statement needs more memory than {} MiB", MEMORY_MAX >> 20)]
    OutOfMemory,
    #[error(transparent)]
    Sqlite(rusqlite::Error),
}

/// Runs a statement already in SQLite's spelling.
pub fn select(sql: &str, view: &View, asker: &Asker) -> Result<Answer, SelectError> {
    let mut database = open()?;
    for table in tables::ALL {
        // A table that is not named cannot be read.
        let rows = if names(sql, table.name) { (table.rows)(view) } else { Vec::new() };
        fill(&database, table, &rows)?;
    }
    database.execute(&format!("CREATE TABLE {SCHEMA}.{DUAL} AS SELECT NULL AS dummy"), [])?;
    add_functions(&database, asker)?;
    lock_down(&mut database)?;
    run(&database, sql)
}

fn open() -> Result<Connection, SelectError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_in_memory_with_flags(flags)?;
    // Sorting must not go to files either.
    database.pragma_update(None, "temp_store", "MEMORY")?;
    database.query_row(&format!("PRAGMA hard_heap_limit = {MEMORY_MAX}"), [], |_| Ok(()))?;
    database.execute(&format!("ATTACH ':memory:' AS {SCHEMA}"), [])?;
    Ok(database)
}

fn names(sql: &str, table: &str) -> bool {
    sql.as_bytes().windows(table.len()).any(|part| part.eq_ignore_ascii_case(table.as_bytes()))
}

fn fill(database: &Connection, table: &Table, rows: &[Row]) -> Result<(), SelectError> {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let kind = match column.kind {
                TextType::Text => "TEXT COLLATE NOCASE",
                TextType::Integer => "INTEGER",
                TextType::Float { .. } => "REAL",
            };
            format!("\"{}\" {kind}", column.name)
        })
        .collect();
    let name = format!("{SCHEMA}.\"{}\"", table.name);
    database.execute(&format!("CREATE TABLE {name} ({})", columns.join(", ")), [])?;
    let places = vec!["?"; table.columns.len()].join(", ");
    let mut insert = database.prepare(&format!("INSERT INTO {name} VALUES ({places})"))?;
    for row in rows {
        insert.execute(rusqlite::params_from_iter(row))?;
    }
    Ok(())
}

fn add_functions(database: &Connection, asker: &Asker) -> Result<(), SelectError> {
    let flags = FunctionFlags::SQLITE_UTF8;
    let user = format!("{}@{}", asker.user, asker.peer.host());
    for name in ["user", "current_user", "session_user", "system_user"] {
        let user = user.clone();
        database.create_scalar_function(name, 0, flags, move |_| Ok(user.clone()))?;
    }
    for name in ["database", "schema"] {
        let schema = asker.schema.clone();
        database.create_scalar_function(name, 0, flags, move |_| Ok(schema.clone()))?;
    }
    let id = asker.connection_id;
    database.create_scalar_function("connection_id", 0, flags, move |_| Ok(id))?;
    database.create_scalar_function("version", 0, flags, |_| Ok(variables::VERSION))?;
    let now = super::calendar::show_utc(std::time::SystemTime::now());
    let now = now.split('.').next().unwrap_or_default().to_owned();
    database.create_scalar_function("now", -1, flags, move |_| Ok(now.clone()))?;
    database.create_scalar_function(VARIABLE_FUNCTION, 1, flags, |context| {
        let name: String = context.get(0)?;
        let value = variables::value(&name);
        // Clients expect numbers where servers have them.
        Ok(match value.map(|value| (value, value.parse::<i64>())) {
            Some((_, Ok(number))) => SqliteValue::Integer(number),
            Some((text, Err(_))) => SqliteValue::Text(text.to_owned()),
            None => SqliteValue::Null,
        })
    })?;
    Ok(())
}

/// From here on the statement of whoever asks: it may read, and for a limited time.
fn lock_down(database: &mut Connection) -> Result<(), SelectError> {
    database.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_MAX)?;
    database.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
    database.set_limit(Limit::SQLITE_LIMIT_EXPR_DEPTH, 200)?;
    database.set_limit(Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100)?;
    let deadline = Instant::now() + TIME_MAX;
    database.progress_handler(LOOK_EVERY, Some(move || Instant::now() >= deadline))?;
    database.authorizer(Some(|context: AuthContext<'_>| match context.action {
        AuthAction::Select | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Read { table_name, column_name } if may_read(table_name, column_name) => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } if !reaches_out(function_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }))?;
    Ok(())
}

/// Our own tables. Without a column the name may also be one that the statement itself gives (WITH).
fn may_read(table: &str, column: &str) -> bool {
    let internal = ["sqlite_", "pragma_", "dbstat"].iter().any(|prefix| table.starts_with(prefix));
    tables::named(table).is_some() || table == DUAL || (column.is_empty() && !internal)
}

/// Functions that touch more than their arguments.
fn reaches_out(function: &str) -> bool {
    ["load_extension", "fts3_tokenizer"].iter().any(|known| known.eq_ignore_ascii_case(function))
}

fn run(database: &Connection, sql: &str) -> Result<Answer, SelectError> {
    let mut statement = database.prepare(sql)?;
    if statement.parameter_count() > 0 {
        // `?`, `:x`, `@x` and `$$`: nobody has bound anything to them.
        return Err(SelectError::Wrong("placeholders and user variables are not known here".to_owned()));
    }
    let names: Vec<String> = statement.column_names().map(heading).collect();
    if names.is_empty() {
        return Err(SelectError::Forbidden);
    }
    let mut rows = Vec::new();
    let mut size = 0;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let row: Row = (0..names.len()).map(|at| row.get_ref(at).map(value)).collect::<Result<_, _>>()?;
        size += row.iter().map(size_of).sum::<usize>();
        rows.push(row);
        if rows.len() > ROWS_MAX || size > ANSWER_MAX {
            return Err(SelectError::TooLarge);
        }
    }
    let headings = names.into_iter().enumerate().map(|(at, name)| Heading {
        name: name.into(),
        kind: kind_of(rows.iter().map(|row: &Row| &row[at])),
    });
    Ok(Answer { table: "", headings: headings.collect(), rows })
}

fn size_of(value: &Value) -> usize {
    let text = if let Value::Text(text) = value { text.len() } else { 0 };
    text + std::mem::size_of::<Value>()
}

/// SQLite's columns have no type of their own: the narrowest that holds every value.
fn kind_of<'v>(values: impl Iterator<Item = &'v Value>) -> TextType {
    let mut kind = None;
    for value in values {
        kind = match (kind, value) {
            (_, Value::Text(_)) => return TextType::Text,
            (kind, Value::Null) => kind,
            (None, Value::Integer(_)) => Some(TextType::Integer),
            (Some(TextType::Integer), Value::Integer(_)) => kind,
            _ => Some(TextType::Float { decimals: None }),
        };
    }
    kind.unwrap_or(TextType::Text)
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Float(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Value::text(String::from_utf8_lossy(bytes)),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Float(number) => ValueRef::Real(*number),
        }))
    }
}

impl From<rusqlite::Error> for SelectError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::AuthorizationForStatementDenied) => return SelectError::Forbidden,
            Some(ErrorCode::OperationInterrupted) => return SelectError::TooLong,
            Some(ErrorCode::OutOfMemory) => return SelectError::OutOfMemory,
            Some(ErrorCode::TooBig) => return SelectError::TooLarge,
            _ => {}
        }
        match error {
            rusqlite::Error::SqlInputError { msg, .. } | rusqlite::Error::SqliteFailure(_, Some(msg)) => {
                // SQLite has no number of its own for it.
                if msg.starts_with("no such table") {
                    SelectError::UnknownTable(msg)
                } else {
                    SelectError::Wrong(msg)
                }
            }
            rusqlite::Error::MultipleStatement => SelectError::Wrong("one statement at a time".to_owned()),
            error => SelectError::Sqlite(error),
        }
    }
}

impl SelectError {
    pub fn packet(&self) -> ErrPacket {
        let number = match self {
            SelectError::Wrong(_) | SelectError::Forbidden => code::PARSE_ERROR,
            SelectError::UnknownTable(_) => code::NO_SUCH_TABLE,
            SelectError::TooLong => code::QUERY_INTERRUPTED,
            SelectError::TooLarge => code::TOO_BIG_SELECT,
            SelectError::OutOfMemory | SelectError::Sqlite(_) => code::UNKNOWN,
        };
        ErrPacket::new(number, self.to_string())
    }
}
