//! Clients that read in a loop, and what they saw.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::through::Proxy;

/// How long anything may take to come about.
const LIMIT: Duration = Duration::from_secs(60);

/// Clients that ask `SELECT @@server_id` over and over, each on a session of its own.
pub(crate) struct Readers {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Answer>>>,
    tasks: JoinSet<Result<()>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    pub(crate) server: u32,
}

impl Readers {
    pub(crate) async fn start(proxy: &Proxy, clients: usize) -> Result<Self> {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Answer>>>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let mut conn = proxy.connect().await?;
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            tasks.spawn(async move {
                while !stop.load(Relaxed) {
                    let asked = Instant::now();
                    let server = conn.query_first("SELECT @@server_id").await?.context("one row")?;
                    let answer = Answer { at: Instant::now(), took: asked.elapsed(), server };
                    answers.lock().expect("nobody panics with it").push(answer);
                }
                Ok(())
            });
        }
        Ok(Self { stop, answers, tasks })
    }

    /// Waits until as many reads that were asked from now on are answered by that server.
    pub(crate) async fn answered_by(&self, server: u32, reads: usize) -> Result<()> {
        let from = Instant::now();
        eventually("reads answered", || async {
            let asked_later = |answer: &&Answer| answer.at - answer.took >= from && answer.server == server;
            Ok(self.answers.lock().expect("nobody panics with it").iter().filter(asked_later).count()
                >= reads)
        })
        .await
        .with_context(|| format!("by server {server}"))
    }

    /// Ends the clients; none may have seen an error.
    pub(crate) async fn stop(mut self) -> Result<Vec<Answer>> {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended?.context("a reader saw an error")?;
        }
        Ok(std::mem::take(&mut *self.answers.lock().expect("nobody panics with it")))
    }
}

/// How many of the answers came from each server.
pub(crate) fn by_server<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> BTreeMap<u32, usize> {
    answers.into_iter().fold(BTreeMap::new(), |mut counts, answer| {
        *counts.entry(answer.server).or_default() += 1;
        counts
    })
}

/// Looks until it is so, or for too long.
pub(crate) async fn eventually<F>(what: &str, is_so: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let deadline = Instant::now() + LIMIT;
    while !is_so().await? {
        ensure!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The server's error number and SQLSTATE, where it is an ERR that came.
pub(crate) fn refusal<T>(result: Result<T, mysql_async::Error>) -> Result<(u16, String, String)> {
    match result {
        Err(mysql_async::Error::Server(error)) => Ok((error.code, error.state, error.message)),
        Err(error) => Err(error).context("no ERR but this"),
        Ok(_) => anyhow::bail!("no error"),
    }
}
