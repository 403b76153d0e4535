//! Thousands of clients on fifty connections, each against a model of itself: whatever they do, each sees what it would
//! see alone.
//!
//! `make test` runs a small crowd for a short time; `POINTSMAN_CROWD=5000,60` says how many, and for how many seconds.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Cluster};
use pointsman::wire::read::Cursor;
use pointsman::wire::{ErrPacket, Expect};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::binary::Binary;
use crate::clusters::{both, schema, shared};
use crate::random::Random;
use crate::raw::Raw;

both![a_crowd_on_fifty_connections_sees_what_each_would_alone];

/// To three servers.
const CONNECTIONS: usize = 50;
const SCHEMAS: [&str; 3] = ["crowd_a", "crowd_b", "crowd_c"];
/// Clients that log in at a time.
const LOGINS: usize = 64;

async fn a_crowd_on_fifty_connections_sees_what_each_would_alone(flavour: Flavour) -> Result<()> {
    let (clients, seconds) = size()?;
    let cluster = shared(flavour).await?;
    for name in SCHEMAS {
        let mut conn = schema(cluster, name).await?;
        conn.query_drop("CREATE TABLE who (name VARCHAR(20))").await?;
        conn.query_drop(format!("INSERT INTO who VALUES ('{name}')")).await?;
        let notes = "CREATE TABLE notes (id INT PRIMARY KEY AUTO_INCREMENT, client INT, KEY (client))";
        conn.query_drop(notes).await?;
    }
    cluster.wait_applied().await?;
    let per_server = CONNECTIONS / cluster.servers().count();
    let more = format!("[pool]\nmax_per_server = {per_server}\nwait_timeout = \"60s\"\n");
    let proxy = Binary::start(cluster, &more)?;
    let fresh = fresh(cluster).await?;
    let before = proxy.resident()?;
    let crowd = gather(&proxy, clients, &fresh).await?;
    // Idle clients give back what they used a second after they fell silent.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let idle = proxy.resident()?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut sessions = JoinSet::new();
    for client in crowd {
        sessions.spawn(client.run(until));
    }
    let mut statements = 0;
    while let Some(session) = sessions.join_next().await {
        statements += session??;
    }
    let books = books(&proxy).await?;
    let each = |now: u64| now.saturating_sub(before) / clients as u64;
    eprintln!(
        "{flavour}: {clients} clients, {statements} statements in {seconds} s; resident {before} B alone, {} B for an \
         idle client, {} B at most for a busy one\n{}",
        each(idle),
        each(proxy.peak()?),
        books.join("\n"),
    );
    ensure!(statements > clients as u64 * 3, "only {statements} statements");
    Ok(())
}

/// How many clients, and for how many seconds.
fn size() -> Result<(usize, u64)> {
    let Ok(asked) = std::env::var("POINTSMAN_CROWD") else { return Ok((500, 10)) };
    let (clients, seconds) = asked.split_once(',').context("POINTSMAN_CROWD=clients,seconds")?;
    Ok((clients.parse()?, seconds.parse()?))
}

async fn gather(proxy: &Binary, clients: usize, fresh: &[String; 3]) -> Result<Vec<Client>> {
    let (mut logins, mut crowd) = (JoinSet::new(), Vec::with_capacity(clients));
    let door = Arc::new(Semaphore::new(LOGINS));
    for number in 0..clients {
        let (door, port, fresh) = (Arc::clone(&door), proxy.port, fresh.clone());
        logins.spawn(async move {
            let _turn = door.acquire().await?;
            Client::start(number, port, fresh).await.with_context(|| format!("client {number}"))
        });
    }
    while let Some(client) = logins.join_next().await {
        crowd.push(client??);
    }
    Ok(crowd)
}

