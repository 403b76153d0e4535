//! Every command but COM_QUERY: what is answered here, and what goes to which server.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::carried::Carried;
use super::query::Work;
use super::session::{End, Incoming, Session};
use super::state::{InsertId, LastResult};
use crate::backend::UserVariables;
use crate::flavour::Flavour;
use crate::route::SessionState;
use crate::sql::{Access, Judged, Kind, Statement, WriteBecause};
use crate::wire::{Command, ErrPacket, Expect, HEADER_LEN, capability, code, eof_packet};

impl Session {
    /// Serves one command to its end.
    pub(super) async fn serve(&mut self, incoming: Incoming) -> Result<(), End> {
        let primary = |name: &str| judged(name, Kind::Administer, Access::Write(WriteBecause::Session));
        if !incoming.whole && !may_be_long(incoming.command) {
            return self
                .end_with(ErrPacket::new(code::MALFORMED_PACKET, "Malformed communication packet"))
                .await;
        }
        match incoming.command {
            Command::Query => self.query(incoming).await,
            Command::StmtExecute => self.execute(incoming).await,
            Command::StmtBulkExecute if self.capability(capability::MARIADB_BULK) => {
                self.execute(incoming).await
            }
            Command::StmtPrepare => self.prepare_statement(incoming).await,
            Command::StmtSendLongData => self.send_long_data(incoming).await,
            Command::StmtClose => self.close_statement(incoming).await,
            Command::StmtReset => self.reset_statement(incoming).await,
            Command::StmtFetch => self.fetch(incoming).await,
            Command::Quit => Err(End::Quit),
            Command::Ping => {
                self.consume(incoming.len);
                self.answer_ok().await
            }
            Command::InitDb => self.init_db(incoming).await,
            Command::FieldList => {
                let list = judged("COM_FIELD_LIST", Kind::Show, Access::Read);
                self.serve_statement(&list, incoming, &Work::Plain(Expect::Rows)).await.map(drop)
            }
            Command::Statistics => self.statistics(incoming).await,
            Command::ProcessKill => Box::pin(self.process_kill(incoming)).await,
            Command::SetOption => self.set_option(incoming).await,
            Command::ResetConnection => self.reset_connection(incoming).await,
            Command::ChangeUser => self.change_user(incoming).await,
            Command::Refresh => self
                .serve_statement(&primary("COM_REFRESH"), incoming, &Work::Plain(Expect::Ok))
                .await
                .map(drop),
            Command::Debug => self
                .serve_statement(&primary("COM_DEBUG"), incoming, &Work::Plain(Expect::Ok))
                .await
                .map(drop),
            Command::ProcessInfo => {
                self.serve_statement(&process_info(), incoming, &Work::Plain(Expect::Results)).await.map(drop)
            }
            Command::StmtBulkExecute | Command::Refused(_) | Command::Unknown(_) => {
                let error = ErrPacket::new(code::UNKNOWN_COMMAND, "Unknown command");
                self.answer_error(incoming, &error).await
            }
        }
    }

    async fn init_db(&mut self, incoming: Incoming) -> Result<(), End> {
        if !incoming.whole {
            return Err(End::Protocol);
        }
        let schema: Arc<str> = String::from_utf8_lossy(&self.payload(incoming)[1..]).into();
        let init = judged("COM_INIT_DB", Kind::Use, Access::Write(WriteBecause::Session));
        let reply = self.serve_statement(&init, incoming, &Work::Plain(Expect::Ok)).await?;
        // The tracker says so too, unless the schema was chosen already.
        if reply.is_some_and(|reply| reply.outcome.error.is_none()) && self.wanted.settings.schema.is_none() {
            self.wanted.settings.schema = Some(Arc::clone(&schema));
            self.wanted.opening.schema = Some(schema).filter(|_| self.wanted.role.is_none());
            self.wanted.key.has_schema = true;
        }
        Ok(())
    }

    fn statement_id(&self, incoming: Incoming) -> Option<u32> {
        let id = self.payload(incoming).get(1..5)?;
        Some(u32::from_le_bytes([id[0], id[1], id[2], id[3]]))
    }

    async fn statistics(&mut self, incoming: Incoming) -> Result<(), End> {
        self.consume(incoming.len);
        let uptime = self.house.registry.millis(Instant::now()) / 1000;
        let questions = self.house.counters.statements.load(Relaxed);
        let text = format!(
            "Uptime: {uptime}  Threads: {}  Questions: {questions}  Slow queries: 0  Opens: 0  \
             Flush tables: 0  Open tables: 0  Queries per second avg: {:.3}",
            self.house.registry.len(),
            questions as f64 / uptime.max(1) as f64
        );
        self.write(text.as_bytes(), 1).await
    }

    async fn process_kill(&mut self, incoming: Incoming) -> Result<(), End> {
        let id = self.statement_id(incoming);
        self.consume(incoming.len);
        match id {
            Some(id) => self.kill(u64::from(id), false).await,
            None => Err(End::Protocol),
        }
    }

