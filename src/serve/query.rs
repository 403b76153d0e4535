//! THE QUERY LINE: classify, route, checkout, relay, release.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::effects::{TextWork, leaves_something};
use super::own_writes::Floor;
use super::prepared::{About, DATA_AND_CURSORS};
use super::refusal::{Loss, Refusal};
use super::registry::Activity;
use super::relay::{self, Failure, Refused, Reply, Request, Withheld};
use super::session::{End, Incoming, Session};
use super::state::{Follow, InsertId};
use crate::backend::{CheckoutError, ConnectError, ExchangeError, Lease, StatementKey};
use crate::route::{self, Because, Destination, Route, Spread, Transaction};
use crate::sql::{self, Access, Effect, Judged, Kind, PinCause, PinSet};
use crate::topology::{Role, ServerId, Snapshot};
use crate::wire::{Command, Expect, HEADER_LEN, Header, code, push_packet};

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

/// How long to pause before trying a primary again that refused a connection, unless the topology changes.
const PRIMARY_RETRY: Duration = Duration::from_millis(100);

/// Servers tried for one read before its client is told.
const TRIES_MAX: usize = 8;

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
                return Err(End::Killed);
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
            self.show_active(&judged, &route, &lease, started);
            match self.exchange(work, &judged, incoming, route, &mut lease, &mut request).await {
                Ok(Reply { withheld: Some(Withheld::ReadOnly), .. }) => {
                    self.learn_write(&mut judged, work, incoming);
                    lease.release_clean();
                }
                Ok(Reply { withheld: Some(Withheld::Unprepared), .. }) => {
                    prepared_again = true;
                    if let Work::About(about) = work {
                        lease.forget_prepared(&about.key);
                    }
                    self.keep_or_release(lease);
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

    /// A connection for the statement, made ready: the session's settings, and what the statement asks of
    /// the connections before it.
    pub(super) async fn checkout(
        &mut self,
        judged: &Judged,
        avoid: &[ServerId],
        started: Instant,
    ) -> Result<(Route, Lease), Refusal> {
        let mut tried = avoid.to_vec();
        let floor = self.floor(judged);
        let mut primary_only = matches!(floor, Floor::Unknown);
        let mut waited = false;
        let follows = self.follow == Follow::Possible && judged.statement.needs.diagnostics;
        if !follows && !self.state.holds_connection() && self.held.is_some() {
            self.let_go().await;
        }
        loop {
            let mut route = self.route(judged, &floor, &tried);
            if primary_only {
                let to =
                    self.house.topology.load().primary.map_or(Destination::NoPrimary, Destination::Server);
                route = Route { to, because: self.behind(judged) };
            }
            let server = match route.to {
                Destination::Held => {
                    if let Some(lease) = self.held.take() {
                        self.follow = Follow::No;
                        return self.prepare(judged, route, lease).await;
                    }
                    // Nothing is held although something should be: the primary is never wrong.
                    match self.house.topology.load().primary {
                        Some(primary) => primary,
                        None => {
                            self.await_primary(started).await?;
                            continue;
                        }
                    }
                }
                Destination::Server(server) => server,
                Destination::NoPrimary => {
                    self.await_primary(started).await?;
                    continue;
                }
                Destination::NoReplica => return Err(Refusal::NoReplica),
                Destination::NoSuchServer => return Err(Refusal::NoSuchServer),
            };
            let is_primary = self.house.topology.load().primary == Some(server);
            let may_go_elsewhere = !is_primary && tried.len() < TRIES_MAX;
            match self.try_server(judged, &floor, route, server).await {
                Attempt::Ready(route, lease) => {
                    if !waited && matches!(route.because, Because::OwnWrite | Because::GlobalWrite) {
                        self.house.counters.causal_at_once.fetch_add(1, Relaxed);
                    }
                    return Ok((route, lease));
                }
                Attempt::LacksWrites => (primary_only, waited) = (true, true),
                Attempt::Away(_) if is_primary => self.await_primary(started).await?,
                Attempt::Away(_) | Attempt::Refused(_) if may_go_elsewhere => tried.push(server),
                Attempt::Refused(refusal @ Refusal::Checkout(_)) => {
                    self.house.login.cache.forget(&self.wanted.opening.credential);
                    return Err(refusal);
                }
                Attempt::Away(refusal) | Attempt::Refused(refusal) | Attempt::Final(refusal) => {
                    return Err(refusal);
                }
            }
        }
    }

    /// Leases a connection to the server and makes it ready.
    pub(super) async fn try_server(
        &mut self,
        judged: &Judged,
        floor: &Floor,
        route: Route,
        server: ServerId,
    ) -> Attempt {
        let pool = Arc::clone(self.house.pool(server));
        let checkout = pool.checkout(&self.wanted);
        let ahead_max = self.ahead_max();
        let lease = match Self::unless_over(&mut self.client, &self.info, ahead_max, checkout).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(error)) => return setback(error),
            Err(end) => return Attempt::Final(Refusal::Over(end)),
        };
        let (route, mut lease) = match self.prepare(judged, route, lease).await {
            Ok(ready) => ready,
            // A pooled connection had gone stale; nothing of the statement was sent.
            Err(Refusal::Settle(error)) if is_gone(&error) => return Attempt::Away(Refusal::Settle(error)),
            // What the session uses may not have reached a replica yet: its schema.
            Err(refusal @ Refusal::Settle(ExchangeError::Refused(_))) => return Attempt::Refused(refusal),
            Err(refusal) => return Attempt::Final(refusal),
        };
        if route.because == Because::HintServer {
            return Attempt::Ready(route, lease);
        }
        if self.has_seen(&lease, floor) {
            return Attempt::Ready(route, lease);
        }
        match Box::pin(self.await_seen(&mut lease, floor)).await {
            Ok(true) => Attempt::Ready(route, lease),
            Ok(false) => {
                lease.release_clean();
                Attempt::LacksWrites
            }
            Err(error) => Attempt::Away(Refusal::Settle(error)),
        }
    }

    pub(super) fn route(&mut self, judged: &Judged, floor: &Floor, avoid: &[ServerId]) -> Route {
        let snapshot = self.house.topology.load();
        if self.follow == Follow::Possible && judged.statement.needs.diagnostics {
            return Route { to: Destination::Held, because: Because::FollowsStatement };
        }
        let in_use = match self.house.routing.policy {
            crate::config::Policy::LeastConnections => self.house.in_use(),
            _ => Vec::new(),
        };
        let reads = judged.statement.access == Access::Read;
        let ticket = if reads { self.house.next_turn() } else { 0 };
        let spread = Spread { ticket, client: self.client_hash, in_use: &in_use, avoid };
        let route = route::route(judged, &self.state, &snapshot, &self.house.routing, spread);
        let route = match floor {
            Floor::At(floor) => self.route_behind(judged, &snapshot, route, spread, floor),
            Floor::None | Floor::Unknown => route,
        };
        if route.to == Destination::Held && self.outgrew_replica(judged, &snapshot) {
            // State was left on a replica by a read-only transaction. A write cannot follow it there.
            let to = snapshot.primary.map_or(Destination::NoPrimary, Destination::Server);
            return Route { to, because: Because::Write };
        }
        route
    }

    fn outgrew_replica(&self, judged: &Judged, snapshot: &Snapshot) -> bool {
        let on_replica = self
            .held
            .as_ref()
            .is_some_and(|lease| snapshot.server(lease.pool().server).role == Role::Replica);
        on_replica
            && self.state.transaction == Transaction::None
            && matches!(&judged.statement.access, Access::Write(_))
            && !matches!(judged.statement.kind, Kind::Set | Kind::Prepare | Kind::Unlock)
    }

    /// Makes a connection ready for the statement.
    async fn prepare(
        &mut self,
        judged: &Judged,
        route: Route,
        mut lease: Lease,
    ) -> Result<(Route, Lease), Refusal> {
        let needs = judged.statement.needs;
        let held = route.to == Destination::Held;
        if needs.diagnostics && !held {
            // Whatever the connection's last user left must not be seen.
            lease.forget_diagnostics().await.map_err(Refusal::Settle)?;
        }
        let chooses_role = matches!(judged.statement.effect.as_deref(), Some(Effect::Role));
        match lease.settle_role(self.wanted.role.as_ref()).await {
            // A role that was revoked must not keep the session from choosing another.
            Err(ExchangeError::Refused(_)) if chooses_role => {}
            settled => settled.map_err(Refusal::Settle)?,
        }
        lease.settle(&self.wanted.settings).await.map_err(Refusal::Settle)?;
        // To set them would empty the list that GET DIAGNOSTICS reads.
        let must_not_set = held && needs.diagnostics && judged.statement.kind == Kind::Administer;
        if judged.statement.may_read_user_variables() && !must_not_set {
            lease.settle_user_variables(&self.wanted.user_variables).await.map_err(Refusal::Settle)?;
        }
        if chooses_role {
            lease.know_login_role().await.map_err(Refusal::Settle)?;
        }
        if needs.last_insert_id
            && let InsertId::Known(id) = self.insert_id
        {
            Box::pin(lease.set_last_insert_id(id)).await.map_err(Refusal::Settle)?;
        }
        if needs.proxy_variable {
            Box::pin(self.show_proxy_variables(&mut lease)).await.map_err(Refusal::Settle)?;
        }
        Ok((route, lease))
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
        let now = Instant::now();
        self.finished = Some(now);
        let (server, took) = (lease.pool().server, now.saturating_duration_since(started));
        let stats = self.stats.entry(&judged.statement, &self.house.digests);
        stats.record(server, route.because, reply.outcome.rows, failed, took);
        if leaves_something(&judged.statement, work) {
            // Before the settings are taken in: literals were read under the old ones.
            Box::pin(self.take_effect(&judged.statement, work, &mut lease, reply.outcome.error.as_ref()))
                .await;
        }
        self.adopt_settings(&lease);
        self.last.observe(&reply.outcome);
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

    /// Waits until there may be a primary again, or the limit is over.
    async fn await_primary(&mut self, started: Instant) -> Result<(), Refusal> {
        let limit = self.house.routing.primary_wait;
        if started.elapsed() >= limit {
            return Err(Refusal::NoPrimary { waited: limit });
        }
        if self.info.activity() != Activity::Waiting {
            self.house.counters.awaited_primary.fetch_add(1, Relaxed);
        }
        self.info.set_activity(Activity::Waiting, self.house.registry.millis(Instant::now()));
        let mut topology = self.house.topology.clone();
        // Seen or not, a change since the snapshot was loaded is worth another look at once.
        let pause = PRIMARY_RETRY.min(limit.saturating_sub(started.elapsed()));
        let changed = tokio::time::timeout(pause, topology.changed());
        let ahead_max = self.ahead_max();
        let waited = Self::unless_over(&mut self.client, &self.info, ahead_max, changed).await;
        waited.map(drop).map_err(Refusal::Over)
    }

    async fn refuse(&mut self, incoming: Incoming, refusal: Refusal) -> Result<(), End> {
        if let Refusal::Over(end) = refusal {
            return Err(end);
        }
        let snapshot = self.house.topology.load().clone();
        let mut packet = refusal.packet(&snapshot);
        let mut loss = None;
        if self.state.holds_connection() && self.held.is_none() {
            // The state went with a connection that could not be made ready.
            let pinned = !self.state.pins.is_empty();
            loss = Some(if pinned { Loss::PinnedState } else { Loss::Transaction });
            self.forget_lost_state();
            self.show_rest(None);
        }
        if let (Some(loss), Refusal::Settle(ExchangeError::Lost(error))) = (loss, refusal) {
            let server = self.info.seen().server.map(|id| Arc::clone(&snapshot.server(id).name));
            packet = loss.packet(server.as_deref().unwrap_or("unknown"), &error);
        }
        let sequence = self.skip_command(incoming).await?;
        self.write(&packet.payload(), sequence).await?;
        if loss == Some(Loss::PinnedState) { Err(End::StateLost) } else { Ok(()) }
    }

    /// Passes over a command that gets no answer.
    pub(super) async fn drop_command(&mut self, incoming: Incoming) -> Result<(), End> {
        self.skip_command(incoming).await.map(drop)
    }

    /// Passes over a command that will not be sent. Returns the sequence number of an answer to it.
    async fn skip_command(&mut self, incoming: Incoming) -> Result<u8, End> {
        if incoming.whole {
            self.consume(incoming.len);
            return Ok(1);
        }
        loop {
            let Some(header) = Header::read(self.client.input()) else {
                self.fill().await?;
                continue;
            };
            let mut left = HEADER_LEN + header.len;
            while left > 0 {
                if self.client.input().is_empty() {
                    self.fill().await?;
                }
                let len = left.min(self.client.input().len());
                self.consume(len);
                left -= len;
            }
            if header.len < crate::wire::MAX_PAYLOAD {
                return Ok(header.sequence.wrapping_add(1));
            }
        }
    }

    async fn fill(&mut self) -> Result<(), End> {
        match self.client.fill().await {
            Ok(0) => Err(End::ClientGone(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(End::ClientGone(error)),
        }
    }

    /// What a server's loss in mid-statement means for the client.
    fn loss(&self, judged: &Judged, answered: bool) -> Loss {
        let in_transaction = self.state.transaction != Transaction::None;
        if !self.state.pins.is_empty() {
            Loss::PinnedState
        } else if in_transaction && !judged.statement.may_commit() {
            Loss::Transaction
        } else if judged.statement.access == Access::Read && answered {
            Loss::HalfAnswered
        } else {
            Loss::OutcomeUnknown
        }
    }

    async fn report_loss(
        &mut self,
        server: ServerId,
        loss: Loss,
        error: &std::io::Error,
        next_sequence: Option<u8>,
    ) -> Result<(), End> {
        let name = Arc::clone(&self.house.topology.load().server(server).name);
        tracing::debug!(session = self.info.id, server = %name, ?loss, %error, "server lost in mid-statement");
        self.forget_lost_state();
        self.show_rest(None);
        let Some(sequence) = next_sequence else { return Err(End::StateLost) };
        self.write(&loss.packet(&name, error).payload(), sequence).await?;
        if loss == Loss::PinnedState { Err(End::StateLost) } else { Ok(()) }
    }

    /// The connection is gone, and with it all that lived there.
    pub(super) fn forget_lost_state(&mut self) {
        self.end_split();
        self.state.forget_connection();
        self.prepared.forget_connection();
        self.follow = Follow::No;
        if self.insert_id == InsertId::OnHeldConnection {
            self.insert_id = InsertId::Known(0);
        }
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

/// What came of asking one server for a connection.
pub(super) enum Attempt {
    Ready(Route, Lease),
    /// It has not got what the read must see, and did not get it in time.
    LacksWrites,
    /// Another server, or the same a little later, may do better.
    Away(Refusal),
    /// It answered and wants no such session. An account or a schema may not have reached a replica yet.
    Refused(Refusal),
    /// All connections stayed in use, or something is set up wrongly.
    Final(Refusal),
}

fn setback(error: CheckoutError) -> Attempt {
    let is_away = match &error {
        CheckoutError::Connect(
            ConnectError::Unreachable(_) | ConnectError::Timeout(_) | ConnectError::Protocol(_),
        ) => true,
        CheckoutError::Connect(ConnectError::Refused(refused)) => refused.code == code::SERVER_SHUTDOWN,
        // A server that leaves in mid-handshake; other troubles of TLS do not go away by themselves.
        CheckoutError::Connect(ConnectError::Tls(error)) => matches!(
            error.kind(),
            std::io::ErrorKind::UnexpectedEof
                | std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::ConnectionAborted
                | std::io::ErrorKind::BrokenPipe
        ),
        CheckoutError::Setup(error) => is_gone(error),
        _ => false,
    };
    match error {
        error if is_away => Attempt::Away(Refusal::Checkout(error)),
        CheckoutError::Connect(ConnectError::Refused(_)) => Attempt::Refused(Refusal::Checkout(error)),
        error => Attempt::Final(Refusal::Checkout(error)),
    }
}

/// Whether the server has left, or says that it is about to.
fn is_gone(error: &ExchangeError) -> bool {
    match error {
        ExchangeError::Lost(_) => true,
        ExchangeError::Refused(refused) => refused.code == crate::wire::code::SERVER_SHUTDOWN,
        ExchangeError::Malformed(_) => false,
    }
}
