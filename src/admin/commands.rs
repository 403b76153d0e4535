//! The commands: what each is called, how it is written, what it does. HELP and the suggestions come from here.

use std::time::Duration;

use super::grammar::{Arguments, Reader, Unparsed};
use super::table::Table;
use super::tables;
use super::token::TokenKind;

/// Reads what follows the name.
pub(super) type Parse = fn(&mut Reader<'_>) -> Result<Request, Unparsed>;

/// One command of the admin port.
pub struct Command {
    /// The words it begins with, in upper case.
    pub name: &'static [&'static str],
    /// How it is written in full.
    pub grammar: &'static str,
    pub help: &'static str,
    pub example: &'static str,
    pub parse: Parse,
}

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The rows of a table.
    Show {
        table: &'static str,
        arguments: Arguments,
    },
    /// The columns of a table.
    Columns {
        table: &'static str,
        arguments: Arguments,
    },
    /// The names of the tables.
    Tables {
        full: bool,
        arguments: Arguments,
    },
    Databases(Arguments),
    Variables(Arguments),
    /// SHOW WARNINGS and SHOW ERRORS: there are none.
    Warnings,
    /// Where a statement would go.
    Explain {
        statement: String,
    },
    Help {
        topic: Option<String>,
    },
    Commands(Arguments),
    Order(Order),
    /// SELECT and its kin, as SQLite is given it.
    Select(String),
    Use {
        schema: String,
    },
    /// What clients say by habit and what changes nothing here.
    Nothing,
}

/// What changes something.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    Kill {
        session: u32,
    },
    Drain {
        server: String,
    },
    Undrain {
        server: String,
    },
    /// Hand the primary over, or say what would be done.
    Switchover {
        server: Option<String>,
        rehearse: bool,
    },
    Failover {
        server: Option<String>,
        rehearse: bool,
    },
    /// Nothing is to be promoted without being asked, for that time or until it is released.
    HoldFailover {
        lasts: Option<Duration>,
    },
    ReleaseFailover,
    ResetRoutes,
}

/// What is to last longer is to last until it is released.
const HOLD_MAX: Duration = Duration::from_secs(366 * 86_400);

const fn command(
    name: &'static [&'static str],
    grammar: &'static str,
    help: &'static str,
    example: &'static str,
    parse: Parse,
) -> Command {
    Command { name, grammar, help, example, parse }
}

