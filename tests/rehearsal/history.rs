//! What clients did and were told, and what was found in the end.

use std::collections::BTreeMap;
use std::time::Duration;

/// How a statement or transaction ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is done.
    Done,
    /// It is not done: an error that says so.
    Refused(String),
    /// Nobody knows: the outcome was called unknown, or the connection ended.
    Unknown,
}

/// One row, once, by one statement. Times are since the play began.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) id: u64,
    pub(crate) sent: Duration,
    pub(crate) answered: Duration,
    pub(crate) told: Told,
}

/// A session read its own counter.
#[derive(Clone, Debug)]
pub(crate) struct OwnRead {
    pub(crate) key: u32,
    /// The last value that this session was told is written.
    pub(crate) written: u64,
    pub(crate) read: u64,
    pub(crate) at: Duration,
}

/// Everything that clients were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) writes: Vec<Write>,
    pub(crate) own_reads: Vec<OwnRead>,
    /// Transfers between accounts, by their number.
    pub(crate) transfers: BTreeMap<u64, Told>,
    /// Sums over all accounts as they were read, and when.
    pub(crate) sums: Vec<(Duration, i64)>,
    /// Connections that ended under a client.
    pub(crate) lost_sessions: usize,
}

/// One row as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: u64,
    /// Who ran the statement.
    pub(crate) by_server: u32,
}

/// What one server has in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) server: String,
    /// In the order in which the primaries gave them numbers.
    pub(crate) rows: Vec<Row>,
    pub(crate) transfers: Vec<u64>,
    pub(crate) sum: i64,
}

/// What the accounts hold together.
pub(crate) const ACCOUNTS: i64 = 8;
pub(crate) const BALANCE: i64 = 1000;
