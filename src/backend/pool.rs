//! The pool of one server: drives `slots`, connects, resets, hands out leases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::conn::{Conn, ConnectError, Credential, Login, Target};
use super::fence::Fence;
use super::lease::Lease;
use super::session::{Backend, ExchangeError, SessionSetup};
use super::settings::Settings;
use super::slots::{Checkout, Grant, Released, Slots};
use super::user_variables::UserVariables;
use crate::config;
use crate::topology::ServerId;
use crate::wire::capability;

/// The pool of one server.
pub struct Pool {
    pub server: ServerId,
    target: Target,
    limits: config::Pool,
    setup: SessionSetup,
    slots: Mutex<Slots<Key, Box<Backend>, Waiter>>,
    /// A second handle on every open socket, to shut it down from outside.
    sockets: Mutex<HashMap<u64, socket2::Socket>>,
    fence: Arc<Fence>,
    /// What is needed to connect ahead for a key that is in use.
    recent: Mutex<HashMap<Key, Opening>>,
    next_id: AtomicU64,
    in_use: AtomicU32,
    prepared: AtomicUsize,
    /// A reset does not make a connection as after login, because the server runs `init_connect` at login only.
    reset_is_not_enough: AtomicBool,
    pub counters: Counters,
}

/// Connections that may stand in for one another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub user: Arc<str>,
    /// The capability flags that change what a server answers.
    pub profile: u32,
    /// The collation named at login.
    pub collation: u16,
    /// A schema once chosen cannot be unchosen.
    pub has_schema: bool,
}

/// What a session needs of a connection.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub key: Key,
    pub settings: Settings,
    pub user_variables: UserVariables,
    /// Active roles, where they are not those of the login, as SET ROLE takes them.
    pub role: Option<Arc<str>>,
    pub opening: Opening,
}

/// How to open a connection that does not exist yet.
#[derive(Clone, Debug)]
pub struct Opening {
    pub credential: Arc<Credential>,
    pub schema: Option<Arc<str>>,
}

/// Everything that happened in a pool since start.
#[derive(Debug, Default)]
pub struct Counters {
    pub connected: AtomicU64,
    pub failed: AtomicU64,
    /// Opened for a session that found none to reuse.
    pub opened: AtomicU64,
    pub reused: AtomicU64,
    pub waited: AtomicU64,
    pub wait_micros: AtomicU64,
    pub longest_wait_micros: AtomicU64,
    pub timed_out: AtomicU64,
    pub replaced: AtomicU64,
    pub reset: AtomicU64,
    pub settled: AtomicU64,
    pub prepared: AtomicU64,
    pub evicted: AtomicU64,
    pub closed: AtomicU64,
    pub severed: AtomicU64,
}

/// The books of a pool at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    pub open: usize,
    pub idle: usize,
    pub in_use: usize,
    pub waiting: usize,
    pub cap: usize,
    /// How long anybody may wait.
    pub wait_limit: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    #[error("no connection to the server became free within {0:?}")]
    Exhausted(Duration),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the server refused to set up the session: {0}")]
    Setup(ExchangeError),
}

/// COM_QUIT, so that the server does not count an aborted client.
const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// Connections opened ahead at the same time.
const OPENED_AT_ONCE: usize = 8;

/// Kinds of connections remembered for opening some ahead; more than that are forgotten together.
const RECENT_MAX: usize = 1_000;

type Waiter = oneshot::Sender<Grant<Box<Backend>>>;

impl Pool {
    pub fn new(server: ServerId, target: Target, limits: config::Pool, setup: SessionSetup) -> Arc<Self> {
        Arc::new(Self {
            server,
            target,
            slots: Mutex::new(Slots::new(limits.max_per_server)),
            limits,
            setup,
            sockets: Mutex::default(),
            fence: Arc::default(),
            recent: Mutex::default(),
            next_id: AtomicU64::new(1),
            in_use: AtomicU32::new(0),
            prepared: AtomicUsize::new(0),
            reset_is_not_enough: AtomicBool::new(false),
            counters: Counters::default(),
        })
    }

    pub fn in_use(&self) -> u32 {
        self.in_use.load(Relaxed)
    }

    pub fn gauge(&self) -> Gauge {
        let slots = self.slots();
        let (open, idle) = (slots.open(), slots.idle());
        let waiting = slots.waiting();
        Gauge {
            open,
            idle,
            in_use: open - idle,
            waiting,
            cap: self.limits.max_per_server,
            wait_limit: self.limits.wait_timeout,
        }
    }

