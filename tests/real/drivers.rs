//! What the test suites of drivers and applications have found.

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Cluster, Options, ROOT};
use pointsman::sql::PinSet;
use pointsman::wire::{ErrPacket, Expect, Greeting, HEADER_LEN, capability};
use tokio::io::AsyncReadExt as _;

use crate::clusters::{both, private, schema, shared};
use crate::raw::Raw;
use crate::through::{Proxy, shared_proxy};

both![
    a_session_writes_while_it_reads_a_cursor,
    a_session_writes_while_values_are_sent_ahead,
    statements_of_one_text_have_cursors_of_their_own,
    statements_of_one_text_have_values_of_their_own,
    a_procedure_that_opens_a_cursor_answers,
    what_a_replica_lacks_the_primary_has,
    an_administrator_kills_sessions_of_others,
    the_greeting_names_the_servers_collation,
];

const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const SEND_LONG_DATA: u8 = 0x18;
const FETCH: u8 = 0x1c;
const READ_ONLY_CURSOR: u8 = 1;

struct Scene {
    cluster: &'static Cluster,
    proxy: &'static Proxy,
    raw: Raw,
}

/// A schema with the numbers 1 to 3 in a table, and a client of the proxy there.
async fn scene(flavour: Flavour, name: &str) -> Result<Scene> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut direct = schema(cluster, name).await?;
    direct.query_drop("CREATE TABLE t (n BIGINT)").await?;
    direct.query_drop("INSERT INTO t VALUES (1), (2), (3)").await?;
    cluster.wait_applied().await?;
    let raw = Raw::connect(proxy.running.front.port(), APP, Some(name)).await?;
    Ok(Scene { cluster, proxy, raw })
}

impl Scene {
    async fn prepare(&mut self, statement: &str) -> Result<[u8; 4]> {
        let reply = self.raw.ask(&[&[PREPARE], statement.as_bytes()].concat(), Expect::Prepared).await?;
        let head = reply.first().context("a reply")?;
        ensure!(head[0] == 0, "not prepared: {head:?}");
        Ok(head[1..5].try_into()?)
    }

    /// Executes a statement without parameters for a cursor.
    async fn open(&mut self, id: [u8; 4]) -> Result<()> {
        let command = [&[EXECUTE], &id[..], &[READ_ONLY_CURSOR, 1, 0, 0, 0]].concat();
        let reply = self.raw.ask(&command, Expect::Cursor).await?;
        ensure!(reply[0] == [1], "no cursor: {:?}", reply[0]);
        Ok(())
    }

    /// The numbers of the next rows of a cursor.
    async fn fetch(&mut self, id: [u8; 4], rows: u32) -> Result<Vec<u8>> {
        let command = [&[FETCH], &id[..], &rows.to_le_bytes()].concat();
        let reply = self.raw.ask(&command, Expect::Rows).await?;
        ensure!(reply[0][0] != 0xFF, "{:?}", ErrPacket::parse(&reply[0]));
        Ok(reply.iter().filter(|packet| packet[0] == 0).filter_map(|row| row.get(2).copied()).collect())
    }

    async fn send_ahead(&mut self, id: [u8; 4], value: &str) -> Result<()> {
        self.raw.send(&[&[SEND_LONG_DATA], &id[..], &[0, 0], value.as_bytes()].concat()).await
    }

    /// Executes a statement whose only parameter was sent ahead; the row's only column.
    async fn execute(&mut self, id: [u8; 4]) -> Result<String> {
        let command = [&[EXECUTE], &id[..], &[0, 1, 0, 0, 0, 0, 1, 0xFC, 0]].concat();
        let reply = self.raw.ask(&command, Expect::Results).await?;
        let row = reply.iter().rev().nth(1).context("a row")?;
        Ok(String::from_utf8(row[3..].to_vec())?)
    }

    async fn affected(&mut self, statement: &str) -> Result<u8> {
        let reply = self.raw.query(statement).await?;
        ensure!(reply[0][0] == 0, "{:?}", ErrPacket::parse(&reply[0]));
        Ok(reply[0][1])
    }
}

async fn a_session_writes_while_it_reads_a_cursor(flavour: Flavour) -> Result<()> {
    let mut scene = scene(flavour, "drivers_cursor").await?;
    let id = scene.prepare("SELECT n FROM t ORDER BY n").await?;
    scene.open(id).await?;
    assert_eq!(scene.fetch(id, 1).await?, [1]);
    assert_eq!(scene.affected("INSERT INTO t VALUES (4), (5)").await?, 2);
    assert_eq!(scene.fetch(id, 5).await?, [2, 3], "as it was opened");
    Ok(())
}

async fn a_session_writes_while_values_are_sent_ahead(flavour: Flavour) -> Result<()> {
    let mut scene = scene(flavour, "drivers_ahead").await?;
    let id = scene.prepare("SELECT CONCAT('<', ?, '>') FROM t LIMIT 1").await?;
    scene.send_ahead(id, "one ").await?;
    assert_eq!(scene.affected("INSERT INTO t VALUES (4), (5)").await?, 2);
    scene.send_ahead(id, "value").await?;
    assert_eq!(scene.execute(id).await?, "<one value>");
    Ok(())
}

