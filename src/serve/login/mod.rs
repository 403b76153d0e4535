//! From an accepted socket to a session that is logged in.
//!
//! A user listed in the configuration is known by its password. For every other user the database decides: the
//! proxy learns the password (or the hash that mysql_native_password works with) and logs in to a server with
//! it. A password that a server has verified is trusted for `listen.auth_cache` while the account stays the
//! same, so that most logins need no server.

mod applicant;
mod authenticate;
mod decide;
mod error;
mod exchange;
mod greet;
#[cfg(test)]
mod tests;
mod verify;

pub use decide::Admitted;
pub use error::LoginError;
pub use exchange::LOGIN_PACKET_MAX;
pub use verify::Servers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use self::applicant::Applicant;
use self::authenticate::{Entry, Opening, authenticate};
use self::exchange::Exchange;
use self::greet::{fresh_nonce, greet, offered};
use super::accounts::{AccountLookup, CredentialCache};
use super::tls::FrontTlsSetup;
use crate::backend::{Conn, Credential};
use crate::config::{ProxyProtocol, User};
use crate::flavour::Flavour;
use crate::net::{Channel, Peer, PeerAddress};
use crate::topology::ServerId;
use crate::wire::auth::{NONCE_LEN, Password, Plugin, RsaKey};
use crate::wire::{ChangeUser, Compression, ErrPacket, HandshakeResponse, OkPacket, SessionChange, status};

/// What every login on one port has in common.
pub struct FrontLogin {
    /// `None`: clients are not offered TLS.
    pub tls: Option<FrontTlsSetup>,
    pub rsa: RsaKey,
    /// Users listed in the configuration.
    pub users: HashMap<String, Arc<Credential>>,
    /// `None`: only listed users may log in, and no server is asked (the admin port).
    pub servers: Option<Servers>,
    pub accounts: AccountLookup,
    pub cache: CredentialCache,
    pub login_timeout: Duration,
    /// Capability flags offered beyond those that every front offers, and those of them that are not offered.
    pub extra: u32,
    pub withheld: u32,
    /// Load balancers that say who their clients are.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// What the greeting says of us.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    pub thread_id: u32,
    pub version: &'a str,
    pub flavour: Flavour,
    pub collation: u8,
}

/// A client that has been let in. It has been sent the OK.
pub struct LoggedIn {
    pub channel: Channel,
    pub peer: PeerAddress,
    pub credential: Arc<Credential>,
    pub schema: Option<String>,
    /// What both sides agreed on.
    pub capabilities: u32,
    pub collation: u16,
    /// What the client's connection attributes say it is.
    pub program: Option<Arc<str>>,
    /// The session that a server was asked with, to be used or closed.
    pub backend: Option<(ServerId, Conn)>,
    pub admitted: Admitted,
    /// What it was given last to prove its password by.
    pub nonce: [u8; NONCE_LEN],
}

/// Users of the configuration as `FrontLogin` holds them.
pub fn listed(users: &[User]) -> HashMap<String, Arc<Credential>> {
    let credential = |user: &User| {
        let password = Password::clear(user.password.reveal());
        (user.name.clone(), Arc::new(Credential { user: user.name.clone(), password }))
    };
    users.iter().map(credential).collect()
}

/// What a session keeps when its user changes.
pub struct Session {
    pub channel: Channel,
    pub peer: PeerAddress,
    pub capabilities: u32,
    pub collation: u16,
    /// What the client was given last to prove its password by.
    pub nonce: [u8; NONCE_LEN],
    /// A client that fails may go on as who it was.
    pub stays: bool,
}

/// Greets the client and lets it log in. A client that fails has been told why and was cut off.
pub async fn log_in(channel: Channel, hello: &Hello<'_>, front: &FrontLogin) -> Result<LoggedIn, LoginError> {
    let deadline = deadline(front);
    let mut peer = channel.stream().peer().map_err(LoginError::Client)?;
    let mut exchange = Exchange::new(channel, 0);
    let result: Result<_, LoginError> = async {
        let nonce = fresh_nonce()?;
        let response = in_time(deadline, greet(&mut exchange, hello, nonce, front, &mut peer)).await?;
        let response = HandshakeResponse::parse(&response)?;
        let offered = offered(hello, front);
        let applicant = Applicant::from_response(&response, offered, peer);
        let opening = Opening::Answer { nonce, plugin: response.plugin, answer: response.auth };
        let entry = authenticate(&mut exchange, &applicant, opening, front, deadline).await?;
        let compression = Compression::agreed(applicant.capabilities, response.zstd_level);
        Ok((applicant, entry, compression))
    }
    .await;
    let compression = result.as_ref().ok().and_then(|(_, _, compression)| *compression);
    let mut logged_in = finish(exchange, result.map(|(applicant, entry, _)| (applicant, entry))).await?;
    if let Some(compression) = compression {
        logged_in.channel.compress(compression, Peer::Client);
    }
    Ok(logged_in)
}

