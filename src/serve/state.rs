//! Small parts of a session's state that routing need not know.

use std::sync::Arc;

use super::digests::{DigestStats, Digests};
use crate::backend::{Settings, charset_of_collation};
use crate::flavour::Version;
use crate::sql::{Charset, Dialect, Statement};
use crate::topology::catalog::Defaults;
use crate::wire::Outcome;

/// Why a connection is held although nothing pins the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    No,
    /// The last statement left warnings or an error that the next may ask for.
    Possible,
}

/// What LAST_INSERT_ID() is for this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InsertId {
    /// This number, wherever the next statement runs.
    Known(u64),
    /// What the held connection says.
    OnHeldConnection,
}

/// What ROW_COUNT() and FOUND_ROWS() are after the last statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastResult {
    pub(super) row_count: i64,
    pub(super) found_rows: u64,
    /// A question of ours ran on the held connection since: it does not know these any more.
    pub(super) was_asked: bool,
}

impl Default for LastResult {
    /// As on a new connection.
    fn default() -> Self {
        Self { row_count: -1, found_rows: 0, was_asked: false }
    }
}

impl LastResult {
    pub(super) fn observe(&mut self, outcome: &Outcome) {
        self.was_asked = false;
        match (outcome.affected_rows, &outcome.error) {
            (Some(affected), None) => self.row_count = i64::try_from(affected).unwrap_or(i64::MAX),
            (None, None) => {
                self.row_count = -1;
                self.found_rows = outcome.rows;
            }
            (_, Some(_)) => self.row_count = -1,
        }
    }
}

/// The statistics of the digests a session used last: most sessions run few statements over and over.
#[derive(Default)]
pub(super) struct StatsMemo {
    entries: [Option<(Arc<Statement>, Arc<DigestStats>)>; 8],
    next: usize,
}

impl StatsMemo {
    pub(super) fn entry(&mut self, statement: &Arc<Statement>, digests: &Digests) -> &DigestStats {
        let is_known = |entry: &Option<(Arc<Statement>, _)>| {
            entry.as_ref().is_some_and(|(have, _)| Arc::ptr_eq(have, statement))
        };
        let at = self.entries.iter().position(is_known).unwrap_or_else(|| {
            let at = self.next;
            self.next = (at + 1) % self.entries.len();
            self.entries[at] = None;
            at
        });
        let entry = &mut self.entries[at];
        &entry.get_or_insert_with(|| (Arc::clone(statement), digests.entry(statement))).1
    }
}

/// Whether every transaction of the session locks what it reads.
pub(super) fn is_serializable(settings: &Settings, defaults: Option<&Defaults>) -> bool {
    let level = settings
        .variable("transaction_isolation")
        .or_else(|| settings.variable("tx_isolation"))
        .or_else(|| defaults.map(|defaults| defaults.transaction_isolation.as_str()));
    level.is_some_and(|level| level.eq_ignore_ascii_case("SERIALIZABLE"))
}

/// How the server reads this session's statements.
pub(super) fn dialect_of(
    settings: &Settings,
    defaults: Option<&Defaults>,
    version: Version,
    collation: u16,
) -> Dialect {
    let mode = settings.variable("sql_mode").or_else(|| defaults.map(|defaults| defaults.sql_mode.as_str()));
    // ORACLE, DB2 and the other combinations are reported with their parts.
    let has = |name: &str| mode.unwrap_or_default().split(',').any(|part| part.eq_ignore_ascii_case(name));
    let charset = match settings.variable("character_set_client") {
        Some(name) => Charset::named(name),
        None => Charset::named(&charset_of_collation(collation)),
    };
    Dialect {
        version,
        ansi_quotes: has("ANSI_QUOTES"),
        no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
        charset,
    }
}
