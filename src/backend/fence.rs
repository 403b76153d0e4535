//! Closes the way to a server: what was opened before may neither be used nor believed after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts how often the way was closed and opened: even while it is open.
#[derive(Debug, Default)]
pub(super) struct Fence(AtomicU64);

/// The right to use what was opened under it, as long as the way was never closed since.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    fence: Arc<Fence>,
    term: u64,
}

impl Fence {
    pub(super) fn close(&self) {
        let closed = |term: u64| (term.is_multiple_of(2)).then_some(term + 1);
        // Closed already is as good.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, closed);
    }

    pub(super) fn open(&self) {
        let opened = |term: u64| (!term.is_multiple_of(2)).then_some(term + 1);
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, opened);
    }

    /// The term of this moment; `None` while the way is closed.
    pub(super) fn term(&self) -> Option<u64> {
        let term = self.0.load(Ordering::Acquire);
        term.is_multiple_of(2).then_some(term)
    }

    /// The pass of a term, valid or not.
    pub(super) fn pass(self: &Arc<Self>, term: u64) -> Pass {
        Pass { fence: Arc::clone(self), term }
    }
}

impl Pass {
    pub(super) fn is_valid(&self) -> bool {
        self.fence.0.load(Ordering::Acquire) == self.term
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_ends_when_the_way_is_closed_and_does_not_come_back() {
        let fence = Arc::new(Fence::default());
        let term = fence.term().expect("open");
        let before = fence.pass(term);
        assert!(before.is_valid());
        fence.close();
        fence.close();
        assert!(!before.is_valid() && fence.term().is_none());
        fence.open();
        fence.open();
        assert!(!before.is_valid() && !fence.pass(term).is_valid());
        assert!(fence.pass(fence.term().expect("open again")).is_valid());
    }
}
