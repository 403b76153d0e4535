//! Sessions that share connections see of each other nothing: each against a model of itself, at random.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Cluster, ROOT};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::clusters::{both, schema, shared};
use crate::load::refusal;
use crate::random::Random;
use crate::through::Proxy;

both![sessions_see_nothing_of_each_other];

const SESSIONS: u64 = 20;
const FOR: Duration = Duration::from_secs(8);
/// Sessions that may hold a connection at a time: one connection is left for all others.
const HOLDERS: usize = 2;
const ROLES: [&str; 2] = ["leak_reader", "leak_writer"];
const SCHEMAS: [&str; 3] = ["leak_a", "leak_b", "leak_c"];

async fn sessions_see_nothing_of_each_other(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    for name in SCHEMAS {
        let mut conn = schema(cluster, name).await?;
        conn.query_drop("CREATE TABLE who (name VARCHAR(20))").await?;
        conn.query_drop(format!("INSERT INTO who VALUES ('{name}')")).await?;
        let written = "CREATE TABLE written (id INT PRIMARY KEY AUTO_INCREMENT, session INT, KEY (session))";
        conn.query_drop(written).await?;
    }
    let mut root = cluster.primary.connect(ROOT).await?;
    for role in ROLES {
        root.query_drop(format!("CREATE ROLE {role}")).await?;
        root.query_drop(format!("GRANT {role} TO {}", APP.user)).await?;
    }
    cluster.wait_applied().await?;
    let proxy = Proxy::start(cluster, |config| config.pool.max_per_server = HOLDERS + 1).await?;
    let mut sessions = JoinSet::new();
    let holders = Arc::new(Semaphore::new(HOLDERS));
    for number in 0..SESSIONS {
        let session = Session::start(number, cluster, &proxy, Arc::clone(&holders)).await?;
        sessions.spawn(session.run());
    }
    let mut steps = 0;
    while let Some(session) = sessions.join_next().await {
        steps += session??;
    }
    assert!(steps > SESSIONS * 10, "only {steps} steps");
    Ok(())
}

/// What a session must see.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    schema: &'static str,
    /// In the order of `VARIABLES`.
    variables: Vec<String>,
    mine: Option<String>,
    /// It was given its value by an expression.
    mine_is_held: bool,
    /// What the statement prepared as text yields.
    text: Option<Text>,
    role: Option<&'static str>,
    temporary: Option<u64>,
    /// Rows written in each schema, and those of the open transaction.
    written: [u64; 3],
    pending: Option<[u64; 3]>,
    last_id: u64,
}

/// It is read as when it was prepared.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Text {
    value: u64,
    schema: &'static str,
}

/// Names and the values they are given.
const VARIABLES: [(&str, [&str; 3]); 6] = [
    ("sql_select_limit", ["17", "18", "19"]),
    ("time_zone", ["'+01:00'", "'-02:30'", "'+03:00'"]),
    ("group_concat_max_len", ["4001", "4002", "4003"]),
    ("sql_mode", ["'ANSI_QUOTES'", "''", "'NO_BACKSLASH_ESCAPES'"]),
    ("character_set_results", ["'latin1'", "'utf8mb4'", "NULL"]),
    ("lc_time_names", ["'de_DE'", "'fr_FR'", "'es_ES'"]),
];

struct Session {
    number: u64,
    conn: Conn,
    model: Model,
    fresh: Vec<String>,
    random: Random,
    holders: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    /// What was done, for people to read when it went wrong.
    story: String,
}

impl Session {
    async fn start(number: u64, cluster: &Cluster, proxy: &Proxy, holders: Arc<Semaphore>) -> Result<Self> {
        let schema = SCHEMAS[number as usize % 3];
        let mut direct = Conn::new(cluster.primary.opts(APP).db_name(Some(schema))).await?;
        let fresh = variables(&mut direct).await?;
        let model = Model {
            schema,
            variables: fresh.clone(),
            mine: None,
            mine_is_held: false,
            text: None,
            role: None,
            temporary: None,
            written: [0; 3],
            pending: None,
            last_id: 0,
        };
        let conn = Conn::new(proxy.opts(APP).db_name(Some(schema))).await?;
        let random = Random(number + 1);
        Ok(Self { number, conn, model, fresh, random, holders, permit: None, story: String::new() })
    }

    async fn run(mut self) -> Result<u64> {
        let (started, mut steps) = (Instant::now(), 0);
        while started.elapsed() < FOR {
            let done = self.step().await;
            let checked = match done {
                Ok(()) => self.check().await,
                Err(error) => Err(error),
            };
            checked.with_context(|| format!("session {}: {}", self.number, self.story))?;
            steps += 1;
        }
        Ok(steps)
    }

