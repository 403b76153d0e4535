//! The binary protocol's prepared statements of one session. They live on the connection they were prepared on.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sql::Judged;

#[derive(Default)]
pub(super) struct Prepared {
    by_id: HashMap<u32, Arc<Judged>>,
}

impl Prepared {
    pub(super) fn insert(&mut self, id: u32, judged: Arc<Judged>) {
        self.by_id.insert(id, judged);
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<Judged>> {
        self.by_id.get(&id).cloned()
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.by_id.remove(&id);
    }

    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
