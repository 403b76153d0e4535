//! Pool bookkeeping of one server: what is idle, how much is open, who waits. Pure.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

/// Connections `C` to one server, kept by key `K`; whoever waits is reached through `W`.
#[derive(Debug)]
pub(super) struct Slots<K, C, W> {
    cap: usize,
    /// Idle, leased and being connected.
    open: usize,
    /// Looked into twice a statement, so by a hash that is quick.
    idle: HashMap<K, Vec<Idle<C>>, RandomState>,
    waiting: VecDeque<(K, W)>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    opened: Instant,
    since: Instant,
}

/// What a checkout gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checkout<C> {
    Reuse(C),
    /// A slot is taken; connect and, should that fail, call `closed`.
    Connect,
    /// As `Connect`, in the slot of this idle connection of another key, which is to be closed.
    Replace(C),
    /// All slots are leased; `wait` in line.
    Full,
}

/// What somebody in line is handed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Grant<C> {
    Connection(C),
    /// A slot to connect in.
    Slot,
}

/// How well an idle connection suits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Needs work before use.
    Poor,
    /// Needs work before some uses.
    Near,
    /// As it is.
    Exact,
}

/// Idle connections looked at for an exact fit before the most recent is taken as it is.
const LOOK_BACK: usize = 16;

impl<K: Eq + Hash + Clone, C, W> Slots<K, C, W> {
    pub(super) fn new(cap: usize) -> Self {
        Self { cap, open: 0, idle: HashMap::default(), waiting: VecDeque::new() }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.values().map(Vec::len).sum()
    }

    pub(super) fn idle_connections(&self) -> impl Iterator<Item = &C> {
        self.idle.values().flatten().map(|idle| &idle.connection)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Idle connections by key.
    pub(super) fn idle_by_key(&self) -> impl Iterator<Item = (&K, usize)> {
        self.idle.iter().map(|(key, connections)| (key, connections.len()))
    }

    /// Takes the most recently used connection that fits exactly, else the most recently used.
    pub(super) fn checkout(&mut self, key: &K, fit: impl Fn(&C) -> Fit) -> Checkout<C> {
        if let Some(connections) = self.idle.get_mut(key)
            && !connections.is_empty()
        {
            let newest = connections.len() - 1;
            let oldest = connections.len().saturating_sub(LOOK_BACK);
            let first =
                |at_least| (oldest..=newest).rev().find(|at| fit(&connections[*at].connection) >= at_least);
            let best = first(Fit::Exact).or_else(|| first(Fit::Near));
            // Order matters (most recent last), so no swap.
            return Checkout::Reuse(connections.remove(best.unwrap_or(newest)).connection);
        }
        if self.open < self.cap {
            self.open += 1;
            return Checkout::Connect;
        }
        match self.take_oldest_idle() {
            Some(connection) => Checkout::Replace(connection),
            None => Checkout::Full,
        }
    }

    /// Stands in line for the next free connection or slot.
    pub(super) fn wait(&mut self, key: K, waiter: W) {
        self.waiting.push_back((key, waiter));
    }

    /// Takes those out of the line who wait no more.
    pub(super) fn leave(&mut self, is_gone: impl Fn(&W) -> bool) {
        self.waiting.retain(|(_, waiter)| !is_gone(waiter));
    }

    /// Takes a slot for a connection opened outside of `checkout`. `false` when none is free.
    pub(super) fn adopt(&mut self) -> bool {
        let free = self.open < self.cap;
        self.open += usize::from(free);
        free
    }

    /// A leased connection comes back clean. Whoever is first in line is to be handed what is returned;
    /// when the line's first has another key, the connection comes back too, to be closed.
    pub(super) fn release(
        &mut self,
        key: &K,
        connection: C,
        opened: Instant,
        now: Instant,
    ) -> Released<C, W> {
        match self.waiting.pop_front() {
            None => {
                let idle = Idle { connection, opened, since: now };
                match self.idle.get_mut(key) {
                    Some(connections) => connections.push(idle),
                    None => drop(self.idle.insert(key.clone(), vec![idle])),
                }
                Released::Kept
            }
            Some((wanted, waiter)) if wanted == *key => {
                Released::Hand { waiter, grant: Grant::Connection(connection), close: None }
            }
            Some((_, waiter)) => Released::Hand { waiter, grant: Grant::Slot, close: Some(connection) },
        }
    }

    /// A leased connection is gone, or a connect failed. The waiter returned may connect in its slot.
    pub(super) fn closed(&mut self) -> Option<W> {
        debug_assert!(self.open > 0, "closed more than was opened");
        match self.waiting.pop_front() {
            Some((_, waiter)) => Some(waiter),
            None => {
                self.open -= 1;
                None
            }
        }
    }

    /// Takes out what has been idle or alive for too long; `min_idle` per key may stay idle for any time.
    pub(super) fn prune(
        &mut self,
        idle_timeout: Duration,
        max_age: Duration,
        min_idle: usize,
        now: Instant,
    ) -> Vec<C> {
        let mut pruned = Vec::new();
        for connections in self.idle.values_mut() {
            let mut left = connections.len();
            let stale = |idle: &mut Idle<C>| {
                let old = now.duration_since(idle.opened) >= max_age;
                let unused = now.duration_since(idle.since) >= idle_timeout && left > min_idle;
                left -= usize::from(old || unused);
                old || unused
            };
            pruned.extend(connections.extract_if(.., stale).map(|idle| idle.connection));
        }
        self.idle.retain(|_, connections| !connections.is_empty());
        self.open -= pruned.len();
        pruned
    }

    /// Takes out everything idle, for a server that takes no more statements.
    pub(super) fn drain(&mut self) -> Vec<C> {
        let drained: Vec<C> =
            self.idle.drain().flat_map(|(_, idle)| idle).map(|idle| idle.connection).collect();
        self.open -= drained.len();
        drained
    }

    /// The slot stays taken: the caller connects in it.
    fn take_oldest_idle(&mut self) -> Option<C> {
        let oldest = |connections: &Vec<Idle<C>>| connections.first().map(|idle| idle.since);
        let (_, connections) =
            self.idle.iter_mut().filter(|(_, c)| !c.is_empty()).min_by_key(|(_, c)| oldest(c))?;
        Some(connections.remove(0).connection)
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn check_invariants(&self, leased: usize) {
        assert_eq!(self.open, self.idle() + leased, "every open connection is idle or leased");
        assert!(self.open <= self.cap, "never more than the cap");
        assert!(self.waiting.is_empty() || self.idle() == 0, "nobody waits while something is idle");
    }
}

/// What became of a released connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Released<C, W> {
    Kept,
    Hand { waiter: W, grant: Grant<C>, close: Option<C> },
}
