//! `routing.transaction_split`: the reads before the first write of a transaction, on a replica.
//!
//! The transaction is open on the primary from its BEGIN on, and that connection is held. The first read opens another
//! on a replica, of the same isolation, so that answers look as they must; all reads go there until the first statement
//! that is not a plain read, which ends it. Only under READ COMMITTED and READ UNCOMMITTED: there each statement sees
//! a state of its own, on one server too. Under REPEATABLE READ all of a transaction sees one state, and no two servers
//! have one state in common; under SERIALIZABLE reads lock what they read.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::checkout::Attempt;
use super::own_writes::Floor;
use super::query::Work;
use super::refusal::Loss;
use super::relay::{Failure, Reply};
use super::session::{End, Incoming, Session};
use crate::backend::Lease;
use crate::route::{Because, Destination, Route, Transaction};
use crate::sql::{Access, Hint, Judged, Kind, Needs};
use crate::topology::{Role, Standing};

/// An open transaction that has read at most.
pub(super) struct Split {
    /// As SET TRANSACTION names it.
    isolation: &'static str,
    /// Where it reads, once it has.
    replica: Option<Lease>,
    /// Its last read ended in an error: what comes next may only ask for it.
    failed: bool,
}

/// Begins that ask for nothing but a transaction. WITH CONSISTENT SNAPSHOT is left alone, although these levels of
/// isolation ignore it.
const PLAIN_BEGINS: [&str; 4] = ["begin", "begin work", "start transaction", "start transaction read write"];

/// What came of trying to serve a statement there.
enum Tried {
    Answered,
    /// Nothing was sent, or nothing came back: the primary will answer.
    NotHere,
}

impl Session {
    /// A transaction has begun on the primary: whether it may be split depends on its isolation.
    pub(super) async fn begin_split(&mut self, judged: &Judged, lease: &mut Lease) {
        let begun = matches!(judged.statement.kind, Kind::Begin { read_only: false })
            && self.state.transaction == Transaction::ReadWrite
            && self.state.autocommit
            && self.state.pins.is_empty();
        if !begun || !PLAIN_BEGINS.contains(&&*judged.statement.digest) {
            return;
        }
        // A connection lost meanwhile is noticed by the next statement.
        let Ok(isolation) = lease.isolation().await else { return };
        let isolation = match isolation.to_ascii_uppercase().as_str() {
            "READ-COMMITTED" => "READ COMMITTED",
            "READ-UNCOMMITTED" => "READ UNCOMMITTED",
            _ => return,
        };
        self.split = Some(Box::new(Split { isolation, replica: None, failed: false }));
    }

    /// Serves a statement of a split transaction on its replica, or ends the split. `false`: it is still to be served.
    pub(super) async fn serve_split(
        &mut self,
        judged: &Judged,
        incoming: Incoming,
        work: &Work,
        started: Instant,
    ) -> Result<bool, End> {
        if matches!(work, Work::Prepare { .. }) {
            // It reads nothing yet.
            return Ok(false);
        }
        let tried = if self.reads_in_split(judged, incoming, work) {
            self.try_split(judged, incoming, work, started).await?
        } else {
            Tried::NotHere
        };
        match tried {
            Tried::Answered => Ok(true),
            Tried::NotHere => {
                self.end_split();
                Ok(false)
            }
        }
    }

    fn reads_in_split(&self, judged: &Judged, incoming: Incoming, work: &Work) -> bool {
        let statement = &judged.statement;
        if !incoming.whole || !self.state.pins.is_empty() || work.wants_cursor() {
            return false;
        }
        if self.answered_aside && statement.needs.diagnostics {
            return matches!(statement.kind, Kind::Show | Kind::Select) && statement.pins.is_empty();
        }
        let elsewhere = judged.hint.as_ref().filter(|_| self.house.routing.hints);
        let needs = Needs { connection_id: false, ..statement.needs };
        statement.access == Access::Read
            && statement.kind == Kind::Select
            && statement.pins.is_empty()
            && needs.is_empty()
            && matches!(elsewhere, None | Some(Hint::Replica))
            && self.split.as_ref().is_some_and(|split| !split.failed)
    }

