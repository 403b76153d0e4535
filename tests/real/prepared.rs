//! Prepared statements are split like text ones, wherever they were prepared.

use anyhow::{Context, Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Options, ROOT};
use pointsman::sql::{PinCause, PinSet};
use pointsman::topology::Role;
use pointsman::wire::Expect;

use crate::clusters::{both, private, schema, shared};
use crate::raw::{self, Raw};
use crate::through::{Proxy, shared_proxy};

both![
    executions_go_where_the_statement_belongs,
    a_statement_keeps_the_schema_it_was_prepared_in,
    many_sessions_share_what_servers_hold,
    full_servers_close_what_was_used_longest_ago,
    statements_outlive_their_connection,
    values_sent_ahead_arrive,
    types_left_out_are_remembered,
    cursors_hold_their_connection,
    a_statement_that_turns_out_to_write_goes_to_the_primary,
    closed_and_unknown_statements_are_refused,
];

async fn executions_go_where_the_statement_belongs(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut direct = schema(cluster, "prepared_split").await?;
    direct.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20))").await?;
    cluster.wait_applied().await?;
    let mut conn = connect(proxy, "prepared_split").await?;
    let insert = conn.prep("INSERT INTO t (name) VALUES (?)").await?;
    let select = conn.prep("SELECT name, @@server_id FROM t WHERE id = ?").await?;
    for (id, name) in (1..).zip(["a", "b", "c"]) {
        conn.exec_drop(&insert, (name,)).await?;
        assert_eq!(conn.last_insert_id(), Some(id));
        assert_eq!(proxy.role(proxy.seen(&conn).server), Role::Primary);
    }
    cluster.wait_applied().await?;
    // The replica that is known to have the session's writes is preferred, until both are.
    let mut servers = std::collections::BTreeSet::new();
    let both = async {
        while servers.len() < 2 {
            let (name, server): (String, u32) = conn.exec_first(&select, (2,)).await?.context("a row")?;
            assert_eq!(name, "b");
            assert_eq!(proxy.role(proxy.seen(&conn).server), Role::Replica);
            servers.insert(server);
        }
        Ok::<(), anyhow::Error>(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), both)
        .await
        .context("both replicas answer")??;
    // Within a transaction the same statement stays on the primary.
    conn.query_drop("BEGIN").await?;
    conn.exec_drop(&insert, ("d",)).await?;
    let (name, server): (String, u32) = conn.exec_first(&select, (4,)).await?.context("own row")?;
    assert_eq!((name.as_str(), server), ("d", 1));
    conn.query_drop("ROLLBACK").await?;
    assert!(proxy.seen(&conn).pins.is_empty());
    Ok(())
}

async fn a_statement_keeps_the_schema_it_was_prepared_in(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    for (name, value) in [("prepared_here", 1), ("prepared_there", 2)] {
        let mut direct = schema(cluster, name).await?;
        direct.query_drop(format!("CREATE TABLE t AS SELECT {value} AS n")).await?;
    }
    cluster.wait_applied().await?;
    let mut conn = connect(proxy, "prepared_here").await?;
    let select = conn.prep("SELECT n FROM t").await?;
    conn.query_drop("USE prepared_there").await?;
    for _ in 0..4 {
        assert_eq!(conn.exec_first(&select, ()).await?, Some(1));
        assert_eq!(conn.query_first("SELECT n FROM t").await?, Some(2));
        assert_eq!(conn.query_first("SELECT DATABASE()").await?, Some("prepared_there".to_owned()));
    }
    Ok(())
}

async fn many_sessions_share_what_servers_hold(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let proxy = Proxy::start(cluster, |config| config.pool.max_per_server = 3).await?;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        let mut conn = connect(&proxy, "app").await?;
        let mut statements = Vec::new();
        for number in 0..10 {
            statements.push(conn.prep(format!("SELECT {number} + ?")).await?);
        }
        sessions.push((conn, statements));
    }
    for (conn, statements) in &mut sessions {
        for (number, statement) in (0..).zip(statements.iter()) {
            assert_eq!(conn.exec_first(statement, (5,)).await?, Some(number + 5));
        }
    }
    for pool in &proxy.running.house.pools {
        assert!(pool.prepared() <= 3 * 10, "{} prepared on one server", pool.prepared());
    }
    Ok(())
}

