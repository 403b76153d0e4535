//! The primary dies, hangs and comes back: a replica takes over, and nothing that was acknowledged is lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::config::Config;
use pointsman::control::failover::durability::Class;
use pointsman::flavour::Flavour;
use pointsman::playground::{Cluster, Options, ROOT, Server};
use pointsman::topology::{Role, ServerId, Standing};

use crate::clusters::{both, private};
use crate::load::{eventually, refusal};
use crate::through::Proxy;
use crate::writers::{Writers, named};

both![primary_crash, primary_hang, sessions_live_through_a_promotion,];

/// A cluster whose commits wait for a replica, with a proxy that may promote before it.
pub(crate) async fn rig(flavour: Flavour, change: impl FnOnce(&mut Config)) -> Result<(Cluster, Proxy)> {
    let cluster = private(Options { semi_sync: true, ..Options::new(Some(flavour)) }).await?;
    let proxy = Proxy::start(&cluster, |config| {
        // A machine busy with other tests is slow, and not dead.
        config.routing.primary_wait = Duration::from_secs(60);
        change(config);
    })
    .await?;
    proxy.published(|snapshot| snapshot.primary.is_some()).await;
    Ok((cluster, proxy))
}

/// Waits until a server other than that one takes writes; its name.
pub(crate) async fn replaced(proxy: &Proxy, old: u16) -> String {
    proxy.published(|snapshot| snapshot.primary.is_some_and(|primary| primary != ServerId(old))).await;
    let snapshot = proxy.snapshot();
    snapshot.server(snapshot.primary.expect("there is one")).name.to_string()
}

async fn is_lossless(proxy: &Proxy) -> Result<()> {
    let lead = proxy.running.lead.as_ref().context("it may promote")?;
    eventually("the class is lossless", || async {
        Ok(lead.shown().class.is_some_and(|(class, _)| class == Class::Lossless))
    })
    .await
    .with_context(|| format!("{:?}", lead.shown().class))
}

async fn primary_crash(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, |_| {}).await?;
    is_lossless(&proxy).await?;
    let writers = Writers::start(&proxy, 8).await?;
    writers.acknowledged(200).await?;
    let killed = Instant::now();
    cluster.primary.kill().await;
    let new = replaced(&proxy, 0).await;
    let verdict = killed.elapsed();
    writers.acknowledged(200).await?;
    // It comes back with what it had, and is made a replica of the new one.
    cluster.primary.start().await?;
    eventually("the old primary is taken back or found to have more", || async {
        Ok(is_replica(&proxy, 0) || names_errant(&proxy, "primary"))
    })
    .await?;
    writers.acknowledged(200).await?;
    let told = writers.stop().await?;
    eprintln!(
        "{flavour}: {new} took over after {verdict:?}; longest gap {:?}; {} acknowledged, {} unknown, {} failed",
        told.longest_gap(),
        told.acknowledged.len(),
        told.unknown.len(),
        told.failed.len()
    );
    assert_eq!(told.failed, [], "a statement waits for the new primary");
    told.holds_on(named(&cluster, &new)).await?;
    nothing_acknowledged_is_missing(&proxy)?;
    let snapshot = proxy.snapshot();
    assert_eq!(snapshot.epoch.0, 2);
    if is_replica(&proxy, 0) {
        same_rows(&cluster, &new, told.acknowledged.len()).await?;
    }
    Ok(())
}

/// By the proxy's own books.
fn nothing_acknowledged_is_missing(proxy: &Proxy) -> Result<()> {
    let reports = proxy.running.lead.as_ref().context("it may promote")?.shown().reports;
    let report = reports.last().context("a report")?;
    assert_eq!(report.acked_missing.as_deref(), Some(""), "{:?}", report.lines);
    let known = proxy.running.house.acknowledged.all();
    assert!(!known.is_empty(), "the ledger knows what it was told");
    Ok(())
}

fn is_replica(proxy: &Proxy, id: usize) -> bool {
    let server = &proxy.snapshot().servers[id];
    server.role == Role::Replica && server.standing == Standing::Serving
}

fn names_errant(proxy: &Proxy, name: &str) -> bool {
    let events = proxy.running.outlook.events.all();
    events
        .iter()
        .any(|event| event.text.starts_with(&format!("{name} has transactions that the primary lacks")))
}

async fn rows(server: &Server) -> Result<usize> {
    let mut conn = server.connect(ROOT).await?;
    Ok(conn.query_first("SELECT COUNT(*) FROM app.written").await?.unwrap_or(0))
}

