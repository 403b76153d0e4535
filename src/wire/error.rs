//! ERR packets, and every error the proxy itself gives.

use super::Malformed;
use super::read::Cursor;

/// Numbers of errors that we emit or recognise. Never 2000–2999: client libraries take those, sent by a
/// server, for a malformed packet.
pub mod code {
    pub const CON_COUNT: u16 = 1040;
    pub const HANDSHAKE: u16 = 1043;
    pub const DB_ACCESS_DENIED: u16 = 1044;
    pub const ACCESS_DENIED: u16 = 1045;
    pub const NO_DB: u16 = 1046;
    pub const UNKNOWN_COMMAND: u16 = 1047;
    pub const BAD_DB: u16 = 1049;
    pub const SERVER_SHUTDOWN: u16 = 1053;
    pub const PARSE_ERROR: u16 = 1064;
    pub const EMPTY_QUERY: u16 = 1065;
    pub const NO_SUCH_THREAD: u16 = 1094;
    pub const KILL_DENIED: u16 = 1095;
    pub const TOO_BIG_SELECT: u16 = 1104;
    pub const UNKNOWN: u16 = 1105;
    pub const HOST_IS_BLOCKED: u16 = 1129;
    pub const HOST_NOT_PRIVILEGED: u16 = 1130;
    pub const BAD_FIELD: u16 = 1054;
    pub const TABLE_ACCESS_DENIED: u16 = 1142;
    pub const COLUMN_ACCESS_DENIED: u16 = 1143;
    pub const NO_SUCH_TABLE: u16 = 1146;
    pub const NO_SUCH_KEY: u16 = 1176;
    pub const NO_FULLTEXT_INDEX: u16 = 1191;
    pub const NO_SUCH_ROUTINE: u16 = 1305;
    pub const VIEW_INVALID: u16 = 1356;
    pub const ROUTINE_ACCESS_DENIED: u16 = 1370;
    pub const NO_SUCH_PARTITION: u16 = 1735;
    pub const PACKET_TOO_LARGE: u16 = 1153;
    pub const PACKETS_OUT_OF_ORDER: u16 = 1156;
    pub const NET_UNCOMPRESS_ERROR: u16 = 1157;
    pub const NET_READ_ERROR: u16 = 1158;
    pub const NET_READ_INTERRUPTED: u16 = 1159;
    pub const NOT_SUPPORTED_AUTH_MODE: u16 = 1251;
    /// MariaDB's other access denied, for accounts without a password to get wrong.
    pub const ACCESS_DENIED_NO_PASSWORD: u16 = 1698;
    pub const MALFORMED_PACKET: u16 = 1835;
    pub const UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
    pub const TOO_MANY_USER_CONNECTIONS: u16 = 1203;
    pub const LOCK_DEADLOCK: u16 = 1213;
    pub const WRONG_VALUE_FOR_VARIABLE: u16 = 1231;
    pub const NOT_SUPPORTED_YET: u16 = 1235;
    pub const UNKNOWN_STMT_HANDLER: u16 = 1243;
    pub const OPTION_PREVENTS_STATEMENT: u16 = 1290;
    pub const QUERY_INTERRUPTED: u16 = 1317;
    pub const STMT_HAS_NO_OPEN_CURSOR: u16 = 1421;
    pub const NEED_REPREPARE: u16 = 1615;
    pub const CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: u16 = 1792;
    pub const READ_ONLY_MODE: u16 = 1836;
    pub const SECURE_TRANSPORT_REQUIRED: u16 = 3159;
    pub const CLIENT_INTERACTION_TIMEOUT: u16 = 4031;
}

/// An ERR packet, read or about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({state}): {message}")]
pub struct ErrPacket {
    pub code: u16,
    /// Five characters.
    pub state: String,
    pub message: String,
}

impl ErrPacket {
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, state: sqlstate(code).to_owned(), message: message.into() }
    }

    /// `payload` begins with 0xFF. Errors before the handshake carry no SQLSTATE.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != 0xFF {
            return Err(Malformed("not an ERR packet"));
        }
        let code = cursor.u16()?;
        let mut state = "HY000".to_owned();
        if cursor.rest().first() == Some(&b'#') {
            state = String::from_utf8_lossy(&cursor.bytes(6)?[1..]).into_owned();
        }
        Ok(Self { code, state, message: String::from_utf8_lossy(cursor.rest()).into_owned() })
    }

    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.message.len());
        out.push(0xFF);
        out.extend_from_slice(&self.code.to_le_bytes());
        out.push(b'#');
        out.extend_from_slice(self.state.as_bytes());
        out.extend_from_slice(self.message.as_bytes());
        out
    }

    /// As `payload`, for a client that has not told its capabilities yet.
    pub fn payload_before_handshake(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3 + self.message.len());
        out.push(0xFF);
        out.extend_from_slice(&self.code.to_le_bytes());
        out.extend_from_slice(self.message.as_bytes());
        out
    }

    /// Whether a prepared statement must be prepared anew before it can be executed.
    pub fn asks_to_prepare_again(&self) -> bool {
        matches!(self.code, code::UNKNOWN_STMT_HANDLER | code::NEED_REPREPARE)
    }

    /// Whether it would not have been said by a server that had all of the schema and the grants: a replica may
    /// not have got them yet, by whatever session they were made.
    pub fn may_be_of_lag(&self) -> bool {
        matches!(
            self.code,
            code::DB_ACCESS_DENIED
                | code::BAD_DB
                | code::BAD_FIELD
                | code::TABLE_ACCESS_DENIED
                | code::COLUMN_ACCESS_DENIED
                | code::NO_SUCH_TABLE
                | code::NO_SUCH_KEY
                | code::NO_FULLTEXT_INDEX
                | code::NO_SUCH_ROUTINE
                | code::VIEW_INVALID
                | code::ROUTINE_ACCESS_DENIED
                | code::NO_SUCH_PARTITION
        )
    }

    /// Whether a replica refused to write.
    pub fn refused_as_read_only(&self) -> bool {
        matches!(
            self.code,
            code::OPTION_PREVENTS_STATEMENT
                | code::CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
                | code::READ_ONLY_MODE
        )
    }
}

/// The SQLSTATE servers give with a number.
fn sqlstate(code: u16) -> &'static str {
    match code {
        code::CON_COUNT | code::NOT_SUPPORTED_AUTH_MODE => "08004",
        code::HANDSHAKE
        | code::UNKNOWN_COMMAND
        | code::SERVER_SHUTDOWN
        | code::PACKET_TOO_LARGE
        | code::PACKETS_OUT_OF_ORDER
        | code::NET_READ_ERROR
        | code::NET_READ_INTERRUPTED => "08S01",
        code::DB_ACCESS_DENIED
        | code::BAD_DB
        | code::PARSE_ERROR
        | code::EMPTY_QUERY
        | code::TOO_BIG_SELECT
        | code::WRONG_VALUE_FOR_VARIABLE
        | code::NOT_SUPPORTED_YET
        | code::TOO_MANY_USER_CONNECTIONS => "42000",
        code::NO_SUCH_TABLE => "42S02",
        code::ACCESS_DENIED => "28000",
        code::NO_DB => "3D000",
        code::LOCK_DEADLOCK => "40001",
        code::QUERY_INTERRUPTED => "70100",
        code::CANT_EXECUTE_IN_READ_ONLY_TRANSACTION => "25006",
        _ => "HY000",
    }
}