async fn full_servers_close_what_was_used_longest_ago(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let proxy = Proxy::start(cluster, |config| {
        config.pool.max_per_server = 1;
        config.pool.max_prepared_per_server = 5;
    })
    .await?;
    let mut conn = connect(&proxy, "app").await?;
    let mut statements = Vec::new();
    for number in 0..12 {
        statements.push(conn.prep(format!("SELECT {number} * ?")).await?);
    }
    for _ in 0..2 {
        for (number, statement) in (0..).zip(&statements) {
            assert_eq!(conn.exec_first(statement, (2,)).await?, Some(number * 2));
        }
    }
    for pool in &proxy.running.house.pools {
        assert!(pool.prepared() <= 5, "{} prepared on one server", pool.prepared());
    }
    Ok(())
}

async fn statements_outlive_their_connection(flavour: Flavour) -> Result<()> {
    let cluster = private(Options::new(Some(flavour))).await?;
    let proxy = Proxy::start(&cluster, |_| {}).await?;
    let mut conn = connect(&proxy, "app").await?;
    let select = conn.prep("SELECT ? + 1").await?;
    assert_eq!(conn.exec_first(&select, (1,)).await?, Some(2));
    for server in cluster.servers() {
        kill_sessions_of_app(server).await?;
    }
    for number in 0..4 {
        assert_eq!(conn.exec_first(&select, (number,)).await?, Some(number + 1));
    }
    cluster.stop().await;
    Ok(())
}

async fn values_sent_ahead_arrive(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    drop(schema(cluster, "prepared_long").await?);
    let mut raw = Raw::connect(proxy.running.front.port(), APP, Some("app")).await?;
    let id = prepare(&mut raw, "SELECT LENGTH(?), @@server_id").await?;
    for _ in 0..3 {
        for piece in [&b"abc"[..], b"de"] {
            let mut command = vec![0x18];
            command.extend_from_slice(&id);
            command.extend_from_slice(&[0, 0]);
            command.extend_from_slice(piece);
            raw.send(&command).await?;
        }
        // The parameter's type is a blob; its value has been sent.
        let reply = raw.ask(&execute(id, 0, &[0xFC, 0], &[]), Expect::Results).await?;
        let row = binary_row(&reply)?;
        assert_eq!(row[..4], 5_u32.to_le_bytes(), "two pieces, five bytes");
    }
    Ok(())
}

async fn types_left_out_are_remembered(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let mut raw = Raw::connect(proxy.running.front.port(), APP, Some("app")).await?;
    let id = prepare(&mut raw, "SELECT ? + 0, @@server_id").await?;
    let mut servers = Vec::new();
    for number in 1_u64..7 {
        let (types, flag) = if number == 1 { (&[8, 0][..], true) } else { (&[][..], false) };
        let mut command = execute(id, 0, types, &number.to_le_bytes());
        if !flag {
            command[11] = 0;
        }
        let row = binary_row(&raw.ask(&command, Expect::Results).await?)?;
        assert_eq!(row[..8], number.to_le_bytes());
        servers.push(row[8]);
    }
    servers.sort_unstable();
    servers.dedup();
    assert_eq!(servers.len(), 2, "both replicas answered");
    Ok(())
}

async fn cursors_hold_their_connection(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut direct = schema(cluster, "prepared_cursor").await?;
    direct.query_drop("CREATE TABLE t (n BIGINT)").await?;
    direct.query_drop("INSERT INTO t VALUES (1), (2), (3)").await?;
    cluster.wait_applied().await?;
    let mut raw = Raw::connect(proxy.running.front.port(), APP, Some("prepared_cursor")).await?;
    let id = prepare(&mut raw, "SELECT n FROM t ORDER BY n").await?;
    raw.ask(&execute(id, 1, &[], &[]), Expect::Results).await?;
    proxy.tied_by(raw.conn.thread_id, PinSet::of(PinCause::Cursor)).await?;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let mut command = vec![0x1c];
        command.extend_from_slice(&id);
        command.extend_from_slice(&1_u32.to_le_bytes());
        let reply = raw.ask(&command, Expect::Rows).await?;
        seen.extend(reply.iter().filter(|packet| packet[0] == 0).filter_map(|row| row.get(2).copied()));
        // Another statement in between runs on the connection that holds the cursor.
        if seen.len() < 3 {
            raw.query("SELECT 1").await?;
        }
        if reply.iter().any(|packet| packet[0] == 0xFF) {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3]);
    proxy.tied_by(raw.conn.thread_id, PinSet::EMPTY).await?;
    // COM_STMT_RESET and COM_STMT_CLOSE end one that has rows left.
    for ends in [0x1a, 0x19] {
        raw.ask(&execute(id, 1, &[], &[]), Expect::Results).await?;
        proxy.tied_by(raw.conn.thread_id, PinSet::of(PinCause::Cursor)).await?;
        raw.send(&[&[ends], &id[..]].concat()).await?;
        if ends == 0x1a {
            raw.reply(Expect::Ok).await?;
        }
        proxy.tied_by(raw.conn.thread_id, PinSet::EMPTY).await?;
    }
    Ok(())
}

