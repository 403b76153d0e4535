//! Transactions whose first reads go to a replica: where that shows, and that it shows nowhere else.

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, ROOT};
use pointsman::topology::Role;
use pointsman::wire::status;

use crate::clusters::{both, schema, shared};
use crate::raw::Raw;
use crate::through::Proxy;

both![
    reads_before_the_first_write_go_to_one_replica,
    other_isolation_and_other_begins_stay_on_the_primary,
    what_asks_for_the_last_statement_finds_it,
    a_replica_lost_in_a_transaction_is_not_missed,
    the_clients_flags_are_those_of_a_transaction,
];

async fn split_proxy(flavour: Flavour, name: &str) -> Result<(Proxy, Conn)> {
    let cluster = shared(flavour).await?;
    let mut setup = schema(cluster, name).await?;
    setup.query_drop("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await?;
    setup.query_drop("INSERT INTO t VALUES (1, 0), (2, 0)").await?;
    cluster.wait_applied().await?;
    let proxy = Proxy::start(cluster, |config| config.routing.transaction_split = true).await?;
    let mut conn = Conn::new(proxy.opts(APP).db_name(Some(name))).await?;
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    Ok((proxy, conn))
}

async fn server(conn: &mut Conn) -> Result<u32> {
    conn.query_first("SELECT @@server_id FROM t WHERE id = 1").await?.context("a row")
}

async fn reads_before_the_first_write_go_to_one_replica(flavour: Flavour) -> Result<()> {
    let (proxy, mut conn) = split_proxy(flavour, "split").await?;
    for round in 1..=10 {
        conn.query_drop(if round % 2 == 0 { "BEGIN" } else { "START TRANSACTION" }).await?;
        let first = server(&mut conn).await?;
        assert!(first > 1, "the first read is on a replica");
        let because = proxy.seen(&conn).because.context("a reason")?;
        assert_eq!(because.to_string(), "before the first write of a transaction");
        for _ in 0..3 {
            assert_eq!(server(&mut conn).await?, first, "and so are those behind it, on the same");
            let prepared: Option<u32> =
                conn.exec_first("SELECT @@server_id FROM t WHERE id = ?", (1,)).await?;
            assert_eq!(prepared, Some(first));
        }
        let before: Option<u32> = conn.query_first("SELECT n FROM t WHERE id = 1").await?;
        assert_eq!(before, Some(round - 1), "what the last transaction wrote is read");
        conn.query_drop("UPDATE t SET n = n + 1 WHERE id = 1").await?;
        assert_eq!(server(&mut conn).await?, 1, "behind a write all is on the primary");
        let own: Option<u32> = conn.query_first("SELECT n FROM t WHERE id = 1").await?;
        assert_eq!(own, Some(round), "the transaction sees what it wrote");
        assert!(proxy.seen(&conn).pins.is_empty());
        conn.query_drop("COMMIT").await?;
    }
    conn.query_drop("BEGIN").await?;
    assert!(server(&mut conn).await? > 1);
    let locking = conn.query_first("SELECT @@server_id FROM t WHERE id = 1 FOR UPDATE").await?;
    assert_eq!((locking, server(&mut conn).await?), (Some(1), 1), "locks are the primary's, and end it");
    conn.query_drop("ROLLBACK").await?;
    // Each sees what others commit meanwhile, as READ COMMITTED has it, and nothing of it is left open.
    conn.query_drop("BEGIN").await?;
    assert!(server(&mut conn).await? > 1);
    let cluster = shared(flavour).await?;
    cluster.primary.connect(ROOT).await?.query_drop("UPDATE split.t SET n = 77 WHERE id = 2").await?;
    cluster.wait_applied().await?;
    assert_eq!(conn.query_first("SELECT n FROM t WHERE id = 2").await?, Some(77));
    assert!(server(&mut conn).await? > 1);
    conn.query_drop("COMMIT").await?;
    cluster.primary.connect(ROOT).await?.query_drop("ALTER TABLE split.t ADD c INT").await?;
    cluster.wait_applied().await?;
    Ok(())
}

async fn other_isolation_and_other_begins_stay_on_the_primary(flavour: Flavour) -> Result<()> {
    let (_proxy, mut conn) = split_proxy(flavour, "unsplit").await?;
    for begin in [
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "SET autocommit = 0",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; BEGIN",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; BEGIN",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN",
        "BEGIN; SAVEPOINT s",
        "BEGIN; SHOW TABLES",
        "BEGIN; SET @x = 1",
        "XA START 'split'",
    ] {
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        for statement in begin.split("; ") {
            conn.query_drop(statement).await.context(statement)?;
        }
        assert_eq!(server(&mut conn).await?, 1, "{begin}");
        if begin.starts_with("XA") {
            conn.query_drop("XA END 'split'").await?;
            conn.query_drop("XA ROLLBACK 'split'").await?;
        } else {
            conn.query_drop("COMMIT").await?;
        }
        conn.query_drop("SET autocommit = 1").await?;
        conn.reset().await?;
    }
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await?;
    conn.query_drop("BEGIN").await?;
    assert!(server(&mut conn).await? > 1);
    assert_eq!(conn.query_first("/* pointsman: primary */ SELECT @@server_id").await?, Some(1));
    assert_eq!(server(&mut conn).await?, 1, "no read behind one on the primary is older");
    conn.query_drop("COMMIT").await?;
    Ok(())
}

async fn what_asks_for_the_last_statement_finds_it(flavour: Flavour) -> Result<()> {
    let (_proxy, mut conn) = split_proxy(flavour, "asked").await?;
    conn.query_drop("BEGIN").await?;
    let cut: Option<i32> = conn.query_first("SELECT CAST('1x' AS SIGNED) FROM t WHERE id = 1").await?;
    assert_eq!(cut, Some(1));
    let warning: Option<(String, u32, String)> = conn.query_first("SHOW WARNINGS").await?;
    assert_eq!(warning.context("a warning")?.1, 1292);
    assert!(server(&mut conn).await? > 1, "showing them ends nothing");
    match conn.query_drop("SELECT nothing FROM t").await {
        Err(Error::Server(error)) => assert_eq!(error.code, 1054),
        other => panic!("{other:?}"),
    }
    let error: Option<(String, u32, String)> = conn.query_first("SHOW ERRORS").await?;
    assert_eq!(error.context("an error")?.1, 1054);
    conn.query_drop("COMMIT").await?;
    conn.query_drop("BEGIN").await?;
    let rows: Vec<u32> = conn.query("SELECT id FROM t").await?;
    assert_eq!(rows, [1, 2]);
    let last: Option<(i64, u64)> = conn.query_first("SELECT ROW_COUNT(), FOUND_ROWS()").await?;
    assert_eq!(last, Some((-1, 2)));
    conn.query_drop("COMMIT").await?;
    Ok(())
}

async fn a_replica_lost_in_a_transaction_is_not_missed(flavour: Flavour) -> Result<()> {
    let (proxy, mut conn) = split_proxy(flavour, "lost").await?;
    conn.query_drop("BEGIN").await?;
    let replica = server(&mut conn).await?;
    let cluster = shared(flavour).await?;
    let mut root = cluster.replicas[replica as usize - 2].connect(ROOT).await?;
    let threads = "SELECT id FROM information_schema.processlist WHERE user = 'app' AND db = 'lost'";
    let thread: Option<u64> = root.query_first(threads).await?;
    root.query_drop(format!("KILL {}", thread.context("the proxy's connection")?)).await?;
    assert_eq!(server(&mut conn).await?, 1, "the primary goes on with the transaction");
    assert_eq!(proxy.role(proxy.seen(&conn).server), Role::Primary);
    conn.query_drop("UPDATE t SET n = 5 WHERE id = 1").await?;
    conn.query_drop("COMMIT").await?;
    assert_eq!(conn.query_first("SELECT n FROM t WHERE id = 1").await?, Some(5));
    // A session that leaves in mid-transaction leaves nothing open.
    conn.query_drop("BEGIN").await?;
    assert!(server(&mut conn).await? > 1);
    conn.disconnect().await?;
    Ok(())
}

async fn the_clients_flags_are_those_of_a_transaction(flavour: Flavour) -> Result<()> {
    let (proxy, _conn) = split_proxy(flavour, "flags").await?;
    let mut raw = Raw::connect(proxy.running.front.port(), APP, None).await?;
    raw.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    raw.query("BEGIN").await?;
    for (statement, in_transaction) in [
        ("SELECT n FROM flags.t", true),
        ("SELECT n FROM flags.t WHERE id = 3", true),
        ("UPDATE flags.t SET n = 3", true),
        ("SELECT n FROM flags.t", true),
        ("COMMIT", false),
        ("SELECT n FROM flags.t", false),
    ] {
        let answer = raw.query(statement).await?;
        let flags = raw.ok(answer.last().context("an end")?)?.status;
        let wanted = if in_transaction { status::IN_TRANS } else { 0 };
        assert_eq!(flags & (status::IN_TRANS | status::IN_TRANS_READONLY), wanted, "{statement}");
        assert_eq!(flags & status::AUTOCOMMIT, status::AUTOCOMMIT, "{statement}");
    }
    Ok(())
}
