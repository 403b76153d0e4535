//! Capability flags that change the session itself: the same on every connection that serves it.

use anyhow::Result;
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::APP;
use pointsman::wire::{Command, Expect, capability};

use crate::clusters::{both, schema, shared};
use crate::raw::Raw;
use crate::through::shared_proxy;

both![spaces_are_ignored_as_on_one_server, the_collation_of_the_schema_can_be_set];

const MODE: &str = "SELECT @@sql_mode LIKE '%IGNORE_SPACE%'";

/// CLIENT_IGNORE_SPACE is a mode of the session, which a reset may take away.
async fn spaces_are_ignored_as_on_one_server(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let speaks = capability::IGNORE_SPACE | capability::DEPRECATE_EOF | capability::NO_SCHEMA;
    let mut heard = Vec::new();
    for port in [cluster.primary.port, proxy.running.front.port()] {
        let mut client = Raw::speaking(port, APP, Some("app"), speaks).await?;
        let mut answers = Vec::new();
        for step in 0..24 {
            match step {
                // So that connections are reset on their way to the next session.
                4 | 12 => {
                    client.query("SET @tied = NOW()").await?;
                }
                8 => {
                    client.ask(&[Command::RESET_CONNECTION], Expect::Results).await?;
                }
                16 => {
                    drop(client);
                    client = Raw::speaking(port, APP, Some("app"), speaks).await?;
                }
                20 => {
                    client.query("SET SESSION sql_mode = DEFAULT").await?;
                }
                _ => {}
            }
            let hint = if step % 2 == 0 { "/* pointsman: primary */ " } else { "" };
            answers.push((step, client.column(&format!("{hint}{MODE}")).await?));
        }
        heard.push(answers);
    }
    assert_eq!(heard[0], heard[1]);
    Ok(())
}

/// It is the schema's until the session sets it, and is reported like any other variable.
async fn the_collation_of_the_schema_can_be_set(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    schema(cluster, "collated").await?.query_drop("ALTER DATABASE collated CHARACTER SET latin2").await?;
    cluster.wait_applied().await?;
    let mut heard = Vec::new();
    for port in [cluster.primary.port, proxy.running.front.port()] {
        let mut client = Raw::connect(port, APP, Some("collated")).await?;
        let mut answers = Vec::new();
        for said in [
            "SET @@collation_database = 'utf8mb4_bin'",
            "USE collated",
            "SET character_set_database = 'latin5'",
            "SET NAMES latin1",
        ] {
            client.query(said).await?;
            for hint in ["", "", "/* pointsman: primary */ "] {
                let asked =
                    format!("{hint}SELECT CONCAT(@@character_set_database, ' ', @@collation_database)");
                answers.push((said, client.column(&asked).await?));
            }
        }
        heard.push(answers);
    }
    assert_eq!(heard[0], heard[1]);
    Ok(())
}
