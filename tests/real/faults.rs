//! Servers die, freeze, stop and lag; clients see of it what they must and no more.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use pointsman::config::Config;
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, Cluster, Options, ROOT, Server};
use pointsman::serve::{Activity, SessionInfo};
use pointsman::topology::{Exclusion, Snapshot, Standing};
use pointsman::wire::Expect;

use crate::clusters::{both, private, schema, shared};
use crate::load::{Answer, Readers, by_server, eventually, refusal};
use crate::raw::{Raw, query};
use crate::through::{Proxy, shared_proxy};

both![
    killed_replica_costs_no_read,
    frozen_replica_costs_no_read,
    replica_shut_down_in_order_costs_no_read,
    stopped_and_lagging_replicas_take_no_reads,
    reads_go_on_without_a_primary,
    write_waits_for_its_primary,
    waiting_writes_of_those_who_left_are_not_run,
    write_in_flight_is_not_repeated,
    transactions_die_with_their_primary,
    read_only_transaction_dies_with_its_replica,
    pinned_session_ends_with_its_server,
    prepared_statements_end_with_their_server,
    execution_lost_before_it_was_sent_leaves_the_session_whole,
    replica_corrects_the_judges,
];

const CLIENTS: usize = 12;

/// A cluster of the test's own with the proxy before it.
async fn rig(
    flavour: Flavour,
    replicas: usize,
    change: impl FnOnce(&mut Config),
) -> Result<(Cluster, Proxy)> {
    let cluster = private(Options { replicas, ..Options::new(Some(flavour)) }).await?;
    let proxy = Proxy::start(&cluster, change).await?;
    Ok((cluster, proxy))
}

/// As impatient as a machine busy with other tests allows.
fn impatient(config: &mut Config) {
    config.cluster.control.interval = Duration::from_millis(100);
    config.cluster.control.timeout = Duration::from_millis(700);
}

async fn killed_replica_costs_no_read(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 2, |_| {}).await?;
    let readers = Readers::start(&proxy, CLIENTS).await?;
    readers.answered_by(2, 100).await?;
    readers.answered_by(3, 100).await?;
    let killed = Instant::now();
    cluster.replicas[0].kill().await;
    readers.answered_by(3, 200).await?;
    proxy.published(|snapshot| excluded(snapshot, 1)).await;
    let verdict = killed.elapsed();
    cluster.replicas[0].start().await?;
    readers.answered_by(2, 100).await?;
    let answers = readers.stop().await?;
    // On a machine busy with other things, reads take their time without any fault.
    let took = |answers: &mut dyn Iterator<Item = &Answer>| answers.map(|answer| answer.took).max();
    let calm = took(&mut answers.iter().filter(|answer| answer.at < killed)).unwrap_or_default();
    let longest = took(&mut answers.iter()).unwrap_or_default();
    eprintln!(
        "{flavour}: the longest read took {longest:?}, before the fault {calm:?}; verdict after {verdict:?}"
    );
    assert!(longest < Duration::from_secs(1) + 5 * calm, "{longest:?}, before {calm:?}");
    assert!(verdict < Duration::from_secs(2) + 5 * calm, "{verdict:?}");
    Ok(())
}

async fn frozen_replica_costs_no_read(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 2, impatient).await?;
    let readers = Readers::start(&proxy, CLIENTS).await?;
    readers.answered_by(2, 100).await?;
    let frozen = Instant::now();
    cluster.replicas[0].freeze();
    proxy.published(|snapshot| excluded(snapshot, 1)).await;
    let verdict = frozen.elapsed();
    // Whoever asked the frozen one got the answer of the other.
    readers.answered_by(3, 10 * CLIENTS).await?;
    let gone_on = Instant::now();
    cluster.replicas[0].thaw();
    readers.answered_by(2, 100).await?;
    let answers = readers.stop().await?;
    let longest = answers.iter().map(|answer| answer.took).max();
    assert!(verdict < Duration::from_secs(6), "{verdict:?}");
    // A connection attempt that began before the verdict may take its whole time.
    assert!(longest < Some(verdict + Duration::from_secs(4)), "{longest:?}, verdict after {verdict:?}");
    eprintln!("{flavour}: the longest read took {longest:?}; verdict after {verdict:?}");
    let asked = |answer: &Answer| answer.at - answer.took;
    let meanwhile = |answer: &&Answer| asked(answer) > frozen + verdict && answer.at < gone_on;
    assert_eq!(by_server(answers.iter().filter(meanwhile)).get(&2), None);
    Ok(())
}

