//! `counters`: what happened on the front.

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, integer, text};

pub(super) const COUNTERS: Table = Table {
    name: "counters",
    doc: "What happened on the front since start, and what is there now.",
    columns: &[
        text("name", "Of the counter."),
        integer("value", "At this moment."),
        text("counts", "What it counts."),
    ],
    key: "name",
    keep: Keep::First,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    let now = [
        ("uptime", view.uptime.as_secs(), "Seconds since start."),
        ("epoch", view.snapshot.epoch.0, "Primaries this proxy has known."),
        ("sessions", view.sessions.len() as u64, "Clients that are logged in."),
        ("digests", view.digests.len() as u64, "Forms of statement that SHOW ROUTES tells apart."),
    ];
    let row = |(name, value, counts): &(&'static str, u64, &'static str)| {
        vec![Value::text(*name), Value::count(*value), Value::text(*counts)]
    };
    now.iter().chain(&view.counters).map(row).collect()
}