    /// How long a question of ours on an open connection may take.
    pub(super) fn exchange_limit(&self) -> Duration {
        self.limits.connect_timeout
    }

    /// The server's threads that rest here.
    pub fn idle_threads(&self) -> Vec<u32> {
        self.slots().idle_connections().map(|backend| backend.conn.thread_id).collect()
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A connection for one session: an idle one that fits, a new one, or the next that is given back.
    /// Its settings may differ from those wanted; see `Lease::settle`.
    pub async fn checkout(self: &Arc<Self>, wanted: &Wanted) -> Result<Lease, CheckoutError> {
        // Taken before anything is waited for: whoever decided to come here decided before a fence that falls
        // meanwhile.
        let term = self.term()?;
        loop {
            let (checkout, turn) = {
                let mut slots = self.slots();
                let checkout = slots.checkout(&wanted.key, |backend| backend.fit(wanted));
                // Under the same lock: else what is given back in between is idle, and nobody is told.
                let turn = matches!(checkout, Checkout::Full).then(|| {
                    let (waiter, granted) = oneshot::channel();
                    slots.wait(wanted.key.clone(), waiter);
                    Turn { pool: self, granted, taken: false }
                });
                (checkout, turn)
            };
            match checkout {
                Checkout::Reuse(backend) => match self.lease_idle(backend, wanted) {
                    Some(lease) => return Ok(lease),
                    None => continue,
                },
                // Connecting is boxed: it is rare, and every session's memory would be larger by it.
                Checkout::Connect => return Box::pin(self.connect_for(wanted, term)).await,
                Checkout::Replace(old) => {
                    self.counters.replaced.fetch_add(1, Relaxed);
                    self.forget(&old);
                    drop(old);
                    return Box::pin(self.connect_for(wanted, term)).await;
                }
                Checkout::Full => {
                    let Some(turn) = turn else { continue };
                    match self.wait(turn).await? {
                        Grant::Connection(backend) => match self.lease_idle(backend, wanted) {
                            Some(lease) => return Ok(lease),
                            None => continue,
                        },
                        Grant::Slot => return Box::pin(self.connect_for(wanted, term)).await,
                    }
                }
            }
        }
    }

    /// Takes a connection opened elsewhere (to verify a password) into the pool, if there is room.
    pub async fn adopt(self: &Arc<Self>, conn: Conn, wanted: &Wanted) {
        let Ok(term) = self.term() else { return };
        if !self.slots().adopt() {
            return;
        }
        let slot = Slot(Some(self));
        let set_up = Backend::set_up(conn, self.new_id(), wanted, &self.setup, self.fence.pass(term));
        if let Ok(Ok(backend)) = timeout(self.limits.connect_timeout, set_up).await {
            let backend = slot.fill(self, backend);
            self.counters.connected.fetch_add(1, Relaxed);
            self.give_back(backend);
        }
    }

    async fn wait(&self, mut turn: Turn<'_>) -> Result<Grant<Box<Backend>>, CheckoutError> {
        self.counters.waited.fetch_add(1, Relaxed);
        let started = Instant::now();
        let granted = timeout(self.limits.wait_timeout, &mut turn.granted).await;
        let micros = started.elapsed().as_micros() as u64;
        self.counters.wait_micros.fetch_add(micros, Relaxed);
        self.counters.longest_wait_micros.fetch_max(micros, Relaxed);
        if let Ok(Ok(grant)) = granted {
            turn.taken = true;
            return Ok(grant);
        }
        self.counters.timed_out.fetch_add(1, Relaxed);
        Err(CheckoutError::Exhausted(self.limits.wait_timeout))
    }

    /// A closed or chatty connection is dropped: it gets no second chance.
    fn lease_idle(self: &Arc<Self>, mut backend: Box<Backend>, wanted: &Wanted) -> Option<Lease> {
        // What init_connect set, only a login sets again.
        let lost = self.reset_is_not_enough.load(Relaxed) && backend.settings.has_more_than(&wanted.settings);
        if lost || backend.is_fenced() || !backend.conn.channel.is_quiet() {
            self.close(backend);
            return None;
        }
        self.counters.reused.fetch_add(1, Relaxed);
        self.in_use.fetch_add(1, Relaxed);
        Some(Lease::new(backend, Arc::clone(self)))
    }

    /// As `connect`, for a session that waits for it.
    async fn connect_for(self: &Arc<Self>, wanted: &Wanted, term: u64) -> Result<Lease, CheckoutError> {
        let lease = self.connect(wanted, term).await?;
        self.counters.opened.fetch_add(1, Relaxed);
        Ok(lease)
    }

    /// Opens a connection in a slot already taken.
    async fn connect(self: &Arc<Self>, wanted: &Wanted, term: u64) -> Result<Lease, CheckoutError> {
        // Cancelled or failed, the slot goes to the next in line.
        let slot = Slot(Some(self));
        match self.open(wanted, term).await {
            Ok(backend) => {
                let backend = slot.fill(self, backend);
                self.counters.connected.fetch_add(1, Relaxed);
                self.in_use.fetch_add(1, Relaxed);
                self.remember_opening(wanted);
                let lease = Lease::new(backend, Arc::clone(self));
                // Either a fence that fell meanwhile has found the socket, or it is seen here.
                if lease.is_fenced() { Err(closed()) } else { Ok(lease) }
            }
            Err(error) => {
                self.counters.failed.fetch_add(1, Relaxed);
                Err(error)
            }
        }
    }

    /// Connects, logs in and sets up, within the limit for all of it.
    async fn open(&self, wanted: &Wanted, term: u64) -> Result<Backend, CheckoutError> {
        let login = Login {
            client_capabilities: wanted.key.profile,
            collation: wanted.key.collation,
            schema: wanted.opening.schema.as_deref().map(str::to_owned),
        };
        let limit = self.limits.connect_timeout;
        let opened = async {
            let conn = Conn::connect(&self.target, &wanted.opening.credential, &login).await?;
            let pass = self.fence.pass(term);
            let set_up = Backend::set_up(conn, self.new_id(), wanted, &self.setup, pass);
            set_up.await.map_err(CheckoutError::Setup)
        };
        timeout(limit, opened).await.unwrap_or(Err(ConnectError::Timeout(limit).into()))
    }

    /// Runs a short statement of our own in a session's name, when need be on a connection beyond the cap: what
    /// frees connections must not wait for one.
    pub async fn execute_aside(
        self: &Arc<Self>,
        wanted: &Wanted,
        statement: &str,
    ) -> Result<Result<(), ExchangeError>, CheckoutError> {
        let gauge = self.gauge();
        if gauge.idle == 0 && gauge.open >= gauge.cap {
            let mut backend = self.open(wanted, self.term()?).await?;
            let done = backend.execute(statement).await;
            backend.conn.quit().await;
            return Ok(done);
        }
        let mut lease = self.checkout(wanted).await?;
        // What another session of this user may do by its roles, this one may not.
        let settled = lease.settle_role(wanted.role.as_ref()).await;
        let done = match settled {
            Ok(()) => lease.execute(statement).await,
            Err(error) => Err(error),
        };
        if matches!(done, Ok(()) | Err(ExchangeError::Refused(_))) {
            lease.release_clean();
        }
        Ok(done)
    }

    fn remember_opening(&self, wanted: &Wanted) {
        // Opened ahead, a connection has the roles of a login.
        if wanted.role.is_some() {
            return;
        }
        let mut recent = self.lock(&self.recent);
        if recent.len() >= RECENT_MAX {
            recent.clear();
        }
        recent.insert(wanted.key.clone(), wanted.opening.clone());
    }

    /// Called by a lease that ends clean.
    pub(super) fn release(&self, backend: Box<Backend>) {
        self.in_use.fetch_sub(1, Relaxed);
        self.give_back(backend);
    }

    /// Whether the server runs `init_connect` at login, so that dirty connections are closed, not reset.
    pub fn expect_init_connect(&self, runs: bool) {
        self.reset_is_not_enough.store(runs, Relaxed);
    }

    /// Called by a lease that ends dirty: the connection is made as after login before anybody gets it.
    pub(super) fn release_after_reset(self: Arc<Self>, mut backend: Box<Backend>) {
        if self.reset_is_not_enough.load(Relaxed) {
            return self.close_leased(backend);
        }
        self.in_use.fetch_sub(1, Relaxed);
        // Outside a runtime (at exit) there is nobody to reset it for.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return self.close(backend) };
        runtime.spawn(async move {
            self.count_prepared(0, backend.forget_statements());
            match timeout(self.limits.connect_timeout, backend.reset()).await {
                Ok(Ok(())) => {
                    self.counters.reset.fetch_add(1, Relaxed);
                    self.give_back(backend);
                }
                _ => self.close(backend),
            }
        });
    }

    /// Called by a lease whose connection must not be used again.
    pub(super) fn close_leased(&self, backend: Box<Backend>) {
        self.in_use.fetch_sub(1, Relaxed);
        self.close(backend);
    }

    fn give_back(&self, mut backend: Box<Backend>) {
        let (now, opened) = (Instant::now(), backend.conn.opened);
        let too_old = now.saturating_duration_since(opened) >= self.limits.max_age;
        if backend.is_fenced() || too_old || !self.limits.reuse {
            return self.close(backend);
        }
        // The server would close it, perhaps under the next one's write.
        if backend.settings.wait_timeout().is_some_and(|silence| silence <= self.limits.idle_timeout) {
            return self.close(backend);
        }
        backend.conn.channel.trim_buffer();
        let key = backend.key();
        loop {
            let released = self.slots().release(&key, backend, opened, now);
            match released {
                Released::Kept => return,
                Released::Hand { waiter, grant, close } => {
                    if let Some(old) = close {
                        self.forget(&old);
                        drop(old);
                    }
                    match waiter.send(grant) {
                        Ok(()) => return,
                        // That waiter has gone; the next, please.
                        Err(Grant::Connection(returned)) => backend = returned,
                        Err(Grant::Slot) => return self.slot_closed(),
                    }
                }
            }
        }
    }

    fn close(&self, backend: Box<Backend>) {
        self.counters.closed.fetch_add(1, Relaxed);
        self.forget(&backend);
        drop(backend);
        self.slot_closed();
    }

    fn slot_closed(&self) {
        loop {
            let Some(waiter) = self.slots().closed() else { return };
            if waiter.send(Grant::Slot).is_ok() {
                return;
            }
        }
    }

    /// Closes the way to the server: when this returns, nothing more is sent there, and nothing that comes from
    /// there is passed on, whenever it came.
    pub fn close_way(&self) {
        self.fence.close();
        self.sever();
    }

    /// Connections may be opened again.
    pub fn open_way(&self) {
        self.fence.open();
    }

    fn term(&self) -> Result<u64, CheckoutError> {
        self.fence.term().ok_or_else(closed)
    }

    /// Shuts down every connection to a server that is held to be unreachable, so that whoever waits for
    /// its answer stops waiting.
    pub fn sever(&self) {
        let sockets = self.lock(&self.sockets);
        for socket in sockets.values() {
            // A socket already closed by its peer is as good as shut down.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        self.counters.severed.fetch_add(sockets.len() as u64, Relaxed);
        drop(sockets);
        self.close_idle();
    }

    /// Closes what is idle; leases in use end by themselves.
    pub fn close_idle(&self) {
        let drained = self.slots().drain();
        for backend in &drained {
            self.forget(backend);
        }
        self.counters.closed.fetch_add(drained.len() as u64, Relaxed);
    }

    /// Closes what has been idle or open for too long. To be called every second or so.
    pub fn prune(&self) {
        let limits = &self.limits;
        let pruned = self.slots().prune(limits.idle_timeout, limits.max_age, limits.min_idle, Instant::now());
        for backend in &pruned {
            self.forget(backend);
        }
        self.counters.closed.fetch_add(pruned.len() as u64, Relaxed);
    }

    /// Opens connections ahead, up to `min_idle` for each kind that was in use.
    pub async fn warm(self: &Arc<Self>) {
        if self.limits.min_idle == 0 {
            return;
        }
        let recent: Vec<(Key, Opening)> =
            self.lock(&self.recent).iter().map(|(key, opening)| (key.clone(), opening.clone())).collect();
        for (key, opening) in recent {
            let idle = self.slots().idle_by_key().find(|(have, _)| **have == key).map_or(0, |(_, len)| len);
            let wanted = Wanted::plain(key.clone(), opening);
            for _ in idle..self.limits.min_idle {
                match self.open_ahead(&wanted).await {
                    Ahead::Opened => {}
                    Ahead::Full => return,
                    Ahead::Failed => {
                        // Not worth another try before a session asks for it.
                        self.lock(&self.recent).remove(&key);
                        break;
                    }
                }
            }
        }
    }

    /// Opens connections ahead of sessions that will come over from another server: as many as are open there, of the
    /// kinds that were opened there.
    pub async fn open_like(self: &Arc<Self>, other: &Self) {
        let kinds: Vec<(Key, Opening)> =
            self.lock(&other.recent).iter().map(|(key, opening)| (key.clone(), opening.clone())).collect();
        let each = other.gauge().open.saturating_sub(self.gauge().idle) / kinds.len().max(1);
        for (key, opening) in kinds {
            let wanted = Wanted::plain(key, opening);
            let mut opened = 0;
            while opened < each {
                let some = (each - opened).min(OPENED_AT_ONCE);
                let mut opening = JoinSet::new();
                for _ in 0..some {
                    let (pool, wanted) = (Arc::clone(self), wanted.clone());
                    opening.spawn(async move { pool.open_ahead(&wanted).await });
                }
                if opening.join_all().await.iter().any(|ahead| *ahead != Ahead::Opened) {
                    break;
                }
                opened += some;
            }
        }
    }

    /// Opens one connection that nobody waits for.
    async fn open_ahead(self: &Arc<Self>, wanted: &Wanted) -> Ahead {
        if !self.slots().adopt() {
            return Ahead::Full;
        }
        let connected = match self.term() {
            Ok(term) => self.connect(wanted, term).await,
            Err(error) => {
                self.slot_closed();
                Err(error)
            }
        };
        connected.map_or(Ahead::Failed, |lease| {
            lease.release_clean();
            Ahead::Opened
        })
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed)
    }

    /// The connection is about to be closed, and with it its statements.
    fn forget(&self, backend: &Backend) {
        backend.conn.channel.say_last(&QUIT);
        self.lock(&self.sockets).remove(&backend.id);
        self.prepared.fetch_sub(backend.statements(), Relaxed);
    }

    /// Whether this server holds as many prepared statements as it may.
    pub(super) fn is_full_of_statements(&self) -> bool {
        self.prepared.load(Relaxed) >= self.limits.max_prepared_per_server
    }

    pub(super) fn count_prepared(&self, more: usize, fewer: usize) {
        self.prepared.fetch_add(more, Relaxed);
        self.prepared.fetch_sub(fewer, Relaxed);
    }

    /// Statements prepared on this server's connections.
    pub fn prepared(&self) -> usize {
        self.prepared.load(Relaxed)
    }

    fn slots(&self) -> MutexGuard<'_, Slots<Key, Box<Backend>, Waiter>> {
        self.lock(&self.slots)
    }

