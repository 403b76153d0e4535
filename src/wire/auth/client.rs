//! The client's side of a login: answers whatever plugin the server asks for.

use zeroize::Zeroizing;

use super::packet::{
    AuthSwitch, FAST_AUTH_SUCCESS, MORE, PERFORM_FULL_AUTHENTICATION, REQUEST_PUBLIC_KEY,
    SHA256_REQUEST_PUBLIC_KEY, SWITCH,
};
use super::{NONCE_LEN, Password, Plugin, hash, rsa};
use crate::wire::{ErrPacket, Malformed};

/// Switches of plugin that a server may ask for in one login. Real ones ask once.
const SWITCHES_MAX: u32 = 4;

/// Length of client_ed25519's nonce.
const ED25519_NONCE_LEN: usize = 32;

/// One login to one server.
pub struct ClientLogin<'a> {
    password: &'a Password,
    /// Whether the bytes sent are encrypted, so that the password may be among them.
    encrypted: bool,
    plugin: Plugin,
    nonce: [u8; NONCE_LEN],
    stage: Stage,
    switches: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has the plugin's first answer.
    Answered,
    /// The server was asked for its RSA key.
    KeyRequested,
}

/// What comes next on the client's side.
pub enum ClientStep {
    Send(Zeroizing<Vec<u8>>),
    /// Nothing to say; the server goes on.
    Wait,
    /// Logged in. The packet handled was the OK.
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Refused(ErrPacket),
    /// What is known of the password does not do for the plugin, or we do not speak it.
    #[error("the server asks for {plugin}, which this credential or connection cannot answer")]
    Insufficient { plugin: String },
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl<'a> ClientLogin<'a> {
    /// `plugin` and `nonce` are the greeting's.
    pub fn new(password: &'a Password, encrypted: bool, plugin: &str, nonce: [u8; NONCE_LEN]) -> Self {
        // Where the greeting's plugin cannot be answered, any other may be tried: the server asks for a
        // switch when the account has another.
        let plugin = match Plugin::of(plugin.as_bytes()) {
            Some(Plugin::CachingSha2Password) | None if password.as_clear().is_some() => {
                Plugin::CachingSha2Password
            }
            _ => Plugin::NativePassword,
        };
        Self { password, encrypted, plugin, nonce, stage: Stage::Answered, switches: 0 }
    }

    /// The plugin's name and its first answer, for the handshake response.
    pub fn first(&self) -> (&'static str, Vec<u8>) {
        let answer = match self.plugin {
            Plugin::CachingSha2Password => self.caching_sha2_answer().unwrap_or_default(),
            _ => self.native_answer(),
        };
        (self.plugin.name(), answer)
    }

    /// Reads one packet of the server.
    pub fn handle(&mut self, payload: &[u8]) -> Result<ClientStep, ClientError> {
        match payload.first() {
            Some(0x00) => Ok(ClientStep::Done),
            Some(0xFF) => Err(ClientError::Refused(ErrPacket::parse(payload)?)),
            Some(&SWITCH) => self.switch(&AuthSwitch::parse(payload)?),
            Some(&MORE) => self.more(&payload[1..]),
            // PAM has more than one question; the answer to the next is not known.
            Some(_) if self.plugin == Plugin::Dialog => Err(insufficient(self.plugin.name().as_bytes())),
            _ => Err(Malformed("not a packet of a login").into()),
        }
    }

    fn switch(&mut self, switch: &AuthSwitch<'_>) -> Result<ClientStep, ClientError> {
        self.switches += 1;
        if self.switches > SWITCHES_MAX {
            return Err(Malformed("endless switches of plugin").into());
        }
        let plugin = Plugin::of(switch.plugin).ok_or_else(|| insufficient(switch.plugin))?;
        self.plugin = plugin;
        self.stage = Stage::Answered;
        if matches!(plugin, Plugin::NativePassword | Plugin::CachingSha2Password | Plugin::Sha256Password) {
            let nonce = switch.data.first_chunk().ok_or(Malformed("nonce of the authentication switch"))?;
            self.nonce = *nonce;
        }
        let answer = match plugin {
            Plugin::NativePassword => Some(self.native_answer()),
            Plugin::CachingSha2Password => self.caching_sha2_answer(),
            Plugin::Ed25519 => self.ed25519_answer(switch.data)?,
            Plugin::Sha256Password => self.sha256_answer(),
            Plugin::ClearPassword | Plugin::Dialog => self.clear_answer(),
        };
        let answer = answer.ok_or_else(|| insufficient(switch.plugin))?;
        Ok(ClientStep::Send(Zeroizing::new(answer)))
    }

    fn more(&mut self, data: &[u8]) -> Result<ClientStep, ClientError> {
        if !matches!(self.plugin, Plugin::CachingSha2Password | Plugin::Sha256Password) {
            return Err(Malformed("data for a plugin that expects none").into());
        }
        let clear = self.password.as_clear().ok_or_else(|| insufficient(self.plugin.name().as_bytes()))?;
        match (self.stage, data) {
            (Stage::KeyRequested, pem) => {
                self.stage = Stage::Answered;
                Ok(ClientStep::Send(Zeroizing::new(rsa::encrypt(clear, &self.nonce, pem)?)))
            }
            (Stage::Answered, &[FAST_AUTH_SUCCESS]) => Ok(ClientStep::Wait),
            (Stage::Answered, &[PERFORM_FULL_AUTHENTICATION]) if self.encrypted => {
                Ok(ClientStep::Send(Zeroizing::new(with_nul(clear))))
            }
            (Stage::Answered, &[PERFORM_FULL_AUTHENTICATION]) => {
                self.stage = Stage::KeyRequested;
                Ok(ClientStep::Send(Zeroizing::new(vec![REQUEST_PUBLIC_KEY])))
            }
            _ => Err(Malformed("unknown request of caching_sha2_password").into()),
        }
    }

    fn native_answer(&self) -> Vec<u8> {
        if self.password.is_empty() {
            return Vec::new();
        }
        hash::native_proof(&self.nonce, &self.password.native_hash()).to_vec()
    }

    fn caching_sha2_answer(&self) -> Option<Vec<u8>> {
        let clear = self.password.as_clear()?;
        if clear.is_empty() {
            return Some(Vec::new());
        }
        Some(hash::caching_sha2_proof(&self.nonce, clear).to_vec())
    }

    fn ed25519_answer(&self, data: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let nonce = data.get(..ED25519_NONCE_LEN).ok_or(Malformed("nonce of client_ed25519"))?;
        let sign = |clear| mysql_common::scramble::create_response_for_ed25519(clear, nonce).to_vec();
        Ok(self.password.as_clear().map(sign))
    }

    fn sha256_answer(&mut self) -> Option<Vec<u8>> {
        let clear = self.password.as_clear()?;
        if self.encrypted || clear.is_empty() {
            return Some(with_nul(clear));
        }
        self.stage = Stage::KeyRequested;
        Some(vec![SHA256_REQUEST_PUBLIC_KEY])
    }

    fn clear_answer(&self) -> Option<Vec<u8>> {
        if !self.encrypted {
            return None;
        }
        self.password.as_clear().map(with_nul)
    }
}

fn with_nul(clear: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(clear.len() + 1);
    out.extend_from_slice(clear);
    out.push(0);
    out
}

fn insufficient(plugin: &[u8]) -> ClientError {
    ClientError::Insufficient { plugin: String::from_utf8_lossy(plugin).into_owned() }
}
