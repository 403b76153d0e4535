//! Server status flags of OK and EOF packets.

pub const IN_TRANS: u16 = 1;
pub const AUTOCOMMIT: u16 = 2;
pub const MORE_RESULTS: u16 = 8;
pub const CURSOR_EXISTS: u16 = 0x40;
pub const LAST_ROW_SENT: u16 = 0x80;
pub const NO_BACKSLASH_ESCAPES: u16 = 0x200;
pub const PS_OUT_PARAMS: u16 = 0x1000;
pub const IN_TRANS_READONLY: u16 = 0x2000;
pub const SESSION_STATE_CHANGED: u16 = 0x4000;
/// MariaDB only.
pub const ANSI_QUOTES: u16 = 0x8000;
