//! The admin port of a proxy before real servers: what it tells is true, and its orders are carried out.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use pointsman::config::{Secret, User};
use pointsman::flavour::Flavour;
use pointsman::playground::ROOT;
use pointsman::topology::{Exclusion, Standing};

use crate::clusters::{both, shared};
use crate::through::Proxy;

both![
    routes_are_told_as_they_were_and_as_they_would_be,
    a_drained_replica_gets_no_reads_until_it_is_undrained,
    kill_ends_a_statement_that_runs
];

/// A proxy of the test's own, so that nobody else's statements are in its books, and people's connection to it.
async fn open(flavour: Flavour) -> Result<(Proxy, Conn)> {
    let proxy = Proxy::start(shared(flavour).await?, |config| {
        config.admin.users = vec![User { name: "people".to_owned(), password: Secret::new("secret") }];
    })
    .await?;
    let address = proxy.running.admin.context("an admin port")?;
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(address.port())
        .prefer_socket(false)
        .user(Some("people"))
        .pass(Some("secret"));
    Ok((proxy, Conn::new(options).await.context("the admin port")?))
}

async fn routes_are_told_as_they_were_and_as_they_would_be(flavour: Flavour) -> Result<()> {
    let (proxy, mut people) = open(flavour).await?;
    let mut client = proxy.connect().await?;
    for _ in 0..4 {
        client.query_drop("SELECT 1 + 1").await?;
    }
    client.query_drop("SELECT 1 + 1 FOR UPDATE").await?;
    let told: Vec<(u64, u64, u64, String, String)> = people
        .query("SELECT count, on_primary, on_replicas, because, digest FROM routes WHERE digest LIKE 'select ? + ?%'")
        .await?;
    let row = |count, primary, replicas, because: &str, digest: &str| {
        (count, primary, replicas, because.to_owned(), digest.to_owned())
    };
    let told: BTreeSet<_> = told.into_iter().collect();
    let expected = [
        row(4, 0, 4, "read-only", "select ? + ?"),
        row(1, 1, 0, "takes row locks", "select ? + ? for update"),
    ];
    assert_eq!(told, BTreeSet::from(expected));
    let (reads, busiest): (u64, u64) =
        people.query_first("SELECT sum(reads), max(reads) FROM servers").await?.context("a row")?;
    assert_eq!((reads, busiest), (4, 2), "in turn over two replicas");
    for (statement, target) in
        [("SELECT 1", "replica"), ("DELETE FROM fruit", "primary"), ("KILL 5", "proxy")]
    {
        let row: Row =
            people.query_first(format!("EXPLAIN ROUTE FOR '{statement}'")).await?.context("a row")?;
        assert_eq!(row.get::<String, _>("target").as_deref(), Some(target), "{statement}");
    }
    people.query_drop("RESET ROUTES").await?;
    client.query_drop("SELECT 1 + 1").await?;
    let counted: Option<u64> = people.query_first("SELECT sum(count) FROM routes").await?;
    assert_eq!(counted, Some(1), "the entry that the session remembers is still the one that is shown");
    Ok(())
}

async fn a_drained_replica_gets_no_reads_until_it_is_undrained(flavour: Flavour) -> Result<()> {
    let (proxy, mut people) = open(flavour).await?;
    let mut client = proxy.connect().await?;
    let mut ids = async |count: usize| -> Result<BTreeSet<u32>> {
        let mut ids = BTreeSet::new();
        for _ in 0..count {
            ids.insert(client.query_first("SELECT @@server_id").await?.context("an id")?);
        }
        Ok(ids)
    };
    assert_eq!(ids(4).await?.len(), 2);
    people.query_drop("DRAIN replica1").await?;
    let is = |standing: Standing| {
        move |snapshot: &pointsman::topology::Snapshot| {
            snapshot.servers.iter().any(|server| &*server.name == "replica1" && server.standing == standing)
        }
    };
    proxy.published(is(Standing::Excluded(Exclusion::Draining))).await;
    assert_eq!(ids(6).await?.len(), 1);
    let shown: Option<String> =
        people.query_first("SELECT because FROM servers WHERE name = 'replica1'").await?;
    assert_eq!(shown.as_deref(), Some("draining"));
    people.query_drop("UNDRAIN replica1").await?;
    proxy.published(is(Standing::Serving)).await;
    assert_eq!(ids(6).await?.len(), 2);
    let event: Option<String> = people
        .query_first("SELECT event FROM events WHERE kind = 'server_serving' ORDER BY at DESC LIMIT 1")
        .await?;
    assert_eq!(event.as_deref(), Some("replica1 (replica) serves again, was draining"));
    Ok(())
}

async fn kill_ends_a_statement_that_runs(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let (proxy, mut people) = open(flavour).await?;
    let mut client = proxy.connect().await?;
    let id = client.id();
    // FOR UPDATE keeps it on the primary, where one processlist tells of it.
    let running =
        tokio::spawn(async move { client.query_drop("SELECT SLEEP(611) FROM fruit FOR UPDATE").await });
    let thread: u64 = loop {
        let shown = people
            .query_first(format!(
                "SELECT backend_thread FROM sessions WHERE id = {id} AND activity = 'active'"
            ))
            .await?;
        if let Some(thread) = shown {
            break thread;
        }
    };
    people.query_drop(format!("KILL {id}")).await?;
    assert_eq!(people.info(), format!("session {id} is told to end"));
    running.await?.expect_err("the statement was killed");
    let mut root = cluster.primary.connect(ROOT).await?;
    loop {
        // The server marks the thread and ends it a moment later.
        let alive: Option<u64> = root
            .query_first(format!("SELECT id FROM information_schema.processlist WHERE id = {thread}"))
            .await?;
        if alive.is_none() {
            break;
        }
    }
    let left: Option<u64> =
        people.query_first(format!("SELECT count(*) FROM sessions WHERE id = {id}")).await?;
    ensure!(left == Some(0), "the session is gone");
    Ok(())
}
