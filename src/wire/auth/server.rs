//! The server's side of a login: asks for a proof of the password, and for the password itself where no proof
//! can be checked.

use super::packet::{
    AuthSwitch, FAST_AUTH_SUCCESS, PERFORM_FULL_AUTHENTICATION, REQUEST_PUBLIC_KEY, auth_more,
};
use super::{NONCE_LEN, Password, Plugin, RsaKey, hash};
use crate::wire::Malformed;

/// What a proof can be checked against.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    pub password: Option<&'a Password>,
    /// SHA1(SHA1(password)) of the accounts with the user's name.
    pub native_hashes: &'a [[u8; 20]],
}

/// One login of one client. It takes the same steps for a wrong password and for a user nobody knows.
pub struct ServerLogin<'a> {
    known: Known<'a>,
    rsa: &'a RsaKey,
    /// Whether the client's bytes come encrypted, so that the password may be among them.
    encrypted: bool,
    nonce: [u8; NONCE_LEN],
    next_nonce: [u8; NONCE_LEN],
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client's first answer, of the plugin it named itself.
    Greeted,
    /// The first answer of the plugin it was asked to switch to.
    Switched(Plugin),
    /// The password, or a request for our key.
    PasswordRequested,
    /// The password under our key.
    KeySent,
}

/// What comes next on the server's side.
#[derive(Debug)]
pub enum ServerStep {
    /// Send this and hand over the client's answer to it.
    Send(Vec<u8>),
    /// The client knows `Known::password`. `before_ok` goes before the OK.
    Proved { before_ok: Option<Vec<u8>> },
    /// The client says that this is the password. Whether it is, somebody else must say.
    Claimed(Password),
    /// No password was understood; the client has no other way to tell.
    Failed,
}

impl<'a> ServerLogin<'a> {
    /// `encrypted`: TLS is between us and the client. `next_nonce` is for the switch of plugin that may come.
    pub fn new(known: Known<'a>, rsa: &'a RsaKey, encrypted: bool, next_nonce: [u8; NONCE_LEN]) -> Self {
        Self { known, rsa, encrypted, nonce: next_nonce, next_nonce, stage: Stage::Greeted }
    }

    /// Reads the answer to a greeting that held `nonce`, made by the plugin called `plugin`.
    pub fn start(&mut self, nonce: [u8; NONCE_LEN], plugin: &[u8], answer: &[u8]) -> ServerStep {
        self.nonce = nonce;
        match Plugin::of(plugin) {
            Some(plugin @ (Plugin::NativePassword | Plugin::CachingSha2Password)) => {
                self.first_answer(plugin, answer)
            }
            _ => self.switch(Plugin::CachingSha2Password),
        }
    }

    /// Asks the client to go on with `plugin` and a fresh nonce.
    pub fn switch(&mut self, plugin: Plugin) -> ServerStep {
        self.nonce = self.next_nonce;
        self.stage = Stage::Switched(plugin);
        let switch = AuthSwitch { plugin: plugin.name().as_bytes(), data: &self.nonce };
        ServerStep::Send(switch.payload())
    }

    /// The nonce that the client was given last.
    pub fn nonce(&self) -> [u8; NONCE_LEN] {
        self.nonce
    }

    /// Whether `switch` has been used, which it can be once.
    pub fn has_switched(&self) -> bool {
        self.stage != Stage::Greeted
    }

    /// Reads the answer to what `ServerStep::Send` held.
    pub fn handle(&mut self, answer: &[u8]) -> Result<ServerStep, Malformed> {
        match self.stage {
            Stage::Greeted => Err(Malformed("an answer that was not asked for")),
            Stage::Switched(plugin) => Ok(self.first_answer(plugin, answer)),
            Stage::PasswordRequested if self.encrypted => {
                let password = answer.strip_suffix(&[0]).ok_or(Malformed("password without its NUL"))?;
                Ok(ServerStep::Claimed(Password::clear(password)))
            }
            Stage::PasswordRequested if answer == [REQUEST_PUBLIC_KEY] => {
                self.stage = Stage::KeySent;
                Ok(ServerStep::Send(auth_more(self.rsa.public_pem().as_bytes())))
            }
            // A client that was given our key beforehand does not ask for it.
            Stage::PasswordRequested | Stage::KeySent => Ok(match self.rsa.decrypt(answer, &self.nonce) {
                Ok(password) => ServerStep::Claimed(Password::Clear(password)),
                Err(_) => ServerStep::Failed,
            }),
        }
    }

    fn first_answer(&mut self, plugin: Plugin, answer: &[u8]) -> ServerStep {
        // Clients say either for "no password".
        if matches!(answer, [] | [0]) {
            return match self.known.password {
                Some(password) if password.is_empty() => ServerStep::Proved { before_ok: None },
                _ => ServerStep::Claimed(Password::clear([])),
            };
        }
        match plugin {
            Plugin::NativePassword => self.native_answer(answer),
            _ => self.caching_sha2_answer(answer),
        }
    }

    fn native_answer(&mut self, proof: &[u8]) -> ServerStep {
        if let Some(password) = self.known.password {
            let stage2 = hash::sha1(&[&*password.native_hash()]);
            if hash::native_check(&self.nonce, proof, &stage2).is_some() {
                return ServerStep::Proved { before_ok: None };
            }
        }
        let claims = self.known.native_hashes.iter();
        let claim = claims.filter_map(|stage2| hash::native_check(&self.nonce, proof, stage2)).next();
        match claim {
            Some(stage1) => ServerStep::Claimed(Password::NativeHash(stage1)),
            // What is known may be old: the password itself is what a server can judge.
            None if !self.has_switched() => self.switch(Plugin::CachingSha2Password),
            None => ServerStep::Failed,
        }
    }

    fn caching_sha2_answer(&mut self, proof: &[u8]) -> ServerStep {
        let clear = self.known.password.and_then(Password::as_clear);
        if clear.is_some_and(|clear| hash::caching_sha2_check(&self.nonce, proof, clear)) {
            return ServerStep::Proved { before_ok: Some(auth_more(&[FAST_AUTH_SUCCESS])) };
        }
        self.stage = Stage::PasswordRequested;
        ServerStep::Send(auth_more(&[PERFORM_FULL_AUTHENTICATION]))
    }
}
