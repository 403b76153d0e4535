//! What the proxy says of the cluster, asked on its admin port over and over, also across its restarts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::task::JoinSet;

const LOOK: Duration = Duration::from_millis(50);
/// A proxy that was killed does not answer; one that hangs must not hold the play up.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(120);

/// A server as `SHOW SERVERS` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) standing: String,
    pub(crate) because: String,
}

impl Seen {
    pub(crate) fn serves_as(&self, role: &str) -> bool {
        self.role == role && self.standing == "serving"
    }
}

/// The last that was seen, and everything that happened.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    pub(crate) servers: Vec<Seen>,
    pub(crate) class: String,
    pub(crate) no_failover: String,
    /// With the time since the play began at which it was heard of.
    pub(crate) events: Vec<(Duration, String)>,
    /// Those of them that were heard of, with the proxy's own time.
    heard: BTreeSet<(String, String)>,
    when: Option<Instant>,
}

impl Shown {
    /// Whoever takes writes.
    pub(crate) fn primary(&self) -> Option<usize> {
        self.servers.iter().position(|server| server.serves_as("primary"))
    }
}

pub(crate) struct Outlook {
    shown: Arc<Mutex<Shown>>,
    _task: JoinSet<()>,
}

impl Outlook {
    pub(crate) fn watch(began: Instant, admin: OptsBuilder) -> Self {
        let shown = Arc::<Mutex<Shown>>::default();
        let mut task = JoinSet::new();
        let watched = Arc::clone(&shown);
        task.spawn(async move {
            loop {
                if let Ok(Ok(mut conn)) = tokio::time::timeout(ANSWER_LIMIT, Conn::new(admin.clone())).await {
                    while let Ok(Ok(())) =
                        tokio::time::timeout(ANSWER_LIMIT, look(&mut conn, &watched, began)).await
                    {
                        tokio::time::sleep(LOOK).await;
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { shown, _task: task }
    }

    pub(crate) fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a look that was taken from now on shows that; the look.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Shown) -> bool) -> Result<Shown> {
        let (asked, deadline) = (Instant::now(), Instant::now() + LIMIT);
        loop {
            let shown = self.shown();
            if shown.when.is_some_and(|when| when > asked) && is_so(&shown) {
                return Ok(shown);
            }
            ensure!(
                Instant::now() < deadline,
                "never: {what}; {:?}; class {}; {}",
                shown.servers,
                shown.class,
                shown.no_failover
            );
            tokio::time::sleep(LOOK / 2).await;
        }
    }
}

async fn look(conn: &mut Conn, watched: &Mutex<Shown>, began: Instant) -> Result<(), mysql_async::Error> {
    let when = Instant::now();
    let servers: Vec<(String, String, String, Option<String>)> =
        conn.query("SELECT name, role, standing, because FROM servers").await?;
    let durability: Option<(String, String, String)> =
        conn.query_first("SELECT class, because, no_failover FROM durability").await?;
    let events: Vec<(String, String)> = conn.query("SELECT at, event FROM events").await?;
    let mut shown = watched.lock().unwrap_or_else(PoisonError::into_inner);
    shown.when = Some(when);
    shown.servers = servers.into_iter().map(seen).collect();
    (shown.class, _, shown.no_failover) = durability.unwrap_or_default();
    for (at, event) in events {
        if shown.heard.insert((at, event.clone())) {
            shown.events.push((began.elapsed(), event));
        }
    }
    Ok(())
}

fn seen((name, role, standing, because): (String, String, String, Option<String>)) -> Seen {
    Seen { name, role, standing, because: because.unwrap_or_default() }
}
