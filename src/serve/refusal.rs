//! What a client is told when the proxy itself cannot serve a statement. One place turns causes into errors.

use std::time::Duration;

use super::session::End;
use crate::backend::{CheckoutError, ConnectError, ExchangeError};
use crate::topology::{Snapshot, Standing};
use crate::wire::{ErrPacket, code};

/// Why a statement got no server.
#[derive(Debug)]
pub(super) enum Refusal {
    NoPrimary {
        waited: Duration,
    },
    NoReplica,
    NoSuchServer,
    Checkout(CheckoutError),
    Settle(ExchangeError),
    /// Nobody waits for it any more.
    Over(End),
}

impl Refusal {
    pub(super) fn packet(&self, snapshot: &Snapshot) -> ErrPacket {
        match self {
            Refusal::NoPrimary { waited } => ErrPacket::new(
                code::UNKNOWN,
                format!("no primary takes writes now ({}); waited {waited:?}", standings(snapshot)),
            ),
            Refusal::NoReplica => ErrPacket::new(
                code::UNKNOWN,
                format!("no replica takes reads now ({}) and primary_reads is never", standings(snapshot)),
            ),
            Refusal::NoSuchServer => ErrPacket::new(
                code::UNKNOWN,
                format!("the hint names no server that takes reads now ({})", standings(snapshot)),
            ),
            Refusal::Checkout(CheckoutError::Exhausted(waited)) => ErrPacket::new(
                code::CON_COUNT,
                format!("Too many connections: all of the pool stayed in use for {waited:?}"),
            ),
            Refusal::Checkout(
                CheckoutError::Connect(ConnectError::Refused(error))
                | CheckoutError::Setup(ExchangeError::Refused(error)),
            ) => error.clone(),
            Refusal::Checkout(error) => ErrPacket::new(code::UNKNOWN, error.to_string()),
            Refusal::Settle(ExchangeError::Refused(error)) => error.clone(),
            Refusal::Settle(error) => ErrPacket::new(code::NET_READ_ERROR, error.to_string()),
            Refusal::Over(_) => ErrPacket::new(code::QUERY_INTERRUPTED, "Query execution was interrupted"),
        }
    }
}

/// Each server with what it is and may, for people.
fn standings(snapshot: &Snapshot) -> String {
    let describe = |server: &crate::topology::Server| match &server.standing {
        Standing::Serving => format!("{}: {}", server.name, server.role),
        Standing::Excluded(why) => format!("{}: {why}", server.name),
    };
    snapshot.servers.iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// A server was lost while it worked on a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The transaction is gone with the server; it was not committed.
    Transaction,
    /// A statement that may write was sent and not answered.
    OutcomeUnknown,
    /// A read had begun to answer.
    HalfAnswered,
    /// State that lived on the connection is gone.
    PinnedState,
}

impl Loss {
    pub(super) fn packet(self, server: &str, error: &std::io::Error) -> ErrPacket {
        let (code, what) = match self {
            Loss::Transaction => {
                (code::LOCK_DEADLOCK, "the transaction is rolled back; try restarting transaction")
            }
            Loss::OutcomeUnknown => (
                code::NET_READ_ERROR,
                "outcome unknown: the statement was sent but not answered, and may have been executed",
            ),
            Loss::HalfAnswered => (code::NET_READ_ERROR, "the result is incomplete"),
            Loss::PinnedState => (code::NET_READ_ERROR, "the state this session had there is lost with it"),
        };
        // The TLS library has more to say of that, with an address to read on, which is nothing for clients.
        let why = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
            _ => error.to_string(),
        };
        ErrPacket::new(code, format!("Lost connection to server {server} ({why}): {what}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_lost_server_is_told_in_words_for_clients() {
        let told = |error: Error| Loss::Transaction.packet("db1", &error).message;
        let end = "the transaction is rolled back; try restarting transaction";
        let library = Error::new(ErrorKind::UnexpectedEof, "no close_notify: https://example.org/why");
        assert_eq!(told(library), format!("Lost connection to server db1 (connection closed): {end}"));
        let reset = Error::new(ErrorKind::ConnectionReset, "reset by peer");
        assert_eq!(told(reset), format!("Lost connection to server db1 (reset by peer): {end}"));
    }
}
