//! What one probe of one server saw, as plain data, read from the server's own rows.

use std::sync::Arc;
use std::time::Duration;

use super::semi_sync::{Durability, SemiSync, Variables};
use crate::flavour::{Flavour, Version};
use crate::gtid::History;

/// What a probe brought home.
pub type Observation = Result<Facts, Failure>;

/// A server that answered everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub version: Version,
    pub version_text: Arc<str>,
    pub server_id: u32,
    /// MySQL only.
    pub server_uuid: Option<Arc<str>>,
    pub read_only: bool,
    /// MySQL only; `read_only` is on whenever this is.
    pub super_read_only: bool,
    /// MySQL only; the server turns applications away.
    pub offline_mode: bool,
    /// `gtid_executed` or `gtid_current_pos`.
    pub gtid: Arc<str>,
    /// Every transaction it has: `gtid_executed`, or MariaDB's binary log state and replication position. `None`
    /// where that cannot be read.
    pub executed: Option<History>,
    /// MySQL only: what its binary logs no longer hold, so that nobody can fetch it here.
    pub purged: History,
    pub durability: Durability,
    pub semi_sync: SemiSync,
    /// Since its start.
    pub uptime: Option<Duration>,
    /// The sources it is configured to replicate from, whether it does so now or not.
    pub channels: Vec<Channel>,
}

/// One configured replication source.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Empty for the usual, unnamed one.
    pub name: String,
    pub source_host: String,
    pub source_port: u16,
    /// MySQL, once it was connected.
    pub source_uuid: Option<Arc<str>>,
    /// Once it was connected.
    pub source_server_id: Option<u32>,
    pub receiver: Receiver,
    /// Whether the thread that applies what was received runs.
    pub applier_runs: bool,
    pub lag: Option<Duration>,
    /// Whether all that was received is applied. MariaDB shows no lag while the source is away, whatever is
    /// left to apply.
    pub caught_up: bool,
    pub receiver_error: Option<ThreadError>,
    pub applier_error: Option<ThreadError>,
    /// What was received, applied or not, as far as the server still knows: MySQL forgets it when it is pointed
    /// elsewhere, so what it executed belongs to it.
    pub received: History,
    pub heard: Heard,
    /// How often the source says something when it has nothing to say; `None` if never or unknown.
    pub heartbeat_period: Option<Duration>,
    /// How long it holds back on purpose what it has received.
    pub delay: Duration,
}

/// What moves whenever the source says anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub heartbeats: u64,
    pub log_file: String,
    pub log_position: u64,
}

/// The thread that fetches from the source (`Replica_IO_Running`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    Running,
    /// Tries to reach its source.
    Connecting,
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadError {
    pub code: u32,
    pub text: String,
}

/// A probe that came back without facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// In words, the server's own where it said any.
    pub text: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The host says that nobody listens: the process is gone.
    Refused,
    /// No answer in time: the host is gone, cut off, or the process hangs.
    Timeout,
    /// The server is well but does not let the control account in, or not see what it must.
    AccessDenied,
    /// The server is well but full.
    TooManyConnections,
    /// Everything else.
    Other,
}

impl FailureKind {
    /// Whether the server itself answered, and so is alive.
    pub fn is_alive(self) -> bool {
        matches!(self, FailureKind::AccessDenied | FailureKind::TooManyConnections)
    }

    /// What a server's error number says about the server.
    pub fn of_code(code: u16) -> Self {
        match code {
            // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
            1040 | 1203 | 1226 => FailureKind::TooManyConnections,
            // Wrong password or schema, host blocked or not allowed, privilege missing, plugin refused,
            // password expired, account locked.
            // Bad handshake, unknown host name; offline mode; access denied as a proxy user.
            1042 | 1043 | 1044 | 1045 | 1129 | 1130 | 1142 | 1227 | 1251 | 1275 | 1698 | 1820 | 1862
            | 3032 | 3118 | 3159 | 4151 => FailureKind::AccessDenied,
            _ => FailureKind::Other,
        }
    }
}

impl Channel {
    /// Whether changes both arrive and are applied.
    pub fn replicates(&self) -> bool {
        self.receiver == Receiver::Running && self.applier_runs
    }

