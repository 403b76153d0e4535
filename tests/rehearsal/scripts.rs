//! What is done to the cluster in each scenario, and what must be seen besides what the checkers always look at.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use pointsman::control::failover::journal::{self, Record};
use pointsman::flavour::Flavour;

use super::conduct::{Play, all_serve, errant};
use super::outlook::Shown;
use super::scenario::Scenario;
use super::stage::{NAMES, Node, PRIMARY, SERVERS, Stage};

/// How long an edge stays cut where nothing is to come of it: longer than it takes to hold a primary for dead.
const CUT: Duration = Duration::from_secs(8);
/// Between two looks at the journal that is to be cut off at a record.
const JOURNAL_LOOK: Duration = Duration::from_micros(200);
/// How long anything may take to come about.
const LIMIT: Duration = Duration::from_secs(60);
/// In which a server that may not be written to must be closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn perform<S: Stage>(play: &mut Play<'_, S>, scenario: Scenario) -> Result<()> {
    const REPLICA: Node = Node::Server(1);
    const ONE_WAY: [(Node, Node); 1] = [(Node::Proxy, PRIMARY)];
    const OTHER_WAY: [(Node, Node); 1] = [(PRIMARY, Node::Proxy)];
    match scenario {
        Scenario::PrimaryCrash => primary_crash(play).await,
        Scenario::PrimaryCrashAndRestart => primary_crash_and_restart(play).await,
        Scenario::PrimaryHang => primary_hang(play).await,
        Scenario::PrimaryShortHang => primary_short_hang(play).await,
        Scenario::PrimaryIsolated => primary_isolated(play).await,
        Scenario::ProxyPrimaryCut => cut(play, &[ONE_WAY, OTHER_WAY].concat()).await,
        Scenario::ProxyToPrimaryCut => cut(play, &ONE_WAY).await,
        Scenario::PrimaryToProxyCut => cut(play, &OTHER_WAY).await,
        Scenario::PrimaryReplicasCut => cut(play, &[to_replicas(), from_replicas()].concat()).await,
        Scenario::PrimaryToReplicasCut => cut(play, &to_replicas()).await,
        Scenario::ReplicasToPrimaryCut => cut(play, &from_replicas()).await,
        Scenario::ProxyReplicaCut => cut(play, &[(Node::Proxy, REPLICA), (REPLICA, Node::Proxy)]).await,
        Scenario::ProxyToReplicaCut => cut(play, &[(Node::Proxy, REPLICA)]).await,
        Scenario::ReplicaToProxyCut => cut(play, &[(REPLICA, Node::Proxy)]).await,
        Scenario::ReplicaCrash => replica_crash(play).await,
        Scenario::ReplicaCrashInPromotion => replica_crash_in_promotion(play).await,
        Scenario::ProxyCrash => proxy_crash(play).await,
        Scenario::ProxyCrashAtJournalPoints => proxy_crash_at_journal_points(play).await,
        Scenario::PrimaryReadOnlyByHand => primary_read_only_by_hand(play).await,
        Scenario::ReplicaWritableByHand => replica_writable_by_hand(play).await,
        Scenario::ConnectionsExhausted => connections_exhausted(play).await,
        Scenario::SlowPrimary => slow_primary(play).await,
        Scenario::OldPrimaryReturnsErrant => old_primary_returns_errant(play).await,
        Scenario::OldPrimaryReturnsWritten => old_primary_returns_written(play).await,
        Scenario::TwoFailures => two_failures(play).await,
        Scenario::LongTransaction => long_transaction(play).await,
        Scenario::RelayLogBacklog => relay_log_backlog(play).await,
        Scenario::DivergedReplica => diverged_replica(play).await,
        Scenario::Switchover => switchover(play).await,
    }
}

fn to_replicas() -> Vec<(Node, Node)> {
    SERVERS[1..].iter().map(|replica| (PRIMARY, *replica)).collect()
}

