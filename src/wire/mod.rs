//! The MySQL protocol: bytes to packets to messages and back. No sockets.

mod attributes;
pub mod auth;
pub mod capability;
mod change_user;
pub mod command;
mod compressed;
mod error;
mod execute;
mod frame;
mod greeting;
pub mod handshake;
mod ok;
mod proxy_protocol;
mod query;
pub mod read;
mod response;
#[cfg(test)]
mod response_tests;
pub mod status;
pub mod text;
#[cfg(test)]
mod text_tests;
pub mod write;

pub use attributes::{attribute, push_attribute};
pub use change_user::ChangeUser;
pub use command::Command;
pub use compressed::{Compression, FRAME_HEADER_LEN, FrameHeader, PacketWalk, ZSTD_LEVELS};
pub use error::{ErrPacket, code};
pub use execute::{ExecuteHead, PreparedHead, STATEMENT_ID};
pub use frame::{HEADER_LEN, Header, MAX_PAYLOAD, push_packet, whole_message};
pub use greeting::Greeting;
pub use handshake::HandshakeResponse;
pub use ok::{OkPacket, SessionChange, eof_packet};
pub use proxy_protocol::{LOCAL_HEADER, ProxyHeader, begins_proxy_header};
pub use query::statement_range;
pub use response::{Event, Expect, Kind, Outcome, Progress, ResponseTracker};

/// The peer sent what the protocol does not allow. Nothing further can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {0}")]
pub struct Malformed(pub &'static str);
