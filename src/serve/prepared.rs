//! The binary protocol's prepared statements. A client's numbers are the proxy's own: each execution goes where
//! the statement belongs at that moment, and is prepared there if it is not yet.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::query::Work;
use super::relay::{self, Reply};
use super::session::{End, Incoming, Session};
use super::state::Follow;
use crate::backend::{ExchangeError, Lease, StatementKey};
use crate::sql::{self, Access, Judged, Kind, PinCause, PinSet, WriteBecause};
use crate::wire::{
    Command, ErrPacket, ExecuteHead, Expect, HEADER_LEN, Malformed, STATEMENT_ID, code, push_packet, status,
};

/// MariaDB's way to name the statement prepared last.
const LAST_PREPARED: u32 = u32::MAX;

/// The statements of one session.
#[derive(Default)]
pub(super) struct Prepared {
    by_id: HashMap<u32, Statement>,
    last: u32,
    /// Statements whose parameter values have been sent ahead.
    long_data: HashSet<u32>,
    /// Statements with an open cursor.
    cursors: HashSet<u32>,
}

struct Statement {
    key: Arc<StatementKey>,
    judged: Arc<Judged>,
    parameters: u16,
    /// As the client gave them last. It may leave them out from then on.
    types: Option<Arc<[u8]>>,
}

/// A command about a statement, as far as a server must be able to make sense of it.
pub(super) struct About {
    /// The client's number.
    pub(super) id: u32,
    pub(super) key: Arc<StatementKey>,
    pub(super) expect: Expect,
    /// Of COM_STMT_EXECUTE.
    execution: Option<Execution>,
}

struct Execution {
    head: ExecuteHead,
    types: Option<Arc<[u8]>>,
}

impl About {
    pub(super) fn wants_cursor(&self) -> bool {
        self.execution.as_ref().is_some_and(|execution| execution.head.wants_cursor)
    }

    /// It is COM_STMT_EXECUTE.
    pub(super) fn runs_statement(&self) -> bool {
        self.execution.is_some()
    }
}

impl Prepared {
    pub(super) fn clear(&mut self) {
        let last = self.last;
        // Numbers go on, so that one of an old statement never means a new one.
        *self = Self { last, ..Self::default() };
    }

    /// The held connection is gone, and what was left on it. The statements themselves are the proxy's.
    pub(super) fn forget_connection(&mut self) {
        self.long_data.clear();
        self.cursors.clear();
    }

    /// A statement has turned out to be something else than it was judged to be.
    pub(super) fn judge_anew(&mut self, id: u32, judged: &Judged) {
        if let Some(statement) = self.by_id.get_mut(&id) {
            statement.judged = Arc::new(judged.clone());
        }
    }

    /// The key for a statement of that number: a copy of its own, while another of the same text has a cursor or
    /// values sent ahead. The server would end the one's cursor with the other's execution.
    fn key_apart(&self, id: u32, key: Arc<StatementKey>) -> Arc<StatementKey> {
        let occupied = self.cursors.union(&self.long_data).filter(|other| **other != id);
        let mut keys = occupied.filter_map(|other| self.by_id.get(other)).map(|statement| &statement.key);
        if keys.any(|other| *other == key) { Arc::new(key.copy(id)) } else { key }
    }

    /// Sees to it that the command to come touches no other statement's cursor or values.
    fn set_apart(&mut self, id: u32) {
        if self.cursors.is_empty() && self.long_data.is_empty() {
            return;
        }
        let Some(key) = self.by_id.get(&id).map(|statement| Arc::clone(&statement.key)) else { return };
        let key = self.key_apart(id, key);
        if let Some(statement) = self.by_id.get_mut(&id) {
            statement.key = key;
        }
    }

