//! What a call of a function by this name does.

use super::builtins;
use super::words;
use crate::flavour::{Flavour, Version};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The word is a keyword before a parenthesis; nothing is called.
    Keyword,
    Pure,
    LastInsertId,
    RowCount,
    FoundRows,
    ConnectionId,
    /// GET_LOCK and its kin: takes a lock.
    TakesLock,
    /// Lets go of every user lock of the session.
    ReleasesAllLocks,
    /// Reads or lets go of one user lock.
    TouchesLock,
    /// IS_USED_LOCK: whose it is, in the server's own numbers.
    NamesThread,
    Sequence,
    /// Asks for, or waits for, what only the primary can tell.
    PrimaryOnly,
    /// A value of the connection that wrote.
    OwnWriteValue,
    Unknown,
}

/// MariaDB makes geometries of arguments only: without any, the name is that of a stored function.
pub(super) fn needs_arguments(name: &[u8], flavour: Flavour) -> bool {
    let names: &[&[u8]] = &[
        b"geometrycollection",
        b"linestring",
        b"multilinestring",
        b"multipoint",
        b"multipolygon",
        b"point",
        b"polygon",
    ];
    flavour == Flavour::MariaDb && names.contains(&name)
}

/// Judges an unquoted, unqualified name in lower case; `gap` if space stands between it and its `(`.
pub(super) fn call(name: &[u8], gap: bool, version: Version) -> Call {
    let flavour = version.flavour;
    if words::is_keyword_before_paren(name, flavour) {
        return Call::Keyword;
    }
    if gap && words::is_stored_after_space(name, flavour) {
        return Call::Unknown;
    }
    match name {
        b"last_insert_id" => Call::LastInsertId,
        b"row_count" => Call::RowCount,
        b"found_rows" => Call::FoundRows,
        b"connection_id" | b"ps_current_thread_id" | b"ps_thread_id" => Call::ConnectionId,
        b"get_lock" | b"service_get_read_locks" | b"service_get_write_locks" => Call::TakesLock,
        b"version_tokens_lock_shared" | b"version_tokens_lock_exclusive" => Call::TakesLock,
        b"release_all_locks" => Call::ReleasesAllLocks,
        b"release_lock" | b"is_free_lock" => Call::TouchesLock,
        b"is_used_lock" => Call::NamesThread,
        b"service_release_locks" | b"version_tokens_unlock" => Call::TouchesLock,
        b"nextval" | b"lastval" | b"setval" if flavour == Flavour::MariaDb => Call::Sequence,
        b"master_pos_wait" | b"source_pos_wait" | b"wait_for_executed_gtid_set" => Call::PrimaryOnly,
        b"wait_until_sql_thread_after_gtids" | b"master_gtid_wait" | b"binlog_gtid_pos" => Call::PrimaryOnly,
        // A file of the server that is asked.
        b"load_file" => Call::PrimaryOnly,
        b"wsrep_last_written_gtid" | b"wsrep_last_seen_gtid" | b"wsrep_sync_wait_upto_gtid" => {
            Call::OwnWriteValue
        }
        _ if builtins::is_pure(name, version) => Call::Pure,
        _ => Call::Unknown,
    }
}