/// The pools' books when all is done: no more connections than allowed, and nobody waited in vain.
async fn books(proxy: &Binary) -> Result<Vec<String>> {
    let mut people = mysql_async::Conn::new(proxy.admin_opts()).await?;
    let rows: Vec<Row> = people
        .query(
            "SELECT server, max, open, checkouts, reused, connected, waited, wait_ms, longest_wait_ms, settled, \
             replaced, reset, prepared, evicted, closed, timed_out FROM pools",
        )
        .await?;
    let mut told = Vec::new();
    for row in rows {
        let names: Vec<String> = row.columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
        let values: Vec<String> =
            row.unwrap().iter().map(|value| value.as_sql(true).replace('\'', "")).collect();
        let (open, max) = (values[2].parse::<u64>()?, values[1].parse::<u64>()?);
        ensure!(open <= max && values.last().is_some_and(|timed_out| timed_out == "0"), "{values:?}");
        let pairs: Vec<String> =
            names.iter().zip(&values).map(|(name, value)| format!("{name} {value}")).collect();
        told.push(pairs.join(", "));
    }
    let pins: Vec<(String, u64, u64, f64)> =
        people.query("SELECT cause, sessions, times, longest_seconds FROM pins WHERE times > 0").await?;
    for (cause, sessions, times, longest) in pins {
        ensure!(sessions == 0, "{sessions} sessions are tied by {cause}, and all have left");
        told.push(format!("{cause}: {times} times, {longest} s at most"));
    }
    Ok(told)
}

/// What the variables are for a session that has set nothing.
async fn fresh(cluster: &Cluster) -> Result<[String; 3]> {
    let mut conn = cluster.primary.connect(APP).await?;
    let names = VARIABLES.map(|(name, _)| format!("CAST(@@SESSION.{name} AS CHAR)")).join(", ");
    let row: Option<(String, String, String)> = conn.query_first(format!("SELECT {names}")).await?;
    let (first, second, third) = row.context("one row")?;
    Ok([first, second, third])
}

/// Names and the values they are given.
const VARIABLES: [(&str, [&str; 3]); 3] = [
    ("time_zone", ["+01:00", "-02:30", "+03:00"]),
    ("group_concat_max_len", ["4001", "4002", "4003"]),
    ("lc_time_names", ["de_DE", "fr_FR", "es_ES"]),
];

struct Client {
    number: usize,
    raw: Raw,
    random: Random,
    model: Model,
    fresh: [String; 3],
    /// COM_STMT_PREPARE's answers: a look at everything, and an INSERT.
    looks: Vec<u8>,
    notes: Vec<u8>,
    /// The schema they were prepared in.
    home: usize,
    statements: u64,
    /// What was done last, for people to read when it went wrong.
    story: String,
}

/// What the client must see.
struct Model {
    /// Indexes of `SCHEMAS`.
    schema: usize,
    variables: [String; 3],
    /// Rows it wrote in each schema, and in the open transaction.
    written: [u64; 3],
    pending: [u64; 3],
}

impl Client {
    async fn start(number: usize, port: u16, fresh: [String; 3]) -> Result<Self> {
        let home = number % 3;
        let raw = Raw::connect(port, APP, Some(SCHEMAS[home])).await?;
        let model = Model { schema: home, variables: fresh.clone(), written: [0; 3], pending: [0; 3] };
        let random = Random(number as u64 + 1);
        let mut client = Self {
            number,
            raw,
            random,
            model,
            fresh,
            looks: Vec::new(),
            notes: Vec::new(),
            home,
            statements: 0,
            story: String::new(),
        };
        client.prepare().await?;
        client.look().await?;
        Ok(client)
    }

    async fn run(mut self, until: Instant) -> Result<u64> {
        while Instant::now() < until {
            let done = self.episode().await;
            let number = self.number;
            done.with_context(|| format!("client {number}: … {}", self.story))?;
        }
        self.raw.send(&[0x01]).await?;
        Ok(self.statements)
    }

    async fn episode(&mut self) -> Result<()> {
        if self.story.len() > 2_000 {
            self.story.clear();
        }
        match self.random.below(14) {
            0 | 1 => self.insert().await,
            2 | 3 => self.insert_prepared().await,
            4 | 5 => self.transaction().await,
            6 => self.set_variable().await,
            7 => self.use_schema().await,
            8 => self.temporary_table().await,
            9 => self.user_lock().await,
            10 => self.user_variable_and_reset().await,
            11 => self.handler().await,
            _ => Ok(()),
        }?;
        self.look().await?;
        self.look_prepared().await
    }

    fn tell(&mut self, what: &str) {
        self.statements += 1;
        let _ = write!(self.story, "{what}; ");
    }

    /// Runs a statement that answers OK.
    async fn say(&mut self, statement: &str) -> Result<u64> {
        self.tell(statement);
        let reply = self.raw.query(statement).await?;
        self.inserted(&reply)
    }