    fn next_id(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && self.last != LAST_PREPARED && !self.by_id.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    fn resolve(&self, id: u32) -> u32 {
        if id == LAST_PREPARED { self.last } else { id }
    }

    /// What the end of a command about a statement leaves on the connection.
    pub(super) fn observe(&mut self, about: &About, reply: &Reply) {
        let flags = reply.outcome.status;
        if about.execution.is_some() {
            self.long_data.remove(&about.id);
            self.cursors.remove(&about.id);
        }
        if about.expect == Expect::Ok {
            self.long_data.remove(&about.id);
            self.cursors.remove(&about.id);
        }
        let may_have_cursor = about.expect == Expect::Cursor || about.expect == Expect::Rows;
        if may_have_cursor && reply.outcome.error.is_none() && flags & status::CURSOR_EXISTS != 0 {
            self.cursors.insert(about.id);
        }
        if reply.outcome.error.is_none() && flags & status::LAST_ROW_SENT != 0 {
            self.cursors.remove(&about.id);
        }
    }

    /// The causes for which the connection must be kept now.
    pub(super) fn pins(&self) -> PinSet {
        let mut pins = PinSet::EMPTY;
        if !self.long_data.is_empty() {
            pins.insert(PinCause::LongData);
        }
        if !self.cursors.is_empty() {
            pins.insert(PinCause::Cursor);
        }
        pins
    }
}

impl Session {
    pub(super) async fn prepare_statement(&mut self, incoming: Incoming) -> Result<(), End> {
        if !incoming.whole {
            let message = "Got a packet bigger than 'max_allowed_packet' bytes";
            return self.answer_error(incoming, &ErrPacket::new(code::PACKET_TOO_LARGE, message)).await;
        }
        let text = &self.payload(incoming)[1..];
        let schema = self.wanted.settings.schema.as_deref();
        let inner = self.house.judge.judge(text, &self.dialect, schema, &self.house.catalog.load());
        if let Some(error) = self.hint_refused(&inner).or_else(|| self.assignment_refused(&inner, text)) {
            return self.answer_error(incoming, &error).await;
        }
        let own_id = self.info.id.to_string();
        let known = sql::Replacements { connection_id: Some(&own_id), ..sql::Replacements::default() };
        let asks = inner.statement.needs.connection_id;
        let text = match asks.then(|| sql::substitute_calls(text, &self.dialect, &known)).flatten() {
            Some(answered) => Cow::Owned(answered),
            None => Cow::Borrowed(text),
        };
        let names_variables = inner.statement.needs.user_variable;
        let variables = names_variables.then(|| self.wanted.user_variables.shape());
        let key = self.house.statements.key(&text, &self.wanted.settings, variables);
        let id = self.prepared.next_id();
        let key = self.prepared.key_apart(id, key);
        let mut routed =
            super::commands::judged("COM_STMT_PREPARE", Kind::Prepare, inner.statement.access.clone());
        routed.hint.clone_from(&inner.hint);
        if names_variables {
            // It is prepared for the types they have now.
            Arc::make_mut(&mut routed.statement).needs.user_variable = true;
        }
        routed.consistency.clone_from(&inner.consistency);
        if inner.statement.needs.proxy_variable {
            Arc::make_mut(&mut routed.statement).needs.proxy_variable = true;
        }
        if !inner.statement.pins.is_empty() && inner.statement.access == Access::Read {
            // It will run on the primary, so that is where it must make sense.
            Arc::make_mut(&mut routed.statement).access = Access::Write(WriteBecause::Session);
        }
        let work = Work::Prepare { key: Arc::clone(&key), id };
        let reply = self.serve_statement(&routed, incoming, &work).await?;
        if let Some(Reply { prepared: Some(head), .. }) = reply {
            let parameters = head.parameters;
            self.prepared
                .by_id
                .insert(id, Statement { key, judged: Arc::new(inner), parameters, types: None });
        }
        Ok(())
    }

    pub(super) async fn execute(&mut self, incoming: Incoming) -> Result<(), End> {
        let capabilities = self.capabilities;
        let payload = &self.client.input()[HEADER_LEN..incoming.len];
        let id = self.prepared.resolve(statement_id(payload).unwrap_or(0));
        self.prepared.set_apart(id);
        let Some(statement) = self.prepared.by_id.get_mut(&id) else {
            let to = if incoming.command == Command::StmtBulkExecute {
                "mysqld_stmt_bulk_execute"
            } else {
                "mysqld_stmt_execute"
            };
            return self.unknown_statement(incoming, to).await;
        };
        let head = match incoming.command {
            Command::StmtBulkExecute => ExecuteHead::parse_bulk(payload, statement.parameters),
            _ => ExecuteHead::parse(payload, statement.parameters, capabilities),
        };
        let head = match head {
            Ok(head) => head,
            Err(malformed) => return self.malformed(incoming, malformed).await,
        };
        if let Some(given) = &head.types {
            let given = &payload[given.clone()];
            if statement.types.as_deref() != Some(given) {
                statement.types = Some(given.into());
            }
        }
        let judged = Arc::clone(&statement.judged);
        if judged.statement.access == Access::Write(WriteBecause::ProxyVariable) {
            let types = statement.types.clone().unwrap_or_default();
            let text = statement.key.text().to_vec();
            let values = head.texts(payload, &types, head.names).ok();
            let values = values.filter(|_| incoming.whole && !self.prepared.long_data.contains(&id));
            return Box::pin(self.assign_prepared(&judged, &text, values, incoming)).await;
        }
        let wants_cursor = head.wants_cursor;
        let expect = if wants_cursor { Expect::Cursor } else { Expect::Results };
        let execution = Execution { head, types: statement.types.clone() };
        let about = About { id, key: Arc::clone(&statement.key), expect, execution: Some(execution) };
        if wants_cursor {
            let judged = tied_by(judged, PinCause::Cursor);
            return self.serve_statement(&judged, incoming, &Work::About(about)).await.map(drop);
        }
        self.serve_statement(&judged, incoming, &Work::About(about)).await.map(drop)
    }

