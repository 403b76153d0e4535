//! The primary hands over on an operator's word, under load, and nobody sees an error.

use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::config::FailoverMode;
use pointsman::control::failover::decide::Order;
use pointsman::flavour::Flavour;
use pointsman::topology::{Role, ServerId, Standing};

use crate::clusters::both;
use crate::failover::{replaced, rig};
use crate::writers::{Writers, named};

both![switchover];

async fn switchover(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = rig(flavour, |config| config.failover.mode = FailoverMode::Manual).await?;
    let lead = proxy.running.lead.clone().context("it may promote")?;
    let writers = Writers::paced(&proxy, 16, Duration::from_millis(100)).await?;
    writers.acknowledged(200).await?;
    let order = Order::Switchover { to: ServerId(2) };
    let rehearsed = lead.order(order, true).await.map_err(anyhow::Error::msg)?;
    assert!(rehearsed.contains("5. replica2 takes writes"), "{rehearsed}");
    assert_eq!(proxy.snapshot().primary, Some(ServerId(0)), "a rehearsal changes nothing");
    let said = lead.order(order, false).await.map_err(anyhow::Error::msg)?;
    assert!(said.starts_with("epoch 2: replica2 is the primary"), "{said}");
    assert_eq!(replaced(&proxy, 0).await, "replica2");
    writers.acknowledged(200).await?;
    // And back again.
    proxy
        .published(|snapshot| {
            let old = &snapshot.servers[0];
            old.role == Role::Replica && old.standing == Standing::Serving
        })
        .await;
    let back = lead.order(Order::Switchover { to: ServerId(0) }, false).await.map_err(anyhow::Error::msg)?;
    writers.acknowledged(200).await?;
    let told = writers.stop().await?;
    eprintln!("{flavour}: {said}; {back}; longest gap {:?}", told.longest_gap());
    assert_eq!(told.failed, []);
    // Autocommitted statements finish within the grace: nothing is left in doubt.
    assert_eq!(told.unknown, std::collections::BTreeSet::new());
    told.holds_on(named(&cluster, "primary")).await?;
    let mut client = proxy.connect().await?;
    client.query_drop("INSERT INTO written VALUES (0, @@server_id)").await?;
    Ok(())
}
