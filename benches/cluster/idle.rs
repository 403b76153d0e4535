//! What clients cost that are logged in and do nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pointsman::backend::{BackendTlsSetup, Conn, Credential, Login, Target};
use pointsman::config::{BackendTls, BackendTlsMode, Config};
use pointsman::playground::{APP, Cluster};
use pointsman::wire::auth::Password;
use pointsman::wire::{self, Command, Event, Expect, ResponseTracker};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::contender::{Contender, Kind};
use crate::process;

/// How long clients rest before memory is read.
const REST: Duration = Duration::from_secs(5);

/// What each of them runs once.
const STATEMENT: &[u8] = b"SELECT name FROM fruit";

/// Clients that log in at the same time.
const AT_ONCE: usize = 32;

/// One proxy, fresh, under more and more idle clients.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    pub(crate) name: String,
    /// Clients and KiB, from none upwards.
    pub(crate) resident: Vec<(usize, u64)>,
    /// KiB when each of them has run a statement.
    pub(crate) used: u64,
    /// KiB after all of them have left.
    pub(crate) after: u64,
    /// Processor time of the proxy for each login, in microseconds.
    pub(crate) login_micros: f64,
}

impl Idle {
    /// KiB that each client adds, at the largest number of them.
    pub(crate) fn per_client(&self) -> f64 {
        match (self.resident.first(), self.resident.last()) {
            (Some((none, base)), Some((clients, kib))) if clients > none => {
                kib.saturating_sub(*base) as f64 / (clients - none) as f64
            }
            _ => 0.0,
        }
    }
}

/// `None` for what is no proxy.
pub(crate) async fn measure(kind: &Kind, cluster: &Cluster, numbers: &[usize]) -> Result<Option<Idle>> {
    let contender = kind.start(cluster).await?;
    let Some(pid) = contender.pid() else { return Ok(None) };
    sleep(REST).await;
    let mut resident = vec![(0, process::resident(pid)?)];
    let mut clients = Vec::new();
    let before = process::cpu(pid)?;
    let mut login_micros = 0.0;
    for number in numbers {
        let number = kind.clients_max().min(*number);
        grow(&mut clients, number, &contender).await?;
        login_micros = (process::cpu(pid)? - before).as_secs_f64() * 1e6 / number as f64;
        sleep(REST).await;
        resident.push((number, process::resident(pid)?));
    }
    for client in &mut clients {
        ask(client).await?;
    }
    sleep(REST).await;
    let used = process::resident(pid)?;
    drop(clients);
    sleep(REST).await;
    let after = process::resident(pid)?;
    Ok(Some(Idle { name: contender.name.clone(), resident, used, after, login_micros }))
}

/// Logs in until there are as many.
async fn grow(clients: &mut Vec<Conn>, number: usize, contender: &Contender) -> Result<()> {
    let tls = BackendTlsSetup::load(&BackendTls {
        mode: BackendTlsMode::Disabled,
        ..Config::default().cluster.tls
    })?;
    let target = Target {
        address: contender.address().into(),
        tls: Arc::new(tls),
        connect_timeout: Duration::from_secs(30),
        compression: None,
        proxy_protocol: false,
    };
    let credential = Credential { user: APP.user.to_owned(), password: Password::clear(APP.password) };
    let login = Login { schema: Some("app".to_owned()), ..Login::default() };
    let mut logins = JoinSet::new();
    while clients.len() + logins.len() < number || !logins.is_empty() {
        while logins.len() < AT_ONCE && clients.len() + logins.len() < number {
            let (target, credential, login) = (target.clone(), credential.clone(), login.clone());
            logins.spawn(async move { Conn::connect(&target, &credential, &login).await });
        }
        if let Some(conn) = logins.join_next().await {
            let reached = clients.len();
            clients.push(conn?.with_context(|| format!("{}: client {reached} of {number}", contender.name))?);
        }
    }
    Ok(())
}

/// Runs a statement and reads what it answers.
async fn ask(client: &mut Conn) -> Result<()> {
    client.channel.write_message(&[&[Command::QUERY], STATEMENT].concat(), 0).await?;
    let mut tracker = ResponseTracker::new(Expect::Results, client.capabilities);
    loop {
        let progress = tracker.advance(client.channel.input())?;
        let (packet, last) = match progress.event {
            Event::Packet { kind: wire::Kind::Err, .. } => bail!("an idle client's statement failed"),
            Event::Packet { len, last, .. } => (len, last),
            Event::More => (0, false),
            Event::End => (0, true),
        };
        client.channel.consume(progress.forward + packet);
        if last {
            return Ok(());
        }
        if progress.event == Event::More {
            ensure!(client.channel.fill().await? > 0, "an idle client was sent away");
        }
    }
}
