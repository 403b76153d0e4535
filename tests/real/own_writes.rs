//! A session reads what it wrote, on replicas that are late.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::config::Consistency;
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Cluster, Options, ROOT};

use crate::brake::{Brake, Pace};
use crate::clusters::{both, private, schema, shared};
use crate::through::{Proxy, shared_proxy};

both![
    own_writes_are_read_on_late_replicas,
    own_writes_are_read_from_the_primary_where_no_replica_has_them,
    a_read_only_transaction_begins_behind_the_own_write,
];

const SESSIONS: u32 = 64;

/// Each session writes and reads what it wrote, again and again. `POINTSMAN_OWN_WRITES=10000` says how often; `eventual`
/// shows that the replicas are late enough for this to mean anything.
async fn own_writes_are_read_on_late_replicas(flavour: Flavour) -> Result<()> {
    let rounds =
        std::env::var("POINTSMAN_OWN_WRITES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60);
    let cluster = private(Options::new(Some(flavour))).await?;
    let mut setup = schema(&cluster, "own").await?;
    setup.query_drop("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await?;
    for id in 0..SESSIONS {
        setup.query_drop(format!("INSERT INTO t VALUES ({id}, 0)")).await?;
    }
    cluster.wait_applied().await?;
    let brake = Brake::on(&cluster, "own.t").await?;
    let pace = Pace::of(&cluster, "own", Duration::from_millis(500)).await?;
    let start = |consistency| {
        Proxy::start(&cluster, move |config| {
            config.routing.consistency = consistency;
            config.routing.causal_wait = Duration::from_millis(50);
            config.routing.max_lag = Duration::from_secs(3600);
            config.cluster.control.interval = Duration::from_millis(100);
        })
    };
    let proxy = start(Consistency::Eventual).await?;
    let eventual = play(&proxy, &pace, rounds.min(100)).await?;
    eventual.print(flavour, Consistency::Eventual);
    assert!(
        eventual.stale > eventual.reads / 20,
        "the replicas are not late enough for this test to mean anything"
    );
    let proxy = start(Consistency::Session).await?;
    let session = play(&proxy, &pace, rounds).await?;
    session.print(flavour, Consistency::Session);
    let counters = &proxy.running.house.counters;
    for (name, value, _) in counters.all().iter().filter(|(name, ..)| name.starts_with("causal")) {
        eprintln!("  {name} {value}");
    }
    assert_eq!(session.stale, 0);
    assert!(session.on_replicas > session.reads / 100, "{} of {}", session.on_replicas, session.reads);
    let on_replicas = counters.causal_known.load(Relaxed) + counters.causal_awaited.load(Relaxed);
    let on_primary = counters.causal_timed_out.load(Relaxed) + counters.causal_at_once.load(Relaxed);
    assert_eq!(on_replicas, session.on_replicas, "each was counted, and by the way it took");
    assert_eq!(on_primary, session.reads - session.on_replicas);
    drop((brake, pace));
    cluster.stop().await;
    Ok(())
}

/// What came of write-then-read.
#[derive(Default)]
struct Played {
    reads: u64,
    /// Reads that did not show their session's last write.
    stale: u64,
    on_replicas: u64,
    /// Reads that showed less of another session's writes than the read before.
    back_in_time: u64,
    took: Duration,
}

impl Played {
    fn print(&self, flavour: Flavour, consistency: Consistency) {
        let share = 100.0 * self.on_replicas as f64 / self.reads as f64;
        eprintln!(
            "{flavour}, {consistency}: {} write-then-reads in {:.1} s, {} stale; {share:.1} % of the reads on replicas; \
             {} showed less of another session than the read before",
            self.reads,
            self.took.as_secs_f64(),
            self.stale,
            self.back_in_time
        );
    }
}

/// Sessions run side by side, so that all wait at once.
async fn play(proxy: &Proxy, pace: &Pace, rounds: u64) -> Result<Played> {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..SESSIONS {
        let opts = proxy.opts(APP).db_name(Some("own"));
        tasks.spawn(play_one(opts, pace.clone(), id, rounds));
    }
    let mut all = Played::default();
    while let Some(one) = tasks.join_next().await {
        let one = one??;
        all.reads += one.reads;
        all.stale += one.stale;
        all.on_replicas += one.on_replicas;
        all.back_in_time += one.back_in_time;
    }
    Ok(Played { took: started.elapsed(), ..all })
}

async fn play_one(opts: mysql_async::OptsBuilder, pace: Pace, id: u32, rounds: u64) -> Result<Played> {
    let mut conn = mysql_async::Conn::new(opts).await?;
    let mut played = Played::default();
    let mut others = 0;
    // Greater than whatever another run has written.
    let before: Option<u64> =
        conn.query_first(format!("/* pointsman: primary */ SELECT n FROM t WHERE id = {id}")).await?;
    let before = before.context("a row")?;
    let neighbour = (id + 1) % SESSIONS;
    let read =
        format!("SELECT @@server_id, n, (SELECT n FROM t WHERE id = {neighbour}) FROM t WHERE id = {id}");
    for round in 1..=rounds {
        let written = before + round;
        pace.kept().await?;
        conn.query_drop(format!("UPDATE t SET n = {written} WHERE id = {id}")).await?;
        let seen: Option<(u32, u64, u64)> = conn.query_first(&read).await?;
        let (server, own, other) = seen.context("a row")?;
        played.reads += 1;
        played.stale += u64::from(own != written);
        played.on_replicas += u64::from(server > 1);
        played.back_in_time += u64::from(other < others);
        others = other;
    }
    Ok(played)
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
