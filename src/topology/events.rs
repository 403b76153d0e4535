//! What happened to the cluster, for people: a bounded ring that control writes and admin shows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// How many events are remembered; the oldest are forgotten first.
pub const EVENTS_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: SystemTime,
    pub kind: EventKind,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Writes go to another server than before; the epoch moved.
    PrimaryChanged,
    /// Writes have nowhere to go.
    PrimaryLost,
    /// The primary of this epoch takes writes again.
    PrimaryReturned,
    /// A server takes new statements from now on.
    ServerServing,
    /// A server takes no new statements from now on.
    ServerExcluded,
    /// A server serves on in another role.
    RoleChanged,
    /// Something is wrong that changes no route yet.
    Problem,
    /// A problem is over.
    ProblemOver,
}

impl EventKind {
    /// Whether somebody should look.
    pub fn is_warning(self) -> bool {
        matches!(self, EventKind::PrimaryLost | EventKind::ServerExcluded | EventKind::Problem)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EventKind::PrimaryChanged => "primary_changed",
            EventKind::PrimaryLost => "primary_lost",
            EventKind::PrimaryReturned => "primary_returned",
            EventKind::ServerServing => "server_serving",
            EventKind::ServerExcluded => "server_excluded",
            EventKind::RoleChanged => "role_changed",
            EventKind::Problem => "problem",
            EventKind::ProblemOver => "problem_over",
        })
    }
}

/// A handle on the ring; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<VecDeque<Event>>>);

impl Events {
    pub fn record(&self, event: Event) {
        // A ring of plain values is whole even if somebody panicked while holding it.
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == EVENTS_MAX {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    /// All that are remembered, oldest first.
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