async fn statements_of_one_text_have_cursors_of_their_own(flavour: Flavour) -> Result<()> {
    let mut scene = scene(flavour, "drivers_twins").await?;
    let text = "SELECT n FROM t ORDER BY n";
    let first = scene.prepare(text).await?;
    let before = scene.prepare(text).await?;
    scene.open(first).await?;
    assert_eq!(scene.fetch(first, 1).await?, [1]);
    let after = scene.prepare(text).await?;
    for other in [before, after] {
        scene.open(other).await?;
        assert_eq!(scene.fetch(other, 2).await?, [1, 2]);
    }
    assert_eq!(scene.fetch(first, 5).await?, [2, 3]);
    for other in [before, after] {
        assert_eq!(scene.fetch(other, 5).await?, [3]);
    }
    scene.proxy.tied_by(scene.raw.conn.thread_id, PinSet::EMPTY).await
}

async fn statements_of_one_text_have_values_of_their_own(flavour: Flavour) -> Result<()> {
    let mut scene = scene(flavour, "drivers_values").await?;
    let text = "SELECT CONCAT('<', ?, '>')";
    let (first, second) = (scene.prepare(text).await?, scene.prepare(text).await?);
    scene.send_ahead(first, "first").await?;
    scene.send_ahead(second, "second").await?;
    assert_eq!(scene.execute(first).await?, "<first>");
    assert_eq!(scene.execute(second).await?, "<second>");
    Ok(())
}

async fn a_procedure_that_opens_a_cursor_answers(flavour: Flavour) -> Result<()> {
    let mut scene = scene(flavour, "drivers_procedure").await?;
    let mut direct = scene.cluster.primary.connect(ROOT).await?;
    direct
        .query_drop(
            "CREATE PROCEDURE drivers_procedure.opens() BEGIN DECLARE c CURSOR FOR SELECT 1; OPEN c; CLOSE c; SELECT 7; END",
        )
        .await?;
    scene.cluster.wait_applied().await?;
    // With an EOF after the definitions, whose flags name the procedure's cursor.
    let profile = capability::MULTI_STATEMENTS | capability::MULTI_RESULTS | capability::PS_MULTI_RESULTS;
    let port = scene.proxy.running.front.port();
    scene.raw = Raw::speaking(port, APP, Some("drivers_procedure"), profile).await?;
    let id = scene.prepare("CALL opens()").await?;
    for _ in 0..2 {
        let command = [&[EXECUTE], &id[..], &[0, 1, 0, 0, 0]].concat();
        let reply = scene.raw.ask(&command, Expect::Results).await?;
        let row = reply.iter().find(|packet| packet.len() > 2 && packet[0] == 0 && packet[2] == 7);
        assert!(row.is_some(), "{reply:?}");
    }
    scene.proxy.tied_by(scene.raw.conn.thread_id, PinSet::EMPTY).await
}

async fn what_a_replica_lacks_the_primary_has(flavour: Flavour) -> Result<()> {
    let cluster = private(Options::new(Some(flavour))).await?;
    drop(schema(&cluster, "lacking").await?);
    cluster.wait_applied().await?;
    let proxy = Proxy::start(&cluster, |config| {
        config.routing.max_lag = std::time::Duration::from_secs(3600);
    })
    .await?;
    for replica in &cluster.replicas {
        let stop =
            if flavour == Flavour::MySql { "STOP REPLICA SQL_THREAD" } else { "STOP SLAVE SQL_THREAD" };
        replica.connect(ROOT).await?.query_drop(stop).await?;
    }
    let mut direct = cluster.primary.connect(ROOT).await?;
    direct.query_drop("CREATE TABLE lacking.t (n INT)").await?;
    direct.query_drop("INSERT INTO lacking.t VALUES (7)").await?;
    // Sessions that have written nothing: only the error tells.
    let connect = || async { anyhow::Ok(Conn::new(proxy.opts(APP).db_name(Some("lacking"))).await?) };
    assert_eq!(connect().await?.query_first("SELECT n FROM t").await?, Some(7));
    assert_eq!(connect().await?.exec_first("SELECT n FROM t WHERE n = ?", (7,)).await?, Some(7));
    // What nobody has is told as the primary tells it.
    let error = connect().await?.query_drop("SELECT n FROM nowhere").await.expect_err("no such table");
    let Error::Server(error) = error else { anyhow::bail!("{error}") };
    assert_eq!(error.code, 1146);
    proxy.stop().await
}

async fn an_administrator_kills_sessions_of_others(flavour: Flavour) -> Result<()> {
    let scene = scene(flavour, "drivers_kill").await?;
    let port = scene.proxy.running.front.port();
    let mut resting = Raw::connect(port, APP, None).await?;
    let mut administrator = Raw::connect(port, ROOT, None).await?;
    let reply = administrator.query(&format!("KILL {}", resting.conn.thread_id)).await?;
    assert_eq!(reply[0][0], 0, "{:?}", ErrPacket::parse(&reply[0]));
    assert!(resting.is_closed().await);
    Ok(())
}

async fn the_greeting_names_the_servers_collation(flavour: Flavour) -> Result<()> {
    let scene = scene(flavour, "drivers_greeting").await?;
    let mut told = Vec::new();
    for port in [scene.cluster.primary.port, scene.proxy.running.front.port()] {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let mut head = [0; HEADER_LEN];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; usize::from(head[0])];
        stream.read_exact(&mut payload).await?;
        told.push(Greeting::parse(&payload)?.collation);
    }
    assert_eq!(told[0], told[1]);
    Ok(())
}
