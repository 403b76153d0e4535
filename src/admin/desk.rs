//! What the port looks at and gives orders to.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::commands::Order;
use super::explain::{Situation, explain};
use super::select::Asker;
use super::table::Answer;
use super::view::{DigestView, PinView, PoolView, SessionView, View};
use crate::config::{Config, FrontTls, FrontTlsMode, User, settings};
use crate::control::failover::{decide, lead};
use crate::control::orders::Orders;
use crate::route::{SessionState, Spread};
use crate::serve::accounts::CredentialCache;
use crate::serve::login::{FrontLogin, listed};
use crate::serve::tls::{FrontKeyError, FrontTlsSetup, load_rsa_key};
use crate::serve::{DigestStats, House, PinCounters, SessionInfo, client_hash};
use crate::sql::PinCause;
use crate::topology::events::Events;
use crate::topology::{Role, ServerId, Standing};
use crate::wire::{ErrPacket, code};

pub struct Desk {
    pub house: Arc<House>,
    pub events: Events,
    pub orders: Orders,
    /// `None` where nothing is ever promoted.
    pub lead: Option<lead::Desk>,
    pub config: Arc<Config>,
    pub login: FrontLogin,
}

/// How people log in to the port: as the users of `admin.users`, else with the control account's name and
/// password. No server is asked. The certificate and keys are those of the front.
pub fn front_login(config: &Config) -> Result<FrontLogin, FrontKeyError> {
    // Asking for TLS or for certificates is a rule for applications; people on this machine need neither.
    let mode = match config.listen.tls.mode {
        FrontTlsMode::Disabled => FrontTlsMode::Disabled,
        FrontTlsMode::Preferred | FrontTlsMode::Required => FrontTlsMode::Preferred,
    };
    let tls = FrontTls { mode, client_ca: None, ..config.listen.tls.clone() };
    let control = &config.cluster.control;
    let control = [User { name: control.user.clone(), password: control.password.clone() }];
    let users = if config.admin.users.is_empty() { &control[..] } else { &config.admin.users };
    let data_dir: &Path = &config.data_dir;
    Ok(FrontLogin {
        tls: FrontTlsSetup::load(&tls, data_dir)?,
        rsa: load_rsa_key(data_dir)?,
        users: listed(users),
        servers: None,
        accounts: Box::new(|_| None),
        cache: CredentialCache::new(Duration::ZERO),
        login_timeout: config.listen.login_timeout,
        extra: 0,
        withheld: 0,
        proxy_protocol: None,
    })
}

impl Desk {
    /// The proxy at this moment.
    pub fn view(&self) -> View {
        let (house, now) = (&*self.house, Instant::now());
        let infos = house.registry.all();
        View {
            now,
            uptime: house.registry.uptime(now),
            snapshot: Arc::clone(&house.topology.load()),
            pools: house
                .pools
                .iter()
                .map(|pool| PoolView { gauge: pool.gauge(), counters: pool.counters.all() })
                .collect(),
            sessions: infos.iter().map(|info| self.session(info, now)).collect(),
            pins: PinCause::ALL.into_iter().map(|cause| pin(cause, &infos, &house.pins, now)).collect(),
            digests: house.digests.all().iter().map(|stats| digest(stats)).collect(),
            events: self.events.all(),
            failover: self.lead.as_ref().map(lead::Desk::shown).unwrap_or_default(),
            counters: house.counters.all(),
            settings: settings(&self.config),
        }
    }

    fn session(&self, info: &SessionInfo, now: Instant) -> SessionView {
        let seen = info.seen();
        let pinned_for = seen.pins.iter().filter_map(|cause| seen.pinned_for(cause, now)).max();
        SessionView {
            id: info.id,
            user: seen.user,
            peer: info.peer,
            program: info.program.clone(),
            schema: seen.schema,
            activity: info.activity(),
            since: self.house.registry.in_activity_for(info, now),
            statements: info.statements.load(Relaxed),
            backend: seen.backend,
            pins: seen.pins,
            pinned_for,
            in_transaction: info.in_transaction(),
            because: seen.because,
            statement: seen.statement,
        }
    }

    /// EXPLAIN ROUTE for a session that has just begun and has chosen the schema of `asker`.
    pub fn explain(&self, statement: &str, asker: &Asker) -> Answer {
        let house = &*self.house;
        let catalog = house.catalog.load();
        let judged =
            house.judge.judge(statement.as_bytes(), &house.dialect(), asker.schema.as_deref(), &catalog);
        let defaults = house.defaults();
        let session = SessionState {
            autocommit: defaults.as_ref().is_none_or(|defaults| defaults.autocommit),
            serializable: defaults.is_some_and(|defaults| defaults.transaction_isolation == "SERIALIZABLE"),
            ..SessionState::default()
        };
        let spread = Spread {
            ticket: house.turns.load(Relaxed),
            client: client_hash(asker.peer),
            in_use: &house.in_use(),
            avoid: &[],
        };
        let snapshot = house.topology.load();
        explain(
            &judged,
            &Situation { snapshot: &snapshot, routing: &house.routing, session: &session, spread },
        )
    }

