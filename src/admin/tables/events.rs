//! `events`: what happened to the cluster.

use crate::admin::View;
use crate::admin::calendar::show_utc;
use crate::admin::table::{Keep, Row, Table, Value, text};

pub(super) const EVENTS: Table = Table {
    name: "events",
    doc: "What happened to the cluster; the newest last.",
    columns: &[
        text("at", "UTC."),
        text("kind", "primary_changed, server_excluded, problem, …"),
        text("severity", "warning: somebody should look; else info"),
        text("event", "In words."),
    ],
    key: "kind",
    keep: Keep::Last,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    let row = |event: &crate::topology::events::Event| {
        vec![
            Value::text(show_utc(event.at)),
            Value::text(event.kind.to_string()),
            Value::text(if event.kind.is_warning() { "warning" } else { "info" }),
            Value::text(event.text.as_str()),
        ]
    };
    view.events.iter().map(row).collect()
}
