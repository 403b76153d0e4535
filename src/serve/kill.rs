//! KILL, from clients and on behalf of clients that have gone.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::house::House;
use super::registry::{Activity, Order, SessionInfo};
use super::session::{End, Incoming, Session};
use crate::backend::{ExchangeError, Lease, Pool, Wanted};
use crate::sql::{self, Access};
use crate::topology::ServerId;
use crate::wire::{ErrPacket, code};

/// A write that takes longer than this after its client has gone: its slot counts as free although the server may still
/// be at work.
const ABANDONED_WRITE_LIMIT: Duration = Duration::from_secs(60);

impl Session {
    /// KILL in the proxy's own numbering.
    pub(super) async fn kill(&mut self, id: u64, query_only: bool) -> Result<(), End> {
        let target = u32::try_from(id).ok().and_then(|id| self.house.registry.get(id));
        let Some(target) = target else {
            let error = ErrPacket::new(code::NO_SUCH_THREAD, format!("Unknown thread id: {id}"));
            return self.write(&error.payload(), 1).await;
        };
        let seen = target.seen();
        if target.id == self.info.id {
            let error = ErrPacket::new(code::QUERY_INTERRUPTED, "Query execution was interrupted");
            self.write(&error.payload(), 1).await?;
            return if query_only { Ok(()) } else { Err(End::KilledAtWork) };
        }
        if !query_only && seen.user == self.wanted.key.user {
            // Before its statement is killed, so that it does not run it again elsewhere.
            target.order(Order::Kill);
        }
        let killed = match seen.backend {
            // The server knows whether this account may kill that one's statements.
            Some((server, thread)) => {
                let verb = if query_only { "KILL QUERY" } else { "KILL" };
                let pool = Arc::clone(self.house.pool(server));
                kill_thread(&pool, &self.wanted, verb, thread).await
            }
            None if seen.user == self.wanted.key.user => Ok(()),
            None => self.may_kill(&target).await,
        };
        // A thread that ended meanwhile is as good as killed.
        match killed {
            Err(error) if error.code != code::NO_SUCH_THREAD => {
                let error = if error.code == code::KILL_DENIED { denied(id) } else { error };
                self.write(&error.payload(), 1).await
            }
            _ => {
                if !query_only {
                    target.order(Order::Kill);
                    self.kill_again(&target, seen.backend).await;
                }
                self.answer_ok().await
            }
        }
    }

    /// Whether this account may kill that one's connections, where there is none to kill: a server is asked by killing
    /// one that was opened for it.
    async fn may_kill(&self, target: &SessionInfo) -> Result<(), ErrPacket> {
        let Some(primary) = self.house.topology.load().primary else {
            return Err(denied(u64::from(target.id)));
        };
        let pool = Arc::clone(self.house.pool(primary));
        let Ok(lease) = pool.checkout(&target.wanted()).await else {
            return Err(denied(u64::from(target.id)));
        };
        kill_thread(&pool, &self.wanted, "KILL", lease.conn.thread_id).await
    }

    /// KILL whose id is an expression: a server works it out, in a session's own numbering.
    pub(super) async fn kill_by_expression(&mut self, incoming: Incoming) -> Result<(), End> {
        let text = match self.statement_of(incoming) {
            Ok(range) if incoming.whole => self.client.input()[range].to_vec(),
            _ => return Err(End::Protocol),
        };
        self.kill_by_text(&text, incoming).await
    }

    /// The same, where the statement is not what was sent.
    pub(super) async fn kill_by_text(&mut self, text: &[u8], incoming: Incoming) -> Result<(), End> {
        let Some(kill) = sql::kill_expression(text, &self.dialect) else {
            let message = "KILL of a user's connections or by query id is not supported through the proxy";
            return self.answer_error(incoming, &ErrPacket::new(code::NOT_SUPPORTED_YET, message)).await;
        };
        let mut question = b"SELECT ".to_vec();
        question.extend_from_slice(&text[kill.at]);
        let own = self.info.id.to_string();
        let known = sql::Replacements { connection_id: Some(&own), ..sql::Replacements::default() };
        let question = sql::substitute_calls(&question, &self.dialect, &known).unwrap_or(question);
        let id = match self.evaluate(&question).await.and_then(number) {
            Ok(id) => id,
            Err(error) => return self.answer_error(incoming, &error).await,
        };
        self.consume(incoming.len);
        self.kill(id, kill.query_only).await
    }

