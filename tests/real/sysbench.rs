//! sysbench runs through the proxy without an error, writes nothing on a replica, and reads from all alike.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::{Account, Cluster, Options, ROOT, Server};
use tokio::process::Command;

use crate::clusters::{both, private, schema};
use crate::through::Proxy;

both![sysbench_runs_and_is_split];

const ACCOUNT: Account = Account { user: "sysbench", password: "sysbench" };

async fn sysbench_runs_and_is_split(flavour: Flavour) -> Result<()> {
    // `POINTSMAN_SYSBENCH_SECONDS=60` for a long run by hand.
    let seconds = std::env::var("POINTSMAN_SYSBENCH_SECONDS").unwrap_or_else(|_| "3".to_owned());
    // Its own, because the servers' counters tell of everybody's statements.
    let cluster = &private(Options::new(Some(flavour))).await?;
    let mut root = schema(cluster, "sysbench").await?;
    root.query_drop(format!("CREATE USER sysbench@'%' IDENTIFIED BY '{}'", ACCOUNT.password)).await?;
    root.query_drop("GRANT ALL ON sysbench.* TO sysbench@'%'").await?;
    cluster.wait_applied().await?;
    let proxy = Proxy::start(cluster, |_| {}).await?;
    sysbench(&proxy, &["oltp_read_write", "prepare"], "auto", &seconds).await?;
    cluster.wait_applied().await?;
    for mode in ["auto", "disable"] {
        let before = counters(cluster).await?;
        sysbench(&proxy, &["oltp_read_write", "run"], mode, &seconds).await?;
        sysbench(&proxy, &["oltp_read_only", "run"], mode, &seconds).await?;
        cluster.wait_applied().await?;
        let between = counters(cluster).await?;
        sysbench(&proxy, &["oltp_read_only", "--skip_trx=on", "run"], mode, &seconds).await?;
        let after = counters(cluster).await?;
        // Servers count what replication applies as well, so a replica that was sent writes counts more of
        // them than its primary.
        for written in ["Com_insert", "Com_update", "Com_delete"] {
            let grown = |server: usize| between[server][written] - before[server][written];
            assert!(grown(0) > 0, "{mode}: {written} on the primary");
            assert!(grown(1).max(grown(2)) <= grown(0), "{mode}: {written} {:?}", [0, 1, 2].map(grown));
        }
        // They are read-only, too: a write that came to one would have been refused, and an error for sysbench
        // or corrected.
        assert_eq!(proxy.running.house.counters.corrected.load(Relaxed), 0);
        let reads: Vec<u64> =
            (0..=2).map(|server| after[server]["Com_select"] - between[server]["Com_select"]).collect();
        eprintln!("{flavour} {mode}: autocommit reads by server {reads:?}");
        ensure!(reads[1].min(reads[2]) > 100, "{reads:?}");
        assert!(reads[1].abs_diff(reads[2]) * 10 < reads[1].max(reads[2]), "{mode}: {reads:?}");
        assert!(reads[0] * 3 < reads[1], "{mode}: {reads:?}");
    }
    Ok(())
}

async fn sysbench(proxy: &Proxy, command: &[&str], mode: &str, seconds: &str) -> Result<()> {
    let output = Command::new("sysbench")
        .arg(command[0])
        .args(["--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-db=sysbench", "--tables=2"])
        .args(["--table-size=10000", "--threads=4", "--report-interval=0", "--mysql-ignore-errors=1213,1020"])
        .arg(format!("--mysql-port={}", proxy.running.front.port()))
        .arg(format!("--mysql-user={}", ACCOUNT.user))
        .arg(format!("--mysql-password={}", ACCOUNT.password))
        .arg(format!("--db-ps-mode={mode}"))
        .arg(format!("--time={seconds}"))
        .args(&command[1..])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("sysbench is needed here: apt-get install sysbench")?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{command:?} {mode}\n{said}");
    ensure!(output.status.success() && !said.contains("FATAL") && errors.is_empty(), "{said}\n{errors}");
    if command.contains(&"run") {
        ensure!(said.contains("reconnects:                          0 "), "{said}");
        ensure!(
            command[0] != "oltp_read_only" || said.contains("ignored errors:                      0 "),
            "{said}"
        );
    }
    Ok(())
}

/// What each server was asked to do, the primary first.
async fn counters(cluster: &Cluster) -> Result<Vec<BTreeMap<String, u64>>> {
    let mut all = Vec::new();
    for server in cluster.servers() {
        all.push(counters_of(server).await?);
    }
    Ok(all)
}

async fn counters_of(server: &Server) -> Result<BTreeMap<String, u64>> {
    let mut conn = server.connect(ROOT).await?;
    let rows: Vec<(String, u64)> = conn.query("SHOW GLOBAL STATUS LIKE 'Com\\_%'").await?;
    Ok(rows.into_iter().collect())
}
