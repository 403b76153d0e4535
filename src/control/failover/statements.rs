//! The statements of each step, as each flavour and version takes them.

use std::time::Duration;

use super::step::What;
use crate::control::observation::Facts;
use crate::control::semi_sync::{self, FOR_EVER, SourceSide};
use crate::flavour::{Flavour, Version};

/// What a replica is told to follow its source with.
#[derive(Clone, Debug)]
pub struct Source<'s> {
    pub host: &'s str,
    pub port: u16,
    pub user: &'s str,
    pub password: &'s str,
    pub tls: bool,
}

/// The server's words for the two ends of replication.
struct Words {
    replica: &'static str,
    /// `CHANGE … TO` and the prefix of its options.
    change: &'static str,
    option: &'static str,
}

fn words(version: Version) -> Words {
    match version.flavour {
        Flavour::MariaDb => Words { replica: "SLAVE", change: "CHANGE MASTER TO", option: "MASTER" },
        Flavour::MySql if version.number < 80_022 => {
            Words { replica: "SLAVE", change: "CHANGE MASTER TO", option: "MASTER" }
        }
        Flavour::MySql if version.number < 80_023 => {
            Words { replica: "REPLICA", change: "CHANGE MASTER TO", option: "MASTER" }
        }
        Flavour::MySql => {
            Words { replica: "REPLICA", change: "CHANGE REPLICATION SOURCE TO", option: "SOURCE" }
        }
    }
}

/// In order; none before the one before it has succeeded. `source` is whom `Follow` names. Sessions are ended
/// before the statements of `CloseWrites` and `Quarantine`.
pub fn statements(what: &What, facts: &Facts, source: Option<&Source<'_>>) -> Vec<String> {
    let version = facts.version;
    let Words { replica, .. } = words(version);
    match what {
        What::StopReceiver => vec![format!("STOP {replica} IO_THREAD")],
        What::Await { gtid, within } => vec![wait(version, gtid, *within)],
        What::StartWaiting { semi_sync } => as_source(facts, semi_sync),
        What::StartApplier => vec![format!("START {replica} SQL_THREAD")],
        What::StartReplication => vec![format!("START {replica}")],
        What::Detach { semi_sync } => {
            let mut statements = vec![format!("STOP {replica}"), format!("RESET {replica} ALL")];
            statements.extend(semi_sync.as_ref().map(|wanted| as_source(facts, wanted)).unwrap_or_default());
            statements
        }
        What::StopWaiting => stop_waiting(facts),
        What::OpenWrites => match version.flavour {
            Flavour::MySql => {
                vec!["SET GLOBAL super_read_only = OFF".to_owned(), "SET GLOBAL read_only = OFF".to_owned()]
            }
            Flavour::MariaDb => vec!["SET GLOBAL read_only = OFF".to_owned()],
        },
        What::Follow { acknowledges, .. } => {
            source.map(|source| follow(facts, source, *acknowledges)).unwrap_or_default()
        }
        What::CloseWrites => vec![close(version)],
        // Both go to the binary log, and the control account may: it has RELOAD.
        What::Canary => match version.flavour {
            Flavour::MySql => vec!["FLUSH OPTIMIZER_COSTS".to_owned()],
            Flavour::MariaDb => vec!["FLUSH QUERY CACHE".to_owned()],
        },
        What::Quarantine => {
            let mut statements = stop_waiting(facts);
            statements.push(close(version));
            statements
        }
    }
}

/// Answers 0 when all of it is applied, at once where it is; another number when the time is over.
fn wait(version: Version, gtid: &str, within: Duration) -> String {
    let function = match version.flavour {
        Flavour::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
        Flavour::MariaDb => "MASTER_GTID_WAIT",
    };
    format!("SELECT {function}({}, {:.1})", quoted(gtid), within.as_secs_f64())
}

fn close(version: Version) -> String {
    match version.flavour {
        Flavour::MySql => "SET GLOBAL super_read_only = ON".to_owned(),
        Flavour::MariaDb => "SET GLOBAL read_only = ON".to_owned(),
    }
}

