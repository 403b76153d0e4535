//! Replicas that apply late, in turns: a table lock on the replica stops what changes the table, and nobody who reads.

use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::playground::{Cluster, ROOT};
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

/// The same numbers in every run (Knuth's MMIX generator).
struct Draw(u64);

impl Draw {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (self.0 >> 33) % (high - low + 1)
    }
}