    /// Whether the receiver lacks its source, rather than having been stopped or having failed at its work.
    /// It gives up after a number of attempts and then is stopped with a connection error (2002 to 2013).
    pub fn lost_its_source(&self) -> bool {
        match self.receiver {
            Receiver::Running => false,
            Receiver::Connecting => true,
            Receiver::Stopped => {
                self.receiver_error.as_ref().is_some_and(|error| (2000..=2100).contains(&error.code))
            }
        }
    }
}

/// One row of an answer: column names and texts, `None` for NULL.
#[derive(Clone, Debug, Default)]
pub struct Row(pub Vec<(String, Option<String>)>);

impl Row {
    /// The first of the names that the row has; names differ between flavours and versions.
    fn get(&self, names: &[&str]) -> Option<&str> {
        let found = names.iter().find_map(|name| self.0.iter().find(|(column, _)| column == name));
        found.and_then(|(_, value)| value.as_deref())
    }

    fn number<T: std::str::FromStr>(&self, names: &[&str]) -> Option<T> {
        self.get(names).and_then(|text| text.parse().ok())
    }

    fn is_on(&self, name: &str) -> bool {
        self.get(&[name]).is_some_and(|text| !matches!(text, "0" | "OFF"))
    }
}

/// The statement that shows identity and state. Its columns have the same names for every server.
pub fn state_sql(version: Version) -> &'static str {
    match version.flavour {
        Flavour::MySql => {
            "SELECT VERSION() AS version, @@GLOBAL.server_id AS server_id, @@GLOBAL.server_uuid AS server_uuid, \
             @@GLOBAL.read_only AS read_only, @@GLOBAL.super_read_only AS super_read_only, \
             @@GLOBAL.offline_mode AS offline_mode, @@GLOBAL.gtid_executed AS gtid, \
             @@GLOBAL.gtid_purged AS purged, \
             (SELECT SUM(COUNT_RECEIVED_HEARTBEATS) FROM performance_schema.replication_connection_status) \
             AS heartbeats, \
             (SELECT MAX(HEARTBEAT_INTERVAL) FROM performance_schema.replication_connection_configuration) \
             AS heartbeat_period"
        }
        Flavour::MariaDb => {
            "SELECT VERSION() AS version, @@GLOBAL.server_id AS server_id, @@GLOBAL.read_only AS read_only, \
             @@GLOBAL.gtid_current_pos AS gtid, @@GLOBAL.gtid_binlog_state AS binlog_state, \
             @@GLOBAL.gtid_slave_pos AS slave_pos"
        }
    }
}

/// The statement that shows every replication source.
pub fn replication_sql(version: Version) -> &'static str {
    match version.flavour {
        Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
        // The old form is gone in 8.4; the new one came with 8.0.22.
        Flavour::MySql if version.number < 80_022 => "SHOW SLAVE STATUS",
        Flavour::MySql => "SHOW REPLICA STATUS",
    }
}

/// Puts the answers to `state_sql`, `replication_sql` and those of `semi_sync` together; `None` where the first is
/// not what was asked for.
pub fn facts(state: &Row, replication: &[Row], variables: &[Row]) -> Option<Facts> {
    let version_text = state.get(&["version"])?;
    let version = Version::parse(version_text);
    let variables: Vec<(String, String)> = variables.iter().filter_map(named_value).collect();
    let variables = Variables(&variables);
    Some(Facts {
        version,
        version_text: version_text.into(),
        server_id: state.number(&["server_id"])?,
        server_uuid: state.get(&["server_uuid"]).filter(|uuid| !uuid.is_empty()).map(Arc::from),
        read_only: state.is_on("read_only"),
        super_read_only: state.is_on("super_read_only"),
        offline_mode: state.is_on("offline_mode"),
        // Long sets are shown with line breaks.
        gtid: state.get(&["gtid"]).unwrap_or_default().replace('\n', "").into(),
        executed: executed(state, version.flavour),
        purged: state
            .get(&["purged"])
            .and_then(|purged| History::parse(version.flavour, purged))
            .unwrap_or_default(),
        durability: variables.durability(),
        semi_sync: variables.semi_sync(),
        uptime: variables.uptime(),
        channels: replication.iter().filter_map(|row| channel(row, state, version.flavour)).collect(),
    })
}

/// `SHOW VARIABLES` and `SHOW STATUS` name their columns alike.
fn named_value(row: &Row) -> Option<(String, String)> {
    let text = |name| row.get(&[name]).map(str::to_owned);
    Some((text("Variable_name")?, text("Value")?))
}

