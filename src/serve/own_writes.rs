//! What a read must have seen, and where it sees it: a replica that has it, one that is waited for, or the primary.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::relay::Reply;
use super::session::Session;
use crate::backend::{ExchangeError, Lease};
use crate::consistency::Consistency;
use crate::gtid::GtidSet;
use crate::route::{self, Because, Destination, Route, Spread, Transaction};
use crate::sql::{Access, Hint, Judged, Kind, LevelHint};
use crate::topology::{Epoch, Role, ServerId, Snapshot, Standing};
use crate::wire::capability;

/// What a session has written, and what it was told to read behind. Those that do neither have none.
pub(super) struct Causal {
    pub(super) written: Arc<GtidSet>,
    /// When it was written. Another primary may not have all of it.
    epoch: Epoch,
    /// Every replica is known to have it.
    everywhere: bool,
    /// Some of it is a client's word and no server's.
    told: bool,
}

/// What a read must have seen.
#[derive(Clone)]
pub(super) enum Floor {
    /// Nothing in particular.
    None,
    At(Arc<GtidSet>),
    /// All that was acknowledged; what that is must be asked of the primary first.
    Unknown,
}

impl Session {
    /// Takes in the transactions that a statement committed.
    pub(super) fn note_written(&mut self, reply: &Reply) {
        for gtids in &reply.gtids {
            if let Some(gtids) = GtidSet::parse(self.version.flavour, gtids) {
                self.read_behind(&gtids, false);
            }
        }
    }

    /// From now on the session's reads see these transactions. `told`: by a client.
    pub(super) fn read_behind(&mut self, gtids: &GtidSet, told: bool) {
        let (epoch, flavour) = (self.house.topology.load().epoch, self.version.flavour);
        if self.causal.as_ref().is_some_and(|causal| causal.epoch != epoch) {
            self.forget_lost_writes();
        }
        let causal = self.causal.get_or_insert_with(|| {
            let written = Arc::new(GtidSet::empty(flavour));
            Box::new(Causal { written, epoch, everywhere: false, told: false })
        });
        let written = Arc::make_mut(&mut causal.written);
        written.add(gtids);
        written.coarsen();
        causal.epoch = epoch;
        causal.everywhere = false;
        causal.told |= told;
    }

    /// Whether something may be committed that the reply could not name: it ended in an EOF packet, as an INSERT …
    /// RETURNING does for a client that wants such packets; or the session chose not to be told.
    pub(super) fn hides_write(&self, judged: &Judged, reply: &Reply, lease: &Lease) -> bool {
        if lease.trackers_are_clients() {
            let writes = judged.statement.access != Access::Read && judged.statement.kind != Kind::Set;
            return writes && self.state.transaction == Transaction::None;
        }
        judged.statement.kind == Kind::Modify
            && reply.outcome.affected_rows.is_none()
            && reply.outcome.error.is_none()
            && lease.conn.capabilities & capability::DEPRECATE_EOF == 0
            && !self.state.holds_connection()
    }

    /// The connection is asked what it was.
    pub(super) async fn note_hidden_write(&mut self, lease: &mut Lease) {
        // A connection lost meanwhile tells nothing more, and is noticed by whoever uses it next.
        if let Ok(Some(written)) = lease.last_written().await {
            self.house.acknowledged.note(&written.to_string());
            self.read_behind(&written, false);
        }
    }

    /// What a statement must see: what is nearest to it says so.
    fn level(&self, judged: &Judged) -> Consistency {
        match &judged.consistency {
            Some(LevelHint::Level(level)) if self.house.routing.hints => *level,
            _ => self.consistency,
        }
    }

    /// What this statement must have seen, if it is a read that may go to a replica.
    pub(super) fn floor(&mut self, judged: &Judged) -> Floor {
        let asks_one_server = matches!(judged.hint, Some(Hint::Server(_))) && self.house.routing.hints;
        if judged.statement.access != Access::Read || self.state.holds_connection() || asks_one_server {
            return Floor::None;
        }
        self.floor_of_read(judged)
    }

    pub(super) fn floor_of_read(&mut self, judged: &Judged) -> Floor {
        match self.level(judged) {
            Consistency::Eventual => Floor::None,
            Consistency::Session if self.causal.is_none() => Floor::None,
            Consistency::Session => self.own_floor().map_or(Floor::None, Floor::At),
            Consistency::Global => self.global_floor().map_or(Floor::Unknown, Floor::At),
        }
    }

    /// What the session wrote, unless every replica has it.
    fn own_floor(&mut self) -> Option<Arc<GtidSet>> {
        let causal = self.causal.as_ref().filter(|causal| !causal.everywhere)?;
        if causal.epoch != self.house.topology.load().epoch {
            self.forget_lost_writes();
        }
        let causal = self.causal.as_ref()?;
        (!causal.written.is_empty()).then(|| Arc::clone(&causal.written))
    }

    /// Another primary has taken over. What it has not got is lost, and no wait would bring it back.
    fn forget_lost_writes(&mut self) {
        let snapshot = self.house.topology.load();
        if let (Some(causal), Some(primary)) = (&mut self.causal, snapshot.primary) {
            let left = self.house.positions.keep_of(snapshot.server(primary), &causal.written);
            causal.written = Arc::new(left);
            causal.epoch = snapshot.epoch;
        }
    }

