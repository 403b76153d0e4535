//! A connection for a statement: routed, leased, made ready, and behind nothing that the statement must see.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::own_writes::Floor;
use super::refusal::Refusal;
use super::registry::Activity;
use super::session::Session;
use super::state::{Follow, InsertId};
use crate::backend::{CheckoutError, ConnectError, ExchangeError, Lease};
use crate::route::{self, Because, Destination, Route, Spread, Transaction};
use crate::sql::{Access, Effect, Judged, Kind};
use crate::topology::{Role, ServerId, Snapshot};
use crate::wire::code;

/// How long to pause before trying a primary again that refused a connection, unless the topology changes.
const PRIMARY_RETRY: Duration = Duration::from_millis(100);

/// Servers tried for one read before its client is told.
pub(super) const TRIES_MAX: usize = 8;

impl Session {
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
        if needs.own_trackers {
            lease.leave_trackers().await.map_err(Refusal::Settle)?;
        }
        if needs.proxy_variable {
            Box::pin(self.show_proxy_variables(&mut lease)).await.map_err(Refusal::Settle)?;
        }
        if needs.diagnostics && !held {
            // Whatever the connection's last user left must not be seen.
            lease.forget_diagnostics().await.map_err(Refusal::Settle)?;
        }
        Ok((route, lease))
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
        ExchangeError::Refused(refused) => refused.code == code::SERVER_SHUTDOWN,
        ExchangeError::Malformed(_) => false,
    }
}
