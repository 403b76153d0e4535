//! Looks at one server again and again, within a deadline each time.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::sync::mpsc;
use tokio::time::{self, MissedTickBehavior};

use super::door::{self, Door};
use super::observation::{self, Facts, Failure, FailureKind, Observation};
use super::semi_sync;
use crate::flavour::Version;
use crate::topology::ServerId;

/// One server's probe; keeps its connection from one look to the next.
pub(super) struct Probe {
    door: Door,
    timeout: Duration,
    connection: Option<Connection>,
}

pub(super) struct Connection {
    pub(super) conn: Conn,
    version: Version,
}

impl Probe {
    pub(super) fn new(door: Door, timeout: Duration) -> Self {
        Self { door, timeout, connection: None }
    }

    /// Looks at the server in every interval until nobody listens any more.
    pub(super) async fn run(
        mut self,
        server: ServerId,
        interval: Duration,
        seen: mpsc::Sender<(ServerId, Instant, Observation)>,
    ) {
        let mut schedule = time::interval(interval);
        // A look that took long puts off those after it; bunched, they would count a single silence twice.
        schedule.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            schedule.tick().await;
            let asked = Instant::now();
            let observation = self.look().await;
            if seen.send((server, asked, observation)).await.is_err() {
                return;
            }
        }
    }

    pub(super) async fn look(&mut self) -> Observation {
        let answer = time::timeout(self.timeout, self.ask()).await;
        let observation = answer.unwrap_or_else(|_| {
            let text = format!("no answer within {:?}", self.timeout);
            Err(Failure { kind: FailureKind::Timeout, text: text.into() })
        });
        if observation.is_err() {
            self.connection = None;
        }
        observation
    }

    /// The connection that is kept, or a new one, for something else than looking. It is given back only where its
    /// last answer was read to the end.
    pub(super) async fn take(&mut self) -> Result<Connection, Failure> {
        if let Some(mut kept) = self.connection.take()
            && kept.conn.ping().await.is_ok()
        {
            return Ok(kept);
        }
        self.open().await
    }

    pub(super) fn give_back(&mut self, connection: Connection) {
        self.connection = Some(connection);
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let mut conn = self.door.open().await?;
        let version = version(&mut conn).await.map_err(|error| door::failure(&error))?;
        Ok(Connection { conn, version })
    }

    async fn ask(&mut self) -> Observation {
        // Taken: whoever stops waiting for the answer must not leave it to the next question.
        if let Some(mut connection) = self.connection.take() {
            match connection.facts().await {
                // The server closed it or is gone; a new connection tells which.
                Err(error) if door::is_broken(&error) => {}
                answer => {
                    self.connection = Some(connection);
                    return complete(answer);
                }
            }
        }
        let mut connection = self.open().await?;
        let facts = complete(connection.facts().await)?;
        self.connection = Some(connection);
        Ok(facts)
    }
}

impl Connection {
    async fn facts(&mut self) -> Result<Option<Facts>, mysql_async::Error> {
        let state: Option<mysql_async::Row> =
            self.conn.query_first(observation::state_sql(self.version)).await?;
        let replication: Vec<mysql_async::Row> =
            self.conn.query(observation::replication_sql(self.version)).await?;
        let mut variables: Vec<mysql_async::Row> = self.conn.query(semi_sync::VARIABLES_SQL).await?;
        variables.extend(self.conn.query::<mysql_async::Row, _>(semi_sync::STATUS_SQL).await?);
        let rows = |rows: &[mysql_async::Row]| rows.iter().map(door::row).collect::<Vec<observation::Row>>();
        let (replication, variables) = (rows(&replication), rows(&variables));
        Ok(state.and_then(|state| observation::facts(&door::row(&state), &replication, &variables)))
    }
}

pub(super) async fn version(conn: &mut Conn) -> Result<Version, mysql_async::Error> {
    let text: Option<String> = conn.query_first("SELECT VERSION()").await?;
    Ok(Version::parse(&text.unwrap_or_default()))
}

fn complete(answer: Result<Option<Facts>, mysql_async::Error>) -> Observation {
    match answer {
        Ok(Some(facts)) => Ok(facts),
        Ok(None) => Err(Failure {
            kind: FailureKind::Other,
            text: "the server's answer is not what was asked for".into(),
        }),
        Err(error) => Err(door::failure(&error)),
    }
}