fn from_replicas() -> Vec<(Node, Node)> {
    SERVERS[1..].iter().map(|replica| (*replica, PRIMARY)).collect()
}

async fn primary_crash<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.kill(PRIMARY).await?;
    play.replaced(0).await?;
    play.acknowledged(100).await?;
    play.start(PRIMARY).await?;
    play.returned(0).await?;
    Ok(())
}

async fn primary_crash_and_restart<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.kill(PRIMARY).await?;
    play.start(PRIMARY).await?;
    play.acknowledged(100).await?;
    if play.led().await? == 0 {
        return all_serve(play).await;
    }
    play.returned(0).await?;
    Ok(())
}

async fn primary_hang<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.say("primary: SIGSTOP");
    play.stage.freeze(PRIMARY).await?;
    play.replaced(0).await?;
    play.acknowledged(100).await?;
    play.say("primary: SIGCONT");
    play.stage.thaw(PRIMARY).await?;
    play.returned(0).await?;
    Ok(())
}

async fn primary_short_hang<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.say("primary: SIGSTOP");
    play.stage.freeze(PRIMARY).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    play.say("primary: SIGCONT");
    play.stage.thaw(PRIMARY).await?;
    play.acknowledged(100).await?;
    all_serve(play).await
}

async fn primary_isolated<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.say("primary: isolated");
    play.stage.isolate(PRIMARY).await?;
    play.replaced(0).await?;
    play.acknowledged(100).await?;
    play.stage.heal().await?;
    play.say("healed");
    play.returned(0).await?;
    Ok(())
}

/// Edges are cut for a while; nobody is promoted, and afterwards all goes on.
async fn cut<S: Stage>(play: &mut Play<'_, S>, edges: &[(Node, Node)]) -> Result<()> {
    for (from, to) in edges {
        play.say(format!("cut: {from} to {to}"));
        play.stage.cut(*from, *to).await?;
    }
    play.hold(CUT).await;
    play.stage.heal().await?;
    play.say("healed");
    play.acknowledged(100).await?;
    all_serve(play).await
}

async fn replica_crash<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.kill(Node::Server(1)).await?;
    play.acknowledged(100).await?;
    play.start(Node::Server(1)).await?;
    play.serves(1).await
}

/// With one of two acknowledging replicas gone, nothing proves that the other has all: it waits for whoever has.
async fn replica_crash_in_promotion<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.kill(PRIMARY).await?;
    let chosen = chosen(play).await?;
    play.kill(Node::Server(chosen)).await?;
    play.hold(Duration::from_secs(4)).await;
    play.start(Node::Server(chosen)).await?;
    play.hold(Duration::from_secs(4)).await;
    play.start(PRIMARY).await?;
    play.led().await?;
    play.acknowledged(100).await?;
    all_settle(play).await
}

/// Waits for the journal to name who takes over.
async fn chosen<S: Stage>(play: &mut Play<'_, S>) -> Result<usize> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let chosen = play.records()?.into_iter().find_map(|record| match record {
            Record::Chosen { server, .. } => Some(server),
            _ => None,
        });
        if let Some(name) = chosen {
            play.say(format!("{name} is chosen"));
            return NAMES.iter().position(|known| *known == name).context("a server of ours");
        }
        ensure!(Instant::now() < deadline, "nobody was chosen");
        tokio::time::sleep(JOURNAL_LOOK).await;
    }
}

/// Every server serves, or is left out for what it has and others lack.
async fn all_settle<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    let settled = |shown: &Shown| {
        let mut servers = shown.servers.iter().enumerate();
        servers.all(|(index, server)| server.standing == "serving" || errant(shown, index).is_some())
    };
    play.outlook.until("all servers have found their place", settled).await?;
    Ok(())
}

async fn proxy_crash<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.kill(Node::Proxy).await?;
    play.start(Node::Proxy).await?;
    play.acknowledged(100).await?;
    all_serve(play).await
}

