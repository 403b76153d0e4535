//! Lets a client prove or tell its password, and has it judged.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout_at;

use super::applicant::Applicant;
use super::decide::{Admitted, Decision, Proof, Standing, decide};
use super::exchange::Exchange;
use super::verify::VerifyError;
use super::{FrontLogin, LoginError, fresh_nonce, in_time};
use crate::backend::{Conn, Credential};
use crate::serve::accounts::{Account, Trust};
use crate::topology::ServerId;
use crate::wire::auth::{Known, NONCE_LEN, Plugin, ServerLogin, ServerStep};
use crate::wire::{ErrPacket, capability, code};

/// How the exchange about the password begins.
pub(super) enum Opening<'a> {
    /// With the client's answer to the greeting's nonce.
    Answer { nonce: [u8; NONCE_LEN], plugin: Option<&'a [u8]>, answer: &'a [u8] },
    /// With a nonce for the plugin that the client names, if that one can do.
    Switch { plugin: Option<&'a [u8]> },
}

/// A login that succeeded, of which the client has not been told.
pub(super) struct Entry {
    pub(super) credential: Arc<Credential>,
    pub(super) admitted: Admitted,
    /// The session that a server was asked with.
    pub(super) backend: Option<(ServerId, Conn)>,
    /// What the client was given last to prove its password by.
    pub(super) nonce: [u8; NONCE_LEN],
    /// Goes before the OK.
    pub(super) before_ok: Option<Vec<u8>>,
}

pub(super) async fn authenticate(
    exchange: &mut Exchange,
    applicant: &Applicant,
    opening: Opening<'_>,
    front: &FrontLogin,
    deadline: Instant,
) -> Result<Entry, LoginError> {
    let account = (front.accounts)(&applicant.user);
    let stamp = account.as_ref().map(|account| account.stamp);
    let Account { native_hashes, requires_tls, .. } = account.unwrap_or_default();
    let standing = standing(front, applicant, stamp);
    let known = Known { password: standing.password(), native_hashes: &native_hashes };
    let can_switch = applicant.capabilities & capability::PLUGIN_AUTH != 0;
    let mut machine = ServerLogin::new(known, &front.rsa, exchange.is_secure(), fresh_nonce()?);
    let mut step = match opening {
        // A client that lacks the greeting's plugin names its own and leaves the answer out.
        Opening::Answer { plugin, answer: [], .. }
            if can_switch && plugin == Some(Plugin::CachingSha2Password.name().as_bytes()) =>
        {
            machine.switch(Plugin::CachingSha2Password)
        }
        Opening::Answer { nonce, plugin, answer } => {
            // Before there were plugins there was one.
            machine.start(nonce, plugin.unwrap_or(Plugin::NativePassword.name().as_bytes()), answer)
        }
        Opening::Switch { plugin } => {
            let native = plugin == Some(Plugin::NativePassword.name().as_bytes());
            let listed = matches!(standing, Standing::Listed { .. });
            let native = native && (listed || !native_hashes.is_empty());
            machine.switch(if native { Plugin::NativePassword } else { Plugin::CachingSha2Password })
        }
    };
    loop {
        let conversation = converse(exchange, applicant, &mut machine, step, can_switch);
        let (proof, before_ok) = in_time(deadline, conversation).await?;
        if requires_tls && !exchange.is_tls() {
            let (user, host) = (applicant.user.clone(), applicant.host());
            return Err(LoginError::AccountRequiresTls { user, host });
        }
        match judge(front, applicant, &standing, stamp, proof, deadline).await {
            Ok(entry) => return Ok(Entry { before_ok, nonce: machine.nonce(), ..entry }),
            // The hash of mysql_native_password does not do for this account; the password would.
            Err(Judgement::Insufficient) if can_switch && !machine.has_switched() => {
                step = machine.switch(Plugin::CachingSha2Password);
            }
            Err(Judgement::Insufficient) => return Err(applicant.denied(true)),
            Err(Judgement::Failed(error)) => return Err(error),
        }
    }
}