    /// No code under these locks panics half-way, so a poisoned lock still guards whole values.
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the server is closed; the topology says where to go instead.
fn closed() -> CheckoutError {
    let error = std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "the way to the server is closed");
    ConnectError::Unreachable(error).into()
}

/// What became of a connection that nobody waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    Opened,
    /// As many are open as may be.
    Full,
    Failed,
}

/// A place in line. Given up, it is nobody's, and what was handed over at the last moment goes to the next.
struct Turn<'a> {
    pool: &'a Pool,
    granted: oneshot::Receiver<Grant<Box<Backend>>>,
    taken: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        self.granted.close();
        match self.granted.try_recv() {
            Ok(Grant::Connection(backend)) => self.pool.give_back(backend),
            Ok(Grant::Slot) => self.pool.slot_closed(),
            Err(_) => self.pool.slots().leave(|waiter| waiter.is_closed()),
        }
    }
}

/// A slot taken for a connection that does not exist yet.
struct Slot<'a>(Option<&'a Arc<Pool>>);

impl Slot<'_> {
    /// The connection exists: it holds the slot from here on.
    fn fill(mut self, pool: &Pool, backend: Backend) -> Box<Backend> {
        self.0 = None;
        let socket = socket2::SockRef::from(backend.conn.channel.stream());
        // Without a second handle the connection works, but cannot be cut from outside.
        if let Ok(second) = socket.try_clone() {
            pool.lock(&pool.sockets).insert(backend.id, second);
        }
        Box::new(backend)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.0 {
            pool.slot_closed();
        }
    }
}