async fn replica_shut_down_in_order_costs_no_read(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 2, |_| {}).await?;
    let readers = Readers::start(&proxy, CLIENTS).await?;
    readers.answered_by(2, 100).await?;
    // A read that the shutdown breaks off, and not only reads that it finds between two others.
    let mut slow = proxy.connect().await?;
    let slow = tokio::spawn(async move { slow.query_first::<(u32, u32), _>(SLOW).await });
    let at_work = at_work(&cluster, "WITH RECURSIVE n%").await?;
    cluster.replicas[at_work].shutdown().await;
    let (left, gone) = (3 - at_work as u32, 2 + at_work as u32);
    readers.answered_by(left, 200).await?;
    assert_eq!(slow.await??, Some((10_000_000, left)));
    cluster.replicas[at_work].start().await?;
    readers.answered_by(gone, 100).await?;
    readers.stop().await?;
    Ok(())
}

/// Takes a second or more.
const SLOW: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                    SELECT COUNT(*), @@server_id FROM n a, n b, (SELECT 1 FROM n LIMIT 10) c";

/// Waits until one of the replicas works on such a statement; which.
async fn at_work(cluster: &Cluster, like: &str) -> Result<usize> {
    loop {
        for (index, replica) in cluster.replicas.iter().enumerate() {
            if works_on(replica, like).await? {
                return Ok(index);
            }
        }
    }
}

async fn stopped_and_lagging_replicas_take_no_reads(flavour: Flavour) -> Result<()> {
    let limit = Duration::from_secs(2);
    let (cluster, proxy) = rig(flavour, 2, |config| {
        impatient(config);
        config.routing.max_lag = limit;
    })
    .await?;
    let mut client = proxy.connect().await?;
    let mut replica = cluster.replicas[0].connect(ROOT).await?;
    let (stop, start) = match flavour {
        Flavour::MySql => ("STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD"),
        Flavour::MariaDb => ("STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"),
    };
    replica.query_drop(stop).await?;
    let stopped =
        |standing: &Standing| matches!(standing, Standing::Excluded(Exclusion::ReplicationStopped(_)));
    proxy.published(|snapshot| stopped(&snapshot.servers[1].standing)).await;
    assert_eq!(readers_of(&mut client).await?, [3]);
    replica.query_drop(start).await?;
    proxy.published(|snapshot| !excluded(snapshot, 1)).await;
    assert_eq!(readers_of(&mut client).await?, [2, 3]);

    replica.query_drop("FLUSH TABLES WITH READ LOCK").await?;
    client.query_drop("INSERT INTO fruit (name) VALUES ('late')").await?;
    let lags = |standing: &Standing| matches!(standing, Standing::Excluded(Exclusion::Lagging { .. }));
    proxy.published(|snapshot| lags(&snapshot.servers[1].standing)).await;
    assert_eq!(readers_of(&mut client).await?, [3]);
    replica.query_drop("UNLOCK TABLES").await?;
    proxy.published(|snapshot| !excluded(snapshot, 1)).await;
    assert_eq!(readers_of(&mut client).await?, [2, 3]);
    Ok(())
}

/// The servers that answered a number of reads.
async fn readers_of(client: &mut Conn) -> Result<Vec<u32>> {
    let mut servers = Vec::new();
    for _ in 0..20 {
        servers.extend(client.query_first::<u32, _>("SELECT @@server_id").await?);
    }
    servers.sort_unstable();
    servers.dedup();
    Ok(servers)
}

