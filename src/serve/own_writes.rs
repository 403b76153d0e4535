//! A session reads what it wrote, wherever it reads: a replica that has it, one that is waited for, or the primary.

use std::sync::atomic::Ordering::Relaxed;

use super::relay::Reply;
use super::session::Session;
use crate::backend::{ExchangeError, Lease};
use crate::config::Consistency;
use crate::gtid::GtidSet;
use crate::topology::{Role, ServerId, Snapshot, Standing};

impl Session {
    /// Takes in the transactions that a statement committed.
    pub(super) fn note_written(&mut self, reply: &Reply) {
        if reply.gtids.is_empty() || self.house.routing.consistency == Consistency::Eventual {
            return;
        }
        let flavour = self.version.flavour;
        let written = self.written.get_or_insert_with(|| GtidSet::empty(flavour));
        for gtids in reply.gtids.iter().filter_map(|text| GtidSet::parse(flavour, text)) {
            written.add(&gtids);
        }
        written.coarsen();
    }

    /// Replicas that are not known to have what the session wrote. Once all have it, it is forgotten.
    pub(super) fn replicas_behind(&mut self, snapshot: &Snapshot) -> Vec<ServerId> {
        let Some(written) = &self.written else { return Vec::new() };
        let replicas = snapshot.servers.iter().filter(|server| server.role == Role::Replica);
        let behind: Vec<ServerId> = replicas
            .filter(|server| !self.house.positions.has(server, written))
            .map(|server| server.id)
            .collect();
        let serving = |id: &ServerId| snapshot.server(*id).standing == Standing::Serving;
        // One that serves nobody now may return with less than it is known to have: it is asked then.
        if behind.is_empty() && snapshot.servers.iter().map(|server| server.id).all(|id| serving(&id)) {
            self.written = None;
        }
        behind
    }

    /// Makes sure that a replica has what the session wrote. `false`: not in time.
    pub(super) async fn has_own_writes(&mut self, lease: &mut Lease) -> Result<bool, ExchangeError> {
        let Some(written) = &self.written else { return Ok(true) };
        let id = lease.pool().server;
        let snapshot = self.house.topology.load();
        let server = snapshot.server(id);
        if server.role != Role::Replica {
            return Ok(true);
        }
        if self.house.positions.has(server, written) {
            self.house.counters.own_write_known.fetch_add(1, Relaxed);
            return Ok(true);
        }
        self.house.counters.own_write_awaited.fetch_add(1, Relaxed);
        let applied = lease.await_applied(written, self.house.routing.causal_wait).await?;
        if applied {
            self.house.positions.learn(id, written);
        }
        Ok(applied)
    }
}
