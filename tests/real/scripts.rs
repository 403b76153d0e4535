//! Sessions as text: what is said, who answers, and why. `BLESS=1` rewrites the answers.
//!
//! A block is a statement (`[name] ` before it speaks on a session of that name, which is the user `root` if its name begins so, or else `app`; `\reset` is COM_RESET_CONNECTION),
//! `----`, and what came of it: the role of the server, the reason and the pins in one line, then the result. Each
//! script is also played on one server alone, which must answer the same, unless the block begins with
//! `# differs alone: ` and the reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row, Value};
use pointsman::flavour::Flavour;
use pointsman::playground::{APP, ROOT};

use crate::clusters::{both, schema, shared};
use crate::through::{Proxy, shared_proxy};

both![sessions_behave_as_on_one_server];

async fn sessions_behave_as_on_one_server(flavour: Flavour) -> Result<()> {
    let proxy = shared_proxy(flavour).await?;
    let mut failures = String::new();
    for path in cases()? {
        let text = std::fs::read_to_string(&path)?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a name")?;
        if text.starts_with("# only ") && !text.starts_with(&format!("# only {flavour}")) {
            continue;
        }
        let database = format!("script_{name}");
        let alone = play(None, flavour, &database, &text).await?;
        let answered = play(Some(proxy), flavour, &database, &text).await?;
        for (block, (is, should)) in results(&answered).zip(results(&alone)).enumerate() {
            if is != should {
                writeln!(
                    failures,
                    "{name}, block {block}: one server says {should:?}, the proxy {is:?} ({flavour})"
                )?;
            }
        }
        if answered == text {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &answered)?;
        }
        for (line, (is, should)) in answered.lines().zip(text.lines()).enumerate() {
            if is != should {
                writeln!(failures, "{name}:{}: expected {should:?}, got {is:?} ({flavour})", line + 1)?;
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    Ok(())
}

fn cases() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/session");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    anyhow::ensure!(!paths.is_empty(), "no cases");
    Ok(paths)
}

/// What came of each statement, without who answered and why.
/// A hint is the proxy's alone.
fn results(played: &str) -> impl Iterator<Item = &str> {
    let differs = |block: &&str| block.contains("pointsman:") || block.starts_with("# differs alone: ");
    let blocks = played.split("\n\n").filter(move |block| !differs(block));
    let answers = blocks.filter_map(|block| block.split_once("\n----\n"));
    answers.map(|(_, answer)| answer.split_once('\n').map_or("", |(_, result)| result))
}

/// Runs a script, through the proxy or on the primary alone, and returns it with the answers it got.
async fn play(proxy: Option<&Proxy>, flavour: Flavour, database: &str, text: &str) -> Result<String> {
    let cluster = shared(flavour).await?;
    let mut root = cluster.primary.connect(ROOT).await?;
    root.query_drop(format!("DROP DATABASE IF EXISTS {database}")).await?;
    drop(schema(cluster, database).await?);
    cluster.wait_applied().await?;
    let mut sessions: BTreeMap<String, Conn> = BTreeMap::new();
    let mut out = String::new();
    for block in text.split("\n\n") {
        let (comments, said) = split_comments(block);
        out.push_str(&comments);
        let Some((statement, _)) = said.split_once("\n----") else {
            writeln!(out)?;
            continue;
        };
        let (name, sql) = match statement.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((name, sql)) => (name, sql),
            None => ("", statement),
        };
        if !sessions.contains_key(name) {
            let account = if name.starts_with("root") { ROOT } else { APP };
            let opts = match proxy {
                Some(proxy) => proxy.opts(account),
                None => cluster.primary.opts(account),
            };
            let conn = Conn::new(opts.db_name(Some(database))).await?;
            sessions.insert(name.to_owned(), conn);
        }
        let conn = sessions.get_mut(name).context("just opened")?;
        let id = conn.id();
        // Replicas are waited for, so that a script tells routing and not luck.
        let mut result = match sql {
            "\\reset" => {
                if conn.reset().await? {
                    "reset".to_owned()
                } else {
                    "no reset".to_owned()
                }
            }
            sql => ask(conn, sql).await,
        };
        // Which number that is depends on the tests before; elsewhere the same number is a value like any other.
        if sql.contains("CONNECTION_ID()") {
            result = result.replace(&format!("\n{id}"), "\n<own id>");
        }
        cluster.wait_applied().await?;
        if let Some(proxy) = proxy {
            proxy.at_rest(conn).await?;
        }
        let who = proxy.map_or("alone".to_owned(), |proxy| who(proxy, conn));
        writeln!(out, "{statement}\n----\n{who}\n{result}\n")?;
    }
    for (_, conn) in sessions {
        conn.disconnect().await?;
    }
    Ok(out.trim_end_matches('\n').to_owned() + "\n")
}

/// Who answered the last statement, and why, and what pins the session.
fn who(proxy: &Proxy, conn: &Conn) -> String {
    let seen = proxy.seen(conn);
    let pins: Vec<String> = seen.pins.iter().map(|pin| pin.to_string()).collect();
    let because = seen.because.map_or("none".to_owned(), |because| because.to_string());
    let role = proxy.role(seen.server);
    let pins = if pins.is_empty() { String::new() } else { format!(" [{}]", pins.join(" ")) };
    format!("{role}: {because}{pins}")
}

fn split_comments(block: &str) -> (String, String) {
    let is_comment = |line: &&str| line.starts_with("# ") || line.is_empty();
    let comments: Vec<&str> = block.lines().take_while(is_comment).collect();
    let said: Vec<&str> = block.lines().skip(comments.len()).collect();
    (comments.iter().map(|line| format!("{line}\n")).collect(), said.join("\n"))
}

/// All results of a statement, as text.
async fn ask(conn: &mut Conn, sql: &str) -> String {
    match try_ask(conn, sql).await {
        Ok(lines) => lines.join("\n"),
        Err(Error::Server(error)) => format!("error {} {}", error.code, error.state),
        Err(error) => format!("lost: {error}"),
    }
}

async fn try_ask(conn: &mut Conn, sql: &str) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    let mut result = conn.query_iter(sql).await?;
    loop {
        if result.columns_ref().is_empty() {
            lines.push(format!("ok {}", result.affected_rows()));
            let rows: Vec<Row> = result.collect().await?;
            debug_assert!(rows.is_empty());
        } else {
            let names: Vec<String> = result.columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
            lines.push(names.join(" | "));
            let rows: Vec<Row> = result.collect().await?;
            lines.extend(rows.into_iter().map(|row| cells(row).join(" | ")));
        }
        if result.is_empty() {
            return Ok(lines);
        }
    }
}

fn cells(row: Row) -> Vec<String> {
    let show = |value: Value| match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => other.as_sql(true),
    };
    row.unwrap().into_iter().map(show).collect()
}
