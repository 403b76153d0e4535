//! The playground's clusters are what they say they are.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, SslOpts};
use pointsman::flavour::{Flavour, Version};
use pointsman::playground::{APP, CONTROL, Cluster, Options, ROOT, Server};

use crate::clusters::{both, private, schema, shared};

both![
    is_of_its_flavour,
    replicates_to_every_replica,
    accounts_log_in,
    speaks_tls,
    application_cannot_write_on_replicas,
    control_account_sees_replication,
    killed_replica_rejoins,
    killed_primary_keeps_commits,
    frozen_replica_answers_again,
    kept_data_is_found_again,
    extra_options_are_given,
    starting_servers_leave_others_their_temporary_tables,
];

async fn is_of_its_flavour(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    for (server, expected_id) in cluster.servers().zip(1_u32..) {
        let mut conn = server.connect(ROOT).await?;
        let (text, id): (String, u32) = conn.query_first("SELECT VERSION(), @@server_id").await?.unwrap();
        assert_eq!(Version::parse(&text).flavour, flavour, "{text}");
        assert_eq!(id, expected_id);
    }
    Ok(())
}

async fn replicates_to_every_replica(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let mut primary = schema(cluster, "replicates").await?;
    primary.query_drop("CREATE TABLE t (id INT PRIMARY KEY)").await?;
    primary.query_drop("INSERT INTO t VALUES (1), (7)").await?;
    cluster.wait_applied().await?;
    assert_eq!(cluster.replicas.len(), 2);
    for replica in &cluster.replicas {
        assert_eq!(numbers(replica, "SELECT id FROM replicates.t ORDER BY id").await?, [1, 7]);
    }
    Ok(())
}

async fn accounts_log_in(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    for server in cluster.servers() {
        for account in [ROOT, APP, CONTROL] {
            let mut conn = server.connect(account).await?;
            let user: Option<String> = conn.query_first("SELECT CURRENT_USER()").await?;
            assert_eq!(user, Some(format!("{}@%", account.user)));
        }
    }
    let wrong = cluster.primary.opts(APP).pass(Some("wrong"));
    assert_eq!(code(Conn::new(wrong).await), Some(1045));
    let expected = match flavour {
        Flavour::MySql => "caching_sha2_password",
        Flavour::MariaDb => "mysql_native_password",
    };
    let mut conn = cluster.primary.connect(ROOT).await?;
    let plugin: Option<String> = conn.query_first("SELECT plugin FROM mysql.user WHERE user = 'app'").await?;
    assert_eq!(plugin.as_deref(), Some(expected));
    Ok(())
}

async fn speaks_tls(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    // MySQL's certificates name no host, which mysql_async 0.37 takes for invalid even where it is told to skip names.
    let nameless = flavour == Flavour::MySql;
    for server in cluster.servers() {
        let authority = SslOpts::default()
            .with_root_certs(vec![cluster.authority().into()])
            .with_disable_built_in_roots(true)
            .with_danger_accept_invalid_certs(nameless);
        let mut conn = Conn::new(server.opts(APP).ssl_opts(authority)).await?;
        let (_, cipher): (String, String) =
            conn.query_first("SHOW STATUS LIKE 'Ssl_cipher'").await?.context("a cipher")?;
        assert!(!cipher.is_empty(), "{} speaks in the clear", server.name);
    }
    Ok(())
}

async fn application_cannot_write_on_replicas(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    for replica in &cluster.replicas {
        let mut conn = replica.connect(APP).await?;
        let written = conn.query_drop("INSERT INTO app.fruit (name) VALUES ('fig')").await;
        assert_eq!(code(written), Some(1290));
    }
    Ok(())
}