    /// All that was acknowledged, what the last probe found on the primary, and what the session was told of.
    fn global_floor(&mut self) -> Option<Arc<GtidSet>> {
        let own = self.own_floor();
        let snapshot = self.house.topology.load();
        let mut all = self.house.acknowledged.so_far(snapshot.epoch)?;
        if let Some(primary) = snapshot.primary {
            self.house.positions.add_to(snapshot.server(primary), &mut all);
        }
        if let Some(own) = own {
            all.add(&own);
        }
        all.coarsen();
        Some(Arc::new(all))
    }

    /// Sends a read to a replica that is known to have what it must see, if there is one; else to one that is worth
    /// waiting for, else to the primary.
    pub(super) fn route_behind(
        &mut self,
        judged: &Judged,
        snapshot: &Snapshot,
        route: Route,
        spread: Spread<'_>,
        floor: &GtidSet,
    ) -> Route {
        let is_replica = |to: Destination| match to {
            Destination::Server(id) => snapshot.server(id).role == Role::Replica,
            _ => false,
        };
        if !is_replica(route.to) || route.because == Because::HintServer {
            return route;
        }
        let mut avoid = self.replicas_behind(snapshot, floor);
        if avoid.is_empty() {
            return route;
        }
        let without = |avoid: &[ServerId]| {
            let spread = Spread { avoid, ..spread };
            route::route(judged, &self.state, snapshot, &self.house.routing, spread)
        };
        avoid.extend_from_slice(spread.avoid);
        let known = without(&avoid);
        if is_replica(known.to) {
            return known;
        }
        let Some(primary) = snapshot.primary else { return route };
        let in_vain = |id: &ServerId| self.house.positions.is_late(snapshot.server(*id));
        avoid.retain(|id| in_vain(id) || spread.avoid.contains(id));
        let worth_waiting =
            if self.house.routing.causal_wait.is_zero() { None } else { Some(without(&avoid)) };
        match worth_waiting {
            Some(route) if is_replica(route.to) => route,
            _ => Route { to: Destination::Server(primary), because: self.behind(judged) },
        }
    }

    /// Why a read goes to the primary that no replica was ready for.
    pub(super) fn behind(&self, judged: &Judged) -> Because {
        match self.level(judged) {
            Consistency::Global => Because::GlobalWrite,
            Consistency::Session | Consistency::Eventual => Because::OwnWrite,
        }
    }

    /// Replicas that are not known to have all of this. Once none is left of what the session wrote, it need not be
    /// asked for again.
    fn replicas_behind(&mut self, snapshot: &Snapshot, floor: &GtidSet) -> Vec<ServerId> {
        let replicas = snapshot.servers.iter().filter(|server| server.role == Role::Replica);
        let behind: Vec<ServerId> = replicas
            .filter(|server| !self.house.positions.has(server, floor))
            .map(|server| server.id)
            .collect();
        // One that serves nobody now may return with less than it is known to have: it is asked then.
        if behind.is_empty()
            && snapshot.servers.iter().all(|server| server.standing == Standing::Serving)
            && let Some(causal) = &mut self.causal
        {
            // More may be asked of a read than what its session wrote, never less.
            causal.everywhere = true;
            causal.told = false;
        }
        behind
    }

    /// Whether the server of a connection is known to have what a read must see.
    pub(super) fn has_seen(&self, lease: &Lease, floor: &Floor) -> bool {
        let floor = match floor {
            Floor::None => return true,
            Floor::Unknown => return false,
            Floor::At(floor) => floor,
        };
        let snapshot = self.house.topology.load();
        let server = snapshot.server(lease.pool().server);
        if server.role != Role::Replica {
            return true;
        }
        let has = self.house.positions.has(server, floor);
        if has {
            self.house.counters.causal_known.fetch_add(1, Relaxed);
        }
        has
    }

    /// Waits for a replica to have it. `false`: not in time.
    pub(super) async fn await_seen(
        &mut self,
        lease: &mut Lease,
        floor: &Floor,
    ) -> Result<bool, ExchangeError> {
        let snapshot = self.house.topology.load().clone();
        let server = snapshot.server(lease.pool().server);
        let floor = match floor {
            Floor::None => return Ok(true),
            Floor::At(floor) => floor,
            Floor::Unknown if snapshot.primary == Some(server.id) => {
                self.house.acknowledged.begin(snapshot.epoch);
                let position = lease.position().await?;
                self.house.acknowledged.complete(snapshot.epoch, position);
                return Ok(true);
            }
            Floor::Unknown => return Ok(false),
        };
        let counters = &self.house.counters;
        let asked = Instant::now();
        let applied = lease.await_applied(floor, self.house.routing.causal_wait).await;
        counters.causal_wait_micros.fetch_add(asked.elapsed().as_micros() as u64, Relaxed);
        if applied? {
            counters.causal_awaited.fetch_add(1, Relaxed);
            self.house.positions.learn(server, floor);
            return Ok(true);
        }
        counters.causal_timed_out.fetch_add(1, Relaxed);
        // A client can ask for what does not exist; that says nothing of the replica.
        if !self.causal.as_ref().is_some_and(|causal| causal.told) {
            self.house.positions.was_late(server);
        }
        Ok(false)
    }
}