    /// The id in an OK.
    fn inserted(&self, reply: &[Vec<u8>]) -> Result<u64> {
        let first = reply.first().context("no packet")?;
        not_refused(first)?;
        Ok(self.raw.ok(first)?.last_insert_id)
    }

    async fn ask(&mut self, statement: &str) -> Result<Vec<String>> {
        self.tell(statement);
        let reply = self.raw.query(statement).await?;
        only_row(&reply, 0)
    }

    async fn expect(&mut self, statement: &str, expected: &[&str]) -> Result<()> {
        let row = self.ask(statement).await?;
        ensure!(row == expected, "{row:?}, not {expected:?}");
        Ok(())
    }

    fn count(&self, schema: usize) -> u64 {
        self.model.written[schema] + self.model.pending[schema]
    }

    /// What it must see of everything, in that schema: a prepared statement runs in the one it was prepared in.
    fn sight(&self, schema: usize) -> Vec<String> {
        let [zone, len, names] = self.model.variables.clone();
        let name = SCHEMAS[schema].to_owned();
        vec![name.clone(), name, zone, len, names, self.count(schema).to_string()]
    }

    async fn look(&mut self) -> Result<()> {
        let row = self.ask(&look(&self.number.to_string())).await?;
        let expected = self.sight(self.model.schema);
        ensure!(row == expected, "{row:?}, not {expected:?}");
        Ok(())
    }

    async fn look_prepared(&mut self) -> Result<()> {
        self.tell("execute look");
        let reply = self.raw.ask(&execute(&self.looks, self.number as u64), Expect::Results).await?;
        let row = only_row(&reply, BINARY_ROW)?;
        let expected = self.sight(self.home);
        ensure!(row == expected, "prepared: {row:?}, not {expected:?}");
        Ok(())
    }

    async fn prepare(&mut self) -> Result<()> {
        self.tell("prepare both");
        self.looks = self.prepared(&look("?")).await?;
        self.notes = self.prepared("INSERT INTO notes (client) VALUES (?)").await?;
        self.home = self.model.schema;
        Ok(())
    }

    async fn prepared(&mut self, text: &str) -> Result<Vec<u8>> {
        let reply = self.raw.ask(&[&[0x16], text.as_bytes()].concat(), Expect::Prepared).await?;
        let first = reply.first().context("no packet")?;
        not_refused(first)?;
        Ok(first.get(1..5).context("an id")?.to_vec())
    }

    fn wrote(&mut self, schema: usize, in_transaction: bool) {
        let counts = if in_transaction { &mut self.model.pending } else { &mut self.model.written };
        counts[schema] += 1;
    }

    async fn insert(&mut self) -> Result<()> {
        let id = self.say(&format!("INSERT INTO notes (client) VALUES ({})", self.number)).await?;
        self.wrote(self.model.schema, false);
        self.expect("SELECT LAST_INSERT_ID()", &[&id.to_string()]).await
    }

    async fn insert_prepared(&mut self) -> Result<()> {
        self.execute_insert(false).await
    }

    async fn execute_insert(&mut self, in_transaction: bool) -> Result<()> {
        self.tell("execute insert");
        let reply = self.raw.ask(&execute(&self.notes, self.number as u64), Expect::Results).await?;
        let id = self.inserted(&reply)?;
        self.wrote(self.home, in_transaction);
        self.expect("SELECT LAST_INSERT_ID()", &[&id.to_string()]).await
    }

    async fn transaction(&mut self) -> Result<()> {
        self.say("BEGIN").await?;
        self.execute_insert(true).await?;
        self.look().await?;
        self.say(&format!("INSERT INTO notes (client) VALUES ({})", self.number)).await?;
        self.wrote(self.model.schema, true);
        self.look_prepared().await?;
        let pending = std::mem::take(&mut self.model.pending);
        if self.random.below(2) == 0 {
            self.say("ROLLBACK").await?;
            return Ok(());
        }
        self.say("COMMIT").await?;
        for (written, pending) in self.model.written.iter_mut().zip(pending) {
            *written += pending;
        }
        Ok(())
    }

    async fn set_variable(&mut self) -> Result<()> {
        let which = self.random.below(3) as usize;
        let (name, values) = VARIABLES[which];
        let value = values[self.random.below(3) as usize];
        let quoted = if value.bytes().all(|byte| byte.is_ascii_digit()) {
            value.to_owned()
        } else {
            format!("'{value}'")
        };
        self.say(&format!("SET SESSION {name} = {quoted}")).await?;
        self.model.variables[which] = value.to_owned();
        Ok(())
    }

