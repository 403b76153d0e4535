//! Clients that write without a pause, what they were told, and what became of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mysql_async::prelude::Queryable;
use pointsman::playground::{Cluster, ROOT, Server};
use tokio::task::JoinSet;

use crate::load::eventually;
use crate::through::Proxy;

/// Clients that insert one row after another, each number once, each on a session of its own.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    tasks: JoinSet<Result<()>>,
}

/// What the clients were told.
#[derive(Default)]
pub(crate) struct Told {
    /// OK, and when.
    pub(crate) acknowledged: Vec<(u64, Instant)>,
    /// "outcome unknown"
    pub(crate) unknown: BTreeSet<u64>,
    /// Anything else: it must not be there.
    pub(crate) failed: Vec<(u64, u16, String)>,
}

impl Writers {
    pub(crate) async fn start(proxy: &Proxy, clients: usize) -> Result<Self> {
        Self::paced(proxy, clients, Duration::ZERO).await
    }

    /// Each client waits between two rows, so that replicas keep up: they commit one by one what a primary commits
    /// together.
    pub(crate) async fn paced(proxy: &Proxy, clients: usize, pause: Duration) -> Result<Self> {
        let mut setup = proxy.connect().await?;
        setup.query_drop("CREATE TABLE IF NOT EXISTS written (id BIGINT PRIMARY KEY, by_server INT)").await?;
        let (stop, told) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Told>>::default());
        let next = Arc::new(AtomicU64::new(1));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let mut conn = proxy.connect().await?;
            let (stop, told, next) = (Arc::clone(&stop), Arc::clone(&told), Arc::clone(&next));
            tasks.spawn(async move {
                while !stop.load(Relaxed) {
                    tokio::time::sleep(pause).await;
                    let id = next.fetch_add(1, Relaxed);
                    let answer =
                        conn.query_drop(format!("INSERT INTO written VALUES ({id}, @@server_id)")).await;
                    let mut told = told.lock().expect("nobody panics with it");
                    match answer {
                        Ok(()) => told.acknowledged.push((id, Instant::now())),
                        Err(mysql_async::Error::Server(error))
                            if error.message.contains("outcome unknown") =>
                        {
                            told.unknown.insert(id);
                        }
                        Err(mysql_async::Error::Server(error)) => {
                            told.failed.push((id, error.code, error.message))
                        }
                        Err(error) => bail!("a writer lost its session: {error}"),
                    }
                }
                Ok(())
            });
        }
        Ok(Self { stop, told, tasks })
    }

    /// Waits until as many more writes are acknowledged.
    pub(crate) async fn acknowledged(&self, writes: usize) -> Result<()> {
        let count = || self.told.lock().expect("nobody panics with it").acknowledged.len();
        let from = count();
        eventually("writes are acknowledged", || async { Ok(count() >= from + writes) }).await
    }

    /// Ends the clients. None may have lost its session.
    pub(crate) async fn stop(mut self) -> Result<Told> {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(std::mem::take(&mut *self.told.lock().expect("nobody panics with it")))
    }
}

impl Told {
    /// Reads the rows back from a server past the proxy, and holds them against what was told.
    pub(crate) async fn holds_on(&self, server: &Server) -> Result<()> {
        let mut conn = server.connect(ROOT).await?;
        let found: Vec<u64> = conn.query("SELECT id FROM app.written").await?;
        let found: BTreeSet<u64> = found.into_iter().collect();
        let lost: Vec<u64> =
            self.acknowledged.iter().map(|(id, _)| *id).filter(|id| !found.contains(id)).collect();
        assert!(lost.is_empty(), "{}: acknowledged and not there: {lost:?}", server.name);
        let denied: Vec<_> = self.failed.iter().filter(|(id, ..)| found.contains(id)).collect();
        assert!(denied.is_empty(), "{}: refused and there all the same: {denied:?}", server.name);
        Ok(())
    }

    /// The longest time without an acknowledgement.
    pub(crate) fn longest_gap(&self) -> Duration {
        let mut times: Vec<Instant> = self.acknowledged.iter().map(|(_, at)| *at).collect();
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// The server of that name.
pub(crate) fn named<'c>(cluster: &'c Cluster, name: &str) -> &'c Server {
    cluster.servers().find(|server| server.name == name).expect("one of the cluster's")
}