/// Makes commits wait as they did on the old primary. The side that waits is set before anything is written.
fn as_source(facts: &Facts, wanted: &SourceSide) -> Vec<String> {
    let (source, replica, none) = semi_sync::names(facts.semi_sync.modern_names);
    if facts.semi_sync.source.is_none() {
        return Vec::new();
    }
    let point = if wanted.before_visible { "AFTER_SYNC" } else { "AFTER_COMMIT" };
    let mut statements = vec![
        format!("SET GLOBAL rpl_semi_sync_{source}_wait_point = '{point}'"),
        format!("SET GLOBAL rpl_semi_sync_{source}_timeout = {}", timeout(wanted.timeout)),
        format!("SET GLOBAL rpl_semi_sync_{source}_{none} = {}", u8::from(wanted.waits_for_none)),
    ];
    if facts.version.flavour == Flavour::MySql {
        statements
            .push(format!("SET GLOBAL rpl_semi_sync_{source}_wait_for_{replica}_count = {}", wanted.wanted));
    }
    if facts.semi_sync.acknowledges == Some(true) {
        statements.push(format!("SET GLOBAL rpl_semi_sync_{replica}_enabled = OFF"));
    }
    statements.push(format!("SET GLOBAL rpl_semi_sync_{source}_enabled = ON"));
    statements
}

/// In milliseconds; both flavours take what is over a day, and MySQL no more than 32 bits.
fn timeout(timeout: Duration) -> u128 {
    timeout.as_millis().min(FOR_EVER.as_millis() * 40)
}

fn stop_waiting(facts: &Facts) -> Vec<String> {
    let (source, ..) = semi_sync::names(facts.semi_sync.modern_names);
    let waits = facts.semi_sync.source.as_ref().is_some_and(|source| source.enabled);
    if waits { vec![format!("SET GLOBAL rpl_semi_sync_{source}_enabled = OFF")] } else { Vec::new() }
}

fn follow(facts: &Facts, source: &Source<'_>, acknowledges: bool) -> Vec<String> {
    let version = facts.version;
    let Words { replica, change, option } = words(version);
    let mut options = vec![
        format!("{option}_HOST = {}", quoted(source.host)),
        format!("{option}_PORT = {}", source.port),
        format!("{option}_USER = {}", quoted(source.user)),
        format!("{option}_PASSWORD = {}", quoted(source.password)),
        format!("{option}_CONNECT_RETRY = 1"),
        format!("{option}_HEARTBEAT_PERIOD = 1"),
        format!("{option}_SSL = {}", u8::from(source.tls)),
    ];
    match version.flavour {
        Flavour::MySql => {
            options.push(format!("{option}_AUTO_POSITION = 1"));
            options.push(format!("{option}_RETRY_COUNT = 86400"));
            if !source.tls {
                options.push(match option {
                    "SOURCE" => "GET_SOURCE_PUBLIC_KEY = 1".to_owned(),
                    _ => "GET_MASTER_PUBLIC_KEY = 1".to_owned(),
                });
            }
        }
        // What it wrote as a primary counts as where it stands. Before 10.10 that has another name.
        Flavour::MariaDb if !facts.channels.is_empty() => {
            options.push("MASTER_USE_GTID = slave_pos".to_owned())
        }
        Flavour::MariaDb if version.number >= 101_000 => {
            options.push("MASTER_USE_GTID = slave_pos, MASTER_DEMOTE_TO_SLAVE = 1".to_owned());
        }
        Flavour::MariaDb => options.push("MASTER_USE_GTID = current_pos".to_owned()),
    }
    let mut statements = vec![format!("STOP {replica}")];
    statements.extend(stop_waiting(facts));
    let (_, acker, _) = semi_sync::names(facts.semi_sync.modern_names);
    if let Some(does) = facts.semi_sync.acknowledges
        && does != acknowledges
    {
        let value = if acknowledges { "ON" } else { "OFF" };
        statements.push(format!("SET GLOBAL rpl_semi_sync_{acker}_enabled = {value}"));
    }
    statements.push(format!("{change} {}", options.join(", ")));
    statements.push(format!("START {replica}"));
    statements
}

/// A text as both flavours read it, unless the server's own `sql_mode` has NO_BACKSLASH_ESCAPES and the text a
/// backslash: then the login of the replica fails, and says so.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Sessions that may write, with their numbers first. Replication's own and the server's are none.
pub const SESSIONS_SQL: &str = "SELECT ID, USER, COMMAND FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() \
     AND COMMAND NOT IN ('Daemon', 'Connect') AND COMMAND NOT LIKE 'Binlog Dump%' AND COMMAND NOT LIKE 'Slave%' \
     AND USER NOT IN ('system user', 'event_scheduler')";
