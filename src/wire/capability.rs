//! Capability flags: what the two sides of a connection agree to speak.

pub const LONG_PASSWORD: u32 = 1;
/// Affected rows are those found, not those changed.
pub const FOUND_ROWS: u32 = 1 << 1;
pub const LONG_FLAG: u32 = 1 << 2;
pub const CONNECT_WITH_DB: u32 = 1 << 3;
pub const NO_SCHEMA: u32 = 1 << 4;
pub const COMPRESS: u32 = 1 << 5;
pub const ODBC: u32 = 1 << 6;
/// LOAD DATA LOCAL.
pub const LOCAL_FILES: u32 = 1 << 7;
pub const IGNORE_SPACE: u32 = 1 << 8;
pub const PROTOCOL_41: u32 = 1 << 9;
/// `interactive_timeout` instead of `wait_timeout`.
pub const INTERACTIVE: u32 = 1 << 10;
pub const SSL: u32 = 1 << 11;
pub const IGNORE_SIGPIPE: u32 = 1 << 12;
pub const TRANSACTIONS: u32 = 1 << 13;
pub const RESERVED: u32 = 1 << 14;
pub const SECURE_CONNECTION: u32 = 1 << 15;
pub const MULTI_STATEMENTS: u32 = 1 << 16;
pub const MULTI_RESULTS: u32 = 1 << 17;
pub const PS_MULTI_RESULTS: u32 = 1 << 18;
pub const PLUGIN_AUTH: u32 = 1 << 19;
pub const CONNECT_ATTRS: u32 = 1 << 20;
pub const PLUGIN_AUTH_LENENC_DATA: u32 = 1 << 21;
pub const CAN_HANDLE_EXPIRED_PASSWORDS: u32 = 1 << 22;
pub const SESSION_TRACK: u32 = 1 << 23;
/// Result sets end with an OK packet, and none follows the column definitions.
pub const DEPRECATE_EOF: u32 = 1 << 24;
pub const OPTIONAL_RESULTSET_METADATA: u32 = 1 << 25;
pub const ZSTD_COMPRESSION: u32 = 1 << 26;
/// COM_QUERY and COM_STMT_EXECUTE may carry named parameters (MySQL).
pub const QUERY_ATTRIBUTES: u32 = 1 << 27;
pub const MULTI_FACTOR_AUTHENTICATION: u32 = 1 << 28;

/// MariaDB's own flags. On the wire they stand in a field of their own, which is there where LONG_PASSWORD is not;
/// here they take bits of the other field that mean nothing between peers (clients keep options of their own in them).
/// COM_STMT_BULK_EXECUTE.
pub const MARIADB_BULK: u32 = 1 << 30;
/// Column definitions name types beyond those of the protocol.
pub const MARIADB_EXTENDED_METADATA: u32 = 1 << 31;

const MARIADB: [(u32, u32); 2] = [(MARIADB_BULK, 1 << 2), (MARIADB_EXTENDED_METADATA, 1 << 3)];

/// A peer's flags, those of MariaDB's field among them.
pub fn joined(flags: u32, mariadb: u32) -> u32 {
    let is_mariadb = flags & LONG_PASSWORD == 0;
    let ours = MARIADB.iter().filter(|(_, on_wire)| is_mariadb && mariadb & on_wire != 0);
    ours.fold(flags & !(MARIADB_BULK | MARIADB_EXTENDED_METADATA), |flags, (here, _)| flags | here)
}

/// The two fields as they are sent.
pub fn split(flags: u32) -> (u32, u32) {
    let is_mariadb = flags & LONG_PASSWORD == 0;
    let mariadb = MARIADB.iter().filter(|(here, _)| is_mariadb && flags & here != 0);
    let mariadb = mariadb.fold(0, |all, (_, on_wire)| all | on_wire);
    (flags & !(MARIADB_BULK | MARIADB_EXTENDED_METADATA), mariadb)
}

/// What every connection of ours speaks, to either side.
const ALWAYS: u32 = LONG_PASSWORD
    | LONG_FLAG
    | PROTOCOL_41
    | TRANSACTIONS
    | RESERVED
    | SECURE_CONNECTION
    | PLUGIN_AUTH
    | PLUGIN_AUTH_LENENC_DATA;

/// Flags that change what a server answers or how it reads a command. A backend connection is
/// opened with exactly the client's choice of them, so that nothing needs translating.
pub const PROFILE: u32 = FOUND_ROWS
    | NO_SCHEMA
    | ODBC
    | LOCAL_FILES
    | IGNORE_SPACE
    | INTERACTIVE
    | MULTI_STATEMENTS
    | MULTI_RESULTS
    | PS_MULTI_RESULTS
    | CAN_HANDLE_EXPIRED_PASSWORDS
    | DEPRECATE_EOF
    | QUERY_ATTRIBUTES
    | MARIADB_BULK
    | MARIADB_EXTENDED_METADATA;

/// What the front offers to clients. Query attributes are MySQL's alone, and so is the flag without which MariaDB's own
/// are understood.
pub const fn offered_to_clients(mysql: bool, tls: bool) -> u32 {
    let offered = ALWAYS | PROFILE | CONNECT_WITH_DB | IGNORE_SIGPIPE | CONNECT_ATTRS | SESSION_TRACK;
    let offered = if tls { offered | SSL } else { offered };
    if mysql {
        offered & !(MARIADB_BULK | MARIADB_EXTENDED_METADATA)
    } else {
        offered & !(QUERY_ATTRIBUTES | LONG_PASSWORD)
    }
}

/// What we ask of a server on behalf of a client that negotiated `client`, given what the server offers.
/// Session tracking is always asked for: it is how a session's state is known.
pub const fn asked_of_server(client: u32, server: u32) -> u32 {
    (ALWAYS | (client & PROFILE) | SESSION_TRACK | CONNECT_ATTRS | CONNECT_WITH_DB) & server
}