async fn reads_go_on_without_a_primary(flavour: Flavour) -> Result<()> {
    let wait = Duration::from_secs(2);
    let (cluster, proxy) = rig(flavour, 1, |config| config.routing.primary_wait = wait).await?;
    let mut client = proxy.connect().await?;
    let readers = Readers::start(&proxy, 4).await?;
    readers.answered_by(2, 50).await?;
    cluster.primary.kill().await;
    let asked = Instant::now();
    let (code, state, message) = refusal(client.query_drop("INSERT INTO fruit (name) VALUES ('x')").await)?;
    let took = asked.elapsed();
    assert_eq!((code, &*state), (1105, "HY000"), "{message}");
    assert!(message.contains("no primary takes writes now"), "{message}");
    assert!((wait..wait + Duration::from_secs(1)).contains(&took), "{took:?}");
    // The session is as good as before.
    assert_eq!(client.query_first("SELECT @@server_id").await?, Some(2));
    readers.answered_by(2, 50).await?;
    // New clients are let in too, and asked for their password.
    proxy.connect().await?;
    let wrong = Conn::new(proxy.opts(APP).pass(Some("wrong"))).await;
    assert_eq!(refusal(wrong.map(drop))?.0, 1045);
    cluster.primary.start().await?;
    proxy.published(|snapshot| snapshot.primary.is_some()).await;
    client.query_drop("INSERT INTO fruit (name) VALUES ('y')").await?;
    readers.stop().await?;
    Ok(())
}

async fn write_waits_for_its_primary(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 1, |config| {
        impatient(config);
        config.routing.primary_wait = Duration::from_secs(60);
    })
    .await?;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = proxy.connect().await?;
        client.query_drop("INSERT INTO fruit (name) VALUES ('before')").await?;
        clients.push(client);
    }
    cluster.primary.kill().await;
    let waiting: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move { client.query_drop("INSERT INTO fruit (name) VALUES ('waited')").await })
        })
        .collect();
    proxy.published(|snapshot| snapshot.primary.is_none()).await;
    eventually("all wait", || async {
        let sessions = proxy.running.house.registry.all();
        let waits = |info: &std::sync::Arc<_>| activity(info) == Activity::Waiting;
        Ok(sessions.iter().filter(|info| waits(info)).count() == 4)
    })
    .await?;
    cluster.primary.start().await?;
    for wait in waiting {
        wait.await??;
    }
    let mut primary = cluster.primary.connect(ROOT).await?;
    let waited: Option<u32> =
        primary.query_first("SELECT COUNT(*) FROM app.fruit WHERE name = 'waited'").await?;
    assert_eq!(waited, Some(4));
    Ok(())
}

fn activity(info: &SessionInfo) -> Activity {
    info.activity()
}

/// By the time the primary is back they may have been told that it failed, and have tried again.
async fn waiting_writes_of_those_who_left_are_not_run(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 1, |config| {
        impatient(config);
        config.routing.primary_wait = Duration::from_secs(60);
    })
    .await?;
    let mut raw = Vec::new();
    for _ in 0..3 {
        raw.push(Raw::connect(proxy.running.front.port(), APP, Some("app")).await?);
    }
    let [mut leaves, mut is_killed, mut stays] = <[Raw; 3]>::try_from(raw).ok().context("three")?;
    let mut killer = proxy.connect().await?;
    cluster.primary.kill().await;
    for client in [&mut leaves, &mut is_killed, &mut stays] {
        client.send(&query("INSERT INTO fruit (name) VALUES ('waited')")).await?;
    }
    let registry = &proxy.running.house.registry;
    eventually("all wait", || async {
        let sessions = registry.all();
        Ok(sessions.iter().filter(|info| info.activity() == Activity::Waiting).count() == 3)
    })
    .await?;
    let (left, killed) = (leaves.conn.thread_id, is_killed.conn.thread_id);
    drop(leaves);
    eventually("its session is over", || async { Ok(registry.get(left).is_none()) }).await?;
    killer.query_drop(format!("KILL {killed}")).await?;
    assert!(is_killed.is_closed().await);
    cluster.primary.start().await?;
    assert_eq!(stays.reply(Expect::Results).await?[0][0], 0);
    let rows: Option<u32> =
        killer.query_first("SELECT COUNT(*) FROM fruit WHERE name = 'waited' FOR UPDATE").await?;
    assert_eq!(rows, Some(1));
    Ok(())
}