/// One failover for each record that one writes: the proxy is killed when it is on the disk, and started again.
async fn proxy_crash_at_journal_points<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    for point in 1.. {
        let old = play.led().await?;
        let before = journal::read(&play.stage.journal()?)?.len();
        // Nobody may be at a commit: an old primary that has more than the others would end the play.
        let resting = play.clients.rest().await?;
        play.kill(Node::Server(old)).await?;
        drop(resting);
        let records = kill_proxy_at(play, before, point).await?;
        let last = records.last().context("a record")?;
        play.say(format!("proxy: kill -9 after record {}: {}", records.len(), last.told()));
        let is_over = matches!(last, Record::Opened { .. });
        play.start(Node::Proxy).await?;
        play.replaced(old).await?;
        play.acknowledged(20).await?;
        play.start(Node::Server(old)).await?;
        if !play.returned(old).await? {
            play.say("what it has and others lack was never acknowledged; the play ends here");
            return Ok(());
        }
        all_serve(play).await?;
        if is_over {
            return Ok(());
        }
    }
    Ok(())
}

/// Kills the proxy as soon as its journal has so many records more than before; those records.
async fn kill_proxy_at<S: Stage>(play: &mut Play<'_, S>, before: usize, point: usize) -> Result<Vec<Record>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let records = journal::read(&play.stage.journal()?)?;
        let is_over = records[before..].iter().any(|record| matches!(record, Record::Opened { .. }));
        if records.len() >= before + point || is_over {
            play.stage.kill(Node::Proxy).await?;
            return Ok(journal::read(&play.stage.journal()?)?.split_off(before));
        }
        ensure!(Instant::now() < deadline, "the journal does not get to record {point}");
        tokio::time::sleep(JOURNAL_LOOK).await;
    }
}

async fn hand_over_to<S: Stage>(play: &mut Play<'_, S>, server: usize) -> Result<()> {
    play.order(&format!("SWITCHOVER TO {}", NAMES[server])).await?;
    let is_there = |shown: &Shown| {
        shown.primary() == Some(server) && shown.servers.iter().all(|server| server.standing == "serving")
    };
    play.outlook.until("the primary has handed over", is_there).await?;
    Ok(())
}

async fn primary_read_only_by_hand<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    hand_over_to(play, 1).await?;
    play.acknowledged(50).await?;
    let mut root = play.root(1).await?;
    root.query_drop("SET GLOBAL read_only = ON").await?;
    play.say("replica1, the primary: SET GLOBAL read_only = ON");
    let closed = Instant::now();
    is_read_only(&mut root, false, LIMIT).await?;
    play.say(format!("it takes writes again after {:?}", closed.elapsed()));
    play.acknowledged(50).await
}

async fn replica_writable_by_hand<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    hand_over_to(play, 1).await?;
    let mut root = play.root(2).await?;
    root.query_drop("SET GLOBAL read_only = OFF").await?;
    play.say("replica2: SET GLOBAL read_only = OFF");
    closed(play, 2, root).await?;
    all_serve(play).await
}

/// Waits until the server takes no writes; too late is a finding.
async fn closed<S: Stage>(play: &mut Play<'_, S>, server: usize, mut root: Conn) -> Result<()> {
    let from = Instant::now();
    // Its sessions are ended when it is closed, this one too.
    while is_read_only(&mut root, true, LIMIT).await.is_err() {
        ensure!(from.elapsed() < LIMIT, "{} is not closed", NAMES[server]);
        root = play.root(server).await?;
    }
    let took = from.elapsed();
    play.say(format!("{} is closed after {took:?}", NAMES[server]));
    if took > CLOSE_LIMIT {
        play.find("servers left open", format!("{} was open for {took:?}", NAMES[server]));
    }
    Ok(())
}