async fn control_account_sees_replication(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let show = match flavour {
        Flavour::MySql => "SHOW REPLICA STATUS",
        Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
    };
    for replica in &cluster.replicas {
        let mut conn = replica.connect(CONTROL).await?;
        let rows: Vec<mysql_async::Row> = conn.query(show).await?;
        assert_eq!(rows.len(), 1);
        let port: Option<u16> = match flavour {
            Flavour::MySql => rows[0].get("Source_Port"),
            Flavour::MariaDb => rows[0].get("Master_Port"),
        };
        assert_eq!(port, Some(cluster.primary.port));
    }
    let mut conn = cluster.primary.connect(CONTROL).await?;
    let accounts: Vec<(String, String)> =
        conn.query("SELECT user, authentication_string FROM mysql.user WHERE user = 'app'").await?;
    ensure!(accounts.len() == 1 && !accounts[0].1.is_empty(), "{accounts:?}");
    Ok(())
}

async fn killed_replica_rejoins(flavour: Flavour) -> Result<()> {
    let cluster = private(Options::new(Some(flavour))).await?;
    let [killed, other] = &cluster.replicas[..] else { panic!("two replicas were asked for") };
    killed.kill().await;
    assert_eq!(killed.pid(), None);
    assert!(killed.connect(ROOT).await.is_err());
    let mut primary = cluster.primary.connect(ROOT).await?;
    primary.query_drop("INSERT INTO app.fruit (name) VALUES ('while away')").await?;
    killed.restart().await?;
    cluster.wait_replicating(killed).await?;
    primary.query_drop("INSERT INTO app.fruit (name) VALUES ('when back')").await?;
    cluster.wait_applied().await?;
    for replica in [killed, other] {
        assert_eq!(numbers(replica, NEW_FRUIT).await?, [2], "{}", replica.name);
    }
    cluster.stop().await;
    Ok(())
}

async fn killed_primary_keeps_commits(flavour: Flavour) -> Result<()> {
    let cluster = private(Options { replicas: 1, ..Options::new(Some(flavour)) }).await?;
    let mut primary = cluster.primary.connect(ROOT).await?;
    primary.query_drop("INSERT INTO app.fruit (name) VALUES ('before')").await?;
    cluster.primary.restart().await?;
    assert!(primary.query_drop("SELECT 1").await.is_err(), "the old connection is gone");
    let mut primary = cluster.primary.connect(ROOT).await?;
    primary.query_drop("INSERT INTO app.fruit (name) VALUES ('after')").await?;
    cluster.wait_applied().await?;
    for server in cluster.servers() {
        assert_eq!(numbers(server, NEW_FRUIT).await?, [2], "{}", server.name);
    }
    Ok(())
}

async fn frozen_replica_answers_again(flavour: Flavour) -> Result<()> {
    let cluster = private(Options { replicas: 1, ..Options::new(Some(flavour)) }).await?;
    let replica = &cluster.replicas[0];
    let mut conn = replica.connect(ROOT).await?;
    replica.freeze();
    {
        let answer = conn.query_first::<u32, _>("SELECT 1");
        tokio::pin!(answer);
        // Nothing tells of an answer that does not come but the time.
        ensure!(tokio::time::timeout(Duration::from_millis(200), &mut answer).await.is_err(), "it answered");
        replica.thaw();
        assert_eq!(answer.await?, Some(1));
    }
    cluster.primary.connect(ROOT).await?.query_drop("INSERT INTO app.fruit (name) VALUES ('x')").await?;
    cluster.wait_applied().await?;
    assert_eq!(numbers(replica, NEW_FRUIT).await?, [1]);
    Ok(())
}

