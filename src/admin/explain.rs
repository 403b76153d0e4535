//! EXPLAIN ROUTE: where a statement would go now, and why.

use super::table::{Answer, Value};
use super::view::pins_in_words;
use crate::config::Routing;
use crate::route::{Destination, SessionState, Spread, route};
use crate::sql::{Access, Hint, Judged, Kind, WriteBecause};
use crate::topology::Snapshot;

/// All that a route depends on besides the statement.
pub struct Situation<'a> {
    pub snapshot: &'a Snapshot,
    pub routing: &'a Routing,
    /// Of a session that has just begun.
    pub session: &'a SessionState,
    pub spread: Spread<'a>,
}

const HEADINGS: [&str; 8] = ["target", "server", "because", "kind", "access", "pins", "hint", "digest"];

pub fn explain(judged: &Judged, situation: &Situation<'_>) -> Answer {
    let statement = &*judged.statement;
    let (target, server, because) = decide(judged, situation);
    let access = match &statement.access {
        Access::Read => "read",
        Access::Write(_) => "write",
    };
    let level = judged.consistency.iter().map(|level| level.to_string());
    let hints = judged.hint.iter().map(hint_in_words).chain(level).collect::<Vec<_>>().join(", ");
    let row = [
        Value::text(target),
        Value::optional(server.map(Value::text)),
        Value::text(because),
        Value::text(statement.kind.to_string()),
        Value::text(access),
        Value::unless_empty(&pins_in_words(statement.pins)),
        Value::unless_empty(&hints),
        Value::text(statement.digest.clone()),
    ];
    Answer::texts(HEADINGS, vec![row])
}

/// The role or the proxy itself, the server, the reason.
fn decide<'a>(judged: &Judged, situation: &Situation<'a>) -> (String, Option<&'a str>, String) {
    let Situation { snapshot, routing, session, spread } = situation;
    if let Kind::Kill { id: Some(_), .. } = judged.statement.kind {
        return ("proxy".to_owned(), None, "sessions have the proxy's own numbers".to_owned());
    }
    if judged.statement.kind == Kind::Set
        && judged.statement.access == Access::Write(WriteBecause::ProxyVariable)
    {
        return ("proxy".to_owned(), None, "the proxy keeps this variable itself".to_owned());
    }
    let route = route(judged, session, snapshot, routing, *spread);
    let because = route.explain(judged, session);
    match route.to {
        Destination::Server(id) => {
            let server = snapshot.server(id);
            (server.role.to_string(), Some(&*server.name), because)
        }
        Destination::NoPrimary => {
            let missing = snapshot.no_primary_because().map_or(String::new(), |why| format!(" ({why})"));
            ("primary".to_owned(), None, format!("{because}; waits for a primary{missing}"))
        }
        Destination::NoReplica => ("none".to_owned(), None, format!("{because}, and the primary takes none")),
        Destination::NoSuchServer => {
            ("none".to_owned(), None, format!("{because}: it does not exist or takes no statements"))
        }
        // A session that has just begun holds nothing.
        Destination::Held => ("none".to_owned(), None, because),
    }
}

fn hint_in_words(hint: &Hint) -> String {
    match hint {
        Hint::Primary => "primary".to_owned(),
        Hint::Replica => "replica".to_owned(),
        Hint::Server(name) => format!("server={name}"),
    }
}
