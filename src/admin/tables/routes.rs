//! `routes`: for each form of statement, where it went, how often, how fast and why.

use std::time::Duration;

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, float, integer, text};
use crate::admin::view::{DigestView, reason};
use crate::sql::PinSet;
use crate::topology::{Role, ServerId};

pub(super) const ROUTES: Table = Table {
    name: "routes",
    doc: "Each form of statement: where it went, how often, how fast, and why. The costliest first.",
    columns: &[
        integer("count", "Statements since the last RESET ROUTES."),
        integer("on_primary", "Run by the server that is the primary now."),
        integer("on_replicas", "Run by servers that are replicas now."),
        text("servers", "Statements by server."),
        integer("errors", "Answered with an error."),
        integer("rows", "Rows sent to clients."),
        float("total_ms", 3, "Time from receipt to the end of the answer, together."),
        float("avg_ms", 3, "The same for one statement."),
        float(
            "p50_ms",
            3,
            "Half of the statements took no longer; to within a factor of 1.5, as the next two.",
        ),
        float("p95_ms", 3, "95 of 100 took no longer."),
        float("p99_ms", 3, "99 of 100 took no longer."),
        text("because", "Why it went there, with counts where there were several reasons."),
        text("digest", "The statement with ? for literals."),
    ],
    key: "digest",
    keep: Keep::First,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    let mut digests: Vec<&DigestView> = view.digests.iter().filter(|digest| digest.count() > 0).collect();
    digests.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.digest.cmp(&b.digest)));
    digests.into_iter().map(|digest| row(view, digest)).collect()
}

fn row(view: &View, digest: &DigestView) -> Row {
    let count = digest.count();
    let by_server = || (0..).map(ServerId).zip(digest.by_server.iter().copied()).filter(|(_, n)| *n > 0);
    let by_role = |role| by_server().filter(|(id, _)| view.role(*id) == role).map(|(_, n)| n).sum::<u64>();
    let servers: Vec<String> = by_server().map(|(id, n)| format!("{} {n}", view.server_name(id))).collect();
    let average = digest.total.as_secs_f64() / count.max(1) as f64;
    vec![
        Value::count(count),
        Value::count(by_role(Role::Primary)),
        Value::count(by_role(Role::Replica)),
        Value::text(servers.join(", ")),
        Value::count(digest.errors),
        Value::count(digest.rows),
        Value::millis(digest.total),
        Value::millis(Duration::from_secs_f64(average)),
        Value::millis(digest.p50),
        Value::millis(digest.p95),
        Value::millis(digest.p99),
        Value::text(reasons(digest)),
        Value::Text(digest.digest.clone()),
    ]
}

fn reasons(digest: &DigestView) -> String {
    let words = |because| reason(because, digest.statement.as_deref(), PinSet::EMPTY);
    match digest.reasons.as_slice() {
        [(because, _)] => words(*because),
        several => {
            let counted: Vec<String> =
                several.iter().map(|(because, count)| format!("{} {count}", words(*because))).collect();
            counted.join(", ")
        }
    }
}
