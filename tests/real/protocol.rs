//! Every command of the protocol, as clients say it and as they should not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn, Row, WhiteListFsHandler};
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Cluster, Options, ROOT};
use pointsman::sql::{PinCause, PinSet};
use pointsman::wire::{Command, Expect, capability};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clusters::{both, private, schema, shared};
use crate::load::{eventually, refusal};
use crate::raw::{Raw, error, first_column, query, wired};
use crate::through::{Proxy, shared_proxy};

both![
    pipelined_commands_are_answered_in_order,
    several_results_come_as_from_a_server,
    refused_commands_get_an_error,
    small_commands_are_answered,
    reset_connection_is_as_on_a_server,
    change_user_is_as_on_a_server,
    unknown_schema_is_refused,
    local_files_are_loaded,
    vanished_client_has_its_query_killed,
    vanished_client_has_its_write_finished,
    vanished_clients_do_not_wait_for_each_other,
    sessions_are_killed_by_the_proxys_numbers,
    hostile_bytes_harm_nobody,
    prepared_statements_answer_as_on_a_server,
    preparing_leaves_the_transaction_alone,
    long_data_and_cursors_work,
];

async fn raw(proxy: &Proxy, schema: &str) -> Result<Raw> {
    Raw::connect(proxy.running.front.port(), APP, Some(schema)).await
}

async fn pipelined_commands_are_answered_in_order(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut check = schema(cluster, "pipelined").await?;
    check.query_drop("CREATE TABLE t (n INT)").await?;
    cluster.wait_applied().await?;
    let mut client = raw(proxy, "pipelined").await?;
    let commands: Vec<Vec<u8>> = (0..40)
        .map(|number| match number % 4 {
            0 => query(&format!("INSERT INTO t VALUES ({number})")),
            1 => query(&format!("SELECT {number}")),
            2 => vec![Command::PING],
            _ => query(&format!("SELECT {number} FROM no_such_table")),
        })
        .collect();
    client.send_bytes(&wired(&commands)).await?;
    for number in 0..40 {
        let packets = client.reply(Expect::Results).await?;
        match number % 4 {
            0 => assert_eq!(client.ok(&packets[0])?.affected_rows, 1, "{number}"),
            1 => assert_eq!(first_column(&packets)?, [number.to_string()]),
            2 => assert_eq!(packets[0][0], 0, "{number}"),
            _ => assert_eq!(error(&packets)?.code, 1146, "{number}"),
        }
    }
    let rows: Option<u32> = check.query_first("SELECT COUNT(*) FROM t").await?;
    assert_eq!(rows, Some(10));
    Ok(())
}

async fn several_results_come_as_from_a_server(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut setup = schema(cluster, "several").await?;
    setup.query_drop("CREATE TABLE t (n INT)").await?;
    setup
        .query_drop(
            "CREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT n FROM t; INSERT INTO t VALUES (9); END",
        )
        .await?;
    cluster.wait_applied().await?;
    let mut through = raw(proxy, "several").await?;
    let mut direct = Raw::connect(cluster.primary.port, APP, Some("several")).await?;
    for statements in [
        "SELECT 1; SELECT 2, 3; DO 1; SELECT 4",
        "INSERT INTO t VALUES (1); SELECT COUNT(*) > 0 FROM t; DELETE FROM t",
        "CALL two()",
        "DELETE FROM t; CALL two(); SELECT 7; DELETE FROM t",
        "SELECT 1; SELECT nothing FROM nowhere; SELECT 2",
        ";",
        "",
    ] {
        let there = direct.query(statements).await?;
        setup.query_drop("DELETE FROM t").await?;
        let here = through.query(statements).await?;
        setup.query_drop("DELETE FROM t").await?;
        assert_eq!(shape(&here), shape(&there), "{statements}");
    }
    assert_eq!(through.column("SELECT 5").await?, ["5"]);
    Ok(())
}

/// Packets without what may rightly differ: the status flags of an OK and what it says of the session.
fn shape(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| packet[..packet.len().min(3)].to_vec()).collect()
}