/// COM_CHANGE_USER: lets another user log in on the connection of `session`. `payload` is the command,
/// `sequence` the number of the packet after it. A client that fails has been told why; its channel comes back if it
/// `stays`, as it does on MariaDB. MySQL cuts it off.
pub async fn change_user(
    session: Session,
    payload: &[u8],
    sequence: u8,
    front: &FrontLogin,
) -> Result<LoggedIn, (LoginError, Option<Channel>)> {
    let deadline = deadline(front);
    let Session { channel, peer, capabilities, collation, nonce, stays } = session;
    let mut exchange = Exchange::new(channel, sequence);
    let result: Result<_, LoginError> = async {
        let message = ChangeUser::parse(payload, capabilities)?;
        let applicant = Applicant::from_change(&message, capabilities, collation, peer);
        // Client libraries prove it at once by the nonce they have, whatever they would be asked then.
        let native = message.plugin == Some(Plugin::NativePassword.name().as_bytes());
        let opening = match (native, message.auth) {
            (true, answer @ [_, ..]) => Opening::Answer { nonce, plugin: message.plugin, answer },
            _ => Opening::Switch { plugin: message.plugin },
        };
        let entry = authenticate(&mut exchange, &applicant, opening, front, deadline).await?;
        Ok((applicant, entry))
    }
    .await;
    match result {
        Err(error @ LoginError::Denied { .. }) if stays => {
            if let Some(words) = error.packet() {
                // A client that is gone is noticed by whoever reads next.
                let _ = exchange.send(&words.payload()).await;
            }
            Err((error, exchange.into_channel().ok()))
        }
        result => finish(exchange, result).await.map_err(|error| (error, None)),
    }
}

/// Turns a client away in the place of a greeting, as servers do when they have too many already.
pub async fn turn_away(mut channel: Channel, words: &ErrPacket) {
    // A client that is gone has nothing to be told.
    let _ = channel.write_message(&words.payload_before_handshake(), 0).await;
    channel.shutdown().await;
}

fn deadline(front: &FrontLogin) -> Instant {
    Instant::now() + front.login_timeout
}

async fn in_time<T>(
    deadline: Instant,
    step: impl Future<Output = Result<T, LoginError>>,
) -> Result<T, LoginError> {
    timeout_at(deadline.into(), step).await.unwrap_or(Err(LoginError::TimedOut))
}

/// Tells the client how it ended.
async fn finish(
    mut exchange: Exchange,
    result: Result<(Applicant, Entry), LoginError>,
) -> Result<LoggedIn, LoginError> {
    let result = match result {
        Ok((applicant, entry)) => {
            welcome(&mut exchange, &applicant, &entry).await.map(|()| (applicant, entry))
        }
        Err(error) => Err(error),
    };
    match result {
        Ok((applicant, entry)) => Ok(LoggedIn {
            channel: exchange.into_channel()?,
            peer: applicant.peer,
            credential: entry.credential,
            schema: applicant.login.schema,
            capabilities: applicant.capabilities,
            collation: applicant.login.collation,
            program: applicant.program,
            backend: entry.backend,
            admitted: entry.admitted,
            nonce: entry.nonce,
        }),
        Err(error) => {
            if let Some(words) = error.packet() {
                exchange.refuse(&words.payload()).await;
            }
            Err(error)
        }
    }
}

async fn welcome(exchange: &mut Exchange, applicant: &Applicant, entry: &Entry) -> Result<(), LoginError> {
    if let Some(payload) = &entry.before_ok {
        exchange.send(payload).await?;
    }
    let mut state = Vec::new();
    if let Some(schema) = applicant.schema() {
        OkPacket::push_change(&mut state, &SessionChange::Schema(schema.as_bytes()));
    }
    let ok = OkPacket { status: status::AUTOCOMMIT, state: &state, ..OkPacket::default() };
    let mut payload = Vec::new();
    ok.push_payload(&mut payload, 0x00, applicant.capabilities);
    exchange.send(&payload).await
}