    /// What a server makes of a question of one row and column, in the session's own state.
    pub(super) async fn evaluate(&mut self, question: &[u8]) -> Result<Option<String>, ErrPacket> {
        let schema = self.wanted.settings.schema.as_deref();
        let judged = self.house.judge.judge(question, &self.dialect, schema, &self.house.catalog.load());
        let checked_out = self.checkout(&judged, &[], Instant::now()).await;
        let (_, mut lease) = checked_out.map_err(|refusal| refusal.packet(&self.house.topology.load()))?;
        let answer = lease.ask(question).await;
        if answer.is_ok() || matches!(answer, Err(ExchangeError::Refused(_))) {
            self.keep_or_release(lease);
        }
        match answer {
            Ok(value) => Ok(value),
            Err(ExchangeError::Refused(error)) => Err(error),
            Err(error) => Err(ErrPacket::new(code::NET_READ_ERROR, error.to_string())),
        }
    }

    /// A read whose server was lost to it may have begun anew on another before the order came.
    async fn kill_again(&self, target: &SessionInfo, killed: Option<(ServerId, u32)>) {
        let now = target.seen().backend.filter(|backend| Some(*backend) != killed);
        if let Some((server, thread)) = now {
            // The account may, that is known by now; and a thread that has ended is as good as killed.
            let _ = kill_thread(self.house.pool(server), &self.wanted, "KILL", thread).await;
        }
    }

    /// The client has gone while a server works for it: a read is of no use to anybody, a write is finished as a
    /// server would finish it whose client had gone.
    pub(super) fn abandon_at_work(&mut self, access: &Access, mut lease: Lease) {
        if *access == Access::Read {
            return self.abandon(lease);
        }
        self.house.counters.abandoned.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            // The answer begins when the work is done. Whatever it is, the connection is closed then: what was not
            // committed is rolled back, as it would be directly.
            let _ = tokio::time::timeout(ABANDONED_WRITE_LIMIT, lease.conn.channel.fill()).await;
            drop(lease);
        });
    }

    /// The client has gone in mid-statement: the server need not go on, and the connection is not reused.
    pub(super) fn abandon(&mut self, lease: Lease) {
        self.house.counters.abandoned.fetch_add(1, Relaxed);
        let (pool, wanted, thread) = (Arc::clone(lease.pool()), self.wanted.clone(), lease.conn.thread_id);
        tokio::spawn(async move {
            if let Err(error) = kill_thread(&pool, &wanted, "KILL", thread).await
                && error.code != code::NO_SUCH_THREAD
            {
                tracing::debug!(%error, thread, "could not kill the query of a client that has gone");
            }
            // Held until here, so that its slot is not counted as free while the server is still at work.
            drop(lease);
        });
    }
}

impl House {
    /// Ends a session on an operator's behalf, and the statement that a server works on for it. `None`: there is
    /// no such session. An error: it ends, but not before its statement does, and why.
    pub async fn kill(&self, id: u32) -> Option<Result<(), ErrPacket>> {
        let target = self.registry.get(id)?;
        // Before its statement is killed, so that it does not run it again elsewhere.
        target.order(Order::Kill);
        let seen = target.seen();
        let Some((server, thread)) = seen.backend.filter(|_| target.activity() == Activity::Active) else {
            return Some(Ok(()));
        };
        // Every account may kill its own threads; the proxy's own need not be allowed to.
        match kill_thread(self.pool(server), &target.wanted(), "KILL", thread).await {
            Err(error) if error.code != code::NO_SUCH_THREAD => Some(Err(error)),
            _ => Some(Ok(())),
        }
    }
}

fn number(value: Option<String>) -> Result<u64, ErrPacket> {
    let number = value.as_deref().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let shown = value.unwrap_or_else(|| "NULL".to_owned());
        ErrPacket::new(code::NO_SUCH_THREAD, format!("Unknown thread id: {shown}"))
    })
}

fn denied(id: u64) -> ErrPacket {
    ErrPacket::new(code::KILL_DENIED, format!("You are not owner of thread {id}"))
}

async fn kill_thread(pool: &Arc<Pool>, wanted: &Wanted, verb: &str, thread: u32) -> Result<(), ErrPacket> {
    match pool.execute_aside(wanted, &format!("{verb} {thread}")).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ExchangeError::Refused(error))) => Err(error),
        Ok(Err(error)) => Err(ErrPacket::new(code::UNKNOWN, error.to_string())),
        Err(error) => Err(ErrPacket::new(code::UNKNOWN, error.to_string())),
    }
}
