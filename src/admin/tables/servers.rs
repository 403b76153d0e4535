//! `servers`: the cluster as the control line sees it, and what each server does for us.

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, float, integer, text};
use crate::topology::{Server, Standing};

pub(super) const SERVERS: Table = Table {
    name: "servers",
    doc: "The servers of the cluster: role, whether they take statements and why not, connections, statements.",
    columns: &[
        text("name", "As in the configuration, and in hints."),
        text("address", "host:port"),
        text("role", "primary, replica or unknown"),
        text("standing", "serving, or excluded: takes no new statements"),
        text("because", "Why it is excluded."),
        float("lag_seconds", 1, "Replication delay; NULL where unknown or of no meaning."),
        integer("weight", "Share of reads relative to the other replicas."),
        text("version", "As the server tells it."),
        integer("in_use", "Connections at work for a session or held by one."),
        integer("idle", "Connections kept for reuse."),
        integer("max", "Connections it may have."),
        integer("reads", "Statements held to be read-only that it ran, since the last RESET ROUTES."),
        integer("writes", "All other statements that it ran, since the last RESET ROUTES."),
        text("gtid", "What it had executed at the last probe."),
    ],
    key: "name",
    keep: Keep::First,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    view.snapshot.servers.iter().map(|server| row(view, server)).collect()
}

fn row(view: &View, server: &Server) -> Row {
    let index = usize::from(server.id.0);
    let gauge = view.pools.get(index).map(|pool| pool.gauge);
    let (standing, because) = match &server.standing {
        Standing::Serving => ("serving", Value::Null),
        Standing::Excluded(why) => ("excluded", Value::text(why.to_string())),
    };
    let served = |reads: bool| {
        let alike = view.digests.iter().filter(|digest| digest.is_read == reads);
        Value::count(alike.filter_map(|digest| digest.by_server.get(index)).sum::<u64>())
    };
    vec![
        Value::Text(server.name.clone()),
        Value::Text(server.address.clone()),
        Value::text(server.role.to_string()),
        Value::text(standing),
        because,
        Value::optional(server.lag.map(|lag| Value::seconds(lag, 1))),
        Value::count(server.weight),
        Value::unless_empty(&server.version_text),
        Value::optional(gauge.map(|gauge| Value::count(gauge.in_use))),
        Value::optional(gauge.map(|gauge| Value::count(gauge.idle))),
        Value::optional(gauge.map(|gauge| Value::count(gauge.cap))),
        served(true),
        served(false),
        Value::unless_empty(&server.gtid),
    ]
}
