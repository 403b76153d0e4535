//! `counters`: what happened on the front.

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, integer, text};
use crate::topology::{Role, ServerId};

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
    let (on_replicas, on_primary) = (reads(view, Role::Replica), reads(view, Role::Primary));
    let percent = (100 * on_replicas).checked_div(on_replicas + on_primary).unwrap_or(0);
    let now = [
        ("uptime", view.uptime.as_secs(), "Seconds since start."),
        ("epoch", view.snapshot.epoch.0, "Primaries this proxy has known."),
        ("sessions", view.sessions.len() as u64, "Clients that are logged in."),
        ("digests", view.digests.len() as u64, "Forms of statement that SHOW ROUTES tells apart."),
        ("reads_on_replicas", on_replicas, "Reads run by servers that are replicas now, since RESET ROUTES."),
        ("reads_on_primary", on_primary, "Reads run by the server that is the primary now, since then."),
        ("reads_on_replicas_percent", percent, "The replicas' share of these reads."),
    ];
    let row = |(name, value, counts): &(&'static str, u64, &'static str)| {
        vec![Value::text(*name), Value::count(*value), Value::text(*counts)]
    };
    now.iter().chain(&view.counters).map(row).collect()
}

/// Statements held to be read-only that servers of this role have run.
fn reads(view: &View, role: Role) -> u64 {
    let digests = view.digests.iter().filter(|digest| digest.is_read);
    let by_server = digests.flat_map(|digest| (0..).map(ServerId).zip(&digest.by_server));
    by_server.filter(|(id, _)| view.role(*id) == role).map(|(_, count)| count).sum()
}
