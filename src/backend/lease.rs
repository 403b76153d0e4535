//! One session's hold on one connection. Dropped without a verdict, the connection is closed.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::pool::Pool;
use super::prepared::StatementKey;
use super::session::{Backend, ExchangeError};
use super::settings::Settings;
use super::user_variables::UserVariables;
use crate::gtid::GtidSet;

pub struct Lease {
    backend: Option<Box<Backend>>,
    pool: Arc<Pool>,
}

impl Lease {
    pub(super) fn new(backend: Box<Backend>, pool: Arc<Pool>) -> Self {
        Self { backend: Some(backend), pool }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Gives the connection the settings of the session that holds it.
    pub async fn settle(&mut self, wanted: &Settings) -> Result<(), ExchangeError> {
        if self.settings.same_variables(wanted) && self.settings.schema == wanted.schema {
            return Ok(());
        }
        self.pool.counters.settled.fetch_add(1, Relaxed);
        let limit = self.pool.exchange_limit();
        // Boxed, as all that is rare here: every session's memory would be larger by it.
        Box::pin(in_time(limit, self.settle_to(wanted))).await
    }

    /// Waits until the server has applied these transactions. `false`: not within the limit.
    pub async fn await_applied(&mut self, gtids: &GtidSet, limit: Duration) -> Result<bool, ExchangeError> {
        let patience = limit + self.pool.exchange_limit();
        Box::pin(in_time(patience, self.await_gtids(gtids, limit))).await
    }

    /// What the connection committed last, where the server tells it of one connection.
    pub async fn last_written(&mut self) -> Result<Option<GtidSet>, ExchangeError> {
        let limit = self.pool.exchange_limit();
        Box::pin(in_time(limit, self.last_gtids())).await
    }

    /// Leaves what the connection reports to the session.
    pub async fn leave_trackers(&mut self) -> Result<(), ExchangeError> {
        let limit = self.pool.exchange_limit();
        Box::pin(in_time(limit, Backend::leave_trackers(self))).await
    }

    /// The schema that is chosen now.
    pub async fn schema(&mut self) -> Result<Option<String>, ExchangeError> {
        let limit = self.pool.exchange_limit();
        Box::pin(in_time(limit, self.scalar(b"SELECT DATABASE()"))).await
    }

    /// All that the server has committed.
    pub async fn position(&mut self) -> Result<GtidSet, ExchangeError> {
        let limit = self.pool.exchange_limit();
        Box::pin(in_time(limit, self.executed_gtids())).await
    }

    /// The isolation of the transactions that begin here, as in `READ-COMMITTED`.
    pub async fn isolation(&mut self) -> Result<String, ExchangeError> {
        let limit = self.pool.exchange_limit();
        Box::pin(in_time(limit, self.transaction_isolation())).await
    }

    /// Begins a transaction of that isolation.
    pub async fn begin(&mut self, isolation: &str) -> Result<(), ExchangeError> {
        let limit = self.pool.exchange_limit();
        let set = format!("SET TRANSACTION ISOLATION LEVEL {isolation}");
        Box::pin(in_time(limit, async {
            self.execute(&set).await?;
            self.execute("START TRANSACTION").await
        }))
        .await
    }

    pub async fn roll_back(&mut self) -> Result<(), ExchangeError> {
        let limit = self.pool.exchange_limit();
        Box::pin(in_time(limit, self.execute("ROLLBACK"))).await
    }

    /// Runs a query of our own that answers one row of one column.
    pub async fn ask_in_time(&mut self, question: &str) -> Result<Option<String>, ExchangeError> {
        let limit = self.pool.exchange_limit();
        in_time(limit, self.scalar(question.as_bytes())).await
    }

    /// Empties the list that SHOW WARNINGS shows. To be done last: what settles a connection may warn. MariaDB keeps the
    /// list over a statement that reads no table.
    pub async fn forget_diagnostics(&mut self) -> Result<(), ExchangeError> {
        let limit = self.pool.exchange_limit();
        Box::pin(in_time(limit, self.scalar(b"SELECT 1 FROM (SELECT 1) AS list"))).await.map(drop)
    }

    /// The server's number of a statement, prepared first where it is not. The session's own settings are
    /// `current` and `variables`, which are not
    /// touched if none are given; a statement is read under those it was first prepared with.
    pub async fn prepared_id(
        &mut self,
        key: &Arc<StatementKey>,
        current: &Settings,
        variables: Option<&UserVariables>,
    ) -> Result<u32, ExchangeError> {
        match self.prepared.use_id(key) {
            Some(id) => Ok(id),
            None => Box::pin(self.prepare_now(key, current, variables)).await,
        }
    }

    async fn prepare_now(
        &mut self,
        key: &Arc<StatementKey>,
        current: &Settings,
        variables: Option<&UserVariables>,
    ) -> Result<u32, ExchangeError> {
        self.make_room().await?;
        let then = current.reading_as(key.environment());
        self.settle(&then).await?;
        let types = key.variables().zip(variables);
        if let Some((then, _)) = types {
            self.settle_user_variables(then).await?;
        }
        let prepared = self.prepare(key).await;
        self.settle(current).await?;
        if let Some((_, now)) = types {
            self.settle_user_variables(now).await?;
        }
        let id = prepared?;
        self.pool.counters.prepared.fetch_add(1, Relaxed);
        self.pool.count_prepared(1, 0);
        Ok(id)
    }

    /// A client's own COM_STMT_PREPARE went through this connection: others may use the statement too.
    pub async fn remember_prepared(&mut self, key: &Arc<StatementKey>, id: u32) -> Result<(), ExchangeError> {
        self.pool.counters.prepared.fetch_add(1, Relaxed);
        match self.prepared.insert(Arc::clone(key), id) {
            Some(old) => self.close_statement(old).await,
            None => {
                self.pool.count_prepared(1, 0);
                self.make_room().await
            }
        }
    }

    /// Whether the server was last told these types for the statement.
    pub fn knows_types(&self, key: &StatementKey, types: &Arc<[u8]>) -> bool {
        self.prepared.knows_types(key, types)
    }

    pub fn tell_types(&mut self, key: &StatementKey, types: &Arc<[u8]>) {
        self.prepared.tell_types(key, types);
    }

    /// Closes a statement on the server, with all that was sent ahead for it and its cursor.
    pub async fn close_prepared(&mut self, key: &StatementKey) -> Result<(), ExchangeError> {
        let Some(id) = self.prepared.remove(key) else { return Ok(()) };
        self.pool.count_prepared(0, 1);
        self.close_statement(id).await
    }

    /// The server does not know the statement any more.
    pub fn forget_prepared(&mut self, key: &StatementKey) {
        if self.prepared.remove(key).is_some() {
            self.pool.count_prepared(0, 1);
        }
    }

    /// Closes what was used longest ago here while the server holds too much.
    pub(super) async fn make_room(&mut self) -> Result<(), ExchangeError> {
        while self.prepared.len() > 1 && self.pool.is_full_of_statements() {
            let Some(id) = self.prepared.evict() else { break };
            self.pool.counters.evicted.fetch_add(1, Relaxed);
            self.pool.count_prepared(0, 1);
            self.close_statement(id).await?;
        }
        Ok(())
    }

    /// Back to the pool as it is: nothing but its settings distinguishes it from a new one.
    pub fn release_clean(mut self) {
        if self.trackers_are_clients() {
            // Nobody else would be known by them.
            return self.release_after_reset();
        }
        if let Some(backend) = self.backend.take() {
            self.pool.release(backend);
        }
    }

    /// Back to the pool once the server has made it as after login.
    pub fn release_after_reset(mut self) {
        if let Some(backend) = self.backend.take() {
            Arc::clone(&self.pool).release_after_reset(backend);
        }
    }
}

/// A server that does not answer a question of ours in time is as good as lost.
pub(super) async fn in_time<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, ExchangeError>>,
) -> Result<T, ExchangeError> {
    let late = || ExchangeError::Lost(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| Err(late()))
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(backend) = self.backend.take() {
            self.pool.close_leased(backend);
        }
    }
}

impl Deref for Lease {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        self.backend.as_ref().expect("a lease holds its connection until it is given back")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Backend {
        self.backend.as_mut().expect("a lease holds its connection until it is given back")
    }
}
