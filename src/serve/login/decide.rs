//! Whether a client is let in, refused, or a server has to say: the policy without sockets.

use std::sync::Arc;

use crate::backend::Credential;
use crate::serve::accounts::Trust;
use crate::wire::auth::Password;

/// What is known of the user before it has proved anything.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// In the configuration. `seen`: a server has let it begin in the schema it asks for, or it asks for none.
    Listed {
        credential: Arc<Credential>,
        seen: bool,
    },
    /// A server has verified this password at some time.
    Remembered {
        credential: Arc<Credential>,
        trust: Trust,
    },
    Unknown,
}

/// What the client has shown.
#[derive(Debug)]
pub(super) enum Proof {
    /// It knows the password that `Standing` holds.
    Known,
    /// It says that this is the password.
    Claimed(Password),
}

#[derive(Debug)]
pub(super) enum Decision {
    Admit(Arc<Credential>, Admitted),
    /// A server decides. If none can be asked, the client is let in for the reason given, if there is one.
    Ask {
        credential: Arc<Credential>,
        without_server: Option<Admitted>,
    },
    Deny,
}

/// Why a client was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// By the configuration.
    Listed,
    /// By a server, just now.
    Verified,
    /// By a server, not long ago.
    Remembered,
}

impl Standing {
    pub(super) fn password(&self) -> Option<&Password> {
        match self {
            Standing::Listed { credential, .. } | Standing::Remembered { credential, .. } => {
                Some(&credential.password)
            }
            Standing::Unknown => None,
        }
    }
}

/// `servers`: whether there are servers to ask at all.
pub(super) fn decide(user: &str, standing: &Standing, proof: Proof, servers: bool) -> Decision {
    let ask = |password: Password| {
        let credential = Arc::new(Credential { user: user.to_owned(), password });
        Decision::Ask { credential, without_server: None }
    };
    match (standing, proof) {
        (Standing::Listed { credential, seen }, proof) => {
            if !proves(&proof, &credential.password) {
                return Decision::Deny;
            }
            let credential = Arc::clone(credential);
            match *seen || !servers {
                true => Decision::Admit(credential, Admitted::Listed),
                false => Decision::Ask { credential, without_server: Some(Admitted::Listed) },
            }
        }
        (_, Proof::Claimed(password)) if servers => ask(password),
        (Standing::Remembered { credential, trust }, Proof::Known) if servers => {
            let credential = Arc::clone(credential);
            match trust {
                Trust::Trusted => Decision::Admit(credential, Admitted::Remembered),
                Trust::SchemaUnseen => {
                    Decision::Ask { credential, without_server: Some(Admitted::Remembered) }
                }
                Trust::Expired | Trust::AccountChanged => Decision::Ask { credential, without_server: None },
            }
        }
        _ => Decision::Deny,
    }
}

fn proves(proof: &Proof, password: &Password) -> bool {
    match proof {
        Proof::Known => true,
        Proof::Claimed(claimed) => claimed.same(password),
    }
}