async fn write_in_flight_is_not_repeated(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 1, |config| {
        impatient(config);
        config.routing.primary_wait = Duration::from_secs(60);
    })
    .await?;
    let mut client = proxy.connect().await?;
    client.query_drop("CREATE TABLE once (n INT)").await?;
    let mut other = proxy.connect().await?;
    let writing = tokio::spawn(async move {
        let result = client.query_drop("INSERT INTO once SELECT SLEEP(30)").await;
        (client, result)
    });
    working(&cluster.primary, "INSERT INTO once SELECT SLEEP%").await?;
    cluster.primary.kill().await;
    let (mut client, result) = writing.await?;
    let (code, state, message) = refusal(result)?;
    assert_eq!((code, &*state), (1158, "08S01"), "{message}");
    assert!(message.contains("outcome unknown"), "{message}");
    cluster.primary.start().await?;
    client.query_drop("INSERT INTO once VALUES (7)").await?;
    let rows: Vec<u32> = other.query("SELECT n FROM once FOR UPDATE").await?;
    assert_eq!(rows, [7], "the session goes on, and what was lost was not run again");
    Ok(())
}

async fn transactions_die_with_their_primary(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 1, |config| {
        impatient(config);
        config.routing.primary_wait = Duration::from_secs(60);
    })
    .await?;
    let mut open = proxy.connect().await?;
    open.query_drop("CREATE TABLE rows_of (n INT)").await?;
    open.query_drop("BEGIN").await?;
    open.query_drop("INSERT INTO rows_of VALUES (1)").await?;
    // Off, autocommit leaves a transaction open just as well.
    let mut implicit = proxy.connect().await?;
    implicit.query_drop("SET autocommit = 0").await?;
    implicit.query_drop("INSERT INTO rows_of VALUES (2)").await?;
    let mut committing = proxy.connect().await?;
    committing.query_drop("BEGIN").await?;
    committing.query_drop("INSERT INTO rows_of VALUES (3)").await?;
    // What it says next is preceded by something of the proxy's own.
    let mut asking = proxy.connect().await?;
    asking.query_drop("BEGIN").await?;
    asking.query_drop("SELECT COUNT(*) FROM fruit").await?;
    let mut pinned = proxy.connect().await?;
    pinned.query_drop("CREATE TEMPORARY TABLE mine (n INT)").await?;
    // Ends what is open and begins anew: its loss leaves open what became of the first.
    let mut beginning = proxy.connect().await?;
    beginning.query_drop("BEGIN").await?;
    beginning.query_drop("INSERT INTO rows_of VALUES (4)").await?;
    cluster.primary.freeze();
    let in_flight = |mut client: Conn, statement: &'static str| {
        let id = client.id();
        let task = tokio::spawn(async move { client.query_drop(statement).await });
        (id, task)
    };
    let (commit_id, commit) = in_flight(committing, "COMMIT");
    let (begin_id, begin) = in_flight(beginning, "BEGIN");
    eventually("both are on their way", || async {
        let is_active = |id| {
            let info = proxy.running.house.registry.get(id);
            info.is_some_and(|info| info.activity() == Activity::Active)
        };
        Ok(is_active(commit_id) && is_active(begin_id))
    })
    .await?;
    cluster.primary.kill().await;
    for (name, task) in [("COMMIT", commit), ("BEGIN", begin)] {
        let (code, _, message) = refusal(task.await?)?;
        assert_eq!(code, 1158, "{name}: {message}");
        assert!(message.contains("outcome unknown"), "{name}: {message}");
    }
    for client in [&mut open, &mut implicit] {
        let (code, state, message) = refusal(client.query_drop("INSERT INTO rows_of VALUES (5)").await)?;
        assert_eq!((code, &*state), (1213, "40001"), "{message}");
    }
    let (code, state, message) = refusal(asking.query_drop("SELECT LAST_INSERT_ID()").await)?;
    assert_eq!((code, &*state), (1213, "40001"), "{message}");
    assert_eq!(asking.query_first("SELECT @@server_id").await?, Some(2));
    assert_eq!(refusal(pinned.query_drop("SELECT LAST_INSERT_ID()").await)?.0, 1158);
    assert!(pinned.query_drop("SELECT 1").await.is_err(), "it was told that its state is lost, and closed");
    // The session is usable: reads at once, writes when the primary is back.
    assert_eq!(open.query_first("SELECT @@server_id").await?, Some(2));
    cluster.primary.start().await?;
    open.query_drop("INSERT INTO rows_of VALUES (6)").await?;
    implicit.query_drop("INSERT INTO rows_of VALUES (7)").await?;
    implicit.query_drop("COMMIT").await?;
    let rows: Vec<u32> =
        open.query("SELECT n FROM rows_of WHERE n NOT IN (3, 4) ORDER BY n FOR UPDATE").await?;
    assert_eq!(rows, [6, 7]);
    Ok(())
}

