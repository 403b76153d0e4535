//! Who is connected: what people may see of each session, and how a session is poked from outside.

use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::pins::PinnedSince;
use crate::backend::{Key, Opening, Settings, UserVariables, Wanted};
use crate::net::PeerAddress;
use crate::route::Because;
use crate::sql::{PinSet, Statement};
use crate::topology::ServerId;

/// All logged-in sessions by id.
pub struct Registry {
    started: Instant,
    next_id: AtomicU32,
    sessions: Mutex<HashMap<u32, Arc<SessionInfo>>>,
    /// What those are told who come too late to have been told with all others.
    draining: AtomicBool,
}

/// One session as seen from outside. Written by its own task, read by anybody.
pub struct SessionInfo {
    /// What the client knows as its connection id.
    pub id: u32,
    pub peer: PeerAddress,
    /// What the client says it is.
    pub program: Option<Arc<str>>,
    /// How its connections are opened; an operator's KILL is said in its name.
    login: (Key, Opening),
    pub connected: Instant,
    seen: Mutex<Seen>,
    activity: AtomicU8,
    /// Milliseconds from the registry's start to the last change of activity.
    changed_millis: AtomicU64,
    pub statements: AtomicU64,
    mailbox: Arc<Mailbox>,
    in_transaction: AtomicU8,
}

/// Where orders are left. A session that goes on as another user takes it along: an order left in between reaches it.
#[derive(Default)]
struct Mailbox {
    orders: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// What changes with each statement and takes more than a number to tell.
#[derive(Clone, Default)]
pub struct Seen {
    pub user: Arc<str>,
    pub schema: Option<Arc<str>>,
    pub statement: Option<Arc<Statement>>,
    pub because: Option<Because>,
    /// The server and its thread that work for the session now, or that it holds.
    pub backend: Option<(ServerId, u32)>,
    /// The server that ran its last statement.
    pub server: Option<ServerId>,
    /// The causes that hold the connection.
    pub pins: PinSet,
    pub pinned_since: Option<Box<PinnedSince>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// Waiting for the client's next command.
    Idle = 0,
    /// Waiting for a connection to a server.
    Waiting = 1,
    /// A server works on its statement.
    Active = 2,
}

/// What a session may be told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// KILL CONNECTION: end at once.
    Kill = 1,
    /// The proxy stops: end at the next rest outside a transaction.
    Drain = 2,
    /// Silent for longer than allowed.
    IdleTooLong = 4,
    /// Silent for a while: give back buffers.
    Rest = 8,
    /// Others wait for connections: give back one that is held for a mere possibility.
    GiveWay = 16,
    /// The time for draining is over: end now, transaction or not.
    DrainNow = 32,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            next_id: AtomicU32::new(1),
            sessions: Mutex::default(),
            draining: AtomicBool::new(false),
        }
    }
}

impl Registry {
    /// An id no other session has. They start low and are not reused soon.
    pub fn new_id(&self) -> u32 {
        loop {
            let id = self.next_id.fetch_add(1, Relaxed);
            if id != 0 && !self.sessions().contains_key(&id) {
                return id;
            }
        }
    }

    /// Under an id that is there already, the session goes on as another user.
    pub fn add(
        &self,
        id: u32,
        peer: PeerAddress,
        program: Option<Arc<str>>,
        wanted: &Wanted,
    ) -> Arc<SessionInfo> {
        let seen = Seen { user: Arc::clone(&wanted.key.user), ..Seen::default() };
        let mut sessions = self.sessions();
        let before = sessions.get(&id).map(|before| Arc::clone(&before.mailbox));
        let info = Arc::new(SessionInfo {
            id,
            peer,
            program,
            login: (wanted.key.clone(), wanted.opening.clone()),
            connected: Instant::now(),
            seen: Mutex::new(seen),
            activity: AtomicU8::new(Activity::Idle as u8),
            changed_millis: AtomicU64::new(self.millis(Instant::now())),
            statements: AtomicU64::new(0),
            mailbox: before.unwrap_or_default(),
            in_transaction: AtomicU8::new(0),
        });
        sessions.insert(id, Arc::clone(&info));
        drop(sessions);
        if self.draining.load(SeqCst) {
            info.order(Order::Drain);
        }
        info
    }

    pub fn remove(&self, id: u32) {
        self.sessions().remove(&id);
    }

