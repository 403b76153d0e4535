//! `durability`: how much of what is acknowledged would survive the primary.

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, text};

pub(super) const DURABILITY: Table = Table {
    name: "durability",
    doc: "How much of what is acknowledged would survive the primary; empty where nothing is ever promoted.",
    columns: &[
        text("class", "lossless, bounded or best-effort"),
        text("because", "What keeps it from being lossless."),
        text("held", "Whether an operator holds failover, and for how long yet."),
        text("no_failover", "Why nothing is promoted although something should be."),
    ],
    key: "class",
    keep: Keep::First,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    let Some((class, shortfalls)) = &view.failover.class else { return Vec::new() };
    let because: Vec<String> = shortfalls.iter().map(ToString::to_string).collect();
    let waits = view.failover.waits.as_ref().map(ToString::to_string).unwrap_or_default();
    let held = view.failover.held.map(|hold| match hold.until {
        Some(until) => format!("for {} s", until.saturating_duration_since(view.now).as_secs()),
        None => "until RELEASE FAILOVER".to_owned(),
    });
    vec![vec![
        Value::text(class.to_string()),
        Value::text(because.join("; ")),
        Value::text(held.unwrap_or_default()),
        Value::text(waits),
    ]]
}