async fn is_read_only(root: &mut Conn, wanted: bool, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    while root.query_first::<bool, _>("SELECT @@GLOBAL.read_only").await? != Some(wanted) {
        ensure!(Instant::now() < deadline, "read_only does not become {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn connections_exhausted<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    let mut root = play.root(0).await?;
    let before: u64 = root.query_first("SELECT @@GLOBAL.max_connections").await?.context("a number")?;
    root.query_drop("SET GLOBAL max_connections = 10").await?;
    let (user, password) = ("app", "app");
    let mut taken = Vec::new();
    let refused = loop {
        let opts = play.stage.server(0).user(Some(user)).pass(Some(password));
        match Conn::new(opts).await {
            Ok(conn) => taken.push(conn),
            Err(error) => break error,
        }
        ensure!(taken.len() < 100, "connections do not run out");
    };
    ensure!(matches!(&refused, Error::Server(error) if error.code == 1040), "{refused}");
    play.say(format!("nobody gets a connection to the primary any more: {refused}"));
    play.hold(CUT).await;
    drop(taken);
    root.query_drop(format!("SET GLOBAL max_connections = {before}")).await?;
    play.say("there are connections again");
    play.acknowledged(100).await?;
    all_serve(play).await
}

async fn slow_primary<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.say("primary: SIGSTOP for 400 ms and SIGCONT for 200 ms, again and again");
    let from = play.clients.acknowledged();
    for _ in 0..15 {
        play.stage.freeze(PRIMARY).await?;
        tokio::time::sleep(Duration::from_millis(400)).await;
        play.stage.thaw(PRIMARY).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    play.say(format!("that was all; {} writes were acknowledged", play.clients.acknowledged() - from));
    all_serve(play).await
}

/// The words of a flavour for a replica's thread that receives.
fn receiver(flavour: Flavour, verb: &str) -> String {
    let replica = match flavour {
        Flavour::MySql => "REPLICA",
        Flavour::MariaDb => "SLAVE",
    };
    format!("{verb} {replica} IO_THREAD")
}

async fn old_primary_returns_errant<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    let flavour = play.stage.flavour();
    for replica in [1, 2] {
        play.root(replica).await?.query_drop(receiver(flavour, "STOP")).await?;
    }
    play.say("the replicas receive nothing: commits wait");
    // Whoever was at it is stuck within this time.
    tokio::time::sleep(Duration::from_millis(500)).await;
    play.kill(PRIMARY).await?;
    for replica in [1, 2] {
        play.root(replica).await?.query_drop(receiver(flavour, "START")).await?;
    }
    play.replaced(0).await?;
    play.acknowledged(100).await?;
    play.start(PRIMARY).await?;
    if play.returned(0).await? {
        play.find(
            "errant transactions",
            "the old primary returned with commits nobody got, and is a replica",
        );
    }
    Ok(())
}

async fn old_primary_returns_written<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.kill(PRIMARY).await?;
    play.replaced(0).await?;
    play.acknowledged(100).await?;
    play.start(PRIMARY).await?;
    let mut root = play.root(0).await?;
    let written = root.query_drop("INSERT INTO app.fruit (name) VALUES ('past the proxy')").await;
    let is_written = written.is_ok();
    play.say(match written {
        Ok(()) => "the old primary is written to past the proxy".to_owned(),
        Err(error) => format!("the old primary refuses to be written to: {error}"),
    });
    closed(play, 0, root).await?;
    if play.returned(0).await? && is_written {
        play.find("errant transactions", "the old primary was written to, and is a replica");
    }
    Ok(())
}

async fn two_failures<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    play.kill(PRIMARY).await?;
    let second = play.replaced(0).await?;
    play.acknowledged(100).await?;
    play.kill(Node::Server(second)).await?;
    play.replaced(second).await?;
    play.acknowledged(20).await?;
    play.start(PRIMARY).await?;
    play.returned(0).await?;
    play.acknowledged(100).await?;
    play.start(Node::Server(second)).await?;
    play.returned(second).await?;
    Ok(())
}