/// MariaDB's binary log state names the last transaction of each server that wrote to it; what came before the log
/// began is in the position alone.
fn executed(state: &Row, flavour: Flavour) -> Option<History> {
    let columns: &[&str] = match flavour {
        Flavour::MySql => &["gtid"],
        Flavour::MariaDb => &["gtid", "binlog_state", "slave_pos"],
    };
    let histories = columns.iter().map(|column| History::parse(flavour, state.get(&[column])?));
    // One that is not shown adds nothing; one that cannot be read would be missed.
    let shown = histories.zip(columns).filter(|(_, column)| state.get(&[column]).is_some());
    shown.map(|(history, _)| history).try_fold(History::default(), |all, history| Some(all.union(&history?)))
}

fn channel(row: &Row, state: &Row, flavour: Flavour) -> Option<Channel> {
    let name = row.get(&["Channel_Name", "Connection_name"]).unwrap_or_default();
    // Group replication's own channels have no source.
    if name.starts_with("group_replication_") {
        return None;
    }
    Some(Channel {
        name: name.to_owned(),
        source_host: row.get(&["Source_Host", "Master_Host"])?.to_owned(),
        source_port: row.number(&["Source_Port", "Master_Port"]).unwrap_or(3306),
        source_uuid: row.get(&["Source_UUID", "Master_UUID"]).filter(|uuid| !uuid.is_empty()).map(Arc::from),
        source_server_id: row.number(&["Source_Server_Id", "Master_Server_Id"]).filter(|id| *id != 0),
        receiver: match row.get(&["Replica_IO_Running", "Slave_IO_Running"]) {
            Some("Yes") => Receiver::Running,
            Some("Connecting" | "Preparing") => Receiver::Connecting,
            _ => Receiver::Stopped,
        },
        applier_runs: row.get(&["Replica_SQL_Running", "Slave_SQL_Running"]) == Some("Yes"),
        lag: row.number(&["Seconds_Behind_Source", "Seconds_Behind_Master"]).map(Duration::from_secs),
        caught_up: caught_up(row),
        receiver_error: thread_error(row, "Last_IO_Errno", "Last_IO_Error"),
        applier_error: thread_error(row, "Last_SQL_Errno", "Last_SQL_Error"),
        received: row
            .get(&["Retrieved_Gtid_Set", "Gtid_IO_Pos"])
            .and_then(|received| History::parse(flavour, received))
            .unwrap_or_default(),
        heard: Heard {
            // MariaDB counts them by channel, MySQL elsewhere.
            heartbeats: row
                .number(&["Slave_received_heartbeats"])
                .or_else(|| state.number(&["heartbeats"]))
                .unwrap_or(0),
            log_file: row.get(&["Source_Log_File", "Master_Log_File"]).unwrap_or_default().to_owned(),
            log_position: read_position(row).unwrap_or(0),
        },
        heartbeat_period: row
            .number::<f64>(&["Slave_heartbeat_period"])
            .or_else(|| state.number(&["heartbeat_period"]))
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        delay: Duration::from_secs(row.number(&["SQL_Delay"]).unwrap_or(0)),
    })
}

/// By position, or because the applier says so: the tail of a transaction whose source died stays received and
/// unapplied for ever, and is none that anybody could read.
fn caught_up(row: &Row) -> bool {
    let state = row.get(&["Replica_SQL_Running_State", "Slave_SQL_Running_State", "Slave_SQL_State"]);
    if state.is_some_and(|state| state.contains("has read all relay log")) {
        return true;
    }
    let received = (row.get(&["Source_Log_File", "Master_Log_File"]), read_position(row));
    let applied = (row.get(&["Relay_Source_Log_File", "Relay_Master_Log_File"]), applied_position(row));
    received == applied
}

fn read_position(row: &Row) -> Option<u64> {
    row.number(&["Read_Source_Log_Pos", "Read_Master_Log_Pos"])
}

fn applied_position(row: &Row) -> Option<u64> {
    row.number(&["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"])
}

fn thread_error(row: &Row, code: &str, text: &str) -> Option<ThreadError> {
    let code = row.number(&[code]).filter(|code| *code != 0)?;
    Some(ThreadError { code, text: row.get(&[text]).unwrap_or_default().to_owned() })
}
