//! Whether a server is up: one lost probe flips nothing, a few in a row do.

use std::sync::Arc;

use super::observation::{Failure, FailureKind};

/// How many results in a row flip a verdict.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    pub failures: u32,
    pub successes: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not probed yet.
    #[default]
    Unknown,
    Up {
        /// Evidence against it, in failed probes without a good one between.
        against: u32,
    },
    Down {
        /// Good probes in a row since.
        good: u32,
        because: Failure,
    },
}

impl Health {
    pub fn is_up(&self) -> bool {
        matches!(self, Health::Up { .. })
    }

    /// The state after one more probe; `failure` is `None` where it was good.
    #[must_use]
    pub fn after(self, failure: Option<&Failure>, thresholds: Thresholds) -> Self {
        match (self, failure) {
            // Nothing is known yet, so there is nothing to hold on to: the first word counts.
            (Health::Unknown, None) => Health::Up { against: 0 },
            (Health::Unknown, Some(failure)) => Health::Down { good: 0, because: failure.clone() },
            (Health::Up { .. }, None) => Health::Up { against: 0 },
            // It turned us away, so it lives. What it last showed is held until that is too old.
            (Health::Up { .. }, Some(failure)) if failure.kind.is_alive() => Health::Up { against: 0 },
            (Health::Up { against }, Some(failure)) => {
                let against = against.saturating_add(weight(failure.kind));
                if against >= thresholds.failures {
                    Health::Down { good: 0, because: failure.clone() }
                } else {
                    Health::Up { against }
                }
            }
            (Health::Down { good, because }, None) => {
                if good + 1 >= thresholds.successes {
                    Health::Up { against: 0 }
                } else {
                    Health::Down { good: good + 1, because }
                }
            }
            (Health::Down { .. }, Some(failure)) => Health::Down { good: 0, because: failure.clone() },
        }
    }

    /// Why it is not up, in words.
    pub fn because(&self) -> Option<Arc<str>> {
        match self {
            Health::Down { because, .. } => Some(Arc::clone(&because.text)),
            Health::Up { .. } | Health::Unknown => None,
        }
    }
}

/// A refusal is the host's word that the process is gone; silence may be a lost packet.
fn weight(kind: FailureKind) -> u32 {
    match kind {
        FailureKind::Refused => 2,
        _ => 1,
    }
}