impl Counters {
    /// Every counter by name.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        // Taken apart, so that a counter cannot be added and not shown.
        let Self {
            connected,
            failed,
            opened,
            reused,
            waited,
            wait_micros,
            longest_wait_micros,
            timed_out,
            replaced,
            reset,
            settled,
            closed,
            severed,
            prepared,
            evicted,
        } = self;
        let named = [
            ("connected", connected),
            ("failed", failed),
            ("opened", opened),
            ("reused", reused),
            ("waited", waited),
            ("wait_micros", wait_micros),
            ("longest_wait_micros", longest_wait_micros),
            ("timed_out", timed_out),
            ("replaced", replaced),
            ("reset", reset),
            ("settled", settled),
            ("closed", closed),
            ("severed", severed),
            ("prepared", prepared),
            ("evicted", evicted),
        ];
        named.into_iter().map(|(name, counter)| (name, counter.load(Relaxed))).collect()
    }
}

impl Wanted {
    /// What a session needs that has just logged in.
    fn plain(key: Key, opening: Opening) -> Self {
        let settings = Settings::with_schema(opening.schema.clone());
        Self { key, settings, user_variables: UserVariables::default(), role: None, opening }
    }

    /// The flags of `client` that belong in a key.
    pub fn profile(client: u32) -> u32 {
        client & capability::PROFILE
    }
}
