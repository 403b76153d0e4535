//! Large things pass through; the proxy holds little of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Cluster, Options, ROOT};
use pointsman::wire::{Command, Event, Expect, ResponseTracker, capability};

use crate::binary::Binary;
use crate::clusters::{both, private};
use crate::load::{eventually, refusal};
use crate::raw::{Raw, error, query};
use crate::through::Proxy;

both![
    large_things_pass_with_little_memory,
    statement_too_large_for_the_server_is_refused,
    server_lost_in_mid_statement_leaves_the_session_whole,
];

/// What the proxy may hold, whatever passes.
const MEMORY_MAX: u64 = 64 << 20;

/// One process throughout: its peak is that of all of it.
async fn large_things_pass_with_little_memory(flavour: Flavour) -> Result<()> {
    let mut options = Options { replicas: 1, ..Options::new(Some(flavour)) };
    options.server_options.push("--max-allowed-packet=256M".to_owned());
    let cluster = private(options).await?;
    let proxy = Binary::start(&cluster, "")?;
    boundaries(&proxy).await.context("packets about 16 MiB")?;
    both_ways(&proxy, &cluster).await.context("64 MiB both ways")?;
    stalled_reader(&proxy, &cluster).await.context("a client that stops reading")?;
    let passed = pass(&mut client(&proxy).await?, &rows_of_a_megabyte(2048)).await.context("2 GiB")?;
    assert_eq!(passed.rows, 2048);
    assert!(passed.bytes > 2048 << 20, "{passed:?}");
    assert!(proxy.peak()? < MEMORY_MAX, "{} bytes", proxy.peak()?);
    Ok(())
}

async fn client(proxy: &Binary) -> Result<Raw> {
    Raw::connect(proxy.port, APP, Some("app")).await
}

fn rows_of_a_megabyte(rows: u32) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64) \
         SELECT REPEAT('x', 1048576) FROM n a, n b LIMIT {rows}"
    )
}

#[derive(Debug)]
struct Passed {
    rows: u64,
    bytes: u64,
}

/// Reads a result and keeps none of it.
async fn pass(client: &mut Raw, statement: &str) -> Result<Passed> {
    client.send(&query(statement)).await?;
    finish(client).await
}

async fn finish(client: &mut Raw) -> Result<Passed> {
    let mut tracker = ResponseTracker::new(Expect::Results, client.conn.capabilities);
    let mut bytes = 0;
    loop {
        let progress = tracker.advance(client.conn.channel.input())?;
        let packet = if let Event::Packet { len, .. } = progress.event { len } else { 0 };
        client.conn.channel.consume(progress.forward + packet);
        bytes += (progress.forward + packet) as u64;
        if tracker.is_done() {
            return Ok(Passed { rows: tracker.rows(), bytes });
        }
        if progress.event == Event::More {
            ensure!(client.conn.channel.fill().await? > 0, "closed after {bytes} bytes");
        }
    }
}

/// Statements and rows whose packets end where packets must be split.
async fn boundaries(proxy: &Binary) -> Result<()> {
    const LIMIT: usize = 1 << 24;
    let mut client = client(proxy).await?;
    // A row of one text: its length takes four bytes.
    for len in [LIMIT - 6, LIMIT - 5, LIMIT - 4, LIMIT - 3, LIMIT - 1, LIMIT, LIMIT + 1] {
        let asked = format!("SELECT REPEAT('x', {len}) AS c, 'end'");
        let passed = pass(&mut client, &asked).await.with_context(|| format!("a row of {len}"))?;
        assert_eq!(passed.rows, 1, "{len}");
        assert!((len as u64..len as u64 + 300).contains(&passed.bytes), "{len}: {passed:?}");
    }
    // A statement whose payload is exactly so long.
    for len in [LIMIT - 2, LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT - 2, 2 * LIMIT - 1] {
        let around = "SELECT LENGTH('')".len() + 1;
        let statement = format!("SELECT LENGTH('{}')", "y".repeat(len - around));
        let got = client.column(&statement).await.with_context(|| format!("a statement of {len}"))?;
        assert_eq!(got, [(len - around).to_string()]);
    }
    assert_eq!(client.column("SELECT 5").await?, ["5"]);
    Ok(())
}