/// Every server comes to have the same rows.
async fn same_rows(cluster: &Cluster, primary: &str, at_least: usize) -> Result<()> {
    let wanted = rows(named(cluster, primary)).await?;
    assert!(wanted >= at_least);
    for server in cluster.servers() {
        eventually("all have the same rows", || async { Ok(rows(server).await? == wanted) })
            .await
            .with_context(|| server.name.clone())?;
    }
    Ok(())
}

async fn primary_hang(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, |_| {}).await?;
    is_lossless(&proxy).await?;
    let writers = Writers::start(&proxy, 8).await?;
    writers.acknowledged(200).await?;
    let frozen = Instant::now();
    cluster.primary.freeze();
    let new = replaced(&proxy, 0).await;
    let verdict = frozen.elapsed();
    writers.acknowledged(100).await?;
    cluster.primary.thaw();
    // It is made read-only, and a replica or left out with what it has and the new one lacks.
    let old = &cluster.primary;
    eventually("the old primary takes no writes", || async {
        let mut conn = old.connect(ROOT).await?;
        Ok(conn.query_first::<bool, _>("SELECT @@GLOBAL.read_only").await? == Some(true))
    })
    .await?;
    eventually("the old primary is taken back or found to have more", || async {
        Ok(is_replica(&proxy, 0) || names_errant(&proxy, "primary"))
    })
    .await?;
    writers.acknowledged(200).await?;
    let told = writers.stop().await?;
    eprintln!(
        "{flavour}: {new} took over after {verdict:?}; longest gap {:?}; {} acknowledged, {} unknown; {}",
        told.longest_gap(),
        told.acknowledged.len(),
        told.unknown.len(),
        if is_replica(&proxy, 0) { "the old one is a replica" } else { "the old one is left out" },
    );
    assert_eq!(told.failed, []);
    told.holds_on(named(&cluster, &new)).await?;
    nothing_acknowledged_is_missing(&proxy)
}

/// What each sort of session sees of it: `failover.md` calls this the table of §2.h.
async fn sessions_live_through_a_promotion(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, |_| {}).await?;
    is_lossless(&proxy).await?;
    let mut idle = proxy.connect().await?;
    idle.query_drop("CREATE TABLE rows_of (n INT)").await?;
    let mut open = proxy.connect().await?;
    open.query_drop("BEGIN").await?;
    open.query_drop("INSERT INTO rows_of VALUES (1)").await?;
    let mut committing = proxy.connect().await?;
    committing.query_drop("BEGIN").await?;
    committing.query_drop("INSERT INTO rows_of VALUES (2)").await?;
    cluster.primary.freeze();
    let id = committing.id();
    let commit = tokio::spawn(async move { (committing.query_drop("COMMIT").await, committing) });
    eventually("the commit is on its way", || async {
        let info = proxy.running.house.registry.get(id);
        Ok(info.is_some_and(|info| info.activity() == pointsman::serve::Activity::Active))
    })
    .await?;
    // Sent before anybody knows that the primary is dead: it waits, and runs on the new one, once.
    let mut waits = proxy.connect().await?;
    let waiting = async { waits.query_drop("INSERT INTO rows_of VALUES (3)").await };
    let (told, new) = tokio::join!(waiting, replaced(&proxy, 0));
    // It had either not been sent, and waited, or had been, and nobody knows.
    let was_sent = told.is_err();
    if was_sent {
        let (_, _, message) = refusal(told)?;
        assert!(message.contains("outcome unknown"), "{message}");
    }
    let (code, state, message) = refusal(open.query_drop("INSERT INTO rows_of VALUES (4)").await)?;
    assert_eq!((code, &*state), (1213, "40001"), "{message}");
    let (committed, mut committing) = commit.await?;
    let (code, _, message) = refusal(committed)?;
    assert_eq!(code, 1158, "{message}");
    assert!(message.contains("outcome unknown"), "{message}");
    for session in [&mut idle, &mut open, &mut committing, &mut waits] {
        session.query_drop("INSERT INTO rows_of VALUES (5)").await?;
    }
    let mut past = named(&cluster, &new).connect(ROOT).await?;
    let rows: Vec<u32> = past.query("SELECT n FROM app.rows_of WHERE n <> 2 ORDER BY n").await?;
    let expected: &[u32] = if was_sent { &[5, 5, 5, 5] } else { &[3, 5, 5, 5, 5] };
    assert_eq!(rows, expected);
    cluster.primary.thaw();
    // It finds the COMMIT where it was left. If it carries that out, it has what nobody else has.
    eventually("the old primary is taken back or found to have more", || async {
        Ok(is_replica(&proxy, 0) || names_errant(&proxy, "primary"))
    })
    .await
}