async fn refused_commands_get_an_error(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let mut client = raw(proxy, "app").await?;
    let refused = [
        0x00, 0x05, 0x06, 0x08, 0x0b, 0x0f, 0x10, 0x12, 0x13, 0x14, 0x15, 0x1d, 0x1e, 0x20, 0x77, 0xfa, 0xff,
    ];
    for command in refused {
        for rest in [&b""[..], b"\x04\0\0\0\0\0\x01\0\0\0binlog.000001"] {
            let packets = client.ask(&[&[command], rest].concat(), Expect::Ok).await?;
            let error = error(&packets)?;
            assert_eq!((error.code, &*error.state), (1047, "08S01"), "{command:#x}: {error}");
        }
    }
    // Longer than the proxy holds, and still no more than one refused command.
    let long = vec![0x77; 3 << 20];
    assert_eq!(error(&client.ask(&long, Expect::Ok).await?)?.code, 1047);
    assert_eq!(client.column("SELECT 5").await?, ["5"]);
    // Commands that are answered here, with more behind them than they have: whatever comes of it, what is
    // behind them is no command.
    for command in [0x09, 0x0c, 0x0e, 0x1b, 0x1f] {
        let mut client = raw(proxy, "app").await?;
        let mut long = vec![command];
        while long.len() < 3 << 20 {
            long.extend_from_slice(&wired(&[query("DO 1")]));
        }
        // It may hang up before all is said.
        let _ = client.send(&long).await;
        let _ = client.send(&query("SELECT 6")).await;
        let first = client.reply(Expect::Ok).await.ok();
        let second = client.reply(Expect::Results).await.ok();
        let answers = second.is_none_or(|second| first_column(&second).is_ok_and(|rows| rows == ["6"]));
        assert!(answers, "{command:#x} {first:?}");
    }
    Ok(())
}

async fn small_commands_are_answered(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut client = raw(proxy, "app").await?;
    let statistics = client.ask(&[0x09], Expect::Text).await?;
    assert!(statistics[0].starts_with(b"Uptime: "), "{statistics:?}");
    assert_eq!(client.ask(&[Command::PING], Expect::Ok).await?[0][0], 0);
    for deprecate_eof in [capability::DEPRECATE_EOF, 0] {
        let mut direct = Raw::speaking(cluster.primary.port, APP, Some("app"), deprecate_eof).await?;
        let mut through = Raw::speaking(proxy.running.front.port(), APP, Some("app"), deprecate_eof).await?;
        for table in [&b"\x04fruit\0"[..], b"\x04fruit\0na%", b"\x04nowhere\0"] {
            let there = direct.ask(table, Expect::Rows).await?;
            let here = through.ask(table, Expect::Rows).await?;
            assert_eq!(shape(&here), shape(&there), "{table:?}");
        }
        assert_eq!(through.ask(&[Command::PING], Expect::Ok).await?[0][0], 0);
    }
    // Several statements in a packet: off and on again.
    let several = "SELECT 1; SELECT 2";
    assert_eq!(client.query(several).await?.len(), 8);
    client.ask(&[0x1b, 1, 0], Expect::Ok).await?;
    assert_eq!(error(&client.query(several).await?)?.code, 1064);
    client.ask(&[0x1b, 0, 0], Expect::Ok).await?;
    assert_eq!(client.query(several).await?.len(), 8);
    Ok(())
}

/// What a session may see of its own state.
const STATE: &str = "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, \
                     @@collation_connection, @@autocommit, @@sql_mode, @@time_zone, @@sql_select_limit, \
                     @@lc_time_names, DATABASE(), @mine, USER() LIKE CONCAT(@@hostname, '%'), \
                     SUBSTRING_INDEX(USER(), '@', 1)";

/// On a replica, where one may tell it, and on the primary.
async fn state(conn: &mut Conn) -> Result<Vec<Vec<Option<String>>>> {
    let mut states = Vec::new();
    for hint in ["", "/* pointsman: primary */ "] {
        let row: Option<Row> = conn.query_first(format!("{hint}{STATE}")).await?;
        let values = row.context("one row")?.unwrap();
        states.push(values.into_iter().map(mysql_async::from_value).collect());
    }
    Ok(states)
}

const CHANGES: &[&str] = &[
    "SET NAMES latin1 COLLATE latin1_german2_ci",
    "SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+03:00', sql_select_limit = 7",
    "SET lc_time_names = 'de_DE'",
    "SET @mine = 7",
    "SET autocommit = 0",
    "CREATE TEMPORARY TABLE mine (n INT)",
    "INSERT INTO t VALUES (1)",
];