fn standing(front: &FrontLogin, applicant: &Applicant, stamp: Option<u64>) -> Standing {
    let remembered = front.cache.look(&applicant.user, applicant.schema(), stamp, Instant::now());
    if let Some(credential) = front.users.get(&applicant.user) {
        let trusted = matches!(remembered, Some((_, Trust::Trusted)));
        return Standing::Listed {
            credential: Arc::clone(credential),
            seen: trusted || applicant.schema().is_none(),
        };
    }
    match remembered {
        Some((credential, trust)) => Standing::Remembered { credential, trust },
        None => Standing::Unknown,
    }
}

/// Asks and listens until something is proved or claimed.
async fn converse(
    exchange: &mut Exchange,
    applicant: &Applicant,
    machine: &mut ServerLogin<'_>,
    mut step: ServerStep,
    can_switch: bool,
) -> Result<(Proof, Option<Vec<u8>>), LoginError> {
    loop {
        match step {
            ServerStep::Send(_) if !can_switch => return Err(LoginError::OldClient),
            ServerStep::Send(payload) => {
                exchange.send(&payload).await?;
                let answer = exchange.receive().await?;
                step = machine.handle(&answer)?;
            }
            ServerStep::Proved { before_ok } => return Ok((Proof::Known, before_ok)),
            ServerStep::Claimed(password) => return Ok((Proof::Claimed(password), None)),
            ServerStep::Failed => return Err(applicant.denied(true)),
        }
    }
}

/// Why there is no entry.
enum Judgement {
    /// The account's plugin needs more than is known of the password.
    Insufficient,
    Failed(LoginError),
}

async fn judge(
    front: &FrontLogin,
    applicant: &Applicant,
    standing: &Standing,
    stamp: Option<u64>,
    proof: Proof,
    deadline: Instant,
) -> Result<Entry, Judgement> {
    let claims_none = matches!(&proof, Proof::Claimed(password) if password.is_empty());
    let admit = |credential, admitted| Entry {
        credential,
        admitted,
        backend: None,
        nonce: [0; NONCE_LEN],
        before_ok: None,
    };
    let (credential, without_server) = match decide(&applicant.user, standing, proof, front.servers.is_some())
    {
        Decision::Admit(credential, admitted) => return Ok(admit(credential, admitted)),
        Decision::Deny => return Err(Judgement::Failed(applicant.denied(!claims_none))),
        Decision::Ask { credential, without_server } => (credential, without_server),
    };
    match ask(front, applicant, &credential, deadline).await {
        Ok(backend) => {
            front.cache.learn(&credential, applicant.schema(), stamp, Instant::now());
            Ok(Entry { backend: Some(backend), ..admit(credential, Admitted::Verified) })
        }
        Err(VerifyError::Refused(words)) if is_about_the_password(&words) => {
            front.cache.forget(&credential);
            Err(Judgement::Failed(applicant.denied(!credential.password.is_empty())))
        }
        Err(VerifyError::Refused(words)) => Err(Judgement::Failed(LoginError::Refused(words))),
        Err(VerifyError::Insufficient { plugin }) => {
            tracing::debug!(user = %applicant.user, %plugin, "the login plugin needs more than is known");
            Err(Judgement::Insufficient)
        }
        Err(VerifyError::NoServer(failures)) => match without_server {
            Some(admitted) => Ok(admit(credential, admitted)),
            None => Err(Judgement::Failed(LoginError::NoServer(failures))),
        },
    }
}

async fn ask(
    front: &FrontLogin,
    applicant: &Applicant,
    credential: &Credential,
    deadline: Instant,
) -> Result<(ServerId, Conn), VerifyError> {
    let Some(servers) = &front.servers else {
        return Err(VerifyError::NoServer("there are none".to_owned()));
    };
    let verify = servers.verify(credential, &applicant.login);
    let late = || VerifyError::NoServer("no answer within the time a login may take".to_owned());
    timeout_at(deadline.into(), verify).await.unwrap_or_else(|_| Err(late()))
}

/// The server's words name the proxy's host; the client is told its own.
fn is_about_the_password(words: &ErrPacket) -> bool {
    matches!(words.code, code::ACCESS_DENIED | code::ACCESS_DENIED_NO_PASSWORD)
}
