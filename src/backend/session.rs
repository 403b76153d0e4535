//! A logged-in connection with what is known of its session on the server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::carried::CarriedHere;
use super::conn::Conn;
use super::fence::Pass;
use super::pool::{Key, Wanted};
use super::prepared::{PreparedHere, StatementKey};
use super::settings::{Baseline, MODE_IGNORING_SPACE, Settings};
use super::slots::Fit;
use crate::flavour::{Flavour, Version};
use crate::gtid::GtidSet;
use crate::wire::{
    self, Command, ErrPacket, Event, Expect, HEADER_LEN, Header, Malformed, OkPacket, ResponseTracker,
    SessionChange, capability,
};

/// A connection fit for a pool.
pub struct Backend {
    pub conn: Conn,
    /// Names the connection within its pool.
    pub id: u64,
    /// What was changed on it since login.
    pub settings: Settings,
    /// Statements prepared on it.
    pub(super) prepared: PreparedHere,
    /// Not valid any more once the way to the server was closed.
    pub(super) pass: Pass,
    /// What else sessions gave it.
    pub(super) carried: CarriedHere,
    /// The isolation it has by default, once it was asked for.
    isolation: Option<Box<str>>,
    /// The statement that switches the trackers on, as this server takes it.
    set_up: String,
    /// The trackers are as its session sets them, until it is reset.
    trackers_are_clients: bool,
    user: Arc<str>,
    profile: u32,
    collation: u16,
}

/// What every connection is told after login and after a reset.
#[derive(Clone, Copy, Debug)]
pub struct SessionSetup {
    /// The variables whose values a server of this version is to report when they change.
    pub tracked: fn(Version) -> &'static [&'static str],
}

/// A short exchange of our own with a server came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    #[error(transparent)]
    Refused(ErrPacket),
    #[error(transparent)]
    Malformed(#[from] wire::Malformed),
}

/// Our own exchanges are answered in one small packet.
const ANSWER_LEN_MAX: usize = 1 << 20;

impl Backend {
    /// Switches on the trackers by which a session's state is known.
    pub(super) async fn set_up(
        mut conn: Conn,
        id: u64,
        wanted: &Wanted,
        setup: &SessionSetup,
        pass: Pass,
    ) -> Result<Self, ExchangeError> {
        let version = Version::parse(&conn.version);
        let set_up = track(&mut conn, (setup.tracked)(version), version).await?;
        Ok(Self {
            isolation: None,
            set_up,
            trackers_are_clients: false,
            pass,
            conn,
            id,
            settings: Settings::with_schema(wanted.opening.schema.clone()),
            prepared: PreparedHere::default(),
            carried: CarriedHere::default(),
            user: Arc::clone(&wanted.key.user),
            profile: wanted.key.profile,
            collation: wanted.key.collation,
        })
    }

    /// Whether the way to the server was closed since this was opened: what it says then is not to be passed on.
    pub fn is_fenced(&self) -> bool {
        !self.pass.is_valid()
    }

    pub(super) fn key(&self) -> Key {
        Key {
            user: Arc::clone(&self.user),
            profile: self.profile,
            collation: self.collation,
            has_schema: self.settings.schema.is_some(),
        }
    }

    pub(super) fn fit(&self, wanted: &Wanted) -> Fit {
        let Wanted { settings, user_variables, role, .. } = wanted;
        if self.settings.schema != settings.schema || !self.settings.same_variables(settings) {
            return Fit::Poor;
        }
        if self.carried.fits(user_variables, role.as_ref()) { Fit::Exact } else { Fit::Near }
    }

    /// Statements the server holds for this connection.
    pub(super) fn statements(&self) -> usize {
        self.prepared.len() + self.carried.statements()
    }

    /// The server is about to be made to forget them. Returns how many.
    pub(super) fn forget_statements(&mut self) -> usize {
        self.prepared.clear() + self.carried.forget()
    }

