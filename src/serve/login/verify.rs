//! Lets a server judge a password, by logging in with it.

use tokio::sync::Semaphore;

use crate::backend::{Conn, ConnectError, Credential, Login, Target};
use crate::topology::{Reader, ServerId, Snapshot, Standing};
use crate::wire::{ErrPacket, code};

/// Logins verified at once; the others wait, so that a storm of clients is none for the servers.
const VERIFICATIONS_AT_ONCE: usize = 64;

/// The servers that may be asked.
pub struct Servers {
    topology: Reader,
    /// Indexed by `ServerId`.
    targets: Box<[Target]>,
    permits: Semaphore,
}

/// Why the password was not verified.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    /// The server's words.
    #[error("{0}")]
    Refused(ErrPacket),
    /// The account has a plugin that what is known of the password cannot answer.
    #[error("the account's login plugin is {plugin}")]
    Insufficient { plugin: String },
    #[error("{0}")]
    NoServer(String),
}

impl Servers {
    pub fn new(topology: Reader, targets: Box<[Target]>) -> Self {
        Self { topology, targets, permits: Semaphore::new(VERIFICATIONS_AT_ONCE) }
    }

    /// Logs in to the primary, or else to the first server that can be asked.
    pub(super) async fn verify(
        &self,
        credential: &Credential,
        login: &Login,
    ) -> Result<(ServerId, Conn), VerifyError> {
        // Never closed, so this fails never; without a permit there would merely be no limit.
        let _permit = self.permits.acquire().await.ok();
        let mut failures = Vec::new();
        let mut refused = None;
        for id in candidates(&self.topology.load()) {
            let Some(target) = self.targets.get(usize::from(id.0)) else { continue };
            match Conn::connect(target, credential, login).await {
                Ok(conn) => return Ok((id, conn)),
                Err(ConnectError::Refused(words)) if is_about_the_server(&words) => refused = Some(words),
                Err(ConnectError::Refused(words)) => return Err(VerifyError::Refused(words)),
                Err(ConnectError::CredentialInsufficient { plugin }) => {
                    return Err(VerifyError::Insufficient { plugin });
                }
                Err(error) => failures.push(format!("{}: {error}", target.address)),
            }
        }
        match refused {
            Some(words) => Err(VerifyError::Refused(words)),
            None if failures.is_empty() => Err(VerifyError::NoServer("none is serving".to_owned())),
            None => Err(VerifyError::NoServer(failures.join("; "))),
        }
    }
}

/// The servers that serve, the primary first: it alone knows an account that was made a moment ago.
fn candidates(snapshot: &Snapshot) -> Vec<ServerId> {
    let serving = snapshot.servers.iter().filter(|server| server.standing == Standing::Serving);
    let mut ids: Vec<ServerId> = serving.map(|server| server.id).collect();
    ids.sort_by_key(|id| Some(*id) != snapshot.primary);
    ids
}

/// Whether the refusal says nothing of the user, so that another server may be asked.
fn is_about_the_server(words: &ErrPacket) -> bool {
    matches!(
        words.code,
        code::CON_COUNT | code::SERVER_SHUTDOWN | code::HOST_IS_BLOCKED | code::HOST_NOT_PRIVILEGED
    )
}
