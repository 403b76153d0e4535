//! Performs one step on one server, and looks at what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::task::JoinSet;
use tokio::time;

use super::statements::{self, SESSIONS_SQL, Source};
use super::step::{Outcome, Step, What};
use crate::config::Secret;
use crate::control::door::{self, Door};
use crate::control::observation::{Facts, Observation};
use crate::control::probe::Probe;
use crate::topology::ServerId;

/// How long one step may take. A server that hangs must not hold up the others for longer.
const STEP_LIMIT: Duration = Duration::from_secs(5);
/// How long getting in may take.
const OPEN_LIMIT: Duration = Duration::from_secs(2);
/// How long the answer to a canary write is waited for: what it is sent for happens without it.
const CANARY_LIMIT: Duration = Duration::from_millis(500);
/// ER_NO_SUCH_THREAD: it has ended by itself. ER_KILL_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR: it is that of
/// somebody above us, on MySQL with SYSTEM_USER. It is left: `super_read_only` is for it too, and closing the server
/// to all others must not fail by it.
const LEFT: [u16; 3] = [1094, 1095, 1227];

/// What is needed to reach every server and to make one follow another.
#[derive(Clone)]
pub(in crate::control) struct Hands {
    pub(in crate::control) doors: Arc<[Door]>,
    /// How long a look may take.
    pub(in crate::control) timeout: Duration,
    pub(in crate::control) account: Arc<Account>,
}

/// What replicas log in to their source with.
pub(in crate::control) struct Account {
    pub(in crate::control) user: String,
    pub(in crate::control) password: Secret,
    pub(in crate::control) tls: bool,
}

/// What steps came to, and what the servers show after them.
#[derive(Debug, Default)]
pub(in crate::control) struct Acted {
    pub(in crate::control) outcomes: Vec<(Step, Outcome)>,
    pub(in crate::control) seen: Vec<Seen>,
}

/// One look at one server, and when it began.
#[derive(Debug)]
pub(in crate::control) struct Seen {
    pub(in crate::control) server: ServerId,
    pub(in crate::control) asked: Instant,
    pub(in crate::control) observation: Observation,
}

impl Hands {
    /// Takes the steps, all at once, and looks at each server when its own is over.
    pub(in crate::control) async fn act(self, steps: Vec<(Step, Facts)>) -> Acted {
        let mut tasks = JoinSet::new();
        for (step, facts) in steps {
            let hands = self.clone();
            tasks.spawn(async move {
                let outcome = hands.step(&step, &facts).await;
                let seen = hands.look(step.server).await;
                (step, outcome, seen)
            });
        }
        let mut acted = Acted::default();
        while let Some(joined) = tasks.join_next().await {
            // A step that panicked is one of which nothing is known; the next look tells.
            let Ok((step, outcome, seen)) = joined else { continue };
            acted.outcomes.push((step, outcome));
            acted.seen.push(seen);
        }
        acted
    }

    /// Looks at these servers, after a pause.
    pub(in crate::control) async fn look_at(self, servers: Vec<ServerId>, pause: Duration) -> Acted {
        time::sleep(pause).await;
        let mut tasks = JoinSet::new();
        for server in servers {
            let hands = self.clone();
            tasks.spawn(async move { hands.look(server).await });
        }
        let mut acted = Acted::default();
        while let Some(seen) = tasks.join_next().await {
            acted.seen.extend(seen.ok());
        }
        acted
    }

    async fn look(&self, server: ServerId) -> Seen {
        let door = self.doors[usize::from(server.0)].clone();
        let asked = Instant::now();
        let observation = Probe::new(door, self.timeout).look().await;
        Seen { server, asked, observation }
    }

    async fn step(&self, step: &Step, facts: &Facts) -> Outcome {
        let door = &self.doors[usize::from(step.server.0)];
        let mut conn = match time::timeout(OPEN_LIMIT, door.open()).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(failure)) => return Outcome::Failed(failure.text),
            Err(_) => return Outcome::Failed(format!("not reached within {OPEN_LIMIT:?}").into()),
        };
        let source = match &step.what {
            What::Follow { source, .. } => Some(&self.doors[usize::from(source.0)]),
            _ => None,
        };
        let source = source.map(|door| Source {
            host: door.host(),
            port: door.port(),
            user: &self.account.user,
            password: self.account.password.reveal(),
            tls: self.account.tls,
        });
        let statements = statements::statements(&step.what, facts, source.as_ref());
        let ends_sessions = matches!(step.what, What::CloseWrites | What::Quarantine);
        let limit = if step.what == What::Canary { CANARY_LIMIT } else { STEP_LIMIT };
        match time::timeout(limit, perform(&mut conn, ends_sessions, statements)).await {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(mysql_async::Error::Server(error))) => Outcome::Failed(error.to_string().into()),
            Ok(Err(error)) => Outcome::Unknown(door::failure(&error).text),
            Err(_) => Outcome::Unknown(format!("no answer within {limit:?}").into()),
        }
    }
}

async fn perform(
    conn: &mut Conn,
    ends_sessions: bool,
    statements: Vec<String>,
) -> Result<(), mysql_async::Error> {
    if ends_sessions {
        end_sessions(conn).await?;
    }
    for statement in statements {
        conn.query_drop(statement).await?;
    }
    Ok(())
}

/// Ends every session that may write, but not those of accounts that watch as this one does.
async fn end_sessions(conn: &mut Conn) -> Result<(), mysql_async::Error> {
    let own: Option<String> = conn.query_first("SELECT SUBSTRING_INDEX(USER(), '@', 1)").await?;
    let sessions: Vec<(u64, String, String)> = conn.query(SESSIONS_SQL).await?;
    for (id, user, _) in sessions {
        if own.as_deref() == Some(user.as_str()) {
            continue;
        }
        match conn.query_drop(format!("KILL CONNECTION {id}")).await {
            Err(mysql_async::Error::Server(error)) if LEFT.contains(&error.code) => {}
            other => other?,
        }
    }
    Ok(())
}