    pub fn get(&self, id: u32) -> Option<Arc<SessionInfo>> {
        self.sessions().get(&id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<SessionInfo>> {
        self.sessions().values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.sessions().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Time since start.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Tells every session, those that are just logging in too, to end at its next rest outside a transaction.
    pub fn drain(&self) {
        self.draining.store(true, SeqCst);
        self.order_all(Order::Drain);
    }

    /// Tells every session.
    pub fn order_all(&self, order: Order) {
        for session in self.all() {
            session.order(order);
        }
    }

    /// To be called every second: whoever rests too long is told so.
    pub fn tend(&self, idle_timeout: Duration, under_pressure: bool, now: Instant) {
        let now = self.millis(now);
        for session in self.all() {
            if session.activity() != Activity::Idle {
                continue;
            }
            let idle = now.saturating_sub(session.changed_millis.load(Relaxed));
            if idle >= idle_timeout.as_millis() as u64 {
                session.order(Order::IdleTooLong);
            } else if under_pressure {
                session.order(Order::GiveWay);
            } else if (1_000..2_500).contains(&idle) {
                session.order(Order::Rest);
            }
        }
    }

    pub fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_millis() as u64
    }

    /// How long a session has been doing what it does.
    pub fn in_activity_for(&self, session: &SessionInfo, now: Instant) -> Duration {
        Duration::from_millis(self.millis(now).saturating_sub(session.changed_millis.load(Relaxed)))
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u32, Arc<SessionInfo>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionInfo {
    pub fn activity(&self) -> Activity {
        match self.activity.load(Relaxed) {
            0 => Activity::Idle,
            1 => Activity::Waiting,
            _ => Activity::Active,
        }
    }

    pub fn in_transaction(&self) -> bool {
        self.in_transaction.load(Relaxed) != 0
    }

    /// A connection like those of the session, fresh.
    pub(super) fn wanted(&self) -> Wanted {
        let (key, opening) = self.login.clone();
        Wanted {
            key,
            settings: Settings::with_schema(opening.schema.clone()),
            user_variables: UserVariables::default(),
            role: None,
            opening,
        }
    }

    pub fn seen(&self) -> Seen {
        self.lock_seen().clone()
    }

    pub(super) fn set_activity(&self, activity: Activity, millis: u64) {
        self.activity.store(activity as u8, Relaxed);
        self.changed_millis.store(millis, Relaxed);
    }

    pub(super) fn set_in_transaction(&self, is: bool) {
        self.in_transaction.store(u8::from(is), Relaxed);
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock_seen());
    }

    /// Leaves an order and wakes the session if it rests.
    pub(super) fn order(&self, order: Order) {
        self.mailbox.orders.fetch_or(order as u8, SeqCst);
        let waker = self.lock_waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it has been told to end at once and has not obeyed yet.
    pub(super) fn is_killed(&self) -> bool {
        Orders(self.mailbox.orders.load(SeqCst)).has(Order::Kill)
    }

    /// Puts back orders that were taken and not obeyed.
    pub(super) fn leave_orders(&self, orders: Orders) {
        self.mailbox.orders.fetch_or(orders.0, SeqCst);
    }

    /// Takes the orders left since the last look, and arranges to be woken by the next.
    pub(super) fn poll_orders(&self, cx: &Context<'_>) -> Orders {
        // The waker goes in first: an order left after the look below finds it.
        {
            let mut waker = self.lock_waker();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        // A plain load first: orders are rare, and a swap would take the cache line from the giver each time.
        if self.mailbox.orders.load(SeqCst) == 0 {
            Orders(0)
        } else {
            Orders(self.mailbox.orders.swap(0, SeqCst))
        }
    }

    fn lock_seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.mailbox.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Orders taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orders(u8);

impl Orders {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, order: Order) -> bool {
        self.0 & order as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Credential;
    use crate::wire::auth::Password;

    fn wanted() -> Wanted {
        let credential = Credential { user: "app".to_owned(), password: Password::clear("app") };
        Wanted {
            key: Key { user: "app".into(), profile: 0, collation: 45, has_schema: false },
            settings: Settings::with_schema(None),
            user_variables: UserVariables::default(),
            role: None,
            opening: Opening { credential: Arc::new(credential), schema: None },
        }
    }

    fn taken(info: &SessionInfo) -> Orders {
        info.poll_orders(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_order_left_while_the_user_changes_reaches_the_session() {
        let registry = Registry::default();
        let peer = PeerAddress::Local;
        let before = registry.add(7, peer, None, &wanted());
        registry.get(7).expect("it is there").order(Order::Kill);
        let after = registry.add(7, peer, None, &wanted());
        assert!(after.is_killed());
        // Whoever found it before the change gives the order after it.
        assert!(taken(&after).has(Order::Kill));
        before.order(Order::DrainNow);
        assert!(taken(&after).has(Order::DrainNow));
        assert_eq!(registry.len(), 1);
    }
}