async fn reset_connection_is_as_on_a_server(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut check = schema(cluster, "resets").await?;
    check.query_drop("CREATE TABLE t (n INT)").await?;
    cluster.wait_applied().await?;
    let mut through = Conn::new(proxy.opts(APP).db_name(Some("resets"))).await?;
    let mut direct = Conn::new(cluster.primary.opts(APP).db_name(Some("resets"))).await?;
    assert_eq!(state(&mut through).await?, state(&mut direct).await?, "after login");
    for conn in [&mut through, &mut direct] {
        for change in CHANGES {
            conn.query_drop(*change).await?;
        }
    }
    assert_eq!(state(&mut through).await?, state(&mut direct).await?, "changed");
    let statement = through.prep("SELECT 1").await?;
    for conn in [&mut through, &mut direct] {
        ensure!(conn.reset().await?, "COM_RESET_CONNECTION was said");
    }
    assert_eq!(state(&mut through).await?, state(&mut direct).await?, "after the reset");
    assert_eq!(refusal(through.query_drop("SELECT * FROM mine").await)?.0, 1146);
    assert_eq!(refusal(through.exec_drop(&statement, ()).await)?.0, 1243);
    let rows: Option<u32> = check.query_first("SELECT COUNT(*) FROM t").await?;
    assert_eq!(rows, Some(0), "both transactions are rolled back");
    // What follows is a session like any other.
    for conn in [&mut through, &mut direct] {
        conn.query_drop("SET NAMES utf8mb4").await?;
    }
    assert_eq!(state(&mut through).await?, state(&mut direct).await?, "SET NAMES after the reset");
    Ok(())
}

async fn change_user_is_as_on_a_server(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut root = schema(cluster, "changes").await?;
    root.query_drop("CREATE TABLE t (n INT)").await?;
    root.query_drop("CREATE USER other@'%' IDENTIFIED BY 'secret'").await?;
    root.query_drop("GRANT ALL ON changes.* TO other@'%'").await?;
    cluster.wait_applied().await?;
    let mut through = Conn::new(proxy.opts(APP).db_name(Some("changes"))).await?;
    let mut direct = Conn::new(cluster.primary.opts(APP).db_name(Some("changes"))).await?;
    let id = through.id();
    let to = |user: &str, password: &str, database: Option<&str>| {
        ChangeUserOpts::default()
            .with_user(Some(user.to_owned()))
            .with_pass(Some(password.to_owned()))
            .with_db_name(database.map(str::to_owned))
    };
    for (user, password, database) in
        [("other", "secret", Some("changes")), ("app", "app", Some("app")), ("other", "secret", None)]
    {
        for conn in [&mut through, &mut direct] {
            conn.query_drop("USE changes").await?;
            for change in CHANGES {
                conn.query_drop(*change).await?;
            }
            conn.change_user(to(user, password, database)).await?;
        }
        assert_eq!(state(&mut through).await?, state(&mut direct).await?, "as {user} in {database:?}");
        let gone = through.query_drop("SELECT * FROM changes.mine").await;
        assert!(matches!(refusal(gone)?.0, 1146 | 1142), "the temporary table went with the user");
        assert_eq!(through.query_first("SELECT CONNECTION_ID()").await?, Some(id));
    }
    let rows: Option<u32> = root.query_first("SELECT COUNT(*) FROM t").await?;
    assert_eq!(rows, Some(0), "open transactions are rolled back");
    // MySQL closes then; MariaDB goes on with who it was, a few times.
    let mut lasted = Vec::new();
    for conn in [&mut through, &mut direct] {
        let mut answers = Vec::new();
        for _ in 0..2 {
            let Ok((code, ..)) = refusal(conn.change_user(to("app", "wrong", None)).await) else { break };
            answers.push((code, conn.query_first::<String, _>("SELECT CURRENT_USER()").await.ok().flatten()));
        }
        lasted.push(answers);
    }
    assert_eq!(lasted[0], lasted[1]);
    let stays = lasted[0].iter().any(|(_, user)| user.as_deref() == Some("other@%"));
    assert_eq!((lasted[0][0].0, stays), (1045, flavour == Flavour::MariaDb), "{lasted:?}");
    Ok(())
}

