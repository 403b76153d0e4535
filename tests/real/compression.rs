//! Compressed connections, to clients and to servers, in every pairing.

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::config::CompressionAlgorithm;
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, ROOT};
use pointsman::wire::{Command, Compression, Expect, FrameHeader, capability};
use tokio::io::AsyncWriteExt;

use crate::clusters::{both, schema, shared};
use crate::raw::{Raw, error, first_column, query, wired};
use crate::through::{Proxy, shared_proxy};

both![
    every_pairing_answers_alike,
    files_and_large_statements_pass,
    hostile_frames_end_the_connection_and_nothing_else,
];

const WAYS: [Option<Compression>; 3] = [None, Some(Compression::Zlib), Some(Compression::Zstd { level: 3 })];

/// Statements whose replies are short, long, several, errors and prepared.
async fn talk(client: &mut Raw) -> Result<Vec<Vec<String>>> {
    let long = format!("SELECT '{}'", "compress me ".repeat(30_000));
    let mut answers = Vec::new();
    for statement in [
        "SELECT 1",
        &long,
        "SELECT REPEAT('x', 3000000), 2",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, REPEAT('y', 500) FROM n",
    ] {
        answers.push(client.column(statement).await?);
    }
    let several = client.query("SELECT REPEAT('a', 200000); SELECT 2; SELECT 3").await?;
    anyhow::ensure!(several.len() == 12, "{} packets", several.len());
    anyhow::ensure!(error(&client.query("SELECT * FROM nowhere").await?)?.code == 1146);
    // Sent ahead, each answered under its own number.
    let ahead: Vec<Vec<u8>> =
        (0..30).map(|number| query(&format!("SELECT {number}, REPEAT('z', 9000)"))).collect();
    for command in &ahead {
        client.send(command).await?;
    }
    for number in 0..ahead.len() {
        answers.push(first_column(&client.reply(Expect::Results).await?)?);
        assert_eq!(answers.last(), Some(&vec![number.to_string()]));
    }
    let mut prepare = vec![Command::STMT_PREPARE];
    prepare.extend_from_slice(b"SELECT REPEAT('p', 100000)");
    let prepared = client.ask(&prepare, Expect::Prepared).await?;
    let mut execute = vec![0x17];
    execute.extend_from_slice(&prepared[0][1..5]);
    execute.extend_from_slice(&[0, 1, 0, 0, 0]);
    for _ in 0..2 {
        let packets = client.ask(&execute, Expect::Results).await?;
        assert_eq!(packets[2].len(), 2 + 4 + 100_000, "a binary row");
    }
    Ok(answers)
}

async fn every_pairing_answers_alike(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let mut expected = None;
    for towards in [None, Some(CompressionAlgorithm::Zlib), Some(CompressionAlgorithm::Zstd)] {
        let proxy = Proxy::start(cluster, |config| config.cluster.compression = towards).await?;
        for way in WAYS {
            let mut client = Raw::compressed(proxy.running.front.port(), APP, Some("app"), way).await?;
            assert_eq!(client.conn.channel.is_compressed(), way.is_some());
            let answers = talk(&mut client).await.with_context(|| format!("{way:?} {towards:?}"))?;
            assert_eq!(expected.get_or_insert(answers.clone()), &answers, "{way:?} {towards:?}");
            let hint = "/* pointsman: primary */ SHOW STATUS LIKE 'Compression'";
            let status = client.query(hint).await?;
            let on = String::from_utf8_lossy(&status[3]).ends_with("ON");
            let can = flavour == Flavour::MySql || towards != Some(CompressionAlgorithm::Zstd);
            assert_eq!(on, towards.is_some() && can, "{towards:?}");
        }
    }
    Ok(())
}