    /// COM_STMT_FETCH: the cursor is where it was opened.
    pub(super) async fn fetch(&mut self, incoming: Incoming) -> Result<(), End> {
        let id = self.prepared.resolve(statement_id(self.payload(incoming)).unwrap_or(0));
        match self.prepared.by_id.get(&id) {
            Some(statement) if self.prepared.cursors.contains(&id) => {
                let about =
                    About { id, key: Arc::clone(&statement.key), expect: Expect::Rows, execution: None };
                self.on_held(incoming, "COM_STMT_FETCH", about).await
            }
            Some(_) => {
                let message = format!("The statement ({id}) has no open cursor.");
                self.answer_error(incoming, &ErrPacket::new(code::STMT_HAS_NO_OPEN_CURSOR, message)).await
            }
            None => self.unknown_statement(incoming, "mysqld_stmt_fetch").await,
        }
    }

    /// COM_STMT_RESET: drops values sent ahead and the cursor.
    pub(super) async fn reset_statement(&mut self, incoming: Incoming) -> Result<(), End> {
        let id = self.prepared.resolve(statement_id(self.payload(incoming)).unwrap_or(0));
        let Some(statement) = self.prepared.by_id.get(&id) else {
            return self.unknown_statement(incoming, "mysqld_stmt_reset").await;
        };
        if self.prepared.cursors.contains(&id) || self.prepared.long_data.contains(&id) {
            let about = About { id, key: Arc::clone(&statement.key), expect: Expect::Ok, execution: None };
            return self.on_held(incoming, "COM_STMT_RESET", about).await;
        }
        self.drop_command(incoming).await?;
        self.answer_ok().await
    }

    async fn on_held(&mut self, incoming: Incoming, name: &str, about: About) -> Result<(), End> {
        let judged = super::commands::judged(name, Kind::Prepare, Access::Write(WriteBecause::Session));
        self.serve_statement(&judged, incoming, &Work::About(about)).await.map(drop)
    }

    /// COM_STMT_CLOSE: has no answer. Servers keep the statement for whoever uses it next.
    pub(super) async fn close_statement(&mut self, incoming: Incoming) -> Result<(), End> {
        let id = self.prepared.resolve(statement_id(self.payload(incoming)).unwrap_or(0));
        self.drop_command(incoming).await?;
        let left_something = self.prepared.cursors.remove(&id) | self.prepared.long_data.remove(&id);
        if let Some(statement) = self.prepared.by_id.remove(&id)
            && (left_something || statement.key.is_copy())
            && let Some(lease) = &mut self.held
            // A connection lost here is noticed by the next command.
            && lease.close_prepared(&statement.key).await.is_err()
        {
            tracing::debug!(session = self.info.id, "connection lost while closing a statement");
        }
        self.state.pins = self.state.pins.without(DATA_AND_CURSORS).union(self.prepared.pins());
        self.show_pins(self.state.pins);
        if !self.state.holds_connection() && self.follow == Follow::No {
            self.let_go().await;
            self.show_rest(None);
        }
        Ok(())
    }

