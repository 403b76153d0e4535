//! Pins: taken from what statements say and from what servers answer, so that each ends when its cause does; counted
//! and timed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::query::Work;
use super::registry::Seen;
use super::relay::Reply;
use super::session::{Incoming, Session};
use crate::backend::Lease;
use crate::route::Transaction;
use crate::sql::{self, Judged, PinCause, PinSet};
use crate::wire::Command;

const CAUSES: usize = PinCause::ALL.len();

/// What happened to sessions' pins since start, by cause.
#[derive(Debug, Default)]
pub struct PinCounters([PinCounter; CAUSES]);

/// Of the pins that have ended; those in force are seen on their sessions.
#[derive(Debug, Default)]
pub struct PinCounter {
    /// How often the cause tied a session to its connection; those in force too.
    pub set: AtomicU64,
    pub micros: AtomicU64,
    pub longest_micros: AtomicU64,
}

/// When each pin of one session was set.
pub type PinnedSince = [Option<Instant>; CAUSES];

impl PinCounters {
    pub fn of(&self, cause: PinCause) -> &PinCounter {
        &self.0[cause as usize]
    }

    /// A session is tied to its connection by other causes than before.
    pub(super) fn observe(&self, seen: &mut Seen, pins: PinSet, now: Instant) {
        let since = seen.pinned_since.get_or_insert_default();
        for cause in seen.pins.without(pins).iter() {
            let began = since[cause as usize].take().unwrap_or(now);
            let micros = now.saturating_duration_since(began).as_micros() as u64;
            self.of(cause).micros.fetch_add(micros, Relaxed);
            self.of(cause).longest_micros.fetch_max(micros, Relaxed);
        }
        for cause in pins.without(seen.pins).iter() {
            since[cause as usize] = Some(now);
            self.of(cause).set.fetch_add(1, Relaxed);
        }
        seen.pins = pins;
        if pins.is_empty() {
            seen.pinned_since = None;
        }
    }
}

impl Seen {
    /// How long this cause has tied the session to its connection.
    pub fn pinned_for(&self, cause: PinCause, now: Instant) -> Option<Duration> {
        let began = self.pinned_since.as_deref()?[cause as usize]?;
        Some(now.saturating_duration_since(began))
    }
}

impl Session {
    /// Takes in what a statement left, while its text is still there.
    pub(super) fn observe_statement(
        &mut self,
        work: &Work,
        judged: &Judged,
        incoming: Incoming,
        input_len: usize,
        reply: &Reply,
    ) {
        let statement = &judged.statement;
        self.state.observe(statement, self.seen(reply));
        if !self.state.is_worth_reading(statement) {
            return;
        }
        let now = self.wanted.settings.schema.clone();
        let schema = now.as_deref();
        let changes = match work {
            Work::Prepare { .. } => return,
            Work::Text(text) => match text.runs() {
                Some((text, schema)) => {
                    sql::hold_changes(text, &self.dialect, schema.or(now.as_deref()), statement.pins)
                }
                None => return,
            },
            Work::About(about) if about.runs_statement() => {
                let schema = about.key.environment().schema.as_deref();
                sql::hold_changes(about.key.text(), &self.dialect, schema, statement.pins)
            }
            Work::About(_) => return,
            // Of what was passed on as it came, nothing is left to read.
            Work::Plain(_) if incoming.command == Command::Query && input_len == incoming.len => {
                let Ok(range) = self.statement_of(incoming) else { return };
                sql::hold_changes(&self.client.input()[range], &self.dialect, schema, statement.pins)
            }
            Work::Plain(_) => sql::hold_changes(b"", &self.dialect, schema, statement.pins),
        };
        self.state.observe_holds(statement, &changes, reply.outcome.error.is_some());
    }

    /// Asks the server whether what may have been let go is still held, where nobody can notice: the list of warnings
    /// is empty, and the counts that a question changes are known here.
    pub(super) async fn ask_what_is_held(&mut self, lease: &mut Lease, reply: &Reply) {
        let quiet = reply.outcome.error.is_none() && reply.outcome.warnings == 0;
        let counted = self.state.pins.contains(PinCause::FoundRows);
        if !quiet || counted || self.state.transaction != Transaction::None {
            return;
        }
        let Some(question) = self.state.question() else { return };
        // A connection lost meanwhile is noticed by whoever uses it next.
        let answer = Box::pin(lease.ask_in_time(&question.text)).await.ok().flatten();
        self.state.observe_answer(&question, answer.as_deref());
        self.last.was_asked = true;
    }

    /// SET NAMES may name a collation, and MySQL reports the character sets alone. The server is asked where nobody
    /// can notice; else it is the default one, unless the statement says otherwise.
    pub(super) async fn learn_collation(&mut self, judged: &Judged, lease: &mut Lease, reply: &Reply) {
        const COLLATION: &str = "collation_connection";
        if reply.outcome.warnings > 0 || self.state.pins.contains(PinCause::FoundRows) {
            lease.settings.forget(COLLATION);
            if judged.statement.digest.to_string().to_ascii_lowercase().contains("collat") {
                self.state.pins.insert(PinCause::Unknown);
            }
            return;
        }
        match lease.ask_in_time("SELECT @@collation_connection").await {
            Ok(Some(collation)) => lease.settings.set(COLLATION, &collation),
            // A connection lost meanwhile is noticed by whoever uses it next.
            _ => lease.settings.forget(COLLATION),
        }
        self.last.was_asked = true;
    }

    /// Lets people see what ties the session to its connection.
    pub(super) fn show_pins(&self, pins: PinSet) {
        self.info.update(|seen| {
            if seen.pins != pins {
                self.house.pins.observe(seen, pins, Instant::now());
            }
        });
    }
}
