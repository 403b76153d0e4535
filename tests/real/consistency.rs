//! Levels of consistency: what each promises, who may choose it and how, and positions handed from session to session.

use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use pointsman::config::{Consistency, UserLevel};
use pointsman::flavour::Flavour;
use pointsman::gtid::GtidSet;
use pointsman::playground::{APP, Cluster, Options, ROOT};
use pointsman::topology::{ServerId, Standing};
use pointsman::wire::capability;
use pointsman::wire::read::Cursor;

use crate::brake::Brake;
use crate::clusters::{block_on, both, private, schema, shared};
use crate::raw::Raw;
use crate::through::{Proxy, shared_proxy};

both![
    other_sessions_writes_are_read_by_global_and_by_token,
    a_level_is_chosen_by_port_user_session_and_statement,
    the_proxys_variables_look_like_a_users,
    a_wrong_level_or_token_is_told,
    a_prepared_set_takes_its_level_and_token_as_parameters,
    a_write_lost_with_its_primary_is_not_waited_for,
];

const PAIRS: u32 = 8;
const ROUNDS: u64 = 40;

/// A cluster with late replicas, and two proxies before it.
async fn other_sessions_writes_are_read_by_global_and_by_token(flavour: Flavour) -> Result<()> {
    let cluster = private(Options::new(Some(flavour))).await?;
    let mut setup = schema(&cluster, "levels").await?;
    setup.query_drop("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await?;
    for id in 0..PAIRS {
        setup.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
    }
    cluster.wait_applied().await?;
    let _brake = Brake::on(&cluster, "levels.t").await?;
    let (here, there) = (start(&cluster).await?, start(&cluster).await?);
    // What is written at `there` and read at `here` shows nothing but by luck, unless the token is handed over.
    assert!(stale(&here, &here, Reading::Plainly).await? > 0, "the replicas are not late enough");
    assert!(stale(&here, &there, Reading::Plainly).await? > 0, "the replicas are not late enough");
    assert_eq!(stale(&here, &here, Reading::Globally).await?, 0);
    assert_eq!(stale(&here, &there, Reading::ByToken).await?, 0);
    let counters = here.running.house.counters.all();
    let count = |wanted| counters.iter().find(|(name, ..)| *name == wanted).map_or(0, |(_, value, _)| *value);
    let on_replicas = count("causal_known") + count("causal_awaited");
    let on_primary = count("causal_timed_out") + count("causal_at_once");
    eprintln!("{flavour}: by level and token, {on_replicas} reads on replicas, {on_primary} on the primary");
    assert!(on_replicas > 0, "replicas read, too");
    cluster.stop().await;
    Ok(())
}

async fn start(cluster: &Cluster) -> Result<Proxy> {
    Proxy::start(cluster, |config| {
        config.routing.causal_wait = Duration::from_millis(100);
        config.routing.max_lag = Duration::from_secs(3600);
        config.cluster.control.interval = Duration::from_millis(100);
    })
    .await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Plainly,
    Globally,
    ByToken,
}

/// One session writes, another reads once the first has its answer. Returns how many reads did not show the write.
async fn stale(reads_at: &Proxy, writes_at: &Proxy, reading: Reading) -> Result<u32> {
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..PAIRS {
        let opts = |proxy: &Proxy| proxy.opts(APP).db_name(Some("levels"));
        let (writer, reader) = (opts(writes_at), opts(reads_at));
        tasks.spawn(async move {
            let (mut writer, mut reader) = (Conn::new(writer).await?, Conn::new(reader).await?);
            if reading == Reading::Globally {
                reader.query_drop("SET @pointsman_consistency = 'global'").await?;
            }
            let mut stale = 0;
            for _ in 0..ROUNDS {
                writer.query_drop(format!("UPDATE t SET n = n + 1 WHERE id = {id}")).await?;
                let select = format!("SELECT n FROM t WHERE id = {id}");
                let written: Option<u64> =
                    writer.query_first(format!("/* pointsman: primary */ {select}")).await?;
                if reading == Reading::ByToken {
                    let token: Option<String> = writer.query_first("SELECT @pointsman_gtid AS token").await?;
                    let token = token.context("a token")?;
                    reader.query_drop(format!("SET @pointsman_gtid = '{token}'")).await?;
                }
                let read: Option<u64> = reader.query_first(select).await?;
                stale += u32::from(read != written);
            }
            Ok::<u32, anyhow::Error>(stale)
        });
    }
    let mut stale = 0;
    while let Some(one) = tasks.join_next().await {
        stale += one??;
    }
    Ok(stale)
}

async fn a_level_is_chosen_by_port_user_session_and_statement(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let level = |proxy: Proxy| async move {
        let mut conn = proxy.connect().await?;
        let of_port: Option<String> = conn.query_first("SELECT @pointsman_consistency").await?;
        conn.query_drop("SET @pointsman_consistency = 'Global'").await?;
        let of_session: Option<String> = conn.query_first("SELECT @pointsman_consistency").await?;
        conn.query_drop("SET @pointsman_consistency = NULL").await?;
        let again: Option<String> = conn.query_first("SELECT @pointsman_consistency").await?;
        conn.query_drop("SET @pointsman_consistency = 'global'").await?;
        conn.reset().await?;
        let after_reset: Option<String> = conn.query_first("SELECT @pointsman_consistency").await?;
        assert_eq!(of_session.as_deref(), Some("global"));
        assert_eq!((&again, &after_reset), (&of_port, &of_port));
        of_port.context("a level")
    };
    let rule = |name: &str| UserLevel { name: name.to_owned(), consistency: Consistency::Eventual };
    let plain = Proxy::start(cluster, |_| {}).await?;
    assert_eq!(level(plain).await?, "session");
    let by_port =
        Proxy::start(cluster, |config| config.listen.consistency = Some(Consistency::Global)).await?;
    assert_eq!(level(by_port).await?, "global");
    let by_user = Proxy::start(cluster, |config| {
        config.listen.consistency = Some(Consistency::Global);
        config.routing.users = vec![rule("somebody"), rule(APP.user)];
    })
    .await?;
    assert_eq!(level(by_user).await?, "eventual");
    Ok(())
}

/// A server answers for both, so that even the columns are described alike.
async fn the_proxys_variables_look_like_a_users(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    drop(schema(cluster, "variables").await?);
    let mut conn = Conn::new(proxy.opts(APP).db_name(Some("variables"))).await?;
    let nothing: Option<Option<String>> = conn.query_first("SELECT @pointsman_gtid").await?;
    assert_eq!(nothing, Some(None), "nothing was written");
    conn.query_drop("CREATE TABLE t (n INT)").await?;
    conn.query_drop("INSERT INTO t VALUES (1)").await?;
    let token: Option<String> = conn.query_first("SELECT @pointsman_gtid").await?;
    let token = token.context("a token")?;
    let has = match flavour {
        Flavour::MySql => format!("SELECT GTID_SUBSET('{token}', @@GLOBAL.gtid_executed)"),
        Flavour::MariaDb => format!("SELECT @@GLOBAL.gtid_current_pos = '{token}' OR '{token}' LIKE '%-%-%'"),
    };
    assert_eq!(conn.query_first(&has).await?, Some(1), "{token} is the primary's");
    let mut direct = cluster.primary.connect(APP).await?;
    direct.query_drop(format!("SET @token = '{token}'")).await?;
    for (ours, theirs) in [
        ("SELECT @pointsman_gtid", "SELECT @token"),
        ("SELECT @pointsman_gtid AS token", "SELECT @token AS token"),
        ("SELECT UPPER(@POINTSMAN_gtid), 1", "SELECT UPPER(@token), 1"),
        ("SELECT 1 FROM variables.t WHERE @`pointsman_gtid` = 'x'", "SELECT 1 FROM dual WHERE @token = 'x'"),
    ] {
        let ours_shown = shown(&mut conn, ours).await?;
        let theirs_shown = shown(&mut direct, theirs).await?;
        let theirs_shown = theirs_shown.replace("@token", "@pointsman_gtid");
        assert_eq!(ours_shown.replace("@POINTSMAN_gtid", "@pointsman_gtid"), theirs_shown, "{ours}");
    }
    assert!(proxy.seen(&conn).pins.is_empty(), "nothing is pinned by it");
    let prepared: Option<String> = conn.exec_first("SELECT @pointsman_gtid", ()).await?;
    assert_eq!(prepared, Some(token), "through a prepared statement too");
    Ok(())
}

/// The columns as they are described, and the rows.
async fn shown(conn: &mut Conn, sql: &str) -> Result<String> {
    let mut result = conn.query_iter(sql).await?;
    let columns = result.columns().context("columns")?;
    let columns = columns.iter().map(|column| {
        let (name, kind, flags) = (column.name_str().into_owned(), column.column_type(), column.flags());
        format!("{name} {kind:?} {flags:?} {}", column.character_set())
    });
    let columns: Vec<String> = columns.collect();
    let rows: Vec<mysql_async::Row> = result.collect().await?;
    let rows: Vec<String> = rows.into_iter().map(|row| format!("{:?}", row.unwrap())).collect();
    Ok(format!("{columns:?} {rows:?}"))
}

async fn a_wrong_level_or_token_is_told(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let mut conn = proxy.connect().await?;
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let many: Vec<String> = (0..300).map(|number| format!("{number}-1-1,{uuid}:{number}")).collect();
    let quoting = format!("SET @pointsman_gtid = \"{}':1\"", &uuid[..35]);
    let long = format!("SET @pointsman_gtid = '{}'", many.join(","));
    let cases = [
        ("SET @pointsman_consistency = 'strong'", 1231, "the levels are session, global, eventual"),
        ("/* pointsman: replica, consistency=strong */ SELECT 1", 1231, "'consistency' can't be set to"),
        ("SET @pointsman_gtid = 'yesterday'", 1231, "'yesterday' is not a set of"),
        (&quoting, 1231, "is not a set of"),
        (&long, 1231, "it is longer than 8192 bytes"),
        (
            "SET @pointsman_consitency = 'global'",
            1193,
            "there are @pointsman_consistency and @pointsman_gtid",
        ),
        ("SET @pointsman_gtid = NULL, sql_mode = ''", 1235, "by a SET that sets nothing else"),
        ("SET @x = 1, @pointsman_gtid = NULL", 1235, "by a SET that sets nothing else"),
        ("SELECT 1 INTO @pointsman_gtid", 1235, "by a SET that sets nothing else"),
        ("SELECT @pointsman_gtid := 'x'", 1235, "by a SET that sets nothing else"),
        ("SET @pointsman_gtid = NULL; SELECT 1", 1235, "by a SET that sets nothing else"),
        ("SET @pointsman_consistency = global", 1054, "global"),
    ];
    for (sql, code, words) in cases {
        match conn.query_drop(sql).await {
            Err(Error::Server(error)) => {
                assert_eq!(error.code, code, "{sql}: {error}");
                assert!(error.message.contains(words), "{sql}: {error}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    // Nothing of all that was taken, and the session goes on.
    let seen: Option<(String, Option<String>)> =
        conn.query_first("SELECT @pointsman_consistency, @pointsman_gtid").await?;
    assert_eq!(seen, Some(("session".to_owned(), None)));
    conn.query_drop("SET @pointsman_consistency = CONCAT('glo', 'bal'), @pointsman_gtid = ''").await?;
    let level: Option<String> = conn.query_first("SELECT @pointsman_consistency").await?;
    assert_eq!(level.as_deref(), Some("global"));
    assert!(proxy.seen(&conn).pins.is_empty());
    a_token_of_the_future_is_served_by_the_primary(proxy, conn, flavour, uuid).await
}

async fn a_token_of_the_future_is_served_by_the_primary(
    proxy: &Proxy,
    mut conn: Conn,
    flavour: Flavour,
    uuid: &str,
) -> Result<()> {
    let future = match flavour {
        Flavour::MySql => format!("{uuid}:9223372036854775806"),
        Flavour::MariaDb => "0-1-18446744073709551615".to_owned(),
    };
    conn.query_drop(format!("SET @pointsman_consistency = 'session', @pointsman_gtid = '{future}'")).await?;
    assert_eq!(conn.query_first("SELECT @@server_id").await?, Some(1));
    let because = proxy.seen(&conn).because.context("a reason")?;
    assert_eq!(because.to_string(), "no replica has the session's own write yet");
    // Others are not kept from the replicas by it.
    let mut other = proxy.connect().await?;
    let server: Option<u32> = other.query_first("SELECT @@server_id").await?;
    assert!(server > Some(1));
    Ok(())
}

async fn a_prepared_set_takes_its_level_and_token_as_parameters(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let mut conn = proxy.connect().await?;
    let token = match flavour {
        Flavour::MySql => "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5",
        Flavour::MariaDb => "7-1-5",
    };
    let set = conn.prep("SET @pointsman_consistency = ?, @pointsman_gtid = ?").await?;
    conn.exec_drop(&set, ("eventual", token)).await?;
    let seen: Option<(String, String)> =
        conn.query_first("SELECT @pointsman_consistency, @pointsman_gtid").await?;
    assert_eq!(seen, Some(("eventual".to_owned(), token.to_owned())));
    conn.exec_drop(&set, (None::<String>, None::<String>)).await?;
    let seen: Option<String> = conn.query_first("SELECT @pointsman_consistency").await?;
    assert_eq!(seen.as_deref(), Some("session"));
    match conn.exec_drop(&set, (5, token)).await {
        Err(Error::Server(error)) => assert_eq!(error.code, 1231, "{error}"),
        other => panic!("{other:?}"),
    }
    match conn.prep("SET @pointsman_gtid = ?, @x = ?").await {
        Err(Error::Server(error)) => assert_eq!(error.code, 1235, "{error}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// What an old primary acknowledged and no replica got is gone; a session that wrote it reads on.
async fn a_write_lost_with_its_primary_is_not_waited_for(flavour: Flavour) -> Result<()> {
    let cluster = private(Options::new(Some(flavour))).await?;
    schema(&cluster, "gone").await?.query_drop("CREATE TABLE t (n INT)").await?;
    let proxy = Proxy::start(&cluster, |config| {
        config.routing.causal_wait = Duration::from_secs(100);
        config.routing.max_lag = Duration::from_secs(3600);
    })
    .await?;
    let mut conn = Conn::new(proxy.opts(APP).db_name(Some("gone"))).await?;
    conn.query_drop("INSERT INTO t VALUES (1)").await?;
    cluster.wait_applied().await?;
    let (stop, reset, follow, start) = match flavour {
        Flavour::MySql => {
            ("STOP REPLICA", "RESET REPLICA ALL", "CHANGE REPLICATION SOURCE TO SOURCE_PORT", "START REPLICA")
        }
        Flavour::MariaDb => ("STOP SLAVE", "RESET SLAVE ALL", "CHANGE MASTER TO MASTER_PORT", "START SLAVE"),
    };
    let mut promoted = cluster.replicas[0].connect(ROOT).await?;
    let mut other = cluster.replicas[1].connect(ROOT).await?;
    promoted.query_drop(stop).await?;
    other.query_drop(stop).await?;
    conn.query_drop("INSERT INTO t VALUES (2)").await?;
    cluster.primary.kill().await;
    promoted.query_drop(reset).await?;
    promoted.query_drop("SET GLOBAL read_only = 0").await?;
    other.query_drop(format!("{follow} = {}", cluster.replicas[0].port)).await?;
    other.query_drop(start).await?;
    let (first, second) = (ServerId(1), ServerId(2));
    let taken_over =
        proxy.published(|now| now.primary == Some(first) && now.server(second).standing == Standing::Serving);
    tokio::time::timeout(Duration::from_secs(60), taken_over).await.context("another primary")?;
    let read: Option<(u32, u32)> = conn.query_first("SELECT @@server_id, COUNT(*) FROM t").await?;
    assert_eq!(read, Some((3, 1)), "the replica is read, and has what is left");
    conn.query_drop("INSERT INTO t VALUES (3)").await?;
    let read: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await?;
    assert_eq!(read, Some(2), "what is written now is waited for");
    cluster.stop().await;
    Ok(())
}

/// INSERT … RETURNING, which only MariaDB has, answers rows, and rows end in an EOF packet for clients that want one:
/// no place for a GTID.
#[test]
fn a_write_that_an_eof_hides_is_known() -> Result<()> {
    block_on(async {
        let flavour = Flavour::MariaDb;
        let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
        drop(schema(cluster, "hidden").await?);
        cluster.primary.connect(APP).await?.query_drop("CREATE TABLE hidden.t (n INT)").await?;
        let port = proxy.running.front.port();
        let mut raw = Raw::speaking(port, APP, None, capability::MULTI_RESULTS).await?;
        raw.query("INSERT INTO hidden.t VALUES (1) RETURNING n").await?;
        let answer = raw.query("SELECT @pointsman_gtid").await?;
        // The count of columns, one definition, EOF, the row.
        let value = Cursor::new(&answer[3]).nullable_lenenc_bytes()?.context("a position")?;
        let position = GtidSet::parse(flavour, &String::from_utf8_lossy(value)).context("a position")?;
        assert!(!position.is_empty());
        Ok(())
    })
}
