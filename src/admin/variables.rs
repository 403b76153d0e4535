//! Variables that clients ask every server for.

/// What the port says it is. Clients read features from the number, so it is that of a MySQL.
pub(super) const VERSION: &str = concat!("8.4.0-pointsman-", env!("CARGO_PKG_VERSION"));

/// Largest statement the port takes.
pub(super) const STATEMENT_MAX: usize = 1 << 20;

/// Name and value, sorted by name.
pub(super) const ALL: [(&str, &str); 45] = [
    ("auto_increment_increment", "1"),
    ("auto_increment_offset", "1"),
    ("autocommit", "1"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_database", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("character_set_server", "utf8mb4"),
    ("collation_connection", "utf8mb4_general_ci"),
    ("collation_database", "utf8mb4_general_ci"),
    ("collation_server", "utf8mb4_general_ci"),
    ("error_count", "0"),
    ("have_ssl", "YES"),
    ("identity", "0"),
    ("init_connect", ""),
    ("interactive_timeout", "28800"),
    ("last_insert_id", "0"),
    ("license", "Apache-2.0"),
    ("lower_case_table_names", "0"),
    ("max_allowed_packet", "1048576"),
    ("max_execution_time", "0"),
    ("net_buffer_length", "16384"),
    ("net_read_timeout", "60"),
    ("net_write_timeout", "60"),
    ("performance_schema", "0"),
    ("protocol_version", "10"),
    ("query_cache_size", "0"),
    ("query_cache_type", "OFF"),
    ("read_only", "0"),
    ("session_track_schema", "0"),
    ("session_track_state_change", "0"),
    ("socket", ""),
    ("sql_auto_is_null", "0"),
    ("sql_mode", ""),
    ("sql_notes", "1"),
    ("sql_safe_updates", "0"),
    ("sql_select_limit", "18446744073709551615"),
    ("system_time_zone", "UTC"),
    ("time_zone", "SYSTEM"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("tx_isolation", "REPEATABLE-READ"),
    ("version", VERSION),
    ("version_comment", "Pointsman, admin port: HELP lists the commands"),
    ("wait_timeout", "28800"),
    ("warning_count", "0"),
];

/// The value of a variable; the name in lower case.
pub(super) fn value(name: &str) -> Option<&'static str> {
    ALL.binary_search_by_key(&name, |(known, _)| known).ok().map(|at| ALL[at].1)
}
