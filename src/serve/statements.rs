//! One copy of each statement that any session holds prepared, however many sessions do.

use std::collections::HashSet;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{Settings, StatementKey, UserVariables};

/// Statements that nobody holds are looked for when this many more have come.
const SWEEP_EVERY: usize = 1_000;

#[derive(Default)]
pub struct Statements {
    known: Mutex<Known>,
    hasher: RandomState,
}

#[derive(Default)]
struct Known {
    keys: HashSet<Arc<StatementKey>>,
    sweep_at: usize,
}

impl Statements {
    pub fn key(
        &self,
        text: &[u8],
        settings: &Settings,
        variables: Option<UserVariables>,
    ) -> Arc<StatementKey> {
        let key = StatementKey::new(text, settings, variables, &self.hasher);
        // Nothing panics while the lock is held, so what a poisoned one guards is whole.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.keys.get(&key) {
            return Arc::clone(same);
        }
        if known.keys.len() >= known.sweep_at {
            known.keys.retain(|key| Arc::strong_count(key) > 1);
            known.sweep_at = known.keys.len() + SWEEP_EVERY;
        }
        let key = Arc::new(key);
        known.keys.insert(Arc::clone(&key));
        key
    }
}