    async fn use_schema(&mut self) -> Result<()> {
        let schema = self.random.below(3) as usize;
        self.say(&format!("USE {}", SCHEMAS[schema])).await?;
        self.model.schema = schema;
        Ok(())
    }

    /// One name in one schema for all clients.
    async fn temporary_table(&mut self) -> Result<()> {
        let value = self.number.to_string();
        self.say("CREATE TEMPORARY TABLE crowd_a.mine (n INT)").await?;
        self.say(&format!("INSERT INTO crowd_a.mine VALUES ({value})")).await?;
        self.look().await?;
        self.expect("SELECT n FROM crowd_a.mine", &[&value]).await?;
        self.say("DROP TABLE crowd_a.mine").await?;
        Ok(())
    }

    async fn user_lock(&mut self) -> Result<()> {
        // Few names, so that some do not get theirs.
        let name = format!("crowd {}", self.random.below(40));
        let got = self.ask(&format!("SELECT GET_LOCK('{name}', 0)")).await?;
        self.look_prepared().await?;
        match got[0].as_str() {
            "1" => self.expect(&format!("SELECT RELEASE_LOCK('{name}')"), &["1"]).await,
            _ => self.expect(&format!("SELECT IS_USED_LOCK('{name}') <=> CONNECTION_ID()"), &["0"]).await,
        }
    }

    async fn user_variable_and_reset(&mut self) -> Result<()> {
        let value = self.random.below(1_000).to_string();
        self.expect("SELECT @mine", &["NULL"]).await?;
        self.say(&format!("SET @mine = {value}")).await?;
        self.look().await?;
        self.expect("SELECT @mine", &[&value]).await?;
        self.tell("reset");
        let reply = self.raw.ask(&[0x1f], Expect::Ok).await?;
        self.inserted(&reply)?;
        self.model.variables = self.fresh.clone();
        self.expect("SELECT @mine, LAST_INSERT_ID()", &["NULL", "0"]).await?;
        self.prepare().await
    }

    async fn handler(&mut self) -> Result<()> {
        self.say("HANDLER who OPEN AS mine").await?;
        self.expect("HANDLER mine READ FIRST", &[SCHEMAS[self.model.schema]]).await?;
        self.say("HANDLER mine CLOSE").await?;
        Ok(())
    }
}

/// A query that sees the schema, the variables and the client's own writes at once.
fn look(client: &str) -> String {
    let variables = VARIABLES.map(|(name, _)| format!("CAST(@@SESSION.{name} AS CHAR)")).join(", ");
    format!(
        "SELECT name, DATABASE(), {variables}, \
         CAST((SELECT COUNT(*) FROM notes WHERE client = {client}) AS CHAR) FROM who"
    )
}

/// COM_STMT_EXECUTE with one number.
fn execute(id: &[u8], parameter: u64) -> Vec<u8> {
    // No cursor, once; not NULL, and its type: an unsigned LONGLONG.
    [&[0x17], id, &[0, 1, 0, 0, 0, 0, 1, 0x08, 0x80], &parameter.to_le_bytes()].concat()
}

/// Bytes before the first value of a row of up to six columns in the binary protocol.
const BINARY_ROW: usize = 2;

/// The values of a result's only row, which are strings in both protocols.
fn only_row(reply: &[Vec<u8>], skipped: usize) -> Result<Vec<String>> {
    let first = reply.first().context("no packet")?;
    not_refused(first)?;
    let columns = usize::from(*first.first().context("empty")?);
    let rows = reply.get(1 + columns..reply.len() - 1).context("rows")?;
    let [row] = rows else { bail!("{} rows: {:?}", rows.len(), reply.last().map(|p| not_refused(p))) };
    let mut cursor = Cursor::new(row.get(skipped..).context("a short row")?);
    (0..columns)
        .map(|_| {
            let value = cursor.nullable_lenenc_bytes()?;
            Ok(value.map_or("NULL".to_owned(), |value| String::from_utf8_lossy(value).into_owned()))
        })
        .collect()
}

fn not_refused(packet: &[u8]) -> Result<()> {
    if packet.first() == Some(&0xFF) {
        bail!("{}", ErrPacket::parse(packet)?);
    }
    Ok(())
}
