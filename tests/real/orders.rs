//! Orders about the primary, typed at the admin port of a running proxy and given on the command line.

use std::process::Command;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use pointsman::config::FailoverMode;
use pointsman::flavour::Flavour;
use pointsman::topology::{Role, ServerId, Standing};

use crate::clusters::both;
use crate::failover::{replaced, rig};
use crate::load::{eventually, refusal};
use crate::through::Proxy;

both![
    the_primary_is_changed_from_the_admin_port,
    what_is_held_is_not_promoted_until_it_is_released,
    the_command_line_asks_the_running_proxy,
];

/// People's connection.
async fn people(proxy: &Proxy) -> Result<Conn> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(proxy.running.admin.context("an admin port")?.port())
        .prefer_socket(false)
        .user(Some("admin"))
        .pass(Some("admin"));
    Conn::new(options).await.context("the admin port")
}

async fn is_replica(proxy: &Proxy, id: usize) {
    proxy
        .published(|snapshot| {
            let server = &snapshot.servers[id];
            server.role == Role::Replica && server.standing == Standing::Serving
        })
        .await;
}

async fn the_class_is_lossless(people: &mut Conn) -> Result<()> {
    for _ in 0..600 {
        let class: Option<String> = people.query_first("SELECT class FROM durability").await?;
        if class.as_deref() == Some("lossless") {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    anyhow::bail!("the class does not become lossless")
}

async fn the_primary_is_changed_from_the_admin_port(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, |config| config.failover.mode = FailoverMode::Manual).await?;
    let mut people = people(&proxy).await?;
    the_class_is_lossless(&mut people).await?;
    people.query_drop("SWITCHOVER TO replica1 DRY RUN").await?;
    let said = people.info().into_owned();
    assert!(said.contains("5. replica1 takes writes"), "{said}");
    assert_eq!(proxy.snapshot().primary, Some(ServerId(0)), "a rehearsal changes nothing");
    let (_, _, message) = refusal(people.query_drop("FAILOVER").await)?;
    assert_eq!(message, "the primary lives");
    let (_, _, message) = refusal(people.query_drop("SWITCHOVER TO primary").await)?;
    assert_eq!(message, "primary cannot take over: it is the primary");
    let mut client = proxy.connect().await?;
    client.query_drop("CREATE TABLE orders_of (n INT)").await?;
    client.query_drop("INSERT INTO orders_of VALUES (1)").await?;
    people.query_drop("SWITCHOVER TO replica1").await?;
    let said = people.info().into_owned();
    assert!(said.starts_with("epoch 2: replica1 is the primary"), "{said}");
    client.query_drop("INSERT INTO orders_of VALUES (2)").await?;
    is_replica(&proxy, 0).await;
    let told: (String, String, String, String, String) = people
        .query_first("SELECT kind, old_primary, new_primary, acked_missing, steps FROM failovers")
        .await?
        .context("a row")?;
    let (kind, old, new, missing, steps) = told;
    assert_eq!((&*kind, &*old, &*new, &*missing), ("switchover", "primary", "replica1", ""), "{steps}");
    assert!(steps.contains("replica1: detach done"), "{steps}");
    // An operator gives the word for what automation may not do.
    the_class_is_lossless(&mut people).await?;
    cluster.replicas[0].kill().await;
    eventually("the dead primary may be replaced", || async { Ok(proxy.snapshot().primary.is_none()) })
        .await?;
    loop {
        match people.query_drop("FAILOVER").await {
            Ok(()) => break,
            // It takes some probes until it is held to be dead.
            Err(mysql_async::Error::Server(error)) => assert!(
                error.message.starts_with("the primary") || error.message.contains("do not answer"),
                "{}",
                error.message
            ),
            Err(error) => return Err(error.into()),
        }
    }
    let new = replaced(&proxy, 1).await;
    client.query_drop("INSERT INTO orders_of VALUES (3)").await?;
    let rows: Option<u64> = client.query_first("SELECT COUNT(*) FROM orders_of FOR UPDATE").await?;
    assert_eq!(rows, Some(3), "{new}");
    Ok(())
}

async fn what_is_held_is_not_promoted_until_it_is_released(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, |_| {}).await?;
    let mut people = people(&proxy).await?;
    the_class_is_lossless(&mut people).await?;
    people.query_drop("HOLD FAILOVER FOR 3600").await?;
    let held: Option<String> = people.query_first("SELECT held FROM durability").await?;
    assert!(held.is_some_and(|held| held.starts_with("for 35")), "it is shown");
    cluster.primary.kill().await;
    eventually("it says that failover is held", || async {
        let events = proxy.running.outlook.events.all();
        Ok(events.iter().any(|event| event.text.starts_with("no failover: an operator holds failover")))
    })
    .await?;
    assert_eq!(proxy.snapshot().epoch.0, 1);
    people.query_drop("RELEASE FAILOVER").await?;
    assert_eq!(people.info(), "failover is not held any more");
    replaced(&proxy, 0).await;
    Ok(())
}

async fn the_command_line_asks_the_running_proxy(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, |config| config.failover.mode = FailoverMode::Manual).await?;
    the_class_is_lossless(&mut people(&proxy).await?).await?;
    let file = cluster.folder.join("asks.toml");
    let servers: Vec<String> = cluster.servers().map(|server| format!("{:?}", server.address())).collect();
    let text = format!(
        "[cluster]\nservers = [{}]\n[cluster.control]\nuser = \"c\"\npassword = \"c\"\n[admin]\naddress = \"{}\"\n\
         users = [{{ name = \"admin\", password = \"admin\" }}]\n",
        servers.join(", "),
        proxy.running.admin.context("an admin port")?,
    );
    std::fs::write(&file, text)?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        let (order, rest) = arguments.split_first().expect("an order");
        command.arg(order).arg("--config").arg(&file).args(rest);
        tokio::task::spawn_blocking(move || command.output())
    };
    let output = run(&["switchover", "--to", "replica2", "--dry-run"]).await??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("5. replica2 takes writes"), "{output:?}");
    let output = run(&["failover", "--dry-run"]).await??;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "pointsman: the primary lives\n");
    let output = run(&["switchover", "--to", "replica2"]).await??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("epoch 2: replica2 is the primary"), "{output:?}");
    // Whoever is best where none is named.
    is_replica(&proxy, 0).await;
    is_replica(&proxy, 1).await;
    let output = run(&["switchover"]).await??;
    assert!(output.status.success(), "{output:?}");
    assert_ne!(replaced(&proxy, 2).await, "replica2");
    Ok(())
}
