//! The writes that were acknowledged to any client of this proxy: what a `global` read must have seen.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::flavour::Flavour;
use crate::gtid::{GtidSet, History, Ledger};
use crate::topology::Epoch;

/// For reads nothing is gathered before somebody reads by it. For the audit of a change of primary every transaction
/// is, in a ledger that a write holds for as long as it takes to count on by one.
pub struct Acknowledged {
    ledger: Mutex<Ledger>,
    in_use: AtomicBool,
    known: Mutex<Known>,
}

struct Known {
    /// The epoch whose writes are gathered.
    epoch: Option<Epoch>,
    /// What was acknowledged before the gathering began is in the set too.
    complete: bool,
    set: GtidSet,
}

impl Default for Acknowledged {
    fn default() -> Self {
        let known = Known { epoch: None, complete: false, set: GtidSet::empty(Flavour::MySql) };
        Self { ledger: Mutex::default(), in_use: AtomicBool::new(false), known: Mutex::new(known) }
    }
}

impl Acknowledged {
    /// Takes in the transactions that an OK names, before its client gets it.
    pub(super) fn note(&self, gtids: &str) {
        self.ledger().note(gtids);
        // A write that does not see the flag was committed before the flag was set, and the primary is asked for its
        // position after that.
        if !self.in_use.load(SeqCst) {
            return;
        }
        let Some(gtids) = GtidSet::parse_either(gtids) else { return };
        let mut known = self.lock();
        if known.set.is_empty() {
            known.set = gtids;
        } else {
            known.set.add(&gtids);
            known.set.coarsen();
        }
    }

    /// Every transaction that any client was told of, as far as there was room.
    pub fn all(&self) -> History {
        self.ledger().history()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was acknowledged until now. `None`: that must be asked of this epoch's primary first.
    pub(super) fn so_far(&self, epoch: Epoch) -> Option<GtidSet> {
        let known = self.lock();
        (known.complete && known.epoch == Some(epoch)).then(|| known.set.clone())
    }

    /// To be called before the primary is asked for its position. What another epoch's primary acknowledged may be
    /// lost: what is left of it, the position holds.
    pub(super) fn begin(&self, epoch: Epoch) {
        self.in_use.store(true, SeqCst);
        let mut known = self.lock();
        if known.epoch != Some(epoch) {
            let set = GtidSet::empty(Flavour::MySql);
            *known = Known { epoch: Some(epoch), complete: false, set };
        }
    }

    /// The primary of the epoch has said where it is.
    pub(super) fn complete(&self, epoch: Epoch, position: GtidSet) {
        let mut known = self.lock();
        if known.epoch != Some(epoch) {
            return;
        }
        let gathered = std::mem::replace(&mut known.set, position);
        known.set.add(&gathered);
        known.complete = true;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_gathered_from_the_first_use_on_and_anew_in_each_epoch() {
        let acknowledged = Acknowledged::default();
        let (first, second) = (Epoch(1), Epoch(2));
        let position = |text| GtidSet::parse(Flavour::MariaDb, text).expect("a position");
        acknowledged.note("0-1-5");
        assert_eq!(acknowledged.so_far(first), None);
        acknowledged.begin(first);
        acknowledged.note("0-1-7");
        assert_eq!(acknowledged.so_far(first), None, "what came before is not known yet");
        acknowledged.begin(first);
        acknowledged.complete(first, position("0-1-6,1-1-1"));
        assert_eq!(acknowledged.so_far(first), Some(position("0-1-7,1-1-1")));
        assert_eq!(acknowledged.so_far(second), None);
        acknowledged.begin(second);
        acknowledged.complete(first, position("0-1-9"));
        assert_eq!(acknowledged.so_far(second), None, "another primary's position says nothing");
        acknowledged.complete(second, position("0-2-6"));
        assert_eq!(acknowledged.so_far(second), Some(position("0-2-6")));
        assert_eq!(acknowledged.all().to_string(), "0-1-7", "the ledger knows what clients were told");
    }
}