    async fn say(&mut self, statement: &str) -> Result<()> {
        let _ = write!(self.story, "{statement}; ");
        Ok(self.conn.query_drop(statement).await?)
    }

    async fn step(&mut self) -> Result<()> {
        match self.random.below(16) {
            0 | 1 => self.set_variable().await,
            2 => self.use_schema().await,
            3 | 4 => self.insert().await,
            5 => self.begin().await,
            6 | 7 => self.end().await,
            8 => self.set_mine().await,
            9 => self.create_temporary().await,
            10 => self.reset().await,
            11 => self.compute_mine().await,
            12 | 13 => self.prepare_text().await,
            14 => self.choose_role().await,
            // Only looks, once more.
            _ => Ok(()),
        }
    }

    async fn set_variable(&mut self) -> Result<()> {
        let which = self.random.below(VARIABLES.len() as u64) as usize;
        let (name, values) = VARIABLES[which];
        let value = values[self.random.below(3) as usize];
        self.say(&format!("SET SESSION {name} = {value}")).await?;
        self.model.variables[which] = match value {
            "NULL" => "NULL".to_owned(),
            value => value.trim_matches('\'').to_owned(),
        };
        Ok(())
    }

    async fn use_schema(&mut self) -> Result<()> {
        let schema = SCHEMAS[self.random.below(3) as usize];
        self.say(&format!("USE {schema}")).await?;
        self.model.schema = schema;
        Ok(())
    }

    async fn insert(&mut self) -> Result<()> {
        self.say(&format!("INSERT INTO written (session) VALUES ({})", self.number)).await?;
        self.model.last_id = self.conn.last_insert_id().context("an id")?;
        let place = self.place();
        self.model.pending.as_mut().unwrap_or(&mut self.model.written)[place] += 1;
        Ok(())
    }

    fn place(&self) -> usize {
        SCHEMAS.iter().position(|name| *name == self.model.schema).unwrap_or(0)
    }

    /// Whether it may hold a connection from now on.
    fn may_hold(&mut self) -> bool {
        if self.permit.is_none() {
            self.permit = Arc::clone(&self.holders).try_acquire_owned().ok();
        }
        self.permit.is_some()
    }

    fn let_others_hold(&mut self) {
        let holds = self.model.pending.is_some() || self.model.mine_is_held || self.model.temporary.is_some();
        if !holds {
            self.permit = None;
        }
    }