/// In the order of HELP. Of two that fit, the first is meant.
pub(super) const ALL: &[Command] = &[
    command(
        &["SHOW", "SERVERS"],
        "SHOW SERVERS [LIKE 'pattern'] [LIMIT n]",
        "The servers of the cluster: role, whether they take statements and why not, lag, connections.",
        "SHOW SERVERS",
        |reader| show(reader, "servers"),
    ),
    command(
        &["SHOW", "SESSIONS"],
        "SHOW SESSIONS [LIKE 'user'] [LIMIT n]",
        "The clients that are logged in, what each does and what ties it to a server. Also SHOW PROCESSLIST.",
        "SHOW SESSIONS LIKE 'app%'",
        |reader| show(reader, "sessions"),
    ),
    command(
        &["SHOW", "POOLS"],
        "SHOW POOLS [LIKE 'server'] [LIMIT n]",
        "The connections to each server: now, and what happened to them since start.",
        "SHOW POOLS",
        |reader| show(reader, "pools"),
    ),
    command(
        &["SHOW", "PINS"],
        "SHOW PINS [LIKE 'cause'] [LIMIT n]",
        "What ties sessions to one connection: how many now, how often, for how long, and what ends it.",
        "SHOW PINS",
        |reader| show(reader, "pins"),
    ),
    command(
        &["SHOW", "ROUTES"],
        "SHOW ROUTES [LIKE 'digest'] [LIMIT n]",
        "Each form of statement: where it went, how often, how fast and why. The costliest first.",
        "SHOW ROUTES LIMIT 10",
        |reader| show(reader, "routes"),
    ),
    command(
        &["SHOW", "EVENTS"],
        "SHOW EVENTS [LIKE 'kind'] [LIMIT n]",
        "What happened to the cluster, the newest last. LIMIT keeps the newest.",
        "SHOW EVENTS LIMIT 20",
        |reader| show(reader, "events"),
    ),
    command(
        &["SHOW", "COUNTERS"],
        "SHOW COUNTERS [LIKE 'name'] [LIMIT n]",
        "What happened on the front since start. Also SHOW STATUS.",
        "SHOW COUNTERS LIKE 'login%'",
        |reader| show(reader, "counters"),
    ),
    command(
        &["SHOW", "SETTINGS"],
        "SHOW SETTINGS [LIKE 'key'] [LIMIT n]",
        "The configuration that runs, without its passwords.",
        "SHOW SETTINGS LIKE 'routing.%'",
        |reader| show(reader, "settings"),
    ),
    command(
        &["EXPLAIN", "ROUTE"],
        "EXPLAIN ROUTE FOR statement",
        "Where a statement of a new session would go now, and why; nothing is executed. The statement stands in \
         '…' or \"…\", or as it is up to the end. USE a schema first for views and functions without theirs.",
        "EXPLAIN ROUTE FOR 'SELECT * FROM t WHERE id = 1 FOR UPDATE'",
        explain,
    ),
    command(
        &["SELECT"],
        "SELECT …",
        "Any SELECT, in SQLite's SQL, over the tables that SHOW TABLES names. They are filled when asked for.",
        "SELECT server, count(*) FROM sessions GROUP BY server",
        |reader| reader.select(),
    ),
    command(
        &["SHOW", "TABLES"],
        "SHOW TABLES [LIKE 'name']",
        "The tables that SELECT may read. DESCRIBE says what stands in their columns.",
        "SHOW TABLES",
        |reader| tables(reader, false),
    ),
    command(
        &["DESCRIBE"],
        "DESCRIBE table",
        "The columns of a table. Also SHOW COLUMNS FROM table.",
        "DESCRIBE sessions",
        |reader| {
            let table = reader.table()?;
            Ok(Request::Columns { table, arguments: Arguments::default() })
        },
    ),
    command(
        &["KILL"],
        "KILL [CONNECTION] session",
        "Ends a client's session; the number is that of SHOW SESSIONS. An open transaction is rolled back.",
        "KILL 17",
        kill,
    ),
    command(
        &["DRAIN"],
        "DRAIN server",
        "The server takes no new statements, as for maintenance. What runs there goes on. Draining the primary \
         makes writes wait.",
        "DRAIN replica-2",
        |reader| Ok(Request::Order(Order::Drain { server: reader.bare_name("the name of a server")? })),
    ),
    command(
        &["UNDRAIN"],
        "UNDRAIN server",
        "The server takes statements again, once it is found well.",
        "UNDRAIN replica-2",
        |reader| Ok(Request::Order(Order::Undrain { server: reader.bare_name("the name of a server")? })),
    ),
    command(
        &["SWITCHOVER"],
        "SWITCHOVER [TO server] [DRY RUN]",
        "The server, or the best of those that serve, becomes the primary, the primary its replica. Writes wait meanwhile; transactions that do not \
         end within failover.grace are rolled back. DRY RUN only says what would be done.",
        "SWITCHOVER TO replica-2",
        |reader| {
            let named = reader.word("TO");
            let server = if named { Some(reader.bare_name("the name of a server")?) } else { None };
            Ok(Request::Order(Order::Switchover { server, rehearse: dry_run(reader)? }))
        },
    ),
    command(
        &["FAILOVER"],
        "FAILOVER [TO server] [DRY RUN]",
        "A replica that has all takes over from a primary that is dead. For failover.mode = \"manual\", and where \
         automation has stopped by its own limits. DRY RUN only says what would be done.",
        "FAILOVER DRY RUN",
        |reader| {
            let named = reader.word("TO");
            let server = if named { Some(reader.bare_name("the name of a server")?) } else { None };
            Ok(Request::Order(Order::Failover { server, rehearse: dry_run(reader)? }))
        },
    ),
    command(
        &["HOLD", "FAILOVER"],
        "HOLD FAILOVER [FOR seconds]",
        "Nothing is promoted without being asked, as during maintenance: for that time, or until RELEASE FAILOVER, \
         restarts or not. SWITCHOVER and FAILOVER are obeyed. SHOW DURABILITY shows it.",
        "HOLD FAILOVER FOR 600",
        |reader| {
            let lasts = reader.word("FOR").then(|| reader.number("how many seconds")).transpose()?;
            let lasts = lasts.map(|seconds| Duration::from_secs(seconds as u64).min(HOLD_MAX));
            Ok(Request::Order(Order::HoldFailover { lasts }))
        },
    ),
    command(&["RELEASE", "FAILOVER"], "RELEASE FAILOVER", "Ends HOLD FAILOVER.", "RELEASE FAILOVER", |_| {
        Ok(Request::Order(Order::ReleaseFailover))
    }),
    command(
        &["SHOW", "FAILOVERS"],
        "SHOW FAILOVERS [LIKE 'kind'] [LIMIT n]",
        "Changes of primary that this process made: from whom, to whom, how long writes waited, step by step.",
        "SHOW FAILOVERS",
        |reader| show(reader, "failovers"),
    ),
    command(
        &["SHOW", "DURABILITY"],
        "SHOW DURABILITY [LIKE 'class'] [LIMIT n]",
        "How much of what is acknowledged would survive the primary, and what keeps it from being all.",
        "SHOW DURABILITY",
        |reader| show(reader, "durability"),
    ),
    command(
        &["RESET", "ROUTES"],
        "RESET ROUTES",
        "SHOW ROUTES and the reads and writes of SHOW SERVERS count from zero again.",
        "RESET ROUTES",
        |_| Ok(Request::Order(Order::ResetRoutes)),
    ),
    command(
        &["USE"],
        "USE schema",
        "The schema in which EXPLAIN ROUTE judges statements.",
        "USE app",
        |reader| Ok(Request::Use { schema: reader.bare_name("the name of a schema")? }),
    ),
    command(
        &["SHOW", "COMMANDS"],
        "SHOW COMMANDS [LIKE 'name']",
        "This list.",
        "SHOW COMMANDS LIKE 'show%'",
        |reader| Ok(Request::Commands(reader.arguments()?)),
    ),
    command(
        &["HELP"],
        "HELP [command]",
        "How a command is written and what it does. The mysql command line has a HELP of its own; there, name a \
         command: help show routes.",
        "HELP SHOW ROUTES",
        |reader| Ok(Request::Help { topic: reader.topic() }),
    ),
];

