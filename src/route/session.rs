//! What routing must know of a session.

use super::holdings::{Holdings, Question};
use crate::sql::{Access, HoldChange, Kind, PinCause, PinSet, Statement};

/// The part of a session's state that decides where its next statement may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    pub transaction: Transaction,
    pub autocommit: bool,
    /// Every transaction of the session is SERIALIZABLE: its reads take locks.
    pub serializable: bool,
    /// What ties the session to the connection it holds.
    pub pins: PinSet,
    /// What lies behind the pins that are told apart by name.
    pub holdings: Option<Box<Holdings>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    None,
    ReadWrite,
    /// Wholly on the replica it began on.
    ReadOnly,
}

/// What the server said when a statement ended, as far as routing is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub in_transaction: bool,
    pub read_only_transaction: bool,
    pub autocommit: bool,
    /// The server flagged a change of session state.
    pub state_changed: bool,
    /// All that changed was reported by value: variables, the schema.
    pub change_is_known: bool,
    /// The statement ended with an error.
    pub failed: bool,
}

impl Default for SessionState {
    fn default() -> Self {
        Self {
            transaction: Transaction::None,
            autocommit: true,
            serializable: false,
            pins: PinSet::EMPTY,
            holdings: None,
        }
    }
}

impl SessionState {
    /// Whether the next statement must run on the connection of the last.
    pub fn holds_connection(&self) -> bool {
        !self.pins.is_empty() || self.transaction != Transaction::None
    }

    /// Takes in the end of a statement.
    pub fn observe(&mut self, statement: &Statement, seen: Seen) {
        self.observe_status(seen);
        // SET TRANSACTION is used up by the transaction that follows, were it one statement long.
        if self.transaction == Transaction::None && statement.kind != Kind::Set {
            self.pins = self.pins.without(PinSet::of(PinCause::NextTransaction));
        }
        self.observe_unseen_transaction(statement, seen);
        // What SQL_CALC_FOUND_ROWS counted is told until the next SELECT, be it the one that asks for it.
        if statement.kind == Kind::Select {
            self.pins = self.pins.without(PinSet::of(PinCause::FoundRows));
        }
        let left = if seen.failed { left_by_failed(statement) } else { statement.pins };
        self.pins = self.pins.union(left.without(PinSet::NAMED));
        if !seen.failed {
            self.pins = self.pins.without(statement.unpins.without(PinSet::NAMED));
        }
        let named = !statement.pins.is_empty()
            || matches!(statement.kind, Kind::Set | Kind::Use | Kind::Prepare | Kind::Handler | Kind::Unlock)
            || (statement.kind == Kind::Define && self.pins.contains(PinCause::TemporaryTable));
        if seen.state_changed && !seen.change_is_known && !named {
            self.pins.insert(PinCause::Unknown);
        }
    }

    /// With autocommit off, servers keep a savepoint although their flags speak of a transaction only from the next
    /// statement that touches a table; and an error, which has no flags, may leave a transaction with its locks.
    fn observe_unseen_transaction(&mut self, statement: &Statement, seen: Seen) {
        let is_seen = self.autocommit || self.transaction != Transaction::None;
        let ends =
            matches!(statement.kind, Kind::Commit | Kind::Rollback | Kind::Begin { .. } | Kind::Define);
        if is_seen || (ends && !seen.failed) {
            self.pins = self.pins.without(PinSet::of(PinCause::UnseenTransaction));
        } else if statement.kind == Kind::Savepoint || seen.failed {
            self.pins.insert(PinCause::UnseenTransaction);
        }
    }

    /// Whether a statement's text must be read for what it takes hold of and lets go.
    pub fn is_worth_reading(&self, statement: &Statement) -> bool {
        let pins = statement.pins.union(self.pins).intersection(PinSet::NAMED);
        !pins.is_empty() && (statement.access != Access::Read || !statement.pins.is_empty())
    }

    /// Takes in what the statement's text says that it took hold of and let go.
    pub fn observe_holds(&mut self, statement: &Statement, changes: &[HoldChange], failed: bool) {
        let mut holdings = self.holdings.take().unwrap_or_default();
        for change in changes {
            let cause = change.cause();
            if PinSet::NAMED.contains(cause) {
                let may_have_begun = left_by_failed(statement).contains(cause);
                holdings.apply(change, failed, may_have_begun);
            } else if matches!(change, HoldChange::Takes(..)) {
                self.pins.insert(cause);
            }
        }
        if statement.kind == Kind::Modify {
            holdings.used();
        }
        self.keep(holdings);
    }

    /// What the server is to be asked about the things that may have been let go.
    pub fn question(&self) -> Option<Question> {
        self.holdings.as_deref()?.question()
    }

    pub fn observe_answer(&mut self, question: &Question, answer: Option<&str>) {
        if let Some(mut holdings) = self.holdings.take() {
            holdings.answered(question, answer);
            self.keep(holdings);
        }
    }

    fn keep(&mut self, holdings: Box<Holdings>) {
        let pins = holdings.pins();
        self.pins = self.pins.without(PinSet::NAMED).union(pins);
        self.holdings = (!pins.is_empty()).then_some(holdings);
    }

    /// The connection is gone, and with it all that lived there.
    pub fn forget_connection(&mut self) {
        self.transaction = Transaction::None;
        self.pins = PinSet::EMPTY;
        self.holdings = None;
    }

    /// Takes in the flags of any reply.
    pub fn observe_status(&mut self, seen: Seen) {
        self.autocommit = seen.autocommit;
        self.transaction = match (seen.in_transaction, seen.read_only_transaction) {
            (false, _) => Transaction::None,
            (true, true) => Transaction::ReadOnly,
            (true, false) => Transaction::ReadWrite,
        };
    }

    /// Whether a statement lost with its server may be run again elsewhere: it only read, by itself.
    pub fn may_repeat(&self, statement: &Statement) -> bool {
        statement.access == Access::Read && self.autocommit && !self.holds_connection()
    }
}

/// What a statement that failed may have left all the same: several statements and procedures do part of their
/// work, and functions are called before the error. Some statements do all they say or nothing.
fn left_by_failed(statement: &Statement) -> PinSet {
    let whole = match statement.kind {
        Kind::Set => PinSet::of(PinCause::SessionVariable).union(PinSet::of(PinCause::NextTransaction)),
        Kind::Define => PinSet::of(PinCause::TemporaryTable),
        Kind::Lock => PinSet::of(PinCause::TableLocks),
        Kind::Handler => PinSet::of(PinCause::Handler),
        Kind::Xa => PinSet::of(PinCause::Xa),
        _ => PinSet::EMPTY,
    };
    statement.pins.without(whole)
}