async fn unknown_schema_is_refused(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut root = cluster.primary.connect(ROOT).await?;
    root.query_drop("CREATE DATABASE forbidden").await?;
    cluster.wait_applied().await?;
    let mut through = raw(proxy, "app").await?;
    let mut direct = Raw::connect(cluster.primary.port, APP, Some("app")).await?;
    for name in ["nowhere", "forbidden", "", "a`b", "mysql"] {
        let command = [&[Command::INIT_DB], name.as_bytes()].concat();
        let here = error(&through.ask(&command, Expect::Ok).await?)?;
        assert_eq!(here, error(&direct.ask(&command, Expect::Ok).await?)?, "{name}");
        for hint in ["", "/* pointsman: primary */ "] {
            assert_eq!(through.column(&format!("{hint}SELECT DATABASE()")).await?, ["app"]);
        }
    }
    let found = [&[Command::INIT_DB], &b"information_schema"[..]].concat();
    assert_eq!(through.ask(&found, Expect::Ok).await?[0][0], 0);
    for hint in ["", "/* pointsman: primary */ "] {
        assert_eq!(through.column(&format!("{hint}SELECT DATABASE()")).await?, ["information_schema"]);
    }
    Ok(())
}

async fn local_files_are_loaded(flavour: Flavour) -> Result<()> {
    let mut options = Options { replicas: 0, ..Options::new(Some(flavour)) };
    options.server_options.push("--local-infile=ON".to_owned());
    let cluster = private(options).await?;
    let proxy = Proxy::start(&cluster, |_| {}).await?;
    let file = |name: &str| cluster.folder.join(name);
    let lines: String = (0..200_000).map(|number| format!("{number}\tname {number}\n")).collect();
    std::fs::write(file("some"), &lines)?;
    std::fs::write(file("empty"), "")?;
    std::fs::write(file("odd"), "1\tone\n1\tone again\n")?;
    let known = WhiteListFsHandler::new([file("some"), file("empty"), file("odd")]);
    let mut client = Conn::new(proxy.opts(APP).local_infile_handler(Some(known))).await?;
    client.query_drop("CREATE TABLE loaded (n INT PRIMARY KEY, name VARCHAR(40))").await?;
    let load = |name: &str| format!("LOAD DATA LOCAL INFILE '{}' INTO TABLE loaded", file(name).display());
    for (name, rows) in [("empty", 0), ("some", 200_000), ("odd", 0)] {
        client.query_drop(load(name)).await.with_context(|| name.to_owned())?;
        assert_eq!(client.affected_rows(), rows, "{name}");
    }
    // A client that refuses says so by an empty file; the driver does not, so here it is by hand.
    let mut other =
        Raw::speaking(proxy.running.front.port(), APP, Some("app"), capability::LOCAL_FILES).await?;
    other.send(&query(&load("other"))).await?;
    let (asked, sequence) = other.conn.channel.read_message(1000).await?;
    assert_eq!((asked[0], sequence), (0xFB, 2));
    other.send_bytes(&[0, 0, 0, sequence]).await?;
    assert_eq!(other.reply(Expect::Ok).await?[0][0], 0);
    assert_eq!(other.ask(&[Command::PING], Expect::Ok).await?[0][0], 0);
    let rows: Option<u32> = client.query_first("SELECT COUNT(*) FROM loaded").await?;
    assert_eq!(rows, Some(200_000));
    Ok(())
}

async fn vanished_client_has_its_query_killed(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    for (hint, role) in [("", "replica"), ("/* pointsman: primary */", "primary")] {
        let mut client = raw(proxy, "app").await?;
        let number = client.conn.thread_id;
        client.send(&query(&format!("{hint} SELECT SLEEP(30), 'vanishes {role}'"))).await?;
        let like = format!("SELECT SLEEP(30), 'vanishes {role}'");
        eventually("it is being worked on", || async { Ok(at_work(cluster, &like).await? == 1) }).await?;
        drop(client);
        let left = Instant::now();
        eventually("it is killed", || async { Ok(at_work(cluster, &like).await? == 0) }).await?;
        assert!(left.elapsed() < Duration::from_secs(10), "it ran to its end");
        eventually("the session is over", || async {
            Ok(proxy.running.house.registry.get(number).is_none())
        })
        .await?;
    }
    Ok(())
}