async fn long_transaction<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    let mut session = Conn::new(play.stage.proxy()).await?;
    session.query_drop("CREATE TABLE long_rows (n BIGINT)").await?;
    session.query_drop("BEGIN").await?;
    for batch in 0..20 {
        let rows: Vec<String> = (0..1000).map(|row| format!("({})", batch * 1000 + row)).collect();
        session.query_drop(format!("INSERT INTO long_rows VALUES {}", rows.join(","))).await?;
    }
    play.say("a transaction has inserted 20 000 rows and is open");
    play.kill(PRIMARY).await?;
    let new = play.replaced(0).await?;
    let answer = session.query_drop("INSERT INTO long_rows VALUES (1)").await;
    match answer {
        Err(Error::Server(error)) if (error.code, &*error.state) == (1213, "40001") => {
            play.say(format!("its session is told {error}"));
        }
        other => play.find("sessions told wrongly", format!("1213 was expected, it was {other:?}")),
    }
    session.query_drop("INSERT INTO long_rows VALUES (2)").await.context("the session goes on")?;
    let rows: Vec<u64> = play.root(new).await?.query("SELECT n FROM app.long_rows").await?;
    if rows != [2] {
        play.find("lost acknowledged writes", format!("{} rows instead of the one after it", rows.len()));
    }
    play.acknowledged(100).await?;
    play.start(PRIMARY).await?;
    play.returned(0).await?;
    Ok(())
}

async fn relay_log_backlog<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    let mut locks = Vec::new();
    for replica in [1, 2] {
        let mut root = play.root(replica).await?;
        root.query_drop("LOCK TABLES app.written READ").await?;
        locks.push(root);
    }
    play.say("replicas: LOCK TABLES written READ; they receive, and apply nothing of it");
    play.acknowledged(300).await?;
    play.kill(PRIMARY).await?;
    play.hold(Duration::from_secs(6)).await;
    if let Some(early) = play.outlook.shown().primary().filter(|primary| *primary != 0) {
        play.find(
            "lost acknowledged writes",
            format!("{} was opened before it had applied all", NAMES[early]),
        );
    }
    for mut lock in locks {
        lock.query_drop("UNLOCK TABLES").await?;
    }
    play.say("replicas: UNLOCK TABLES");
    play.replaced(0).await?;
    play.acknowledged(100).await?;
    play.start(PRIMARY).await?;
    play.returned(0).await?;
    Ok(())
}

/// Neither replica has all that the other has: nobody may be promoted, and the proxy says why.
async fn diverged_replica<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    for replica in [1, 2] {
        let mut root = play.root(replica).await?;
        let statements: &[&str] = match play.stage.flavour() {
            Flavour::MySql => &["SET GLOBAL super_read_only = OFF", STRAY, "SET GLOBAL super_read_only = ON"],
            // In the domain of the cluster it would stop the replica at once.
            Flavour::MariaDb => &["SET SESSION gtid_domain_id = @@server_id", STRAY],
        };
        for statement in statements {
            root.query_drop(*statement).await?;
        }
        play.say(format!("{} is written to past the proxy", NAMES[replica]));
    }
    play.acknowledged(50).await?;
    play.kill(PRIMARY).await?;
    play.hold(CUT).await;
    let shown = play.outlook.shown();
    if let Some(wrong) = shown.primary().filter(|primary| *primary != 0) {
        play.find("false or missing failovers", format!("{} was promoted", NAMES[wrong]));
    }
    play.start(PRIMARY).await?;
    play.led().await?;
    play.acknowledged(100).await?;
    all_serve(play).await
}

const STRAY: &str = "INSERT INTO app.fruit (id, name) VALUES (1000 + @@server_id, 'past the proxy')";

async fn switchover<S: Stage>(play: &mut Play<'_, S>) -> Result<()> {
    for to in [1, 0] {
        hand_over_to(play, to).await?;
        play.acknowledged(100).await?;
    }
    Ok(())
}