async fn read_only_transaction_dies_with_its_replica(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 1, impatient).await?;
    let mut client = proxy.connect().await?;
    client.query_drop("START TRANSACTION READ ONLY").await?;
    assert_eq!(client.query_first("SELECT @@server_id").await?, Some(2));
    cluster.replicas[0].kill().await;
    let (code, state, message) = refusal(client.query_drop("SELECT COUNT(*) FROM fruit").await)?;
    assert_eq!((code, &*state), (1213, "40001"), "{message}");
    // No replica is left, so the primary reads.
    assert_eq!(client.query_first("SELECT @@server_id").await?, Some(1));
    client.query_drop("INSERT INTO fruit (name) VALUES ('after')").await?;
    Ok(())
}

async fn pinned_session_ends_with_its_server(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 1, impatient).await?;
    let mut client = proxy.connect().await?;
    client.query_drop("CREATE TEMPORARY TABLE mine (n INT)").await?;
    cluster.primary.kill().await;
    let (code, state, message) = refusal(client.query_drop("SELECT * FROM mine").await)?;
    assert_eq!((code, &*state), (1158, "08S01"), "{message}");
    assert!(message.contains("state this session had there is lost"), "{message}");
    assert!(refusal(client.query_drop("SELECT 1").await).is_err(), "the session is over");
    Ok(())
}

async fn prepared_statements_end_with_their_server(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 1, impatient).await?;
    let mut client = proxy.connect().await?;
    let statement = client.prep("SELECT ?").await?;
    let second = client.prep("SELECT ? + 1").await?;
    let third = client.prep("SELECT ? + 2").await?;
    cluster.primary.kill().await;
    // Not answered, so not refused either.
    client.close(statement).await?;
    client.close(second).await?;
    client.close(third).await?;
    let id = client.id();
    // Without anything that lived there the session is as good as new.
    let answer: Option<u32> = client.query_first("SELECT @@server_id").await?;
    assert_eq!(answer, Some(2));
    assert!(proxy.running.house.registry.get(id).is_some());
    Ok(())
}