    async fn try_split(
        &mut self,
        judged: &Judged,
        incoming: Incoming,
        work: &Work,
        started: Instant,
    ) -> Result<Tried, End> {
        let Some((route, mut lease)) = self.split_lease(judged).await else { return Ok(Tried::NotHere) };
        let server = lease.pool().server;
        let mut request = self.request(work, incoming, server, true);
        self.show_active(judged, &route, &lease, started);
        match self.exchange(work, judged, incoming, route, &mut lease, &mut request).await {
            Ok(reply) if reply.withheld.is_some() => {
                if let Work::About(about) = work {
                    lease.forget_prepared(&about.key);
                }
                self.put_back(lease);
                Ok(Tried::NotHere)
            }
            Ok(reply) => {
                self.consume(request.input_len);
                self.finish_split(work, judged, route, lease, &reply, started);
                Ok(Tried::Answered)
            }
            Err(Failure::Refused(_)) => {
                self.put_back(lease);
                Ok(Tried::NotHere)
            }
            Err(Failure::Client(error) | Failure::Abandoned(error)) => {
                self.abandon(lease);
                Err(End::ClientGone(error))
            }
            Err(Failure::Server { answered: false, .. }) => Ok(Tried::NotHere),
            Err(Failure::Server { error, next_sequence, .. }) => {
                self.consume(request.input_len);
                drop(lease);
                self.end_split();
                self.report_split_loss(&server_name(self, server), &error, next_sequence).await?;
                Ok(Tried::Answered)
            }
        }
    }

    /// The transaction's connection on a replica that has what this read must see. `None`: the primary must do.
    async fn split_lease(&mut self, judged: &Judged) -> Option<(Route, Lease)> {
        let because = Because::TransactionSplit;
        // What the last read left is there, however the replica is by now.
        let floor = if self.answered_aside && judged.statement.needs.diagnostics {
            Floor::None
        } else {
            self.floor_of_read(judged)
        };
        let split = self.split.as_mut()?;
        let isolation = split.isolation;
        if split.replica.is_none() && judged.statement.needs.diagnostics {
            return None;
        }
        if let Some(mut lease) = split.replica.take() {
            let to = Destination::Server(lease.pool().server);
            let snapshot = self.house.topology.load().clone();
            let server = snapshot.server(lease.pool().server);
            let serves = server.standing == Standing::Serving && server.role == Role::Replica;
            let seen = match self.has_seen(&lease, &floor) {
                true => Ok(true),
                false => self.await_seen(&mut lease, &floor).await,
            };
            return match seen {
                Ok(true) if serves => Some((Route { to, because }, lease)),
                Ok(_) => {
                    self.put_back(lease);
                    None
                }
                Err(_) => None,
            };
        }
        // It is chosen as for a read outside of the transaction.
        let transaction = std::mem::replace(&mut self.state.transaction, Transaction::None);
        let route = self.route(judged, &floor, &[]);
        self.state.transaction = transaction;
        let Destination::Server(server) = route.to else { return None };
        if self.house.topology.load().server(server).role != Role::Replica {
            return None;
        }
        match self.try_server(judged, &floor, route, server).await {
            Attempt::Ready(route, mut lease) => {
                lease.begin(isolation).await.ok()?;
                Some((Route { because, ..route }, lease))
            }
            _ => None,
        }
    }

    fn put_back(&mut self, lease: Lease) {
        if let Some(split) = &mut self.split {
            split.replica = Some(lease);
        }
    }

    fn finish_split(
        &mut self,
        work: &Work,
        judged: &Judged,
        route: Route,
        lease: Lease,
        reply: &Reply,
        started: Instant,
    ) {
        self.record(judged, route, &lease, reply, started);
        if let Work::About(about) = work {
            self.prepared.observe(about, reply);
        }
        // The transaction is the primary's: what became of that on the replica says nothing of it.
        self.last.observe(&reply.outcome);
        self.answered_aside = true;
        self.show_held();
        if let Some(split) = &mut self.split {
            split.failed = reply.outcome.error.is_some();
            split.replica = Some(lease);
        }
    }

    /// The transaction goes on where it can write.
    pub(super) fn end_split(&mut self) {
        let Some(mut lease) = self.split.take().and_then(|split| split.replica) else { return };
        // Nobody waits for that.
        tokio::spawn(async move {
            if lease.roll_back().await.is_ok() {
                lease.release_clean();
            }
        });
    }

    async fn report_split_loss(
        &mut self,
        server: &Arc<str>,
        error: &io::Error,
        next_sequence: Option<u8>,
    ) -> Result<(), End> {
        let Some(sequence) = next_sequence else { return Err(End::StateLost) };
        self.write(&Loss::HalfAnswered.packet(server, error).payload(), sequence).await
    }
}

fn server_name(session: &Session, server: crate::topology::ServerId) -> Arc<str> {
    Arc::clone(&session.house.topology.load().server(server).name)
}
