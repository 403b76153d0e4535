//! `failovers`: changes of primary that this process made.

use std::time::{Duration, UNIX_EPOCH};

use crate::admin::View;
use crate::admin::calendar::show_utc;
use crate::admin::table::{Keep, Row, Table, Value, text};
use crate::control::failover::coordinator::Report;

pub(super) const FAILOVERS: Table = Table {
    name: "failovers",
    doc: "Changes of primary that this process made; the newest last.",
    columns: &[
        text("began", "UTC."),
        text("epoch", "The epoch it led to."),
        text("kind", "failover, ordered_failover or switchover"),
        text("old_primary", "Who was the primary."),
        text("new_primary", "Who is; empty while it is under way."),
        text("class", "How durable writes were when it began."),
        text("writes_waited", "From its beginning until writes went on."),
        text(
            "acked_missing",
            "Transactions that clients were told are done and the new primary lacked; empty where there are none.",
        ),
        text("steps", "What was done, with the time since it began."),
    ],
    key: "kind",
    keep: Keep::Last,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    view.failover.reports.iter().map(row).collect()
}

fn row(report: &Report) -> Row {
    let step = |(after, line): &(Duration, String)| format!("{} ms {line}", after.as_millis());
    let steps: Vec<String> = report.lines.iter().map(step).collect();
    let (new, waited) = match &report.over {
        Some((new, took)) => (new.to_string(), format!("{} ms", took.as_millis())),
        None => (String::new(), String::new()),
    };
    vec![
        Value::text(show_utc(UNIX_EPOCH + Duration::from_millis(report.began_at))),
        Value::text(report.epoch.to_string()),
        Value::text(report.kind.to_string()),
        Value::text(report.from.to_string()),
        Value::text(new),
        Value::text(report.class.to_string()),
        Value::text(waited),
        Value::text(report.acked_missing.clone().unwrap_or_default()),
        Value::text(steps.join("; ")),
    ]
}
