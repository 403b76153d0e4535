//! THE QUERY LINE: classify, route, checkout, relay, release.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::checkout::TRIES_MAX;
use super::effects::{TextWork, leaves_something};
use super::prepared::{About, DATA_AND_CURSORS};
use super::registry::Activity;
use super::relay::{self, Failure, Refused, Reply, Request, Withheld};
use super::session::{End, Incoming, Session};
use super::state::{Follow, InsertId};
use crate::backend::{ExchangeError, Lease, StatementKey};
use crate::route::{Because, Destination, Route, Transaction};
use crate::sql::{self, Access, Effect, Judged, Kind, PinCause, PinSet};
use crate::topology::ServerId;
use crate::wire::{Command, Expect, HEADER_LEN, code, push_packet};

/// What sort of command carries the statement.
pub(super) enum Work {
    /// It means the same to every server.
    Plain(Expect),
    /// COM_STMT_PREPARE, and the number the client is to know the statement by.
    Prepare { key: Arc<StatementKey>, id: u32 },
    /// It names a prepared statement.
    About(About),
    /// It is about a statement prepared as text.
    Text(TextWork),
}

impl Work {
    pub(super) fn expect(&self) -> Expect {
        match self {
            Work::Plain(expect) => *expect,
            Work::Prepare { .. } => Expect::Prepared,
            Work::Text(_) => Expect::Results,
            Work::About(about) => about.expect,
        }
    }

    pub(super) fn wants_cursor(&self) -> bool {
        matches!(self, Work::About(about) if about.wants_cursor())
    }

    fn prepared_as(&self) -> Option<u32> {
        match self {
            Work::Prepare { id, .. } => Some(*id),
            _ => None,
        }
    }
}

impl Session {
    /// COM_QUERY.
    pub(super) async fn query(&mut self, incoming: Incoming) -> Result<(), End> {
        let Ok(range) = self.statement_of(incoming) else { return Err(End::Protocol) };
        let text = &self.client.input()[range];
        let schema = self.wanted.settings.schema.as_deref();
        let catalog = self.house.catalog.load();
        let judged = if incoming.whole {
            self.house.judge.judge(text, &self.dialect, schema, &catalog)
        } else {
            self.house.judge.judge_truncated(text, &self.dialect, schema, &catalog)
        };
        if let Kind::Kill { query_only, id: Some(id) } = judged.statement.kind {
            self.consume(incoming.len);
            // Boxed, as all that is rare on this line: every session's memory would be larger by it.
            return Box::pin(self.kill(id, query_only)).await;
        }
        if let Kind::Kill { id: None, .. } = judged.statement.kind {
            return Box::pin(self.kill_by_expression(incoming)).await;
        }
        if self.is_aside(&judged) {
            return Box::pin(self.serve_aside(&judged, incoming)).await;
        }
        if judged.statement.effect.is_some() && incoming.whole {
            return Box::pin(self.query_with_effect(judged, incoming)).await;
        }
        self.serve_statement(&judged, incoming, &Work::Plain(Expect::Results)).await.map(drop)
    }

