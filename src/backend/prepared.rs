//! Which statements are prepared on one connection, under the server's own numbers. Pure.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::settings::Settings;
use super::user_variables::UserVariables;

/// A statement as servers know it: its text, and what of the session its meaning depends on.
#[derive(Debug)]
pub struct StatementKey {
    hash: u64,
    text: Arc<[u8]>,
    /// The schema, mode and character sets it is read under, whatever the session sets later.
    environment: Settings,
    /// Not zero: a copy that one client's statement has to itself.
    copy: u32,
    /// Where it names user variables: what gives them their types. Servers keep those of the preparation.
    variables: Option<UserVariables>,
}

impl StatementKey {
    pub fn new(
        text: &[u8],
        settings: &Settings,
        variables: Option<UserVariables>,
        hasher: &impl BuildHasher,
    ) -> Self {
        let environment = settings.reading();
        let read_by: Vec<_> = environment.variables().collect();
        let hash = hasher.hash_one((text, &environment.schema, read_by, &variables));
        Self { hash, text: text.into(), environment, copy: 0, variables }
    }

    /// The same statement as another one, that is shared with nobody on a connection.
    pub fn copy(&self, number: u32) -> Self {
        let (text, environment) = (Arc::clone(&self.text), self.environment.clone());
        Self { hash: self.hash, text, environment, copy: number, variables: self.variables.clone() }
    }

    pub fn is_copy(&self) -> bool {
        self.copy != 0
    }

    pub fn variables(&self) -> Option<&UserVariables> {
        self.variables.as_ref()
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    pub fn environment(&self) -> &Settings {
        &self.environment
    }
}

impl PartialEq for StatementKey {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.hash == other.hash
                && self.copy == other.copy
                && self.text == other.text
                && self.environment == other.environment
                && self.variables == other.variables)
    }
}

impl Eq for StatementKey {}

impl Hash for StatementKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The statements of one connection; the one used longest ago makes room.
#[derive(Debug, Default)]
pub(super) struct PreparedHere {
    by_key: HashMap<Arc<StatementKey>, Entry, RandomState>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    last_use: u64,
    /// The parameter types the server was last told.
    types: Option<Arc<[u8]>>,
}

impl PreparedHere {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The server's number of the statement, which is now the one used last.
    pub(super) fn use_id(&mut self, key: &StatementKey) -> Option<u32> {
        self.uses += 1;
        let entry = self.by_key.get_mut(key)?;
        entry.last_use = self.uses;
        Some(entry.id)
    }

    /// Remembers a statement. Returns the number it had before, to be closed.
    pub(super) fn insert(&mut self, key: Arc<StatementKey>, id: u32) -> Option<u32> {
        self.uses += 1;
        let entry = Entry { id, last_use: self.uses, types: None };
        self.by_key.insert(key, entry).map(|old| old.id)
    }

    pub(super) fn remove(&mut self, key: &StatementKey) -> Option<u32> {
        self.by_key.remove(key).map(|entry| entry.id)
    }

    /// Takes out the statement used longest ago, to be closed.
    pub(super) fn evict(&mut self) -> Option<u32> {
        let oldest = self.by_key.iter().min_by_key(|(_, entry)| entry.last_use)?.0;
        let oldest = Arc::clone(oldest);
        self.remove(&oldest)
    }

    /// Whether the server was last told these very types, so that they need not be sent again.
    pub(super) fn knows_types(&self, key: &StatementKey, types: &Arc<[u8]>) -> bool {
        let told = self.by_key.get(key).and_then(|entry| entry.types.as_ref());
        told.is_some_and(|told| Arc::ptr_eq(told, types) || told == types)
    }

    pub(super) fn tell_types(&mut self, key: &StatementKey, types: &Arc<[u8]>) {
        if let Some(entry) = self.by_key.get_mut(key) {
            entry.types = Some(Arc::clone(types));
        }
    }

    /// The server has forgotten all of them.
    pub(super) fn clear(&mut self) -> usize {
        let had = self.by_key.len();
        self.by_key.clear();
        had
    }
}
