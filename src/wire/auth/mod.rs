//! Login plugins as state machines without sockets, both sides.
//!
//! `client` is the side that proves it knows a password (we, to a server); `server` the side that asks for
//! the proof (we, to a client). What they say to each other is in `packet`, what they compute in `hash` and
//! `rsa`.

mod client;
mod hash;
mod packet;
mod password;
mod rsa;
mod server;

pub use client::{ClientError, ClientLogin, ClientStep};
pub use packet::{AuthSwitch, auth_more};
pub use password::Password;
pub use rsa::RsaKey;
pub use server::{Known, ServerLogin, ServerStep};

/// Length of the nonce of mysql_native_password and caching_sha2_password.
pub const NONCE_LEN: usize = 20;

/// A login plugin that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plugin {
    NativePassword,
    CachingSha2Password,
    /// MariaDB; towards servers only.
    Ed25519,
    /// MySQL's older SHA-256 plugin, without a cache; towards servers only.
    Sha256Password,
    /// The password as it is, hence over TLS only; towards servers only.
    ClearPassword,
    /// MariaDB's PAM: as `ClearPassword`, in answer to the first question.
    Dialog,
}

impl Plugin {
    pub fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"mysql_native_password" => Some(Plugin::NativePassword),
            b"caching_sha2_password" => Some(Plugin::CachingSha2Password),
            b"client_ed25519" => Some(Plugin::Ed25519),
            b"sha256_password" => Some(Plugin::Sha256Password),
            b"mysql_clear_password" => Some(Plugin::ClearPassword),
            b"dialog" => Some(Plugin::Dialog),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Plugin::NativePassword => "mysql_native_password",
            Plugin::CachingSha2Password => "caching_sha2_password",
            Plugin::Ed25519 => "client_ed25519",
            Plugin::Sha256Password => "sha256_password",
            Plugin::ClearPassword => "mysql_clear_password",
            Plugin::Dialog => "dialog",
        }
    }
}

/// Makes a nonce of random bytes: seven bits each, for clients that take it for text; no NUL, which would end
/// it, and no `$`, which separates fields of a stored hash.
pub fn nonce(random: [u8; NONCE_LEN]) -> [u8; NONCE_LEN] {
    random.map(|byte| match byte & 0x7F {
        0 => 1,
        b'$' => b'%',
        other => other,
    })
}
