//! SHOW PROCESSLIST through the proxy: every session by the number that KILL takes.

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use pointsman::flavour::Flavour;

use crate::clusters::{both, shared};
use crate::through::Proxy;

both![process_list_is_in_the_proxy_s_numbers];

/// Number, command and statement of every row.
async fn list(conn: &mut Conn, prepared: bool) -> Result<Vec<(u64, String, Option<String>)>> {
    let rows: Vec<Row> = if prepared {
        conn.exec("SHOW PROCESSLIST", ()).await?
    } else {
        conn.query("SHOW FULL PROCESSLIST").await?
    };
    let read = |row: &Row| Some((row.get("Id")?, row.get("Command")?, row.get("Info")?));
    rows.iter().map(|row| read(row).context("a row of a process list")).collect()
}

async fn process_list_is_in_the_proxy_s_numbers(flavour: Flavour) -> Result<()> {
    let cluster = shared(flavour).await?;
    let proxy = Proxy::start(cluster, |_| {}).await?;
    let (mut asker, mut idle, mut busy) =
        (proxy.connect().await?, proxy.connect().await?, proxy.connect().await?);
    // The one has been to a server and holds nothing; the other holds a connection.
    idle.query_drop("SELECT 1").await?;
    busy.query_drop("CREATE TEMPORARY TABLE listed (a INT)").await?;
    let (own, resting, holding) = (u64::from(asker.id()), u64::from(idle.id()), u64::from(busy.id()));
    for prepared in [false, true] {
        let rows = list(&mut asker, prepared).await?;
        for id in [own, resting, holding] {
            ensure!(
                rows.iter().filter(|row| row.0 == id).count() == 1,
                "{id} once, prepared {prepared}: {rows:?}"
            );
        }
        let info = rows.iter().find(|row| row.0 == own).and_then(|row| row.2.clone());
        let wanted = if prepared { "SHOW PROCESSLIST" } else { "SHOW FULL PROCESSLIST" };
        ensure!(info.as_deref() == Some(wanted), "the asker's own statement: {rows:?}");
        ensure!(rows.iter().any(|row| row.0 == resting && row.1 == "Sleep"), "{rows:?}");
    }
    // What follows on the connection is in step.
    let id: Option<u64> = asker.query_first("SELECT CONNECTION_ID()").await?;
    ensure!(id == Some(own), "{id:?}");
    // And the number is the one that KILL takes.
    asker.query_drop(format!("KILL {holding}")).await?;
    ensure!(busy.query_drop("DO 1").await.is_err(), "the session has been killed");
    // Its connection ends a moment later.
    while list(&mut asker, false).await?.iter().any(|row| row.0 == holding) {}
    Ok(())
}