async fn both_ways(proxy: &Binary, cluster: &Cluster) -> Result<()> {
    const LEN: usize = 64 << 20;
    let mut writer = Conn::new(proxy.opts(APP)).await?;
    writer.query_drop("CREATE TABLE blobs (id INT PRIMARY KEY, b LONGBLOB)").await?;
    // Of a length that no power of two divides, so that no two packets are alike.
    let pattern: Vec<u8> =
        (0..1_000_003_u32).map(|n| b'a' + (n.wrapping_mul(2_654_435_761) >> 28) as u8).collect();
    let mut blob = pattern.repeat(LEN / pattern.len() + 1);
    blob.truncate(LEN);
    let text = [b"INSERT INTO blobs VALUES (2, '".as_slice(), &blob, b"')"].concat();
    writer.query_drop(text.as_slice()).await?;
    drop(text);
    writer.exec_drop("INSERT INTO blobs VALUES (1, ?)", (&blob,)).await?;
    let mut direct = Conn::new(cluster.primary.opts(ROOT).max_allowed_packet(Some(256 << 20))).await?;
    direct.exec_drop("INSERT INTO app.blobs VALUES (3, ?)", (&blob,)).await?;
    let sums: Vec<(String, u32)> =
        direct.query("SELECT SHA2(b, 256) AS sum, COUNT(*) FROM app.blobs GROUP BY sum").await?;
    assert!(matches!(&sums[..], [(_, 3)]), "{sums:?}");
    cluster.wait_applied().await?;
    let mut reader = Conn::new(proxy.opts(APP)).await?;
    for id in [1, 2] {
        let read: Option<Vec<u8>> =
            reader.query_first(format!("SELECT b FROM blobs WHERE id = {id}")).await?;
        ensure!(read.as_ref() == Some(&blob), "not what was written");
    }
    let read: Option<Vec<u8>> = reader.exec_first("SELECT b FROM blobs WHERE id = ?", (1,)).await?;
    ensure!(read.as_ref() == Some(&blob), "not what was written");
    Ok(())
}

