//! What SHOW PROCESSLIST is told of the proxy's sessions.

use std::time::Instant;

use super::process_list::{ProcessList, Shown, Threads};
use super::query::Work;
use super::registry::Activity;
use super::session::Session;
use crate::backend::Lease;
use crate::sql::{Judged, Kind};
use crate::wire::Expect;

impl Session {
    /// How the reply must be rewritten; `None`: as every other, not at all.
    pub(super) fn process_list(
        &self,
        judged: &Judged,
        work: &Work,
        lease: &Lease,
        sequence: u8,
    ) -> Option<Box<ProcessList>> {
        // Among other statements, or as rows to be fetched, it stays as the server says it.
        if judged.statement.kind != Kind::Show || work.expect() != Expect::Results || work.wants_cursor() {
            return None;
        }
        let server = lease.pool().server;
        let registry = &self.house.registry;
        let now = Instant::now();
        let shown = |session: &super::SessionInfo| {
            let seen = session.seen();
            Shown {
                id: session.id,
                thread: seen.backend.and_then(|(at, thread)| (at == server).then_some(thread)),
                user: seen.user,
                host: session.peer.to_string(),
                schema: seen.schema,
                command: if session.activity() == Activity::Idle { "Sleep" } else { "Query" },
                seconds: registry.in_activity_for(session, now).as_secs(),
            }
        };
        // In this order: what is given back in between is found at its session, and not left out.
        let idle = lease.pool().idle_threads();
        let sessions = registry.all().iter().map(|session| shown(session)).collect();
        let threads = Threads { sessions, idle, user: self.wanted.key.user.clone() };
        let binary = matches!(work, Work::About(_));
        Some(Box::new(ProcessList::new(threads, lease.conn.capabilities, binary, sequence)))
    }
}