/// The statement must first be prepared where it will run, and there the server is lost.
async fn execution_lost_before_it_was_sent_leaves_the_session_whole(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, 1, |config| {
        impatient(config);
        config.routing.primary_wait = Duration::from_secs(60);
    })
    .await?;
    let (mut short, mut long) = (proxy.connect().await?, proxy.connect().await?);
    let (mut first, mut second) = (proxy.connect().await?, proxy.connect().await?);
    short.query_drop("CREATE TABLE executed (n LONGBLOB)").await?;
    // Two connections, the statement on none of them: that is on the third.
    let text = "INSERT INTO executed VALUES (?)";
    for client in [&mut first, &mut second] {
        client.query_drop("BEGIN").await?;
        client.query_drop("DO 1").await?;
    }
    let (prepared_short, prepared_long) = (short.prep(text).await?, long.prep(text).await?);
    let mut third = proxy.connect().await?;
    third.query_drop("BEGIN").await?;
    for client in [&mut first, &mut second] {
        client.query_drop("COMMIT").await?;
    }
    let pool = proxy.running.house.pool(proxy.snapshot().primary.expect("a primary"));
    eventually("two are idle", || async { Ok(pool.gauge().idle >= 2) }).await?;
    cluster.primary.freeze();
    let short = tokio::spawn(async move {
        let result = short.exec_drop(prepared_short, (b"short",)).await;
        (short, result)
    });
    let long = tokio::spawn(async move {
        let result = long.exec_drop(prepared_long, (vec![b'l'; 3 << 20],)).await;
        (long, result)
    });
    eventually("both are under way", || async { Ok(pool.gauge().idle == 0) }).await?;
    cluster.primary.kill().await;
    let (mut long, result) = long.await?;
    assert_eq!(refusal(result)?.0, 1158);
    assert_eq!(long.query_first("SELECT @@server_id").await?, Some(2), "its rest is no command");
    cluster.primary.start().await?;
    let (mut short, result) = short.await?;
    result?;
    let rows: Vec<String> = short.query("SELECT n FROM executed FOR UPDATE").await?;
    assert_eq!(rows, ["short"], "what was not sent may be sent elsewhere");
    Ok(())
}

async fn replica_corrects_the_judges(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut setup = schema(cluster, "corrects").await?;
    setup.query_drop("CREATE TABLE t (n INT)").await?;
    setup
        .query_drop(
            "CREATE FUNCTION lies() RETURNS INT READS SQL DATA BEGIN INSERT INTO t VALUES (1); RETURN 5; END",
        )
        .await?;
    cluster.wait_applied().await?;
    let corrected = || proxy.running.house.counters.corrected.load(std::sync::atomic::Ordering::Relaxed);
    let mut client = proxy.connect().await?;
    let mut calls = 0;
    let before = corrected();
    // Not before the catalog has been read again is the function believed to be what it says.
    while corrected() == before {
        ensure!(calls < 2_000, "it never went to a replica");
        let answer: Option<u32> = client.query_first("SELECT corrects.lies() /* once */").await?;
        assert_eq!(answer, Some(5));
        calls += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        let answer: Option<u32> = client.query_first("SELECT corrects.lies() /* again */").await?;
        assert_eq!(answer, Some(5));
        calls += 1;
    }
    assert_eq!(corrected(), before + 1, "once is enough");
    let rows: Option<u32> = setup.query_first("SELECT COUNT(*) FROM t").await?;
    assert_eq!(rows, Some(calls), "each call wrote once");
    Ok(())
}

fn excluded(snapshot: &Snapshot, server: usize) -> bool {
    snapshot.servers[server].standing != Standing::Serving
}

/// Waits until the server works on such a statement.
async fn working(server: &Server, like: &str) -> Result<()> {
    eventually("it is being worked on", || works_on(server, like)).await
}

async fn works_on(server: &Server, like: &str) -> Result<bool> {
    let count = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{like}' AND id <> CONNECTION_ID()"
    );
    let mut conn = server.connect(ROOT).await?;
    let rows: Option<u32> = conn.query_first(&count).await?;
    conn.disconnect().await?;
    Ok(rows > Some(0))
}
