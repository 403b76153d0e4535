//! Who wants to log in, and how the session is to begin.

use std::sync::Arc;

use super::LoginError;
use crate::backend::Login;
use crate::net::PeerAddress;
use crate::wire::{ChangeUser, HandshakeResponse, attribute, capability};

/// Characters of a program's name that are kept.
const PROGRAM_NAME_MAX: usize = 64;

pub(super) struct Applicant {
    pub(super) user: String,
    pub(super) program: Option<Arc<str>>,
    pub(super) peer: PeerAddress,
    /// What both sides agreed on.
    pub(super) capabilities: u32,
    /// As a server will be asked for it.
    pub(super) login: Login,
}

impl Applicant {
    pub(super) fn from_response(response: &HandshakeResponse<'_>, offered: u32, peer: PeerAddress) -> Self {
        // TLS is a matter of the connection and not of the session.
        let capabilities = response.capabilities & offered & !capability::SSL;
        let login = Login {
            client_capabilities: capabilities,
            collation: u16::from(response.collation),
            schema: response.schema.map(text),
        };
        Self { user: text(response.user), program: program(response.attributes), peer, capabilities, login }
    }

    /// `capabilities` and `collation` are those of the session.
    pub(super) fn from_change(
        message: &ChangeUser<'_>,
        capabilities: u32,
        collation: u16,
        peer: PeerAddress,
    ) -> Self {
        let login = Login {
            client_capabilities: capabilities,
            collation: message.collation.unwrap_or(collation),
            schema: message.schema.map(text),
        };
        Self { user: text(message.user), program: program(message.attributes), peer, capabilities, login }
    }

    pub(super) fn schema(&self) -> Option<&str> {
        self.login.schema.as_deref()
    }

    pub(super) fn host(&self) -> String {
        self.peer.host()
    }

    pub(super) fn denied(&self, with_password: bool) -> LoginError {
        LoginError::Denied { user: self.user.clone(), host: self.host(), with_password }
    }
}

/// What the client says it is. Shown to people, so cut to a length for them.
fn program(attributes: &[u8]) -> Option<Arc<str>> {
    let name = String::from_utf8_lossy(attribute(attributes, b"program_name")?);
    let shown: String = name.chars().filter(|c| !c.is_control()).take(PROGRAM_NAME_MAX).collect();
    (!shown.is_empty()).then(|| shown.into())
}

/// Names that are not UTF-8 become those of no user and no schema.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