/// As on one server: what it has begun to write, it writes.
async fn vanished_client_has_its_write_finished(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut other = schema(cluster, "vanished").await?;
    other.query_drop("CREATE TABLE t (n INT)").await?;
    let mut client = raw(proxy, "app").await?;
    let insert = "INSERT INTO vanished.t VALUES (SLEEP(2))";
    client.send(&query(insert)).await?;
    eventually("it is being worked on", || async { Ok(at_work(cluster, insert).await? == 1) }).await?;
    drop(client);
    eventually("it is done", || async { Ok(at_work(cluster, insert).await? == 0) }).await?;
    let rows: Option<u64> = other.query_first("SELECT COUNT(*) FROM vanished.t").await?;
    assert_eq!(rows, Some(1));
    Ok(())
}

/// How many statements like that run on the cluster.
async fn at_work(cluster: &Cluster, like: &str) -> Result<usize> {
    let mut count = 0;
    for server in cluster.servers() {
        let mut conn = server.connect(ROOT).await?;
        let running: Vec<Option<String>> =
            conn.query("SELECT info FROM information_schema.processlist WHERE id <> CONNECTION_ID()").await?;
        count += running.iter().flatten().filter(|info| info.contains(like)).count();
        conn.disconnect().await?;
    }
    Ok(count)
}

/// With every connection taken by a query whose client has gone, there is none left to kill them from.
async fn vanished_clients_do_not_wait_for_each_other(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let proxy = Proxy::start(cluster, |config| config.pool.max_per_server = 3).await?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = raw(&proxy, "app").await?;
        client.send(&query("/* pointsman: primary */ SELECT SLEEP(30), 'all three'")).await?;
        clients.push(client);
    }
    let like = "SELECT SLEEP(30), 'all three'";
    eventually("all are being worked on", || async { Ok(at_work(cluster, like).await? == 3) }).await?;
    drop(clients);
    let left = Instant::now();
    eventually("all are killed", || async { Ok(at_work(cluster, like).await? == 0) }).await?;
    let took = left.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let mut next = raw(&proxy, "app").await?;
    assert_eq!(next.column("/* pointsman: primary */ SELECT 5").await?, ["5"]);
    Ok(())
}

async fn sessions_are_killed_by_the_proxys_numbers(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut killer = raw(proxy, "app").await?;
    let like = "SELECT SLEEP(30), 'is killed'";
    // A statement only: SLEEP says so by its value.
    let mut client = raw(proxy, "app").await?;
    client.send(&query(like)).await?;
    eventually("it is being worked on", || async { Ok(at_work(cluster, like).await? == 1) }).await?;
    let kill = format!("KILL QUERY {}", client.conn.thread_id);
    assert_eq!(killer.query(&kill).await?[0][0], 0);
    let reply = client.reply(Expect::Results).await?;
    let interrupted = first_column(&reply).is_ok_and(|rows| rows == ["1"]);
    ensure!(interrupted || error(&reply)?.code == 1317, "{reply:?}");
    assert_eq!(client.column("SELECT 5").await?, ["5"]);
    // The whole session, in the midst of a read that another replica could answer as well.
    client.send(&query(like)).await?;
    eventually("it is being worked on", || async { Ok(at_work(cluster, like).await? == 1) }).await?;
    let kill = format!("KILL {}", client.conn.thread_id);
    assert_eq!(killer.query(&kill).await?[0][0], 0);
    let killed = Instant::now();
    assert!(client.is_closed().await);
    assert_eq!(client.conn.channel.input(), b"", "it is told nothing, as by a server");
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    eventually("nobody works for it", || async { Ok(at_work(cluster, like).await? == 0) }).await?;
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    // One that rests, by COM_PROCESS_KILL; and nobody.
    let mut client = raw(proxy, "app").await?;
    let number = client.conn.thread_id.to_le_bytes();
    assert_eq!(killer.ask(&[&[Command::PROCESS_KILL], &number[..]].concat(), Expect::Ok).await?[0][0], 0);
    assert!(client.is_closed().await);
    assert_eq!(error(&killer.query("KILL 4000000000").await?)?.code, 1094);
    // Somebody else's.
    let root = Raw::connect(proxy.running.front.port(), ROOT, None).await?;
    assert_eq!(error(&killer.query(&format!("KILL {}", root.conn.thread_id)).await?)?.code, 1095);
    Ok(())
}

