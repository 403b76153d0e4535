//! A session reads what it wrote, on replicas that are late.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::config::Consistency;
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Cluster, Options, ROOT};

use crate::clusters::{both, private, schema, shared};
use crate::through::{Proxy, shared_proxy};

both![
    own_writes_are_read_on_late_replicas,
    own_writes_are_read_from_the_primary_where_no_replica_has_them,
    a_read_only_transaction_begins_behind_the_own_write,
];

const SESSIONS: u32 = 16;
const ROUNDS: u32 = 40;

/// The replicas are slowed by a stream of other writes; `eventual` shows that this makes them late.
async fn own_writes_are_read_on_late_replicas(flavour: Flavour) -> Result<()> {
    let cluster = private(Options::new(Some(flavour))).await?;
    let mut setup = schema(&cluster, "own").await?;
    setup.query_drop("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await?;
    for id in 0..SESSIONS {
        setup.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
    }
    cluster.wait_applied().await?;
    slow_down(&cluster, flavour).await?;
    let eventual = Proxy::start(&cluster, |config| {
        config.routing.consistency = Consistency::Eventual;
        config.routing.max_lag = Duration::from_secs(3600);
    })
    .await?;
    assert!(
        stale_reads(&eventual).await? > 0,
        "the replicas are not late enough for this test to mean anything"
    );
    let session = Proxy::start(&cluster, |config| {
        config.routing.causal_wait = Duration::from_secs(5);
        config.routing.max_lag = Duration::from_secs(3600);
    })
    .await?;
    assert_eq!(stale_reads(&session).await?, 0);
    let counters = &session.running.house.counters;
    let on_replicas = counters.own_write_known.load(Relaxed) + counters.own_write_awaited.load(Relaxed);
    let on_primary = counters.own_write_on_primary.load(Relaxed);
    assert!(on_replicas > on_primary, "{on_replicas} asked of replicas, {on_primary} ended on the primary");
    cluster.stop().await;
    Ok(())
}

/// Makes each replica apply a transaction some time after it was committed.
async fn slow_down(cluster: &Cluster, flavour: Flavour) -> Result<()> {
    for replica in &cluster.replicas {
        let mut conn = replica.connect(ROOT).await?;
        let statements = match flavour {
            Flavour::MySql => [
                "STOP REPLICA SQL_THREAD",
                "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 1",
                "START REPLICA SQL_THREAD",
            ],
            Flavour::MariaDb => ["STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 1", "START SLAVE"],
        };
        for statement in statements {
            conn.query_drop(statement).await.context(statement)?;
        }
    }
    Ok(())
}

/// How many of all sessions' reads after a write did not show it. Sessions run side by side, so that all wait at once.
async fn stale_reads(proxy: &Proxy) -> Result<u32> {
    let mut tasks = tokio::task::JoinSet::new();
    let rounds = if proxy.running.house.routing.consistency == Consistency::Eventual { ROUNDS } else { 4 };
    for id in 0..SESSIONS {
        let opts = proxy.opts(APP).db_name(Some("own"));
        tasks.spawn(async move {
            let mut conn = mysql_async::Conn::new(opts).await?;
            let mut stale = 0;
            for _ in 0..rounds {
                conn.query_drop(format!("UPDATE t SET n = n + 1 WHERE id = {id}")).await?;
                let replica: Option<i64> =
                    conn.query_first(format!("SELECT n FROM t WHERE id = {id}")).await?;
                let primary: Option<i64> = conn
                    .query_first(format!("/* pointsman: primary */ SELECT n FROM t WHERE id = {id}"))
                    .await?;
                stale += u32::from(replica != primary);
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

async fn own_writes_are_read_from_the_primary_where_no_replica_has_them(flavour: Flavour) -> Result<()> {
    let cluster = private(Options::new(Some(flavour))).await?;
    drop(schema(&cluster, "own").await?);
    cluster.wait_applied().await?;
    let proxy = Proxy::start(&cluster, |config| {
        config.routing.causal_wait = Duration::from_millis(20);
        config.routing.max_lag = Duration::from_secs(3600);
    })
    .await?;
    slow_down(&cluster, flavour).await?;
    let mut conn = mysql_async::Conn::new(proxy.opts(APP).db_name(Some("own"))).await?;
    conn.query_drop("CREATE TABLE t (n INT)").await?;
    conn.query_drop("INSERT INTO t VALUES (7)").await?;
    assert_eq!(conn.query_first("SELECT n FROM t").await?, Some(7));
    let because = proxy.seen(&conn).because.context("a reason")?;
    assert_eq!(because.to_string(), "no replica has the session's own write yet");
    cluster.wait_applied().await?;
    // Known by the next probe.
    let on_replica = async {
        loop {
            let server: Option<u32> = conn.query_first("SELECT @@server_id FROM t").await?;
            if server > Some(1) {
                return Ok::<(), anyhow::Error>(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), on_replica).await.context("replicas read again")??;
    cluster.stop().await;
    Ok(())
}

async fn a_read_only_transaction_begins_behind_the_own_write(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    drop(schema(cluster, "own_snapshot").await?);
    cluster.wait_applied().await?;
    let mut conn = mysql_async::Conn::new(proxy.opts(APP).db_name(Some("own_snapshot"))).await?;
    conn.query_drop("CREATE TABLE t (n INT)").await?;
    for number in 1..30 {
        conn.query_drop(format!("INSERT INTO t VALUES ({number})")).await?;
        conn.query_drop("START TRANSACTION READ ONLY").await?;
        assert_eq!(conn.query_first("SELECT COUNT(*) FROM t").await?, Some(number));
        conn.query_drop("COMMIT").await?;
    }
    Ok(())
}
