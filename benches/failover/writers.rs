//! Clients that write row after row, and what they were told and when.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use pointsman::playground::APP;
use tokio::task::JoinSet;

pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    told: Arc<Told>,
    tasks: JoinSet<()>,
}

/// What all clients were told.
#[derive(Default)]
pub(crate) struct Told {
    /// Each OK: when its statement was sent, when it came, and its row.
    acknowledged: Mutex<Vec<(Instant, Instant, u64)>>,
    next: AtomicU64,
    unknown: AtomicUsize,
    failed: AtomicUsize,
}

/// What clients saw of one change of primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// From the last OK before it to the first after.
    pub(crate) gap: Duration,
    /// From the event to the first OK after it.
    pub(crate) until_first: Duration,
    /// The longest that any statement waited.
    pub(crate) longest: Duration,
    /// Statements whose outcome nobody knows, and those that failed.
    pub(crate) unknown: usize,
    pub(crate) failed: usize,
}

impl Writers {
    pub(crate) async fn start(port: u16, clients: usize, think: Duration) -> Result<Self> {
        connect(port)
            .await?
            .query_drop("CREATE TABLE IF NOT EXISTS written (id BIGINT PRIMARY KEY)")
            .await
            .context("the table of the writers")?;
        let (stop, told) = (Arc::<AtomicBool>::default(), Arc::<Told>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let conn = connect(port).await?;
            tasks.spawn(write(conn, port, think, Arc::clone(&stop), Arc::clone(&told)));
        }
        Ok(Self { stop, told, tasks })
    }

    /// Waits until as many more writes are acknowledged. `false`: they are not.
    pub(crate) async fn acknowledged(&self, more: usize, limit: Duration) -> bool {
        let (from, until) = (self.told.count(), Instant::now() + limit);
        while self.told.count() < from + more {
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// What came of an event at that time.
    pub(crate) fn seen(&self, event: Instant, unknown: usize, failed: usize) -> Seen {
        let acknowledged = self.told.lock();
        let shortly_before = event.checked_sub(Duration::from_millis(500)).unwrap_or(event);
        let lately: Vec<_> = acknowledged.iter().filter(|(_, came, _)| *came >= shortly_before).collect();
        let mut times: Vec<Instant> = lately.iter().map(|(_, came, _)| *came).collect();
        times.sort_unstable();
        let gaps = times.windows(2).filter(|pair| pair[1] >= event);
        let (gap, first) =
            gaps.map(|pair| (pair[1] - pair[0], pair[1])).max().unwrap_or((Duration::ZERO, event));
        let longest = lately.iter().map(|(sent, came, _)| *came - *sent).max();
        Seen {
            gap,
            until_first: first.saturating_duration_since(event),
            longest: longest.unwrap_or_default(),
            unknown: self.told.unknown.load(Relaxed) - unknown,
            failed: self.told.failed.load(Relaxed) - failed,
        }
    }

    pub(crate) fn unknown(&self) -> usize {
        self.told.unknown.load(Relaxed)
    }

    pub(crate) fn failed(&self) -> usize {
        self.told.failed.load(Relaxed)
    }

    /// Ends the clients. Every row that was acknowledged.
    pub(crate) async fn stop(mut self) -> BTreeSet<u64> {
        self.stop.store(true, Relaxed);
        while self.tasks.join_next().await.is_some() {}
        self.told.lock().iter().map(|(_, _, row)| *row).collect()
    }
}

impl Told {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Instant, u64)>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        self.lock().len()
    }
}

async fn write(mut conn: Conn, port: u16, think: Duration, stop: Arc<AtomicBool>, told: Arc<Told>) {
    while !stop.load(Relaxed) {
        tokio::time::sleep(think).await;
        let row = told.next.fetch_add(1, Relaxed);
        let sent = Instant::now();
        match conn.query_drop(format!("INSERT INTO written VALUES ({row})")).await {
            Ok(()) => told.lock().push((sent, Instant::now(), row)),
            Err(mysql_async::Error::Server(error)) if error.message.contains("outcome unknown") => {
                told.unknown.fetch_add(1, Relaxed);
            }
            Err(error) => {
                told.failed.fetch_add(1, Relaxed);
                crate::say(&format!("a writer: {error}"));
                if !matches!(error, mysql_async::Error::Server(_)) {
                    match connect(port).await {
                        Ok(again) => conn = again,
                        Err(_) => return,
                    }
                }
            }
        }
    }
}

async fn connect(port: u16) -> Result<Conn> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .prefer_socket(false)
        .user(Some(APP.user))
        .pass(Some(APP.password))
        .db_name(Some("app"))
        .max_allowed_packet(Some(64 << 20))
        .wait_timeout(Some(28_800));
    Conn::new(options).await.context("through the proxy")
}