    /// Multi-statements on or off. They are a matter of the connection's capabilities.
    async fn set_option(&mut self, incoming: Incoming) -> Result<(), End> {
        let option = self.payload(incoming).get(1..3).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        let on = match option {
            Some(0) => true,
            Some(1) => false,
            _ => {
                let error = ErrPacket::new(code::UNKNOWN_COMMAND, "Unknown command");
                return self.answer_error(incoming, &error).await;
            }
        };
        let change = |flags: u32| {
            if on { flags | capability::MULTI_STATEMENTS } else { flags & !capability::MULTI_STATEMENTS }
        };
        if let Some(lease) = &mut self.held {
            let command = self.client.input()[HEADER_LEN..incoming.len].to_vec();
            if lease.command(&command).await.is_err() {
                return Err(End::StateLost);
            }
            lease.change_profile(change);
        }
        self.capabilities = change(self.capabilities);
        self.wanted.key.profile = change(self.wanted.key.profile);
        self.consume(incoming.len);
        if self.capability(capability::DEPRECATE_EOF) {
            return self.answer_ok().await;
        }
        self.write(&eof_packet(self.status(), 0), 1).await
    }

    async fn reset_connection(&mut self, incoming: Incoming) -> Result<(), End> {
        self.consume(incoming.len);
        Box::pin(self.learn_schema()).await;
        self.start_over();
        self.answer_ok().await
    }

    async fn change_user(&mut self, incoming: Incoming) -> Result<(), End> {
        let payload = self.payload(incoming).to_vec();
        self.consume(incoming.len);
        let collation = self.wanted.key.collation;
        Err(End::ChangeUser { payload, sequence: 1, capabilities: self.capabilities, collation })
    }

    /// A reset keeps the schema, which a session may have chosen not to be told of.
    async fn learn_schema(&mut self) {
        let Some(lease) = self.held.as_mut().filter(|lease| lease.trackers_are_clients()) else { return };
        // A connection lost meanwhile tells nothing more.
        if let Ok(schema) = lease.schema().await {
            self.wanted.settings.schema = schema.map(Arc::from);
            self.wanted.key.has_schema = self.wanted.settings.schema.is_some();
        }
    }

    /// Everything but user and schema is as after login.
    pub(super) fn start_over(&mut self) {
        self.give_back_held();
        self.prepared.clear();
        self.carried = Carried::default();
        self.wanted.user_variables = UserVariables::default();
        let defaults = self.house.defaults();
        let autocommit = defaults.as_ref().is_none_or(|defaults| defaults.autocommit);
        self.state = SessionState { autocommit, ..SessionState::default() };
        self.last = LastResult::default();
        self.insert_id = InsertId::Known(0);
        self.consistency = self.house.routing.consistency_of(&self.wanted.key.user, &self.house.listen);
        self.wanted.settings = crate::backend::Settings::with_schema(self.wanted.settings.schema.take());
        if self.version.flavour == Flavour::MariaDb
            && self.capability(capability::IGNORE_SPACE)
            && let Some(defaults) = &defaults
        {
            // It forgets the mode that the client asked for at login; connections are given it again.
            self.wanted.settings.set("sql_mode", &defaults.sql_mode);
        }
        if let Some(defaults) = defaults.filter(|_| self.version.flavour == Flavour::MySql) {
            // MySQL forgets the character set named at login; MariaDB goes back to it.
            let collation = self.wanted.key.collation;
            self.wanted.settings.set_names(&defaults.character_set, &defaults.collation, collation);
        }
        self.read_settings();
        self.show_rest(None);
    }

    pub(super) async fn answer_error(&mut self, incoming: Incoming, error: &ErrPacket) -> Result<(), End> {
        self.drop_command(incoming).await?;
        self.write(&error.payload(), 1).await
    }
}

/// Whether a command too long to hold may be sense: what is answered here without a look at the rest would
/// leave the rest to be taken for commands.
fn may_be_long(command: Command) -> bool {
    use Command::{Query, Refused, StmtBulkExecute, StmtExecute, StmtPrepare, StmtSendLongData, Unknown};
    matches!(
        command,
        Query | StmtPrepare | StmtExecute | StmtSendLongData | StmtBulkExecute | Refused(_) | Unknown(_)
    )
}

/// As the statement that tells the same.
fn process_info() -> Judged {
    let name = "COM_PROCESS_INFO";
    let mut judged = judged(name, Kind::Show, Access::Write(WriteBecause::PrimaryOnly(name.into())));
    let statement = Arc::make_mut(&mut judged.statement);
    statement.needs.process_list = true;
    judged
}

/// A command that is no statement, in a statement's clothes.
pub(super) fn judged(name: &str, kind: Kind, access: Access) -> Judged {
    let statement = Statement::bare(kind, access, name);
    Judged { statement: Arc::new(statement), hint: None, consistency: None }
}