    /// Takes in what the server reported as changed. Returns whether that was all by value.
    pub fn observe(&mut self, change: &SessionChange<'_>) -> bool {
        match change {
            SessionChange::Variable { name, value } => {
                let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
                    return false;
                };
                self.settings.set(name, value);
                Settings::is_replayable(value)
            }
            SessionChange::Schema(name) => {
                let name = String::from_utf8_lossy(name);
                self.settings.choose((!name.is_empty()).then(|| Arc::from(&*name)));
                true
            }
            _ => true,
        }
    }

    pub(super) async fn settle_to(&mut self, wanted: &Settings) -> Result<(), ExchangeError> {
        // A variable given back to its default has the server's of today.
        self.isolation = None;
        if let Some(schema) = &wanted.schema
            && self.settings.schema != wanted.schema
        {
            let mut command = vec![Command::INIT_DB];
            command.extend_from_slice(schema.as_bytes());
            exchange(&mut self.conn, &command).await?;
            self.settings.choose(Some(Arc::clone(schema)));
        }
        let baseline = baseline(self.collation, self.conn.capabilities);
        if let Some(statement) = self.settings.statement_towards(wanted, &baseline) {
            exchange(&mut self.conn, &query(&statement)).await?;
        }
        self.settings = wanted.clone();
        Ok(())
    }

    /// Makes the server forget the session: transaction, locks, temporary tables, variables.
    pub(super) async fn reset(&mut self) -> Result<(), ExchangeError> {
        self.isolation = None;
        exchange(&mut self.conn, &[Command::RESET_CONNECTION]).await?;
        // A reset also forgets the character set named at login, and MariaDB's the mode.
        let Baseline { charset, collation, ignores_space } = baseline(self.collation, self.conn.capabilities);
        let mut names = format!(
            "{},character_set_client='{charset}',character_set_results='{charset}',\
             collation_connection='{collation}'",
            self.set_up
        );
        if ignores_space {
            names.push_str(",sql_mode=");
            names.push_str(MODE_IGNORING_SPACE);
        }
        exchange(&mut self.conn, &query(&names)).await?;
        self.trackers_are_clients = false;
        self.settings = Settings::with_schema(self.settings.schema.take());
        // Roles outlive a reset on some servers.
        self.take_role_back().await?;
        self.choose_again().await
    }

    /// Whether it reports what its session asked for, which may be less than what the proxy goes by.
    pub fn trackers_are_clients(&self) -> bool {
        self.trackers_are_clients
    }

    /// Leaves the trackers to the session: they are as on a connection of its own from here on.
    pub(super) async fn leave_trackers(&mut self) -> Result<(), ExchangeError> {
        if self.trackers_are_clients {
            return Ok(());
        }
        let gtids = match Version::parse(&self.conn.version).flavour {
            Flavour::MySql => ",session_track_gtids=DEFAULT",
            Flavour::MariaDb => "",
        };
        let statement = format!(
            "SET session_track_schema=DEFAULT,session_track_state_change=DEFAULT,\
             session_track_system_variables=DEFAULT{gtids}"
        );
        match exchange(&mut self.conn, &query(&statement)).await {
            Ok(()) => self.trackers_are_clients = true,
            // MySQL sets none in a transaction: then the session's own is refused as well.
            Err(ExchangeError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A reset keeps the schema, but gives its character set the server's default: what LOAD DATA reads by.
    async fn choose_again(&mut self) -> Result<(), ExchangeError> {
        let Some(schema) = &self.settings.schema else { return Ok(()) };
        let command = [&[Command::INIT_DB], schema.as_bytes()].concat();
        match exchange(&mut self.conn, &command).await {
            // Dropped meanwhile: there is no character set to be wrong about.
            Err(ExchangeError::Refused(_)) => Ok(()),
            done => done,
        }
    }

    /// Prepares a statement. Returns the server's number for it.
    pub(super) async fn prepare(&mut self, key: &Arc<StatementKey>) -> Result<u32, ExchangeError> {
        let mut command = Vec::with_capacity(1 + key.text().len());
        command.push(Command::STMT_PREPARE);
        command.extend_from_slice(key.text());
        let head = self.converse(&command, Expect::Prepared).await?;
        let id = head.get(HEADER_LEN + 1..HEADER_LEN + 5).ok_or(Malformed("no statement id"))?;
        let id = u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
        if let Some(old) = self.prepared.insert(Arc::clone(key), id) {
            self.close_statement(old).await?;
        }
        Ok(id)
    }

    /// Closes a statement; there is no answer to that.
    pub(super) async fn close_statement(&mut self, id: u32) -> Result<(), ExchangeError> {
        let mut command = vec![Command::STMT_CLOSE];
        command.extend_from_slice(&id.to_le_bytes());
        self.conn.channel.write_message(&command, 0).await?;
        Ok(())
    }

    /// Runs a statement of our own that answers OK.
    pub async fn execute(&mut self, statement: &str) -> Result<(), ExchangeError> {
        self.execute_bytes(statement.as_bytes()).await
    }

    pub(super) async fn execute_bytes(&mut self, statement: &[u8]) -> Result<(), ExchangeError> {
        exchange(&mut self.conn, &[&[Command::QUERY], statement].concat()).await
    }

    /// Runs a command of our own that answers OK.
    pub async fn command(&mut self, command: &[u8]) -> Result<(), ExchangeError> {
        exchange(&mut self.conn, command).await
    }

    /// Follows a change of the capability flags in mid-session.
    pub fn change_profile(&mut self, change: impl Fn(u32) -> u32) {
        self.profile = change(self.profile);
        self.conn.capabilities = change(self.conn.capabilities);
    }

    /// Makes LAST_INSERT_ID() what it is for the session that uses the connection.
    pub async fn set_last_insert_id(&mut self, id: u64) -> Result<(), ExchangeError> {
        self.execute(&format!("SET last_insert_id={id}")).await
    }

    /// Asks what LAST_INSERT_ID() is. An OK packet does not tell: it also names ids given explicitly.
    pub async fn last_insert_id(&mut self) -> Result<u64, ExchangeError> {
        self.ask_number(b"SELECT LAST_INSERT_ID()").await
    }

    /// Waits until the server has applied these transactions. `false`: not within the limit.
    pub(super) async fn await_gtids(
        &mut self,
        gtids: &GtidSet,
        limit: Duration,
    ) -> Result<bool, ExchangeError> {
        let function = match gtids {
            GtidSet::MySql(_) => "WAIT_FOR_EXECUTED_GTID_SET",
            GtidSet::MariaDb(_) => "MASTER_GTID_WAIT",
        };
        let question = format!("SELECT {function}('{gtids}',{:.3})", limit.as_secs_f64());
        Ok(self.scalar(question.as_bytes()).await?.as_deref() == Some("0"))
    }

    /// Asked once where the session has not set it: a server's default is that of the connection's first day.
    pub(super) async fn transaction_isolation(&mut self) -> Result<String, ExchangeError> {
        let set = self.settings.variable("transaction_isolation");
        if let Some(set) = set.or_else(|| self.settings.variable("tx_isolation")) {
            return Ok(set.to_owned());
        }
        if let Some(known) = &self.isolation {
            return Ok(known.to_string());
        }
        let version = Version::parse(&self.conn.version);
        let question: &[u8] = match version.flavour {
            Flavour::MySql if version.number >= 80_000 => b"SELECT @@SESSION.transaction_isolation",
            Flavour::MySql | Flavour::MariaDb => b"SELECT @@SESSION.tx_isolation",
        };
        let told = self.scalar(question).await?.ok_or(Malformed("no isolation"))?;
        self.isolation = Some(told.as_str().into());
        Ok(told)
    }

    /// All that the server has committed.
    pub(super) async fn executed_gtids(&mut self) -> Result<GtidSet, ExchangeError> {
        let flavour = Version::parse(&self.conn.version).flavour;
        let question: &[u8] = match flavour {
            Flavour::MySql => b"SELECT @@GLOBAL.gtid_executed",
            Flavour::MariaDb => b"SELECT @@GLOBAL.gtid_current_pos",
        };
        let text = self.scalar(question).await?.unwrap_or_default().replace('\n', "");
        GtidSet::parse(flavour, &text).ok_or(Malformed("no set of transactions").into())
    }

    /// What this connection committed last; of MySQL, all that the server has: it tells no less.
    pub(super) async fn last_gtids(&mut self) -> Result<Option<GtidSet>, ExchangeError> {
        if Version::parse(&self.conn.version).flavour == Flavour::MySql {
            return self.executed_gtids().await.map(Some);
        }
        let text = self.scalar(b"SELECT @@last_gtid").await?.unwrap_or_default();
        Ok(GtidSet::parse(Flavour::MariaDb, &text).filter(|written| !written.is_empty()))
    }

    /// What a query of one row and column yields.
    pub async fn ask(&mut self, question: &[u8]) -> Result<Option<String>, ExchangeError> {
        self.scalar(question).await
    }

    /// The number that a query of one row and column yields.
    pub async fn ask_number(&mut self, question: &[u8]) -> Result<u64, ExchangeError> {
        let value = self.scalar(question).await?;
        value.and_then(|text| text.parse().ok()).ok_or(Malformed("no number").into())
    }

    /// Runs a query of our own that answers one row of one column.
    pub(super) async fn scalar(&mut self, statement: &[u8]) -> Result<Option<String>, ExchangeError> {
        let command = with_attributes_if_spoken(&self.conn, &[&[Command::QUERY], statement].concat());
        let reply = self.converse(&command, Expect::Results).await?;
        first_value(&reply, self.conn.capabilities)
    }

    /// Sends a command of our own and takes its whole reply, packets and all.
    async fn converse(&mut self, command: &[u8], expect: Expect) -> Result<Vec<u8>, ExchangeError> {
        let channel = &mut self.conn.channel;
        channel.write_message(command, 0).await?;
        let mut tracker = ResponseTracker::new(expect, self.conn.capabilities);
        let mut reply = Vec::new();
        loop {
            let progress = tracker.advance(channel.input())?;
            let (packet, is_error, last) = match progress.event {
                Event::Packet { kind, len, last } => (len, kind == wire::Kind::Err, last),
                Event::More => (0, false, false),
                Event::End => (0, false, true),
            };
            let taken = progress.forward + packet;
            if is_error {
                let at = progress.forward + HEADER_LEN;
                let error = ErrPacket::parse(&channel.input()[at..taken])?;
                channel.consume(taken);
                return Err(ExchangeError::Refused(error));
            }
            reply.extend_from_slice(&channel.input()[..taken]);
            channel.consume(taken);
            if last {
                return Ok(reply);
            }
            if progress.event == Event::More && channel.fill().await? == 0 {
                return Err(ExchangeError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// Switches the trackers on. A server that does not know one of the variables is asked without it: what it
/// does not know, no session can set there. (MySQL only warns.) Returns the statement it took.
async fn track(conn: &mut Conn, variables: &[&str], version: Version) -> Result<String, ExchangeError> {
    let mut variables = variables.to_vec();
    // The names are the same in both flavours, but MariaDB reports GTIDs as a variable.
    if version.flavour == Flavour::MariaDb {
        variables.push("last_gtid");
    }
    loop {
        let statement = tracking(&variables, version);
        let Err(error) = exchange(conn, &query(&statement)).await else { return Ok(statement) };
        let unknown = match &error {
            ExchangeError::Refused(refused) if refused.code == wire::code::UNKNOWN_SYSTEM_VARIABLE => {
                variables.iter().position(|name| refused.message.contains(&format!("'{name}'")))
            }
            _ => None,
        };
        match unknown {
            Some(at) => drop(variables.remove(at)),
            None => return Err(error),
        }
    }
}

fn tracking(variables: &[&str], version: Version) -> String {
    let variables = variables.join(",");
    let mut statement = format!(
        "SET session_track_schema=ON,session_track_state_change=ON,session_track_system_variables='{variables}'"
    );
    if version.flavour == Flavour::MySql {
        statement.push_str(",session_track_gtids=OWN_GTID");
    }
    statement
}

fn query(statement: &str) -> Vec<u8> {
    let mut command = Vec::with_capacity(1 + statement.len());
    command.push(Command::QUERY);
    command.extend_from_slice(statement.as_bytes());
    command
}

/// Sends a command that is answered by OK or ERR, and waits for the answer.
async fn exchange(conn: &mut Conn, command: &[u8]) -> Result<(), ExchangeError> {
    let command = with_attributes_if_spoken(conn, command);
    conn.channel.write_message(&command, 0).await?;
    let (payload, _) = conn.channel.read_message(ANSWER_LEN_MAX).await?;
    match payload.first() {
        Some(0xFF) => Err(ExchangeError::Refused(ErrPacket::parse(&payload)?)),
        Some(0xFE) if payload.len() < 6 => Ok(()),
        _ => {
            OkPacket::parse(&payload, conn.capabilities)?;
            Ok(())
        }
    }
}

/// The value in a reply of one column and one row: count, definition, perhaps EOF, row.
fn first_value(reply: &[u8], capabilities: u32) -> Result<Option<String>, ExchangeError> {
    let row_at = if capabilities & wire::capability::DEPRECATE_EOF != 0 { 2 } else { 3 };
    let mut rest = reply;
    for packet in 0.. {
        let header = Header::read(rest).ok_or(Malformed("no row"))?;
        let payload = rest.get(HEADER_LEN..HEADER_LEN + header.len).ok_or(Malformed("no row"))?;
        if packet == row_at {
            let value = wire::read::Cursor::new(payload).nullable_lenenc_bytes()?;
            return Ok(value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
        }
        rest = &rest[HEADER_LEN + header.len..];
    }
    Ok(None)
}

/// A connection that speaks query attributes expects their count before every statement.
fn with_attributes_if_spoken(conn: &Conn, command: &[u8]) -> Vec<u8> {
    let speaks = conn.capabilities & wire::capability::QUERY_ATTRIBUTES != 0;
    if !speaks || command.first() != Some(&Command::QUERY) {
        return command.to_vec();
    }
    let mut with = Vec::with_capacity(command.len() + 2);
    with.extend_from_slice(&[Command::QUERY, 0, 1]);
    with.extend_from_slice(&command[1..]);
    with
}

/// The character set a collation belongs to.
pub fn charset_of_collation(collation: u16) -> String {
    baseline(collation, 0).charset
}

/// What a session's character sets are that began with this collation.
pub fn baseline(collation: u16, capabilities: u32) -> Baseline {
    let named = mysql_common::collations::CollationId::from(collation);
    let named = mysql_common::collations::Collation::resolve(named);
    Baseline {
        charset: named.charset().to_owned(),
        collation: named.collation().to_owned(),
        ignores_space: capabilities & capability::IGNORE_SPACE != 0,
    }
}