    /// Runs one command that holds a statement, wherever it belongs. Returns what the server answered.
    pub(super) async fn serve_statement(
        &mut self,
        judged: &Judged,
        incoming: Incoming,
        work: &Work,
    ) -> Result<Option<Reply>, End> {
        let started = Instant::now();
        self.count_statement();
        if self.split.is_some() && Box::pin(self.serve_split(judged, incoming, work, started)).await? {
            return Ok(None);
        }
        let mut judged = Cow::Borrowed(judged);
        let mut avoid: Vec<ServerId> = Vec::new();
        let mut prepared_again = false;
        loop {
            if !avoid.is_empty() && self.info.is_killed() {
                return Err(End::KilledAtWork);
            }
            let (route, mut lease) = match self.checkout(&judged, &avoid, started).await {
                Ok(leased) => leased,
                Err(refusal) => {
                    self.refuse(incoming, refusal).await?;
                    return Ok(None);
                }
            };
            let server = lease.pool().server;
            let may_repeat = incoming.whole && self.state.may_repeat(&judged.statement);
            let mut request = self.request(work, incoming, server, may_repeat);
            request.may_prepare_again &= !prepared_again;
            request.may_lack = judged.hint.is_none();
            self.show_active(&judged, &route, &lease, started);
            match self.exchange(work, &judged, incoming, route, &mut lease, &mut request).await {
                outcome if request.lacked(&outcome) => {
                    Arc::make_mut(&mut judged.to_mut().statement).needs.newest = true;
                    self.keep_or_release(lease);
                }
                Ok(Reply { withheld: Some(withheld), .. }) => {
                    prepared_again |= withheld == Withheld::Unprepared;
                    self.take_back(withheld, &mut judged, work, incoming, lease);
                }
                Ok(reply) => {
                    self.observe_statement(work, &judged, incoming, request.input_len, &reply);
                    self.consume(request.input_len);
                    self.finish(work, &judged, route, lease, &reply, started).await;
                    return Ok(Some(reply));
                }
                Err(Failure::Refused(error)) => {
                    self.keep_or_release(lease);
                    self.answer_error(incoming, &error).await?;
                    return Ok(None);
                }
                Err(Failure::Client(error)) => {
                    self.abandon(lease);
                    return Err(End::ClientGone(error));
                }
                Err(Failure::Abandoned(error)) => {
                    self.abandon_at_work(&judged.statement.access, lease);
                    return Err(End::ClientGone(error));
                }
                Err(Failure::Server { .. }) if self.info.is_killed() => return Err(End::KilledAtWork),
                Err(Failure::Server { answered: false, .. }) if may_repeat && avoid.len() < TRIES_MAX => {
                    self.house.counters.repeated.fetch_add(1, Relaxed);
                    avoid.push(server);
                }
                // What was not sent can be sent once more, even to write.
                Err(Failure::Server { .. }) if !request.sent && self.may_send_again(incoming, &avoid) => {
                    avoid.push(server);
                }
                Err(Failure::Server { error, answered, next_sequence }) => {
                    self.consume(request.input_len);
                    drop(lease);
                    let loss = self.loss(&judged, answered);
                    self.report_loss(server, loss, &error, next_sequence).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// The server's refusal was withheld: the statement is to be tried otherwise.
    fn take_back(
        &mut self,
        withheld: Withheld,
        judged: &mut Cow<'_, Judged>,
        work: &Work,
        incoming: Incoming,
        mut lease: Lease,
    ) {
        match withheld {
            Withheld::ReadOnly => {
                self.learn_write(judged, work, incoming);
                lease.release_clean();
            }
            Withheld::Unprepared => {
                if let Work::About(about) = work {
                    lease.forget_prepared(&about.key);
                }
                self.keep_or_release(lease);
            }
            Withheld::Lacking => self.keep_or_release(lease),
        }
    }

    pub(super) fn request(
        &self,
        work: &Work,
        incoming: Incoming,
        server: ServerId,
        may_repeat: bool,
    ) -> Request {
        let on_primary = self.house.topology.load().primary == Some(server);
        let refusal = match self.state.transaction {
            _ if on_primary => Refused::Pass,
            Transaction::ReadOnly => Refused::AsReadOnlyTransaction,
            _ if may_repeat => Refused::Withhold,
            _ => Refused::Pass,
        };
        Request {
            input_len: if incoming.whole { incoming.len } else { 0 },
            instead: None,
            expect: work.expect(),
            refusal,
            prepared_as: work.prepared_as(),
            may_prepare_again: incoming.whole && matches!(work, Work::About(_)),
            may_repeat,
            may_lack: false,
            reply_sequence: 1,
            list: None,
            sent: false,
        }
    }

    /// Sends the command as this connection must be sent it, and passes the reply on.
    pub(super) async fn exchange(
        &mut self,
        work: &Work,
        judged: &Judged,
        incoming: Incoming,
        route: Route,
        lease: &mut Lease,
        request: &mut Request,
    ) -> Result<Reply, Failure> {
        request.instead = match work {
            Work::About(about) => match self.fit_to_server(about, incoming, lease).await {
                Ok(instead) => instead,
                Err(error) => return Err(self.unfit(error, incoming, request).await),
            },
            Work::Text(text) => match Box::pin(self.fit_text(text, incoming, lease)).await {
                Ok(instead) => instead,
                Err(error) => return Err(self.unfit(error, incoming, request).await),
            },
            Work::Plain(_)
                if judged.statement.needs.prepared_text
                    && !judged.statement.effect.as_deref().is_some_and(Effect::is_of_text) =>
            {
                match Box::pin(self.settle_texts(lease)).await {
                    Ok(()) => self.substitute(judged, incoming, route),
                    Err(error) => return Err(self.unfit(error, incoming, request).await),
                }
            }
            Work::Plain(_) => self.substitute(judged, incoming, route),
            Work::Prepare { key, .. } => self.kept_text(key, incoming),
        };
        if judged.statement.needs.process_list {
            request.list = self.process_list(judged, work, lease, request.reply_sequence);
        }
        request.sent = true;
        let acknowledged = &self.house.acknowledged;
        // A long command is passed on as it comes, unless it had to be held and changed.
        if !incoming.whole && request.instead.is_none() {
            let streamed = relay::stream_command(&mut self.client, lease).await;
            request.reply_sequence = streamed.map_err(Failure::Client)?;
            return relay::pass_reply(&mut self.client, self.capabilities, acknowledged, lease, request)
                .await;
        }
        relay::exchange(&mut self.client, self.capabilities, acknowledged, lease, request).await
    }

    /// The command could not be made to fit this server; it has not been sent.
    async fn unfit(&mut self, error: ExchangeError, incoming: Incoming, request: &mut Request) -> Failure {
        match error {
            ExchangeError::Refused(refused) if refused.code != code::SERVER_SHUTDOWN => {
                return Failure::Refused(refused);
            }
            _ => {}
        }
        if !incoming.whole {
            // Nobody will be sent it; left in the input it would be served a second time.
            match self.skip_command(incoming).await {
                Ok(sequence) => request.reply_sequence = sequence,
                Err(_) => return Failure::Client(std::io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let error = match error {
            ExchangeError::Lost(error) => error,
            other => std::io::Error::other(other),
        };
        Failure::Server { error, answered: false, next_sequence: Some(request.reply_sequence) }
    }

    /// For a connection on which nothing happened that could be seen.
    pub(super) fn keep_or_release(&mut self, lease: Lease) {
        if self.state.holds_connection() { self.hold(lease) } else { lease.release_clean() }
    }

    /// The command with those calls replaced whose value only the proxy knows. `None`: as it is.
    fn substitute(&self, judged: &Judged, incoming: Incoming, route: Route) -> Option<Vec<u8>> {
        let needs = judged.statement.needs;
        let asks = needs.row_count || needs.found_rows || needs.connection_id;
        if !asks || !incoming.whole || incoming.command != Command::Query {
            return None;
        }
        let (row_count, found_rows) = (self.last.row_count.to_string(), self.last.found_rows.to_string());
        let connection_id = self.info.id.to_string();
        // A held connection knows the others itself, unless something came in between: a question of ours, or a read
        // that ran elsewhere.
        let held = route.to == Destination::Held && !self.answered_aside && !self.last.was_asked;
        let replacements = sql::Replacements {
            row_count: (!held).then_some(row_count.as_str()),
            found_rows: (!held).then_some(found_rows.as_str()),
            connection_id: Some(&connection_id),
            last_insert_id: None,
        };
        let range = self.statement_of(incoming).ok()?;
        let input = self.client.input();
        let statement = sql::substitute_calls(&input[range.clone()], &self.dialect, &replacements)?;
        let mut payload = input[HEADER_LEN..range.start].to_vec();
        payload.extend_from_slice(&statement);
        let mut packet = Vec::with_capacity(payload.len() + HEADER_LEN);
        push_packet(&mut packet, &payload, 0);
        Some(packet)
    }

    /// Takes in the end of a statement, and keeps or gives back its connection.
    async fn finish(
        &mut self,
        work: &Work,
        judged: &Judged,
        route: Route,
        mut lease: Lease,
        reply: &Reply,
        started: Instant,
    ) {
        let failed = reply.outcome.error.is_some();
        self.record(judged, route, &lease, reply, started);
        if leaves_something(&judged.statement, work) {
            // Before the settings are taken in: literals were read under the old ones.
            Box::pin(self.take_effect(&judged.statement, work, &mut lease, reply.outcome.error.as_ref()))
                .await;
        }
        self.last.observe(&reply.outcome);
        if reply.collation_untold {
            Box::pin(self.learn_collation(judged, &mut lease, reply)).await;
        }
        self.adopt_settings(&lease);
        self.answered_aside = false;
        if self.house.routing.transaction_split && matches!(judged.statement.kind, Kind::Begin { .. }) {
            Box::pin(self.begin_split(judged, &mut lease)).await;
        }
        self.note_written(reply);
        if self.hides_write(judged, reply, &lease) {
            Box::pin(self.note_hidden_write(&mut lease)).await;
        }
        self.pin_what_hides(judged, &lease);
        match (work, &reply.prepared) {
            (Work::About(about), _) => {
                self.prepared.observe(about, reply);
                self.state.pins = self.state.pins.without(DATA_AND_CURSORS).union(self.prepared.pins());
            }
            // A connection lost after its answer is noticed by whoever uses it next.
            (Work::Prepare { key, .. }, Some(head)) => drop(lease.remember_prepared(key, head.id).await),
            _ => {}
        }
        if reply.outcome.last_insert_id > 0 || self.state.pins.contains(PinCause::LastInsertId) {
            self.insert_id = InsertId::OnHeldConnection;
            // It is asked for before the connection goes, as after an INSERT.
            self.show_pins(self.state.pins);
            self.state.pins = self.state.pins.without(PinSet::of(PinCause::LastInsertId));
        }
        self.ask_what_is_held(&mut lease, reply).await;
        let holds = self.state.holds_connection();
        self.show_rest(holds.then_some(&lease));
        if holds {
            self.hold(lease);
        } else if reply.outcome.warnings > 0 || failed || route.because == Because::FollowsStatement {
            // A statement that shows warnings leaves them to be shown again.
            self.hold(lease);
            self.follow = Follow::Possible;
        } else {
            if self.insert_id == InsertId::OnHeldConnection {
                // Learnt after the client has its answer. A connection lost meanwhile tells nothing more.
                match lease.last_insert_id().await {
                    Ok(id) => self.insert_id = InsertId::Known(id),
                    Err(_) => return self.insert_id = InsertId::Known(reply.outcome.last_insert_id),
                }
            }
            lease.release_clean();
        }
    }

    /// Counts the statement where `SHOW ROUTES` looks.
    pub(super) fn record(
        &mut self,
        judged: &Judged,
        route: Route,
        lease: &Lease,
        reply: &Reply,
        started: Instant,
    ) {
        let now = Instant::now();
        self.finished = Some(now);
        let took = now.saturating_duration_since(started);
        let stats = self.stats.entry(&judged.statement, &self.house.digests);
        let failed = reply.outcome.error.is_some();
        stats.record(lease.pool().server, route.because, reply.outcome.rows, failed, took);
    }

    /// A reply that ends in an EOF cannot say that state has changed. What might have changed it, pins.
    fn pin_what_hides(&mut self, judged: &Judged, lease: &Lease) {
        let hidden = lease.conn.capabilities & crate::wire::capability::DEPRECATE_EOF == 0;
        let calls = matches!(&judged.statement.access, Access::Write(sql::WriteBecause::Function(_)));
        if hidden && calls && judged.statement.kind == Kind::Select {
            self.state.pins.insert(PinCause::Unknown);
        }
    }

    /// Whatever was held before is given back to be cleaned.
    pub(super) fn hold(&mut self, lease: Lease) {
        if let Some(old) = self.held.replace(lease) {
            old.release_after_reset();
        }
        self.follow = Follow::No;
    }

    /// A replica refused the statement as a write: so it is one, now and in future.
    fn learn_write(&mut self, judged: &mut Cow<'_, Judged>, work: &Work, incoming: Incoming) {
        self.house.counters.corrected.fetch_add(1, Relaxed);
        let digest = &judged.statement.digest;
        tracing::warn!(%digest, "a replica refused this as a write; it goes to the primary from now on");
        match work {
            Work::About(about) => self.house.judge.remember_write(about.key.text(), &self.dialect),
            Work::Prepare { key, .. } => self.house.judge.remember_write(key.text(), &self.dialect),
            Work::Text(text) => {
                let text = text.text().unwrap_or_default();
                self.house.judge.remember_write(&text, &self.dialect);
            }
            Work::Plain(_) => {
                if let Ok(range) = self.statement_of(incoming) {
                    self.house.judge.remember_write(&self.client.input()[range], &self.dialect);
                }
            }
        }
        let mut statement = (*judged.statement).clone();
        statement.access = Access::Write(sql::WriteBecause::Learned);
        judged.to_mut().statement = Arc::new(statement);
        if let Work::About(about) = work {
            self.prepared.judge_anew(about.id, judged);
        }
    }

    fn may_send_again(&self, incoming: Incoming, avoid: &[ServerId]) -> bool {
        incoming.whole && !self.state.holds_connection() && avoid.len() < TRIES_MAX
    }

    pub(super) fn show_active(&mut self, judged: &Judged, route: &Route, lease: &Lease, started: Instant) {
        self.info.set_activity(Activity::Active, self.house.registry.millis(started));
        let backend = (lease.pool().server, lease.conn.thread_id);
        self.info.update(|seen| {
            seen.statement = Some(Arc::clone(&judged.statement));
            seen.because = Some(route.because);
            seen.backend = Some(backend);
            seen.server = Some(backend.0);
        });
    }

    /// As `show_rest`, where the held connection stayed where it was.
    pub(super) fn show_held(&mut self) {
        let held = self.held.take();
        self.show_rest(held.as_ref());
        self.held = held;
    }

    pub(super) fn show_rest(&mut self, held: Option<&Lease>) {
        let backend = held.map(|lease| (lease.pool().server, lease.conn.thread_id));
        let pins = self.state.pins;
        self.info.set_in_transaction(self.state.transaction != Transaction::None);
        self.info.update(|seen| {
            seen.backend = backend;
            if seen.pins != pins {
                self.house.pins.observe(seen, pins, Instant::now());
            }
        });
    }
}