async fn stalled_reader(proxy: &Binary, cluster: &Cluster) -> Result<()> {
    let mut client = client(proxy).await?;
    let asked = format!("/* pointsman: server=replica1 */ {}", rows_of_a_megabyte(512));
    let mut watch = cluster.replicas[0].connect(ROOT).await?;
    let first = bytes_sent(&mut watch).await?;
    client.send(&query(&asked)).await?;
    // The server has stopped sending when what it has sent stands still, although there is more.
    let (mut before, mut same) = (first, 0);
    while same < 20 {
        let sent = bytes_sent(&mut watch).await?;
        // Probes and this very question are counted too.
        same = if sent - before < 64 * 1024 { same + 1 } else { 0 };
        before = sent;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = before - first;
    assert!(sent < 128 << 20, "the server could send {sent} bytes to nobody");
    let passed = finish(&mut client).await?;
    assert_eq!(passed.rows, 512);
    assert!(passed.bytes > 512 << 20, "{passed:?}");
    assert!(proxy.peak()? < MEMORY_MAX, "{} bytes", proxy.peak()?);
    Ok(())
}

async fn bytes_sent(conn: &mut Conn) -> Result<u64> {
    let row: Option<(String, u64)> = conn.query_first("SHOW GLOBAL STATUS LIKE 'Bytes_sent'").await?;
    Ok(row.context("a counter")?.1)
}

/// The rest of a statement that the server will not have is no command.
async fn statement_too_large_for_the_server_is_refused(flavour: Flavour) -> Result<()> {
    let mut options = Options { replicas: 0, ..Options::new(Some(flavour)) };
    options.server_options.push("--max-allowed-packet=4M".to_owned());
    let cluster = private(options).await?;
    let proxy = Proxy::start(&cluster, |_| {}).await?;
    let mut watch = cluster.primary.connect(ROOT).await?;
    watch.query_drop("CREATE TABLE app.canary (n INT)").await?;
    let hidden = crate::raw::wired(&[query("INSERT INTO canary VALUES (1)")]);
    for len in [5 << 20, 24 << 20] {
        let statement = [b"SELECT LENGTH('".as_slice(), &hidden.repeat(len / hidden.len()), b"')"].concat();
        let command = [&[Command::QUERY], &statement[..]].concat();
        let mut direct = Raw::connect(cluster.primary.port, APP, Some("app")).await?;
        let there = told(&mut direct, &command).await;
        let mut through = Raw::connect(proxy.running.front.port(), APP, Some("app")).await?;
        let here = told(&mut through, &command).await;
        assert!(matches!(here, Some(1153 | 1158)), "{len}: {here:?}, from the server itself {there:?}");
        assert!(there.is_none() || here == there, "{here:?}, from the server itself {there:?}");
        let after = through.column("SELECT 5").await;
        ensure!(after.is_err() || after? == ["5"], "the session answers something else");
    }
    let rows: Option<u32> = watch.query_first("SELECT COUNT(*) FROM app.canary").await?;
    assert_eq!(rows, Some(0));
    // A statement as large as allowed still passes.
    let mut client = Raw::connect(proxy.running.front.port(), APP, Some("app")).await?;
    let statement = format!("SELECT LENGTH('{}')", "y".repeat(3 << 20));
    assert_eq!(client.column(&statement).await?, [(3 << 20).to_string()]);
    Ok(())
}

/// The error number a client is told, if it is told one.
async fn told(client: &mut Raw, command: &[u8]) -> Option<u16> {
    // It may hang up before all is said, and have said why.
    let _ = client.send(command).await;
    let packets = client.reply(Expect::Results).await.ok()?;
    error(&packets).ok().map(|error| error.code)
}

async fn server_lost_in_mid_statement_leaves_the_session_whole(flavour: Flavour) -> Result<()> {
    let mut options = Options { replicas: 1, ..Options::new(Some(flavour)) };
    options.server_options.extend(["--max-allowed-packet=256M".to_owned(), "--local-infile=ON".to_owned()]);
    let cluster = private(options).await?;
    let proxy = Proxy::start(&cluster, |config| {
        config.cluster.control.interval = Duration::from_millis(100);
        config.routing.primary_wait = Duration::from_secs(60);
    })
    .await?;
    let port = proxy.running.front.port();
    let long = format!("INSERT INTO fruit (name) VALUES (LEFT('{}', 3))", "z".repeat(100 << 20));
    let mut streams = Raw::connect(port, APP, Some("app")).await?;
    let mut loads =
        Raw::speaking(port, APP, Some("app"), capability::LOCAL_FILES | capability::DEPRECATE_EOF).await?;
    loads.send(&query("LOAD DATA LOCAL INFILE 'any' INTO TABLE fruit (name)")).await?;
    let (asked, mut sequence) = loads.conn.channel.read_message(1000).await?;
    assert_eq!(asked[0], 0xFB);
    // A connection is open, and the session at rest.
    streams.query("/* pointsman: primary */ SELECT 1").await?;
    let number = streams.conn.thread_id;
    eventually("it rests", || async {
        let info = proxy.running.house.registry.get(number).context("registered")?;
        Ok(info.activity() == pointsman::serve::Activity::Idle)
    })
    .await?;
    cluster.primary.freeze();
    let streaming = tokio::spawn(async move {
        streams.send(&query(&long)).await?;
        let packets = streams.reply(Expect::Results).await?;
        anyhow::Ok((streams, error(&packets)?.code))
    });
    let loading = tokio::spawn(async move {
        let mut lines = Vec::new();
        while lines.len() < 100_000 {
            lines.extend_from_slice(b"a name\n");
        }
        for _ in 0..400 {
            let mut packet = Vec::new();
            sequence = pointsman::wire::push_packet(&mut packet, &lines, sequence);
            loads.send_bytes(&packet).await?;
        }
        loads.send_bytes(&[0, 0, 0, sequence]).await?;
        let (answer, next) = loads.conn.channel.read_message(1000).await?;
        ensure!(next == sequence.wrapping_add(2), "numbered out of order");
        anyhow::Ok((loads, error(&[answer])?.code))
    });
    eventually("both are under way", || async {
        let sessions = proxy.running.house.registry.all();
        Ok(sessions.iter().filter(|info| info.activity() == pointsman::serve::Activity::Active).count() == 2)
    })
    .await?;
    cluster.primary.kill().await;
    let (mut streams, code) = streaming.await?.context("the statement")?;
    assert_eq!(code, 1158);
    let (mut loads, code) = loading.await?.context("the file")?;
    assert_eq!(code, 1158);
    for client in [&mut streams, &mut loads] {
        assert_eq!(client.column("SELECT @@server_id").await?, ["2"]);
    }
    cluster.primary.start().await?;
    for client in [&mut streams, &mut loads] {
        assert_eq!(client.query("INSERT INTO fruit (name) VALUES ('after')").await?[0][0], 0);
    }
    let mut conn = proxy.connect().await?;
    let wrong = refusal(conn.query_drop("SELECT nothing FROM fruit").await)?;
    assert_eq!(wrong.0, 1054);
    Ok(())
}
