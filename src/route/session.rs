//! What routing must know of a session.

use crate::sql::{Access, Kind, PinCause, PinSet, Statement};

/// The part of a session's state that decides where its next statement may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    pub transaction: Transaction,
    pub autocommit: bool,
    /// Every transaction of the session is SERIALIZABLE: its reads take locks.
    pub serializable: bool,
    /// What ties the session to the connection it holds.
    pub pins: PinSet,
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
        Self { transaction: Transaction::None, autocommit: true, serializable: false, pins: PinSet::EMPTY }
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
        // What SQL_CALC_FOUND_ROWS counted is told until the next SELECT.
        if statement.kind == Kind::Select && !statement.needs.found_rows {
            self.pins = self.pins.without(PinSet::of(PinCause::FoundRows));
        }
        // A failed statement may have done part of its work: several statements, a procedure.
        self.pins = self.pins.union(statement.pins);
        if !seen.failed {
            self.pins = self.pins.without(statement.unpins);
        }
        let named =
            !statement.pins.is_empty() || matches!(statement.kind, Kind::Set | Kind::Use | Kind::Prepare);
        if seen.state_changed && !seen.change_is_known && !named {
            self.pins.insert(PinCause::Unknown);
        }
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