/// Other words for the above, and what clients say by habit. Not in HELP.
pub(super) const HABITS: &[(&[&str], Parse)] = &[
    (&["SHOW", "STATUS"], |reader| show(reader, "counters")),
    (&["SHOW", "GLOBAL", "STATUS"], |reader| show(reader, "counters")),
    (&["SHOW", "SESSION", "STATUS"], |reader| show(reader, "counters")),
    (&["SHOW", "PROCESSLIST"], |reader| show(reader, "sessions")),
    (&["SHOW", "FULL", "PROCESSLIST"], |reader| show(reader, "sessions")),
    (&["SHOW", "DIGESTS"], |reader| show(reader, "routes")),
    (&["SHOW", "CONFIG"], |reader| show(reader, "settings")),
    (&["SHOW", "FULL", "TABLES"], |reader| tables(reader, true)),
    (&["SHOW", "COLUMNS"], columns),
    (&["SHOW", "FULL", "COLUMNS"], columns),
    (&["SHOW", "FIELDS"], columns),
    (&["DESC"], columns),
    (&["EXPLAIN"], |reader| {
        let table = reader.table()?;
        Ok(Request::Columns { table, arguments: Arguments::default() })
    }),
    (&["SHOW", "DATABASES"], |reader| Ok(Request::Databases(reader.arguments()?))),
    (&["SHOW", "SCHEMAS"], |reader| Ok(Request::Databases(reader.arguments()?))),
    (&["SHOW", "VARIABLES"], |reader| Ok(Request::Variables(reader.arguments()?))),
    (&["SHOW", "GLOBAL", "VARIABLES"], |reader| Ok(Request::Variables(reader.arguments()?))),
    (&["SHOW", "SESSION", "VARIABLES"], |reader| Ok(Request::Variables(reader.arguments()?))),
    (&["SHOW", "WARNINGS"], |reader| reader.arguments().map(|_| Request::Warnings)),
    (&["SHOW", "ERRORS"], |reader| reader.arguments().map(|_| Request::Warnings)),
    (&["SHOW", "HELP"], |reader| Ok(Request::Commands(reader.arguments()?))),
    (&["WITH"], |reader| reader.select()),
    (&["VALUES"], |reader| reader.select()),
    (&["SET", "NAMES"], ignore),
    (&["SET", "CHARACTER", "SET"], ignore),
    (&["SET", "CHARSET"], ignore),
    (&["SET", "TRANSACTION"], ignore),
    (&["SET", "SESSION", "TRANSACTION"], ignore),
    (&["SET", "LOCAL", "TRANSACTION"], ignore),
    (&["SET", "SESSION"], set),
    (&["SET", "LOCAL"], set),
    (&["SET"], set),
    (&["START", "TRANSACTION"], ignore),
    (&["BEGIN"], ignore),
    (&["COMMIT"], ignore),
    (&["ROLLBACK"], ignore),
    (&["DO"], ignore),
    (&["KILL", "QUERY"], |reader| {
        Err(reader.wrong("KILL QUERY is not known here; KILL ends the whole session"))
    }),
    (&["SHUTDOWN"], |reader| Err(reader.wrong("the proxy stops on SIGTERM, after draining"))),
    (&["SET", "GLOBAL"], |reader| {
        Err(reader.wrong("settings are those of the configuration file; SHOW SETTINGS shows them"))
    }),
];

