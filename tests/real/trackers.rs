//! What a client is told of its session's changes: what one server would tell it, as it chose to be told.

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::APP;
use pointsman::wire::{Command, Expect, SessionChange};

use crate::clusters::{both, schema, shared};
use crate::raw::{Raw, error, query};
use crate::through::shared_proxy;

both![clients_are_told_what_they_chose_to_be_told, writes_that_are_not_told_of_are_known_all_the_same];

/// By default, then as the session chose, then as after login once more.
const STATEMENTS: &[&str] = &[
    "SET NAMES latin1",
    "SET sql_mode = ''",
    "SET autocommit = 0",
    "SET autocommit = 1",
    "USE heard",
    "SET session_track_schema = OFF",
    "USE heard",
    "SET session_track_system_variables = 'sql_mode,lc_time_names'",
    "SET NAMES utf8mb4",
    "SET sql_mode = 'ANSI'",
    "SET lc_time_names = 'de_DE', SQL_SAFE_UPDATES = 1",
    "SET @a = 1",
    "SET session_track_state_change = ON",
    "SET @a = 2",
    "CREATE TEMPORARY TABLE passing (n INT)",
    "INSERT INTO heard VALUES (1)",
    "SET session_track_state_change = 'neither'",
    "SET session_track_schema = ON",
    "USE heard",
    "<reset>",
    "SET sql_mode = ''",
    "SET autocommit = 0",
    "USE heard",
    "INSERT INTO heard VALUES (1)",
    "COMMIT",
];

const MYSQL_STATEMENTS: &[&str] = &[
    "SET session_track_gtids = OWN_GTID",
    "INSERT INTO heard VALUES (1)",
    "SET session_track_transaction_info = 'CHARACTERISTICS'",
    "START TRANSACTION READ ONLY",
    "COMMIT",
    "SET session_track_gtids = OFF",
    "INSERT INTO heard VALUES (1)",
];

async fn clients_are_told_what_they_chose_to_be_told(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    schema(cluster, "heard").await?.query_drop("CREATE TABLE heard (n INT)").await?;
    let mut statements = STATEMENTS.to_vec();
    if flavour == Flavour::MySql {
        statements.extend(MYSQL_STATEMENTS);
    }
    let direct = heard(cluster.primary.port, &statements).await?;
    let through = heard(proxy.running.front.port(), &statements).await?;
    for (direct, through) in direct.iter().zip(&through) {
        assert_eq!(direct, through);
    }
    // The comparison compares something.
    assert!(direct.iter().any(|line| line.contains("sql_mode")), "{direct:?}");
    assert!(direct.iter().any(|line| line.contains("State")), "{direct:?}");
    Ok(())
}

/// Each statement with what the client heard after it.
async fn heard(port: u16, statements: &[&str]) -> Result<Vec<String>> {
    let mut client = Raw::connect(port, APP, Some("heard")).await?;
    let mut lines = Vec::new();
    for statement in statements {
        let command = match *statement {
            "<reset>" => vec![Command::RESET_CONNECTION],
            statement => query(statement),
        };
        let packets = client.ask(&command, Expect::Results).await?;
        let last = packets.last().context("no packet")?;
        if last[0] == 0xFF {
            lines.push(format!("{statement}: {}", error(&packets)?.code));
            continue;
        }
        let ok = client.ok(last)?;
        let mut changes: Vec<String> = ok.changes().map(|change| told(&change)).collect();
        // MariaDB names variables in the order of a hash.
        changes.sort();
        lines.push(format!("{statement}: {:#x} {changes:?}", ok.status));
    }
    Ok(lines)
}

fn told(change: &SessionChange<'_>) -> String {
    match change {
        SessionChange::Variable { name, value } => {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        }
        // Each client's own.
        SessionChange::Gtids(_) => "GTIDs".to_owned(),
        SessionChange::Schema(name) => format!("schema {}", String::from_utf8_lossy(name)),
        SessionChange::TransactionCharacteristics(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

async fn writes_that_are_not_told_of_are_known_all_the_same(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut check = schema(cluster, "untold").await?;
    check.query_drop("CREATE TABLE untold (n INT)").await?;
    cluster.wait_applied().await?;
    let mut client = Raw::connect(proxy.running.front.port(), APP, Some("untold")).await?;
    let choose = match flavour {
        Flavour::MySql => "SET session_track_gtids = OFF, session_track_schema = OFF",
        Flavour::MariaDb => "SET session_track_system_variables = '', session_track_schema = OFF",
    };
    for number in 1..=50 {
        client.query(choose).await?;
        client.query("USE mysql").await?;
        client.query(&format!("INSERT INTO untold.untold VALUES ({number})")).await?;
        client.query("USE untold").await?;
        client.ask(&[Command::RESET_CONNECTION], Expect::Results).await?;
        // Nothing ties it to the primary any more, and it is in the schema it chose.
        assert_eq!(client.column("SELECT MAX(n) FROM untold").await?, [number.to_string()]);
    }
    Ok(())
}
