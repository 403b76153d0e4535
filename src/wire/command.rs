//! What a client asks: the first byte of a command packet.

/// Known command bytes. Those we refuse are known too, so that the refusal names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Quit,
    InitDb,
    Query,
    FieldList,
    Refresh,
    Statistics,
    ProcessInfo,
    ProcessKill,
    Debug,
    Ping,
    ChangeUser,
    StmtPrepare,
    StmtExecute,
    StmtSendLongData,
    StmtClose,
    StmtReset,
    SetOption,
    StmtFetch,
    ResetConnection,
    /// Replication, cloning and what only servers say to themselves.
    Refused(u8),
    /// MariaDB: COM_STMT_BULK_EXECUTE.
    StmtBulkExecute,
    Unknown(u8),
}

impl Command {
    pub const fn of(byte: u8) -> Self {
        match byte {
            0x01 => Command::Quit,
            0x02 => Command::InitDb,
            0x03 => Command::Query,
            0x04 => Command::FieldList,
            0x07 => Command::Refresh,
            0x09 => Command::Statistics,
            0x0a => Command::ProcessInfo,
            0x0c => Command::ProcessKill,
            0x0d => Command::Debug,
            0x0e => Command::Ping,
            0x11 => Command::ChangeUser,
            0x16 => Command::StmtPrepare,
            0x17 => Command::StmtExecute,
            0x18 => Command::StmtSendLongData,
            0x19 => Command::StmtClose,
            0x1a => Command::StmtReset,
            0x1b => Command::SetOption,
            0x1c => Command::StmtFetch,
            0x1f => Command::ResetConnection,
            0x00 | 0x05 | 0x06 | 0x08 | 0x0b | 0x0f | 0x10 | 0x12..=0x15 | 0x1d | 0x1e | 0x20..=0x22 => {
                Command::Refused(byte)
            }
            0xfa => Command::StmtBulkExecute,
            _ => Command::Unknown(byte),
        }
    }

    pub const QUIT: u8 = 0x01;
    pub const INIT_DB: u8 = 0x02;
    pub const QUERY: u8 = 0x03;
    pub const PROCESS_KILL: u8 = 0x0c;
    pub const PING: u8 = 0x0e;
    pub const CHANGE_USER: u8 = 0x11;
    pub const STMT_PREPARE: u8 = 0x16;
    pub const STMT_CLOSE: u8 = 0x19;
    pub const RESET_CONNECTION: u8 = 0x1f;
}