async fn hostile_bytes_harm_nobody(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let login_timeout = Duration::from_secs(1);
    let proxy = Proxy::start(cluster, |config| config.listen.login_timeout = login_timeout).await?;
    let noise: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let before_login: [&[u8]; 7] = [
        b"",
        b"\x05",
        b"\xff\xff\xff\x01",
        b"\x00\x00\x00\x01",
        &noise,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x20\0\0\x01\x8d",
    ];
    for bytes in before_login {
        let mut client = TcpStream::connect(proxy.running.front).await?;
        // It may hang up before all is said.
        let _ = client.write_all(bytes).await;
        let asked = Instant::now();
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said).await;
        assert!(asked.elapsed() < login_timeout * 3, "{bytes:?}");
    }
    let after_login: [(&[u8], u16); 3] = [
        // Out of order; nothing at all; garbage that begins like a packet out of order.
        (b"\x01\0\0\x05\x0e", 1156),
        (b"\0\0\0\0", 1835),
        (b"\x47\x45\x54\x20/ HTTP", 1156),
    ];
    for (bytes, code) in after_login {
        let mut client = raw(&proxy, "app").await?;
        client.send_bytes(bytes).await?;
        let packets = client.reply(Expect::Ok).await?;
        assert_eq!(error(&packets)?.code, code, "{bytes:?}");
        assert!(client.is_closed().await, "{bytes:?}");
    }
    // Half a packet, then silence, then the end.
    for bytes in [&b"\x10\0\0"[..], b"\x10\0\0\0\x03SEL", b"\xff\xff\xff\0\x03SELECT '"] {
        let mut client = raw(&proxy, "app").await?;
        client.send_bytes(bytes).await?;
        client.conn.channel.shutdown().await;
        assert!(client.is_closed().await, "{bytes:?}");
    }
    eventually("no session is left", || async { Ok(proxy.running.house.registry.is_empty()) }).await?;
    // Malformed commands are a server's to refuse, or ours; the session need not survive.
    for command in [
        &[0x0c][..],
        &[0x1b, 9],
        &[0x17],
        &[0x17, 1, 0, 0, 0],
        &[0x18, 1],
        &[0x19],
        &[0x1a, 1],
        &[0x1c, 0],
        &[0x11],
        &[0x11, 0xff],
        &[0x16],
        &[0x02],
        &[0x04],
        &[0x03],
    ] {
        let mut client = raw(&proxy, "app").await?;
        client.send(command).await?;
        client.send(&[Command::PING]).await?;
        // An answer or two, or the end; not a hang.
        let first = client.reply(Expect::Ok).await;
        ensure!(first.is_err() || matches!(first?[0][0], 0 | 0xFF), "{command:?}");
    }
    let mut client = raw(&proxy, "app").await?;
    assert_eq!(client.column("SELECT 5").await?, ["5"]);
    Ok(())
}

async fn prepared_statements_answer_as_on_a_server(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut setup = schema(cluster, "prepares").await?;
    setup
        .query_drop(
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n DECIMAL(10, 3), d DATETIME(6), s TEXT, b BLOB, f DOUBLE)",
        )
        .await?;
    cluster.wait_applied().await?;
    let opts = |opts: mysql_async::OptsBuilder| opts.db_name(Some("prepares")).stmt_cache_size(0);
    let mut through = Conn::new(opts(proxy.opts(APP))).await?;
    let mut direct = Conn::new(opts(cluster.primary.opts(APP))).await?;
    let insert = through.prep("INSERT INTO t (n, d, s, b, f) VALUES (?, ?, ?, ?, ?)").await?;
    assert!(proxy.seen(&through).pins.is_empty(), "it is prepared wherever it runs");
    for number in 0..50_u32 {
        let text = (number % 7 > 0).then(|| "é\0'".repeat(number as usize * 40));
        let values =
            (f64::from(number) / 8.0, "2024-02-29 01:02:03.000004", text, vec![0xFF_u8; 300], number);
        through.exec_drop(&insert, values).await?;
        assert_eq!(through.affected_rows(), 1);
    }
    let select = "SELECT * FROM t WHERE id > ? ORDER BY id";
    let here = through.prep(select).await?;
    cluster.wait_applied().await?;
    for from in [0_u32, 20, 1000] {
        let rows: Vec<Row> = through.exec(&here, (from,)).await?;
        let expected: Vec<Row> = direct.exec(select, (from,)).await?;
        assert_eq!(rows.len(), 50_u32.saturating_sub(from) as usize);
        let values = |rows: Vec<Row>| rows.into_iter().map(Row::unwrap).collect::<Vec<_>>();
        assert_eq!(values(rows), values(expected));
    }
    assert_eq!(refusal(through.prep("SELECT FROM").await.map(drop))?.0, 1064);
    through.close(insert).await?;
    through.close(here).await?;
    cluster.wait_applied().await?;
    let server: Option<u32> = through.query_first("SELECT @@server_id").await?;
    assert!(server > Some(1), "reads are a replica's");
    assert!(proxy.seen(&through).pins.is_empty());
    Ok(())
}