    /// COM_STMT_SEND_LONG_DATA: has no answer. The value must be where the statement will be executed, so
    /// the connection is chosen now and kept until then.
    pub(super) async fn send_long_data(&mut self, incoming: Incoming) -> Result<(), End> {
        let id = self.prepared.resolve(statement_id(self.payload(incoming)).unwrap_or(0));
        self.prepared.set_apart(id);
        let Some(statement) = self.prepared.by_id.get(&id) else { return self.drop_command(incoming).await };
        let key = Arc::clone(&statement.key);
        let judged = tied_by(Arc::clone(&statement.judged), PinCause::LongData);
        let Ok((_, mut lease)) = self.checkout(&judged, &[], std::time::Instant::now()).await else {
            // There is no answer in which to say so; executing without the value would be wrong.
            return Err(End::StateLost);
        };
        let settings = self.wanted.settings.clone();
        let Ok(server_id) = lease.prepared_id(&key, &settings, self.known_variables()).await else {
            return Err(End::StateLost);
        };
        self.name_statement(server_id);
        // A server lost meanwhile is noticed by the command that has an answer.
        relay::stream_command(&mut self.client, &mut lease).await.map_err(End::ClientGone)?;
        self.prepared.long_data.insert(id);
        self.state.pins.insert(PinCause::LongData);
        self.show_rest(Some(&lease));
        self.hold(lease);
        Ok(())
    }

    /// Makes a command about a statement mean the same to the server that will get it: its own number for the
    /// statement, and the types of the parameters if it has not been told them. `None`: the input will do.
    pub(super) async fn fit_to_server(
        &mut self,
        about: &About,
        incoming: Incoming,
        lease: &mut Lease,
    ) -> Result<Option<Vec<u8>>, ExchangeError> {
        let settings = self.wanted.settings.clone();
        let server_id = lease.prepared_id(&about.key, &settings, self.known_variables()).await?;
        self.name_statement(server_id);
        let Some(Execution { head, types: Some(types) }) = &about.execution else { return Ok(None) };
        if lease.knows_types(&about.key, types) {
            return Ok(None);
        }
        lease.tell_types(&about.key, types);
        if head.types.is_some() {
            return Ok(None);
        }
        let with_types = if incoming.whole {
            head.with_types(self.payload(incoming), types)
        } else {
            // Types cannot be put into a command that streams past: this one must be held after all.
            let limit = self.house.limits.max_allowed_packet;
            let (payload, _) = self.client.read_message(limit).await?;
            head.with_types(&payload, types)
        };
        Ok(with_types.map(|payload| message(&payload)))
    }

    /// COM_STMT_PREPARE as it is kept, where that is not as it came.
    pub(super) fn kept_text(&self, key: &StatementKey, incoming: Incoming) -> Option<Vec<u8>> {
        let payload = self.payload(incoming);
        (payload.get(1..) != Some(key.text())).then(|| message(&[&payload[..1], key.text()].concat()))
    }

    /// Puts a server's number into the command at the front of the input.
    fn name_statement(&mut self, server_id: u32) {
        let at = HEADER_LEN + STATEMENT_ID.start..HEADER_LEN + STATEMENT_ID.end;
        if let Some(bytes) = self.client.input_mut().get_mut(at) {
            bytes.copy_from_slice(&server_id.to_le_bytes());
        }
    }

    async fn unknown_statement(&mut self, incoming: Incoming, to: &str) -> Result<(), End> {
        let id = statement_id(self.payload(incoming)).unwrap_or(0);
        let message = format!("Unknown prepared statement handler ({id}) given to {to}");
        self.answer_error(incoming, &ErrPacket::new(code::UNKNOWN_STMT_HANDLER, message)).await
    }

    async fn malformed(&mut self, incoming: Incoming, _: Malformed) -> Result<(), End> {
        let error = ErrPacket::new(code::MALFORMED_PACKET, "Malformed communication packet.");
        self.answer_error(incoming, &error).await
    }
}

/// The causes that follow from a session's prepared statements alone.
pub(super) const DATA_AND_CURSORS: PinSet =
    PinSet::of(PinCause::LongData).union(PinSet::of(PinCause::Cursor));

/// The statement as one that ties the session to its connection, so that it runs where the session can write.
fn tied_by(mut judged: Arc<Judged>, cause: PinCause) -> Arc<Judged> {
    Arc::make_mut(&mut Arc::make_mut(&mut judged).statement).pins.insert(cause);
    judged
}

fn message(payload: &[u8]) -> Vec<u8> {
    let mut packets = Vec::with_capacity(payload.len() + HEADER_LEN);
    push_packet(&mut packets, payload, 0);
    packets
}

fn statement_id(payload: &[u8]) -> Option<u32> {
    let id = payload.get(STATEMENT_ID)?;
    Some(u32::from_le_bytes([id[0], id[1], id[2], id[3]]))
}
