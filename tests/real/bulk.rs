//! MariaDB's additions to prepared statements: many rows in one command, and execution right behind preparation.

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::playground::APP;
use pointsman::wire::{Command, Expect, capability};

use crate::clusters::{both, schema, shared};
use crate::raw::{Raw, error, first_column, wired};
use crate::through::shared_proxy;

both![rows_go_in_bulk, execution_may_follow_preparation_at_once, flags_are_those_of_the_server];

const PROFILE: u32 = capability::DEPRECATE_EOF
    | capability::MULTI_RESULTS
    | capability::MARIADB_BULK
    | capability::MARIADB_EXTENDED_METADATA;

fn prepare(text: &str) -> Vec<u8> {
    [&[Command::STMT_PREPARE], text.as_bytes()].concat()
}

/// Two columns, INT and text; a row is a number and a text or NULL.
fn bulk(id: [u8; 4], with_types: bool, rows: &[(i32, Option<&str>)]) -> Vec<u8> {
    let mut command = vec![0xFA];
    command.extend_from_slice(&id);
    command.extend_from_slice(&[if with_types { 0x80 } else { 0 }, 0]);
    if with_types {
        command.extend_from_slice(&[3, 0, 0xFD, 0]);
    }
    for (number, text) in rows {
        command.push(0);
        command.extend_from_slice(&number.to_le_bytes());
        match text {
            None => command.push(1),
            Some(text) => {
                command.extend_from_slice(&[0, text.len() as u8]);
                command.extend_from_slice(text.as_bytes());
            }
        }
    }
    command
}

async fn rows_go_in_bulk(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut check = schema(cluster, "bulky").await?;
    check.query_drop("CREATE TABLE t (n INT, x VARCHAR(100))").await?;
    cluster.wait_applied().await?;
    let mut client = Raw::speaking(proxy.running.front.port(), APP, Some("bulky"), PROFILE).await?;
    let prepared = client.ask(&prepare("INSERT INTO t VALUES (?, ?)"), Expect::Prepared).await?;
    let id: [u8; 4] = prepared[0][1..5].try_into()?;
    let rows = [(1, Some("one")), (2, None), (3, Some("three"))];
    let reply = client.ask(&bulk(id, true, &rows), Expect::Results).await?;
    if flavour == Flavour::MySql {
        assert_eq!(error(&reply)?.code, 1047);
        return Ok(());
    }
    assert_eq!(client.ok(&reply[0])?.affected_rows, 3);
    // The types were said once. This may run on a connection that has not been told them.
    for way in ["", "BEGIN"] {
        let mut other = Raw::speaking(proxy.running.front.port(), APP, Some("bulky"), PROFILE).await?;
        if !way.is_empty() {
            other.query(way).await?;
            other.query("INSERT INTO t VALUES (7, 'held')").await?;
        }
        let reply = client.ask(&bulk(id, false, &rows), Expect::Results).await?;
        assert_eq!(client.ok(&reply[0])?.affected_rows, 3);
    }
    // More than is held: streamed.
    let text = "y".repeat(200);
    let many: Vec<(i32, Option<&str>)> = (0..20_000).map(|number| (number, Some(&text[..90]))).collect();
    let reply = client.ask(&bulk(id, true, &many), Expect::Results).await?;
    assert_eq!(client.ok(&reply[0])?.affected_rows, 20_000);
    let told = client.column("SELECT CONCAT(COUNT(*), ' ', COUNT(x)) FROM t").await?;
    assert_eq!(told, ["20009 20006"], "and the session reads its own rows");
    // An error in the midst, and a number that nobody has.
    let long = [(1, Some("ok")), (2, Some(&text[..150]))];
    assert_eq!(error(&client.ask(&bulk(id, true, &long), Expect::Results).await?)?.code, 1406);
    let unknown = error(&client.ask(&bulk([9, 9, 9, 9], true, &rows), Expect::Results).await?)?;
    assert_eq!(unknown.code, 1243);
    Ok(())
}

async fn execution_may_follow_preparation_at_once(flavour: Flavour) -> Result<()> {
    if flavour == Flavour::MySql {
        return Ok(());
    }
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let mut direct = Raw::speaking(cluster.primary.port, APP, Some("app"), PROFILE).await?;
    let mut through = Raw::speaking(proxy.running.front.port(), APP, Some("app"), PROFILE).await?;
    let execute = [&[0x17][..], &[0xFF; 4], &[0, 1, 0, 0, 0]].concat();
    for text in
        ["SELECT 5", "SELECT * FROM nowhere", "SELEC", "SELECT name FROM fruit ORDER BY name LIMIT 1", "DO 1"]
    {
        let mut answers = Vec::new();
        for client in [&mut direct, &mut through] {
            client.send_bytes(&wired(&[prepare(text), execute.clone()])).await?;
            let prepared = client.reply(Expect::Prepared).await?;
            let executed = client.reply(Expect::Results).await?;
            let outcome = match error(&executed) {
                Ok(error) => error.to_string(),
                Err(_) => format!("{} packets, first {:?}", executed.len(), executed[0][0]),
            };
            let prepared = error(&prepared).map_or_else(|_| "prepared".to_owned(), |error| error.to_string());
            answers.push((prepared, outcome));
        }
        assert_eq!(answers[1], answers[0], "{text}");
    }
    assert_eq!(first_column(&through.query("SELECT 6").await?)?, ["6"]);
    Ok(())
}

async fn flags_are_those_of_the_server(flavour: Flavour) -> Result<()> {
    let (cluster, proxy) = (shared(flavour).await?, shared_proxy(flavour).await?);
    let ours = PROFILE & !(capability::DEPRECATE_EOF | capability::MULTI_RESULTS);
    let mut agreed = Vec::new();
    for port in [cluster.primary.port, proxy.running.front.port()] {
        let mut client = Raw::speaking(port, APP, Some("app"), PROFILE).await?;
        agreed.push(client.conn.capabilities & ours);
        // Where it is agreed on, definitions name the type beyond the protocol's.
        let json = client.query("SELECT j FROM (SELECT CAST('::1' AS CHAR) j) d").await?;
        agreed.push(u32::try_from(json.get(1).context("a definition")?.len())?);
    }
    assert_eq!(agreed[..2], agreed[2..]);
    let expected = if flavour == Flavour::MariaDb { ours } else { 0 };
    assert_eq!(agreed[0], expected);
    Ok(())
}