async fn kept_data_is_found_again(flavour: Flavour) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("pointsman-kept-{flavour}-{}", std::process::id()));
    let options = Options { replicas: 1, keep: Some(folder.clone()), ..Options::new(Some(flavour)) };
    let cluster = private(options.clone()).await?;
    let second = private(options.clone()).await;
    assert!(second.is_err_and(|error| format!("{error:#}").contains("in use by another playground")));
    cluster.primary.connect(ROOT).await?.query_drop("INSERT INTO app.fruit (name) VALUES ('kept')").await?;
    cluster.stop().await;
    assert!(folder.is_dir());
    // Other ports, most likely; the replica must follow all the same.
    let cluster = private(options.clone()).await?;
    cluster.primary.connect(ROOT).await?.query_drop("INSERT INTO app.fruit (name) VALUES ('more')").await?;
    cluster.wait_applied().await?;
    for server in cluster.servers() {
        assert_eq!(numbers(server, NEW_FRUIT).await?, [2], "{}", server.name);
    }
    cluster.stop().await;
    let other = if flavour == Flavour::MySql { Flavour::MariaDb } else { Flavour::MySql };
    let refused = private(Options { flavour: Some(other), ..options }).await;
    assert!(refused.is_err_and(|error| format!("{error:#}").contains("choose another folder")));
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

async fn extra_options_are_given(flavour: Flavour) -> Result<()> {
    let mut options = Options { replicas: 1, ..Options::new(Some(flavour)) };
    options.server_options.push("--max-connections=77".to_owned());
    options.replica_options.push("--net-read-timeout=11".to_owned());
    let cluster = private(options).await?;
    let settings = "SELECT @@GLOBAL.max_connections UNION ALL SELECT @@GLOBAL.net_read_timeout";
    assert_eq!(numbers(&cluster.primary, settings).await?, [77, 30]);
    assert_eq!(numbers(&cluster.replicas[0], settings).await?, [77, 11]);
    Ok(())
}

/// A MariaDB that starts deletes what it finds of temporary tables in its folder for them. Where others use the
/// same one, they crash.
async fn starting_servers_leave_others_their_temporary_tables(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let mut folders = Vec::new();
    for server in cluster.servers() {
        let mut conn = server.connect(ROOT).await?;
        let (data, own): (String, String) =
            conn.query_first("SELECT @@datadir, @@tmpdir").await?.context("two variables")?;
        assert_eq!(Path::new(&own).parent(), Path::new(&data).parent(), "{own}");
        folders.push(own);
    }
    folders.dedup();
    assert_eq!(folders.len(), 3);
    Ok(())
}

/// Servers must not outlive a test process that is killed: the guard ends them and removes their folder.
#[test]
fn guard_ends_servers_of_a_killed_process() -> Result<()> {
    const ROLE: &str = "POINTSMAN_TEST_GUARDED";
    if std::env::var_os(ROLE).is_some() {
        return crate::clusters::block_on(hold_cluster());
    }
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "playground::guard_ends_servers_of_a_killed_process", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = BufReader::new(owner.stdout.take().unwrap());
    let folder = loop {
        let mut line = String::new();
        ensure!(output.read_line(&mut line)? > 0, "the owner ended early");
        if let Some((_, folder)) = line.trim_end().split_once("cluster in ") {
            break folder.to_owned();
        }
    };
    assert!(Path::new(&folder).join("primary/pid").is_file());
    owner.kill()?;
    owner.wait()?;
    crate::clusters::block_on(async {
        while Path::new(&folder).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    })
}

/// The killed process's part: starts one server of whichever flavour there is, tells where, and waits to be killed.
async fn hold_cluster() -> Result<()> {
    let cluster: Cluster = private(Options { replicas: 0, ..Options::new(None) }).await?;
    writeln!(std::io::stdout(), "\ncluster in {}", cluster.folder.display())?;
    std::future::pending().await
}

const NEW_FRUIT: &str = "SELECT COUNT(*) FROM app.fruit WHERE id > 3";

async fn numbers(server: &Server, query: &str) -> Result<Vec<u64>> {
    Ok(server.connect(ROOT).await?.query(query).await?)
}

/// The server's error number, where it is a server that refused.
fn code<T>(result: Result<T, mysql_async::Error>) -> Option<u16> {
    match result {
        Err(mysql_async::Error::Server(error)) => Some(error.code),
        _ => None,
    }
}
