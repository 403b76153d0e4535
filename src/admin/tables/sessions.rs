//! `sessions`: who is connected, what each does, and what ties it to a server.

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, float, integer, text};
use crate::admin::view::{SessionView, pins_in_words, reason};
use crate::serve::Activity;

pub(super) const SESSIONS: Table = Table {
    name: "sessions",
    doc: "The clients that are logged in: what they do, where, and what ties them to a server.",
    columns: &[
        integer("id", "What CONNECTION_ID() tells the client, and what KILL takes."),
        text("user", "Who logged in."),
        text("peer", "Where from."),
        text("program", "The program_name among its connection attributes."),
        text("schema", "The current database."),
        text("activity", "idle, waiting (for a connection or a primary) or active"),
        float("seconds", 1, "How long it has been doing that."),
        integer("statements", "Statements since login."),
        text("server", "The server that works for it now or that it is tied to."),
        integer("backend_thread", "That server's number for the connection."),
        text("pins", "What ties it to the connection."),
        float("pinned_seconds", 1, "For how long it has been tied."),
        text("in_transaction", "yes or no"),
        text("because", "Why its last statement went where it went."),
        text("digest", "Its last statement, with ? for literals."),
    ],
    key: "user",
    keep: Keep::First,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    let mut sessions: Vec<&SessionView> = view.sessions.iter().collect();
    sessions.sort_by_key(|session| session.id);
    sessions.into_iter().map(|session| row(view, session)).collect()
}

fn row(view: &View, session: &SessionView) -> Row {
    let activity = match session.activity {
        Activity::Idle => "idle",
        Activity::Waiting => "waiting",
        Activity::Active => "active",
    };
    let statement = session.statement.as_deref();
    let because = session.because.map(|because| reason(because, statement, session.pins));
    vec![
        Value::count(session.id),
        Value::Text(session.user.clone()),
        Value::text(session.peer.to_string()),
        Value::optional(session.program.clone().map(Value::Text)),
        Value::optional(session.schema.clone().map(Value::Text)),
        Value::text(activity),
        Value::seconds(session.since, 1),
        Value::count(session.statements),
        Value::optional(session.backend.map(|(server, _)| Value::text(view.server_name(server)))),
        Value::optional(session.backend.map(|(_, thread)| Value::count(thread))),
        Value::unless_empty(&pins_in_words(session.pins)),
        Value::optional(session.pinned_for.map(|pinned| Value::seconds(pinned, 1))),
        Value::text(if session.in_transaction { "yes" } else { "no" }),
        Value::optional(because.map(Value::text)),
        Value::optional(statement.map(|statement| Value::Text(statement.digest.clone()))),
    ]
}
