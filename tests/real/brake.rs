//! Replicas that apply late, in turns: a table lock on the replica stops what changes the table, and nobody who reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::playground::{Cluster, ROOT};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// While it lives, each replica applies changes of one table with delays of 50 to 500 ms. Replication runs, and reads
/// are served, as with a report or a backup that holds the applier up.
pub(crate) struct Brake {
    _tasks: JoinSet<()>,
}

impl Brake {
    pub(crate) async fn on(cluster: &Cluster, table: &str) -> Result<Self> {
        let mut tasks = JoinSet::new();
        for (seed, replica) in (1..).zip(&cluster.replicas) {
            let mut conn = replica.connect(ROOT).await.context("a connection to brake by")?;
            let lock = format!("LOCK TABLES {table} READ");
            let mut draw = Draw(seed);
            tasks.spawn(async move {
                loop {
                    for (statement, low, high) in [(lock.as_str(), 50, 500), ("UNLOCK TABLES", 50, 500)] {
                        if conn.query_drop(statement).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(draw.between(low, high))).await;
                    }
                }
            });
        }
        Ok(Self { _tasks: tasks })
    }
}

/// Holds writers back while every replica is later than the limit: a machine that is slower than its writers would make
/// the replicas later and later, whatever the brake does.
#[derive(Clone)]
pub(crate) struct Pace {
    behind: watch::Receiver<bool>,
    _task: Arc<JoinSet<()>>,
}

impl Pace {
    pub(crate) async fn of(cluster: &Cluster, schema: &str, limit: Duration) -> Result<Self> {
        let mut primary = cluster.primary.connect(ROOT).await?;
        primary.query_drop(format!("CREATE TABLE {schema}.beat (at BIGINT UNSIGNED)")).await?;
        primary.query_drop(format!("INSERT INTO {schema}.beat VALUES (0)")).await?;
        cluster.wait_applied().await?;
        let mut replicas = Vec::new();
        for replica in &cluster.replicas {
            replicas.push(replica.connect(ROOT).await?);
        }
        let (sender, behind) = watch::channel(false);
        let (write, read) =
            (format!("UPDATE {schema}.beat SET at ="), format!("SELECT at FROM {schema}.beat"));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let started = Instant::now();
            loop {
                let now = started.elapsed().as_millis() as u64;
                if primary.query_drop(format!("{write} {now}")).await.is_err() {
                    return;
                }
                let mut least = u64::MAX;
                for replica in &mut replicas {
                    let Ok(Some(beat)) = replica.query_first::<u64, _>(&read).await else { return };
                    least = least.min((started.elapsed().as_millis() as u64).saturating_sub(beat));
                }
                if sender.send(Duration::from_millis(least) > limit).is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Ok(Self { behind, _task: Arc::new(task) })
    }

    /// Returns once a replica is within the limit.
    pub(crate) async fn kept(&self) -> Result<()> {
        self.behind
            .clone()
            .wait_for(|behind| !behind)
            .await
            .context("the replicas' delay is not measured")?;
        Ok(())
    }
}

/// The same numbers in every run (Knuth's MMIX generator).
struct Draw(u64);

impl Draw {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (self.0 >> 33) % (high - low + 1)
    }
}