async fn files_and_large_statements_pass(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let mut root = schema(cluster, "squeezed").await?;
    root.query_drop("CREATE TABLE t (n INT, x LONGTEXT)").await?;
    let mut server = cluster.primary.connect(ROOT).await?;
    let had: Option<u8> = server.query_first("SELECT @@GLOBAL.local_infile").await?;
    server.query_drop("SET GLOBAL local_infile = 1").await?;
    for towards in [None, Some(CompressionAlgorithm::Zlib)] {
        let proxy = Proxy::start(cluster, |config| config.cluster.compression = towards).await?;
        for way in WAYS {
            root.query_drop("DELETE FROM t").await?;
            let profile = capability::DEPRECATE_EOF
                | capability::LOCAL_FILES
                | capability::MULTI_STATEMENTS
                | capability::MULTI_RESULTS;
            let mut client =
                Raw::with(proxy.running.front.port(), APP, Some("squeezed"), profile, way).await?;
            load(&mut client).await.with_context(|| format!("{way:?} {towards:?}"))?;
            let large = format!("INSERT INTO t VALUES (0, '{}')", "L".repeat(5 << 20));
            let inserted = client.query(&large).await?;
            assert_eq!(client.ok(&inserted[0])?.affected_rows, 1);
            let loaded =
                "/* pointsman: primary */ SELECT CONCAT(COUNT(*), ' ', SUM(n), ' ', MAX(LENGTH(x))) FROM t";
            assert_eq!(client.column(loaded).await?, ["601 180300 5242880"]);
        }
    }
    server.query_drop(format!("SET GLOBAL local_infile = {}", had.unwrap_or(0))).await?;
    Ok(())
}

/// A file asked for after other results, so that packets and frames are numbered differently, and more packets than
/// there are numbers.
async fn load(client: &mut Raw) -> Result<()> {
    client
        .send(&query("SELECT REPEAT('r', 200000); LOAD DATA LOCAL INFILE 'f' INTO TABLE t; SELECT 5"))
        .await?;
    loop {
        let input = client.conn.channel.input();
        // Row, definitions and ends, then the request: 0xFB and the name.
        if input.ends_with(b"\xfbf") {
            break;
        }
        anyhow::ensure!(client.conn.channel.fill().await? > 0);
    }
    let len = client.conn.channel.input().len();
    let number = client.conn.channel.input()[len - 3];
    client.conn.channel.consume(len);
    let mut sequence = number.wrapping_add(1);
    for line in 1..=600 {
        // A number of its own is what a client without compression gives each packet.
        let text = format!("{}\tx\n", line);
        let at_start = sequence;
        client.conn.channel.write_packet(text.as_bytes(), at_start).await?;
        sequence = sequence.wrapping_add(1);
    }
    client.conn.channel.write_packet(b"", sequence).await?;
    let rest = client.reply(Expect::Results).await?;
    assert_eq!(client.ok(&rest[0])?.affected_rows, 600);
    assert_eq!(rest.len(), 5);
    Ok(())
}

async fn hostile_frames_end_the_connection_and_nothing_else(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let command = &wired(&[query("SELECT 1")])[..];
    let frame = |sequence, plain_len, bytes: &[u8]| {
        let header = FrameHeader { len: bytes.len(), sequence, plain_len };
        [&header.bytes()[..], bytes].concat()
    };
    let cases = [
        frame(0, 5000, b"these are no packed bytes"),
        frame(9, 0, command),
        [frame(0, 0, &command[..6]), frame(4, 0, &command[6..])].concat(),
        frame(0, 0xFF_FFFF, b""),
    ];
    for (at, bytes) in cases.iter().enumerate() {
        let way = Some(Compression::Zlib);
        let mut client = Raw::compressed(proxy.running.front.port(), APP, Some("app"), way).await?;
        client.conn.channel.stream_mut().write_all(bytes).await?;
        // More, for a frame that is still to be begun.
        let _ = client.conn.channel.stream_mut().write_all(&frame(1, 0, b"x")).await;
        let packets = client.reply(Expect::Ok).await?;
        assert_eq!(error(&packets)?.code, 1157, "{at}");
        assert!(client.is_closed().await, "{at}");
    }
    let mut client = Raw::compressed(proxy.running.front.port(), APP, Some("app"), WAYS[1]).await?;
    assert_eq!(client.column("SELECT 5").await?, ["5"]);
    Ok(())
}
