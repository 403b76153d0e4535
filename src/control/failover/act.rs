//! Performs one step on one server, and looks at what came of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// How long a server may take to come close behind another before it is to take over from it.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(10);
/// One wait of that.
const AWAIT: Duration = Duration::from_secs(1);
/// It is close when it has within this time what the other has now.
const CLOSE_BEHIND: Duration = Duration::from_secs(1);
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
    doors: Arc<[Door]>,
    account: Arc<Account>,
    /// A probe of each server with its connection, kept from one step to the next; out while it is used.
    kept: Arc<[Mutex<Option<Probe>>]>,
    timeout: Duration,
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
    pub(in crate::control) fn new(doors: &[Door], timeout: Duration, account: Account) -> Self {
        let kept = doors.iter().map(|_| Mutex::default()).collect();
        Self { doors: doors.into(), account: Arc::new(account), kept, timeout }
    }

    /// Closes the connections that are not in use.
    pub(in crate::control) fn rest(&self) {
        (0..self.kept.len()).for_each(|index| drop(self.kept(index).take()));
    }

    fn kept(&self, index: usize) -> MutexGuard<'_, Option<Probe>> {
        self.kept[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, server: ServerId) -> Probe {
        let index = usize::from(server.0);
        let kept = self.kept(index).take();
        kept.unwrap_or_else(|| Probe::new(self.doors[index].clone(), self.timeout))
    }

    fn put_back(&self, server: ServerId, probe: Probe) {
        *self.kept(usize::from(server.0)) = Some(probe);
    }

    /// Opens connections to all servers, and lets one come close behind the other. The servers' own word that it did not
    /// is an outcome that is not `Done`.
    pub(in crate::control) async fn prepare(self, from: ServerId, to: ServerId) -> Acted {
        let all = (0..self.doors.len()).filter_map(|index| u16::try_from(index).ok()).map(ServerId).collect();
        let mut acted = self.clone().look_at(all, Duration::ZERO).await;
        let until = Instant::now() + CATCH_UP_LIMIT;
        while Instant::now() < until {
            let begun = Instant::now();
            let Ok(old) = self.look(from).await.observation else { break };
            let Ok(new) = self.look(to).await.observation else { break };
            let step = Step { server: to, what: What::Await { gtid: old.gtid, within: AWAIT } };
            let more = self.clone().act(vec![(step, new)]).await;
            let came = more.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Done);
            let is_close = came && begun.elapsed() < CLOSE_BEHIND;
            acted.seen.extend(more.seen);
            let outcome = if is_close { Outcome::Done } else { Outcome::Failed("not close behind".into()) };
            acted.outcomes = more.outcomes.into_iter().map(|(step, _)| (step, outcome.clone())).collect();
            if is_close {
                break;
            }
        }
        acted
    }

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
        let mut probe = self.take(server);
        let asked = Instant::now();
        let observation = probe.look().await;
        self.put_back(server, probe);
        Seen { server, asked, observation }
    }

    async fn step(&self, step: &Step, facts: &Facts) -> Outcome {
        let mut probe = self.take(step.server);
        let mut connection = match time::timeout(OPEN_LIMIT, probe.take()).await {
            Ok(Ok(connection)) => connection,
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
        let limit = if step.what == What::Canary { CANARY_LIMIT } else { STEP_LIMIT };
        let performed = time::timeout(limit, perform(&mut connection.conn, &step.what, statements)).await;
        let outcome = match performed {
            Ok(Ok(true)) => Outcome::Done,
            Ok(Ok(false)) => Outcome::Failed("not in time".into()),
            Ok(Err(mysql_async::Error::Server(error))) => Outcome::Failed(error.to_string().into()),
            Ok(Err(error)) => Outcome::Unknown(door::failure(&error).text),
            Err(_) => Outcome::Unknown(format!("no answer within {limit:?}").into()),
        };
        if !matches!(outcome, Outcome::Unknown(_)) {
            probe.give_back(connection);
            self.put_back(step.server, probe);
        }
        outcome
    }
}

/// Whether it came about.
async fn perform(conn: &mut Conn, what: &What, statements: Vec<String>) -> Result<bool, mysql_async::Error> {
    if matches!(what, What::CloseWrites | What::Quarantine) {
        end_sessions(conn).await?;
    }
    let mut came_about = true;
    for statement in statements {
        match what {
            What::Await { .. } => {
                let answer: Option<Option<i64>> = conn.query_first(statement).await?;
                came_about &= answer.flatten() == Some(0);
            }
            _ => conn.query_drop(statement).await?,
        }
    }
    Ok(came_about)
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