/// The answer to COM_STMT_PREPARE says nothing of the transaction.
async fn preparing_leaves_the_transaction_alone(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut check = schema(cluster, "preparing").await?;
    check.query_drop("CREATE TABLE t (n INT) ENGINE=InnoDB").await?;
    cluster.wait_applied().await?;
    let mut client = Conn::new(proxy.opts(APP).db_name(Some("preparing")).stmt_cache_size(0)).await?;
    let statement = client.prep("SELECT 1").await?;
    assert!(proxy.running.house.registry.get(client.id()).is_some_and(|info| !info.in_transaction()));
    client.close(statement).await?;
    let server: Option<u32> = client.query_first("SELECT @@server_id").await?;
    assert!(server > Some(1), "autocommit is as it was");
    client.query_drop("BEGIN").await?;
    client.query_drop("INSERT INTO t VALUES (1)").await?;
    let statement = client.prep("INSERT INTO t VALUES (?)").await?;
    client.close(statement).await?;
    client.query_drop("INSERT INTO t VALUES (2)").await?;
    let rows: Option<u32> = client.query_first("SELECT COUNT(*) FROM t").await?;
    assert_eq!(rows, Some(2), "the same transaction");
    client.query_drop("ROLLBACK").await?;
    let rows: Option<u32> = check.query_first("SELECT COUNT(*) FROM t").await?;
    assert_eq!(rows, Some(0));
    Ok(())
}

async fn long_data_and_cursors_work(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let mut client = raw(proxy, "app").await?;
    let prepare = |text: &str| [&[0x16], text.as_bytes()].concat();
    let id = |packets: &[Vec<u8>]| packets[0][1..5].to_vec();
    let prepared = client.ask(&prepare("SELECT LENGTH(?), LENGTH(?)"), Expect::Prepared).await?;
    let statement = id(&prepared);
    // Two parameters in pieces, the second longer than the proxy holds at once.
    for (parameter, piece) in [(0_u16, vec![b'a'; 1000]), (0, vec![b'b'; 500]), (1, vec![b'c'; 5 << 20])] {
        client.send(&[&[0x18], &statement[..], &parameter.to_le_bytes(), &piece].concat()).await?;
    }
    proxy.tied_by(client.conn.thread_id, PinSet::of(PinCause::LongData)).await?;
    // No NULLs; types follow: two LONG_BLOBs, whose values are there already.
    let execute = [&[0x17], &statement[..], &[0, 1, 0, 0, 0, 0, 1, 0xFB, 0, 0xFB, 0]].concat();
    let packets = client.ask(&execute, Expect::Results).await?;
    ensure!(packets.len() > 2, "{:?}", error(&packets));
    // A binary row: its header, the NULL bitmap, a number of four bytes or more.
    let row = &packets[packets.len() - 2];
    assert_eq!(row[2..6], 1500_u32.to_le_bytes());
    proxy.tied_by(client.conn.thread_id, PinSet::EMPTY).await?;
    // COM_STMT_RESET forgets them.
    assert_eq!(client.ask(&[&[0x1a], &statement[..]].concat(), Expect::Ok).await?[0][0], 0);
    client.send(&[&[0x19], &statement[..]].concat()).await?;

    let numbers = "SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5";
    let statement = id(&client.ask(&prepare(numbers), Expect::Prepared).await?);
    // A read-only cursor: definitions come, rows do not.
    client.ask(&[&[0x17], &statement[..], &[1, 1, 0, 0, 0]].concat(), Expect::Results).await?;
    let mut rows = 0;
    for fetched in [2, 2, 1] {
        let packets = client.ask(&[&[0x1c], &statement[..], &[2, 0, 0, 0]].concat(), Expect::Rows).await?;
        assert_eq!(packets.len() - 1, fetched);
        rows += fetched;
    }
    assert_eq!(rows, 5);
    client.send(&[&[0x19], &statement[..]].concat()).await?;
    let server = client.column("SELECT @@server_id").await?;
    assert!(server == ["2"] || server == ["3"], "{server:?}");
    Ok(())
}