    async fn begin(&mut self) -> Result<()> {
        if self.model.pending.is_none() && self.may_hold() {
            self.say("BEGIN").await?;
            self.model.pending = Some([0; 3]);
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        if let Some(pending) = self.model.pending {
            if self.random.below(2) == 0 {
                self.say("COMMIT").await?;
                for (written, pending) in self.model.written.iter_mut().zip(pending) {
                    *written += pending;
                }
            } else {
                self.say("ROLLBACK").await?;
            }
            self.model.pending = None;
            self.let_others_hold();
        }
        Ok(())
    }

    async fn set_mine(&mut self) -> Result<()> {
        let number = self.random.below(1000);
        // Strings only: MySQL keeps the type a variable had when a statement was prepared.
        let (value, literal) = match number % 3 {
            0 => (Some(number.to_string()), format!("_latin1'{number}'")),
            1 => (Some(format!("it's {number}")), format!("'it''s {number}'")),
            _ => (None, "NULL".to_owned()),
        };
        self.say(&format!("SET @mine = {literal}")).await?;
        self.model.mine = value;
        self.model.mine_is_held = false;
        self.let_others_hold();
        Ok(())
    }

    async fn compute_mine(&mut self) -> Result<()> {
        if self.may_hold() {
            let value = self.random.below(1000);
            self.say(&format!("SET @mine = CONCAT('computed ', {value})")).await?;
            self.model.mine = Some(format!("computed {value}"));
            self.model.mine_is_held = true;
        }
        Ok(())
    }

    /// One name for the statements of all sessions.
    async fn prepare_text(&mut self) -> Result<()> {
        let value = self.random.below(1000);
        match value % 4 {
            0 if self.model.text.is_some() => {
                self.say("DEALLOCATE PREPARE same").await?;
                self.model.text = None;
            }
            1 => {
                let refused = self.say("PREPARE same FROM 'SELEC 1'").await;
                ensure!(refused.is_err());
                self.model.text = None;
            }
            _ => {
                let text = format!("SELECT {value}, CONCAT(@mine), DATABASE()");
                self.say(&format!("PREPARE same FROM '{text}'")).await?;
                self.model.text = Some(Text { value, schema: self.model.schema });
            }
        }
        Ok(())
    }

    async fn choose_role(&mut self) -> Result<()> {
        let role = ROLES.get(self.random.below(3) as usize).copied();
        self.say(&format!("SET ROLE {}", role.unwrap_or("NONE"))).await?;
        self.model.role = role;
        Ok(())
    }

    async fn create_temporary(&mut self) -> Result<()> {
        // Its row would go with a transaction's rollback.
        if self.model.temporary.is_none() && self.model.pending.is_none() && self.may_hold() {
            // One name in one schema for all sessions.
            let value = self.random.below(1000);
            self.say("CREATE TEMPORARY TABLE leak_a.temporary (n INT)").await?;
            self.say(&format!("INSERT INTO leak_a.temporary VALUES ({value})")).await?;
            self.model.temporary = Some(value);
        }
        Ok(())
    }

    async fn reset(&mut self) -> Result<()> {
        self.story.push_str("reset; ");
        ensure!(self.conn.reset().await?);
        // Roles stay, on both flavours.
        let Model { schema, written, role, .. } = self.model;
        let variables = self.fresh.clone();
        self.model = Model {
            schema,
            variables,
            mine: None,
            mine_is_held: false,
            text: None,
            role,
            temporary: None,
            written,
            pending: None,
            last_id: 0,
        };
        self.let_others_hold();
        Ok(())
    }

    async fn check(&mut self) -> Result<()> {
        let seen = variables(&mut self.conn).await?;
        ensure!(seen == self.model.variables, "variables are {seen:?}, not {:?}", self.model.variables);
        let who: Option<(String, Option<String>)> =
            self.conn.query_first("SELECT name, @mine FROM who").await?;
        let should = Some((self.model.schema.to_owned(), self.model.mine.clone()));
        ensure!(who == should, "it is {who:?}, not {should:?}");
        self.check_text().await?;
        let role: Option<Option<String>> = self.conn.query_first("SELECT CURRENT_ROLE()").await?;
        let role = role.flatten().filter(|role| role != "NONE");
        let role =
            role.as_ref().map(|role| role.split('@').next().unwrap_or_default().trim_matches(['`', '"']));
        ensure!(role == self.model.role, "the role is {role:?}, not {:?}", self.model.role);
        let written = format!("SELECT COUNT(*), DATABASE() FROM written WHERE session = {}", self.number);
        let rows: Option<(u64, String)> = self.conn.query_first(written).await?;
        let place = self.place();
        let should = self.model.written[place] + self.model.pending.map_or(0, |pending| pending[place]);
        ensure!(rows == Some((should, self.model.schema.to_owned())), "{rows:?} rows, not {should}");
        let last: Option<u64> = self.conn.query_first("SELECT LAST_INSERT_ID()").await?;
        ensure!(last == Some(self.model.last_id), "last id is {last:?}, not {}", self.model.last_id);
        let temporary = self.conn.query_first::<u64, _>("SELECT n FROM leak_a.temporary").await;
        match self.model.temporary {
            Some(value) => ensure!(temporary? == Some(value), "another's temporary table"),
            None => ensure!(refusal(temporary)?.0 == 1146),
        }
        Ok(())
    }
}

impl Session {
    async fn check_text(&mut self) -> Result<()> {
        let found: Result<Option<(u64, Option<String>, String)>, _> =
            self.conn.query_first("EXECUTE same").await;
        match (found, self.model.text) {
            (Ok(found), Some(Text { value, schema })) => {
                let should = Some((value, self.model.mine.clone(), schema.to_owned()));
                ensure!(found == should, "the statement yields {found:?}, not {should:?}");
            }
            (Ok(found), None) => anyhow::bail!("a statement of another session yields {found:?}"),
            (Err(mysql_async::Error::Server(error)), None) => ensure!(error.code == 1243, "{error}"),
            (Err(error), _) => return Err(error.into()),
        }
        Ok(())
    }
}

/// What the session's variables are, wherever it is asked.
async fn variables(conn: &mut Conn) -> Result<Vec<String>> {
    let names: Vec<String> = VARIABLES.iter().map(|(name, _)| format!("@@SESSION.{name}")).collect();
    let row: Option<Row> = conn.query_first(format!("SELECT {}", names.join(", "))).await?;
    let values = row.context("one row")?.unwrap().into_iter();
    Ok(values
        .map(|value| match value {
            mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => other.as_sql(true),
        })
        .collect())
}