fn show(reader: &mut Reader<'_>, table: &'static str) -> Result<Request, Unparsed> {
    Ok(Request::Show { table, arguments: reader.arguments()? })
}

fn tables(reader: &mut Reader<'_>, full: bool) -> Result<Request, Unparsed> {
    reader.skip_schema();
    Ok(Request::Tables { full, arguments: reader.arguments()? })
}

fn columns(reader: &mut Reader<'_>) -> Result<Request, Unparsed> {
    let _ = reader.word("FROM") || reader.word("IN");
    let table = reader.table()?;
    reader.skip_schema();
    Ok(Request::Columns { table, arguments: reader.arguments()? })
}

fn explain(reader: &mut Reader<'_>) -> Result<Request, Unparsed> {
    if !reader.word("FOR") {
        return Err(reader.wrong("FOR is missing before the statement"));
    }
    Ok(Request::Explain { statement: reader.statement()? })
}

fn kill(reader: &mut Reader<'_>) -> Result<Request, Unparsed> {
    let _ = reader.word("CONNECTION") || reader.word("SESSION");
    let session = reader.number("the number of a session")?;
    let session = u32::try_from(session).map_err(|_| reader.wrong("no session has that number"))?;
    Ok(Request::Order(Order::Kill { session }))
}

fn dry_run(reader: &mut Reader<'_>) -> Result<bool, Unparsed> {
    if !reader.word("DRY") {
        return Ok(false);
    }
    if !reader.word("RUN") {
        return Err(reader.wrong("RUN is missing after DRY"));
    }
    Ok(true)
}

fn ignore(reader: &mut Reader<'_>) -> Result<Request, Unparsed> {
    reader.skip_all();
    Ok(Request::Nothing)
}

/// SET of variables that every session of a server has: accepted, because clients say it unasked.
fn set(reader: &mut Reader<'_>) -> Result<Request, Unparsed> {
    let name = match reader.next() {
        Some(TokenKind::Word) => reader.last_word().to_ascii_lowercase(),
        Some(TokenKind::Variable(name)) => name.clone(),
        _ => return Err(reader.wrong("only session variables can be set, and to no effect")),
    };
    if super::variables::value(&name).is_none() {
        return Err(Unparsed::UnknownVariable(name));
    }
    ignore(reader)
}

impl Command {
    pub fn name(&self) -> String {
        self.name.join(" ")
    }

    /// The table it shows, if it shows one.
    pub fn table(&self) -> Option<&'static Table> {
        match self.name {
            ["SHOW", table] => tables::named(table),
            _ => None,
        }
    }
}
