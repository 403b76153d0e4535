//! `pools`: the connections to each server, now and since start.

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, float, integer, text};

pub(super) const POOLS: Table = Table {
    name: "pools",
    doc: "The connections to each server: now, and everything that happened since start.",
    columns: &[
        text("server", "The server's name."),
        integer("open", "Connections, in use or idle."),
        integer("in_use", "At work for a session or held by one."),
        integer("idle", "Kept for reuse."),
        integer("waiting", "Statements that wait for a connection."),
        integer("max", "Connections it may have."),
        integer("checkouts", "Connections handed to sessions."),
        integer("connected", "Opened."),
        integer("failed", "Could not be opened."),
        integer("reused", "Taken from the idle ones."),
        integer("waited", "Statements that had to wait."),
        float("wait_ms", 3, "How long they waited, together."),
        float("longest_wait_ms", 3, "The longest of them."),
        float("wait_limit_ms", 3, "How long a statement may wait; pool.wait_timeout."),
        integer("timed_out", "Statements that waited in vain."),
        integer("replaced", "Idle ones closed for another user's sake."),
        integer("reset", "Cleaned before they were used again."),
        integer("settled", "Given another session's settings."),
        integer("prepared", "Statements prepared, at a client's wish or where they were not yet."),
        integer("evicted", "Prepared statements closed to make room for others."),
        integer("closed", "Closed: too old, idle for too long, broken."),
        integer("severed", "Cut because their server was lost."),
    ],
    key: "server",
    keep: Keep::First,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    view.snapshot
        .servers
        .iter()
        .zip(&view.pools)
        .map(|(server, pool)| {
            let gauge = pool.gauge;
            let count = |name: &str| {
                let known = pool.counters.iter().find(|(counter, _)| *counter == name);
                known.map_or(0, |(_, count)| *count)
            };
            let now = [gauge.open, gauge.in_use, gauge.idle, gauge.waiting, gauge.cap];
            let mut row = vec![Value::Text(server.name.clone())];
            row.extend(now.map(Value::count));
            row.extend(POOLS.columns[row.len()..].iter().map(|column| match column.name {
                "checkouts" => Value::count(count("reused") + count("opened")),
                "wait_limit_ms" => Value::millis(gauge.wait_limit),
                "longest_wait_ms" => {
                    Value::millis(std::time::Duration::from_micros(count("longest_wait_micros")))
                }
                "wait_ms" => Value::millis(std::time::Duration::from_micros(count("wait_micros"))),
                name => Value::count(count(name)),
            }));
            row
        })
        .collect()
}
