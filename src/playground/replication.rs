//! Wires replicas to their primary by GTID, and waits for them.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::accounts::REPLICATION;
use super::{Error, ROOT, Server};
use crate::flavour::Flavour;

/// How long a replica may take to connect to its primary, or to apply what the primary has.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Points the replica at the primary and waits until both of its threads run.
pub(super) async fn attach(replica: &Server, primary: &Server, flavour: Flavour) -> Result<(), Error> {
    let mut conn = replica.connect(ROOT).await?;
    for statement in statements(primary, flavour) {
        conn.query_drop(statement).await.map_err(replica.sql())?;
    }
    running(replica, &mut conn, flavour).await?;
    conn.disconnect().await.map_err(replica.sql())
}

/// Waits until both replication threads of the server run.
pub(super) async fn wait_running(replica: &Server, flavour: Flavour) -> Result<(), Error> {
    let mut conn = replica.connect(ROOT).await?;
    running(replica, &mut conn, flavour).await
}

/// Waits until the replica has applied all that the primary has committed at this moment.
pub(super) async fn wait_applied(replica: &Server, primary: &Server, flavour: Flavour) -> Result<(), Error> {
    let (position, wait) = match flavour {
        Flavour::MySql => ("SELECT @@GLOBAL.gtid_executed", "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)"),
        Flavour::MariaDb => ("SELECT @@GLOBAL.gtid_binlog_pos", "SELECT MASTER_GTID_WAIT(?, ?)"),
    };
    let mut conn = primary.connect(ROOT).await?;
    let position: Option<String> = conn.query_first(position).await.map_err(primary.sql())?;
    let mut conn = replica.connect(ROOT).await?;
    let position = position.unwrap_or_default();
    let answer: Option<Option<i64>> =
        conn.exec_first(wait, (&position, LIMIT.as_secs())).await.map_err(replica.sql())?;
    match answer.flatten() {
        Some(0) => Ok(()),
        other => Err(Error::Replication {
            name: replica.name.clone(),
            why: format!("waiting for {position} gave {other:?}"),
        }),
    }
}

fn statements(primary: &Server, flavour: Flavour) -> [String; 3] {
    let (user, password) = (REPLICATION.user, REPLICATION.password);
    let (host, port) = (primary.host(), primary.public_port());
    match flavour {
        Flavour::MySql => [
            "STOP REPLICA".to_owned(),
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='{host}', SOURCE_PORT={port}, SOURCE_USER='{user}', \
                 SOURCE_PASSWORD='{password}', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, \
                 SOURCE_RETRY_COUNT=86400, SOURCE_HEARTBEAT_PERIOD=1, GET_SOURCE_PUBLIC_KEY=1"
            ),
            "START REPLICA".to_owned(),
        ],
        Flavour::MariaDb => [
            "STOP SLAVE".to_owned(),
            format!(
                "CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT={port}, MASTER_USER='{user}', \
                 MASTER_PASSWORD='{password}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, \
                 MASTER_HEARTBEAT_PERIOD=1"
            ),
            "START SLAVE".to_owned(),
        ],
    }
}

/// What servers are started with that may have to wait for one another. The side that waits is switched on later.
pub(super) fn semi_sync_options(flavour: Flavour, acknowledges: bool) -> Vec<String> {
    let options: &[&str] = match flavour {
        Flavour::MySql => &[
            "--plugin-load-add=semisync_source.so",
            "--plugin-load-add=semisync_replica.so",
            "--loose-rpl-semi-sync-source-timeout=86400000",
            // Else what was received and acknowledged is fetched anew after a restart, from a primary that may be
            // gone by then.
            "--relay-log-recovery=OFF",
        ],
        Flavour::MariaDb => {
            &["--rpl-semi-sync-master-timeout=86400000", "--rpl-semi-sync-master-wait-point=AFTER_SYNC"]
        }
    };
    let acknowledge = match flavour {
        Flavour::MySql => "--loose-rpl-semi-sync-replica-enabled=ON",
        Flavour::MariaDb => "--rpl-semi-sync-slave-enabled=ON",
    };
    let durable = ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];
    let acknowledge = acknowledges.then_some(acknowledge);
    options.iter().copied().chain(durable).chain(acknowledge).map(str::to_owned).collect()
}

/// Lets commits wait until a replica has them.
pub(super) async fn wait_for_replicas(primary: &Server, flavour: Flavour) -> Result<(), Error> {
    let mut conn = primary.connect(ROOT).await?;
    let enable = match flavour {
        Flavour::MySql => "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        Flavour::MariaDb => "SET GLOBAL rpl_semi_sync_master_enabled = ON",
    };
    conn.query_drop(enable).await.map_err(primary.sql())
}

async fn running(replica: &Server, conn: &mut Conn, flavour: Flavour) -> Result<(), Error> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let state = state(conn, flavour).await.map_err(replica.sql())?;
        if state.runs {
            return Ok(());
        }
        // The receiver retries a primary that is not up yet; the applier does not retry anything.
        if !state.applier_error.is_empty() || Instant::now() > deadline {
            let why = format!("{} {}", state.applier_error, state.receiver_error);
            return Err(Error::Replication { name: replica.name.clone(), why: why.trim().to_owned() });
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct State {
    runs: bool,
    receiver_error: String,
    applier_error: String,
}

async fn state(conn: &mut Conn, flavour: Flavour) -> mysql_async::Result<State> {
    let (show, receiver, applier) = match flavour {
        Flavour::MySql => ("SHOW REPLICA STATUS", "Replica_IO_Running", "Replica_SQL_Running"),
        Flavour::MariaDb => ("SHOW SLAVE STATUS", "Slave_IO_Running", "Slave_SQL_Running"),
    };
    let row: Option<Row> = conn.query_first(show).await?;
    let text = |column: &str| match row.as_ref().and_then(|row| row.get_opt::<Value, _>(column)) {
        Some(Ok(Value::Bytes(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    };
    Ok(State {
        runs: text(receiver) == "Yes" && text(applier) == "Yes",
        receiver_error: text("Last_IO_Error"),
        applier_error: text("Last_SQL_Error"),
    })
}