    /// Carries out what changes something. The answer is what the OK says.
    pub async fn carry_out(&self, order: &Order, asker: &Asker) -> Result<String, ErrPacket> {
        let said = match order {
            Order::Kill { session } => match self.house.kill(*session).await {
                None => {
                    let message = format!("Unknown thread id: {session}");
                    return Err(ErrPacket::new(code::NO_SUCH_THREAD, message));
                }
                Some(Ok(())) => format!("session {session} is told to end"),
                Some(Err(error)) => {
                    format!("session {session} ends when its statement has: {}", error.message)
                }
            },
            Order::Drain { server } => {
                let news = self.orders.drain(self.server(server)?);
                format!("{server} {}", if news { "takes no new statements" } else { "was draining already" })
            }
            Order::Undrain { server } => {
                let news = self.orders.undrain(self.server(server)?);
                format!("{server} {}", if news { "may take statements again" } else { "was not draining" })
            }
            Order::Switchover { server, rehearse } => {
                let to = server.as_deref().map_or_else(|| self.best(), |server| self.server(server))?;
                self.change_primary(decide::Order::Switchover { to }, *rehearse).await?
            }
            Order::Failover { server, rehearse } => {
                let to = server.as_deref().map(|server| self.server(server)).transpose()?;
                self.change_primary(decide::Order::Failover { to }, *rehearse).await?
            }
            Order::HoldFailover { lasts } => {
                let held = self.lead()?.hold(*lasts).await;
                held.map_err(|why| ErrPacket::new(code::UNKNOWN, why))?
            }
            Order::ReleaseFailover => {
                let released = self.lead()?.release().await;
                released.map_err(|why| ErrPacket::new(code::UNKNOWN, why))?
            }
            Order::ResetRoutes => {
                self.house.digests.clear();
                "statistics count from zero again".to_owned()
            }
        };
        tracing::info!(user = %asker.user, peer = %asker.peer, "admin: {said}");
        Ok(said)
    }

    async fn change_primary(&self, order: decide::Order, rehearse: bool) -> Result<String, ErrPacket> {
        self.lead()?.order(order, rehearse).await.map_err(|why| ErrPacket::new(code::UNKNOWN, why))
    }

    fn lead(&self) -> Result<&lead::Desk, ErrPacket> {
        let message = "failover.mode is \"follow\": the primary is changed by others";
        self.lead.as_ref().ok_or_else(|| ErrPacket::new(code::UNKNOWN, message))
    }

    /// The replica that is wanted most of those that serve, and of these the one that is least behind.
    fn best(&self) -> Result<ServerId, ErrPacket> {
        let snapshot = self.house.topology.load();
        let configured = &self.config.cluster.servers;
        let serving = snapshot.servers.iter().zip(configured).filter(|(server, wanted)| {
            server.role == Role::Replica && server.standing == Standing::Serving && !wanted.no_promote
        });
        let best = serving.min_by_key(|(server, wanted)| (Reverse(wanted.priority), server.lag));
        best.map(|(server, _)| server.id)
            .ok_or_else(|| ErrPacket::new(code::UNKNOWN, "no replica that serves may be promoted"))
    }

    fn server(&self, name: &str) -> Result<ServerId, ErrPacket> {
        let snapshot = self.house.topology.load();
        let is_it = |known: &str| known.eq_ignore_ascii_case(name);
        let server = snapshot.servers.iter().find(|server| is_it(&server.name) || is_it(&server.address));
        server.map(|server| server.id).ok_or_else(|| {
            let names: Vec<&str> = snapshot.servers.iter().map(|server| &*server.name).collect();
            let message = format!("there is no server {name:?}; there are {}", names.join(", "));
            ErrPacket::new(code::UNKNOWN, message)
        })
    }
}

/// What has ended is counted; what is in force is seen on the sessions.
fn pin(cause: PinCause, sessions: &[Arc<SessionInfo>], counters: &PinCounters, now: Instant) -> PinView {
    let counter = counters.of(cause);
    let in_force: Vec<Duration> =
        sessions.iter().filter_map(|session| session.seen().pinned_for(cause, now)).collect();
    let longest = in_force.iter().copied().max().unwrap_or_default();
    PinView {
        cause,
        sessions: in_force.len() as u64,
        set: counter.set.load(Relaxed),
        total: Duration::from_micros(counter.micros.load(Relaxed)) + in_force.iter().sum::<Duration>(),
        longest: longest.max(Duration::from_micros(counter.longest_micros.load(Relaxed))),
    }
}

fn digest(stats: &DigestStats) -> DigestView {
    DigestView {
        digest: Arc::clone(&stats.digest),
        is_read: stats.is_read(),
        statement: stats.judged(),
        by_server: stats.by_server.iter().map(|count| count.load(Relaxed)).collect(),
        reasons: stats.reasons(),
        errors: stats.errors.load(Relaxed),
        rows: stats.rows.load(Relaxed),
        total: Duration::from_micros(stats.micros.load(Relaxed)),
        p50: stats.latency_percentile(0.50),
        p95: stats.latency_percentile(0.95),
        p99: stats.latency_percentile(0.99),
    }
}