async fn a_statement_that_turns_out_to_write_goes_to_the_primary(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut direct = schema(cluster, "prepared_lies").await?;
    direct.query_drop("CREATE TABLE t (n INT)").await?;
    direct
        .query_drop("CREATE FUNCTION lies(n INT) RETURNS INT READS SQL DATA BEGIN INSERT INTO t VALUES (n); RETURN n; END")
        .await?;
    direct.query_drop("CREATE FUNCTION honest() RETURNS INT NO SQL RETURN 1").await?;
    cluster.wait_applied().await?;
    let mut conn = connect(proxy, "prepared_lies").await?;
    // The catalog is read every second.
    let known = async {
        loop {
            conn.query_drop("SELECT honest()").await?;
            if proxy.role(proxy.seen(&conn).server) == Role::Replica {
                return Ok::<(), anyhow::Error>(());
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), known)
        .await
        .context("the catalog is read")??;
    let call = conn.prep("SELECT lies(?)").await?;
    for number in 1..4 {
        assert_eq!(conn.exec_first(&call, (number,)).await?, Some(number));
        assert_eq!(proxy.role(proxy.seen(&conn).server), Role::Primary);
    }
    assert_eq!(direct.query::<i32, _>("SELECT n FROM t ORDER BY n").await?, [1, 2, 3], "each once");
    Ok(())
}

async fn closed_and_unknown_statements_are_refused(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let mut raw = Raw::connect(proxy.running.front.port(), APP, Some("app")).await?;
    let id = prepare(&mut raw, "SELECT 1").await?;
    let mut close = vec![0x19];
    close.extend_from_slice(&id);
    raw.send(&close).await?;
    for command in [execute(id, 0, &[], &[]), [&[0x1a][..], &id].concat()] {
        let error = raw::error(&raw.ask(&command, Expect::Ok).await?)?;
        assert_eq!(error.code, 1243);
    }
    let broken = raw::error(&raw.ask(b"\x16SELEC 1", Expect::Prepared).await?)?;
    assert_eq!(broken.code, 1064);
    assert_eq!(raw.column("SELECT 2").await?, ["2"]);
    Ok(())
}

async fn connect(proxy: &Proxy, database: &str) -> Result<Conn> {
    Ok(Conn::new(proxy.opts(APP).db_name(Some(database))).await?)
}

async fn kill_sessions_of_app(server: &pointsman::playground::Server) -> Result<()> {
    let mut conn = server.connect(ROOT).await?;
    let ids: Vec<u64> =
        conn.query("SELECT id FROM information_schema.processlist WHERE user = 'app'").await?;
    for id in ids {
        conn.query_drop(format!("KILL {id}")).await?;
    }
    Ok(())
}

/// Returns the statement's number as the client must repeat it.
async fn prepare(raw: &mut Raw, statement: &str) -> Result<[u8; 4]> {
    let reply = raw.ask(&[&[0x16], statement.as_bytes()].concat(), Expect::Prepared).await?;
    let head = reply.first().context("a reply")?;
    ensure!(head[0] == 0, "not prepared: {head:?}");
    Ok(head[1..5].try_into()?)
}

/// COM_STMT_EXECUTE with at most one parameter.
fn execute(id: [u8; 4], flags: u8, types: &[u8], value: &[u8]) -> Vec<u8> {
    let mut command = vec![0x17];
    command.extend_from_slice(&id);
    command.extend_from_slice(&[flags, 1, 0, 0, 0]);
    if !types.is_empty() || !value.is_empty() {
        command.extend_from_slice(&[0, 1]);
        command.extend_from_slice(types);
        command.extend_from_slice(value);
    }
    command
}

/// The values of the only row, behind its NULL bitmap.
fn binary_row(packets: &[Vec<u8>]) -> Result<Vec<u8>> {
    if let Ok(error) = raw::error(packets) {
        anyhow::bail!("{error}");
    }
    let columns = usize::from(packets[0][0]);
    let row = packets[1 + columns..].iter().rfind(|packet| packet[0] == 0x00).context("a row")?;
    Ok(row[1 + (columns + 9) / 8..].to_vec())
}
