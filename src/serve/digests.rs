//! What was done for each digest: counts, latency, the reason. Bounded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::route::Because;
use crate::sql::{Access, Statement};
use crate::topology::ServerId;

/// Statistics by digest. Digests beyond the limit share one entry.
pub struct Digests {
    limit: usize,
    servers: usize,
    by_digest: RwLock<HashMap<Arc<str>, Arc<DigestStats>>>,
    other_reads: Arc<DigestStats>,
    other_writes: Arc<DigestStats>,
}

pub struct DigestStats {
    pub digest: Arc<str>,
    /// What the judges said of it last; `None` where digests share the entry.
    judged: ArcSwapOption<Statement>,
    is_read: AtomicBool,
    /// Statements by server.
    pub by_server: Box<[AtomicU64]>,
    /// Statements by reason, indexed by `Because`.
    pub by_because: [AtomicU64; Because::ALL.len()],
    pub errors: AtomicU64,
    pub rows: AtomicU64,
    pub micros: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

/// Two buckets per doubling, from 1 µs to over an hour.
const BUCKETS: usize = 64;

impl Digests {
    pub fn new(limit: usize, servers: usize) -> Self {
        let other_reads = Arc::new(DigestStats::new("(other reads)".into(), servers));
        other_reads.is_read.store(true, Relaxed);
        let other_writes = Arc::new(DigestStats::new("(other writes)".into(), servers));
        Self { limit, servers, by_digest: RwLock::default(), other_reads, other_writes }
    }

    /// The entry of a statement. Keep it: the next statement is likely the same.
    pub fn entry(&self, statement: &Arc<Statement>) -> Arc<DigestStats> {
        let is_read = statement.access == Access::Read;
        // Nothing panics while the lock is held, so what a poisoned one guards is whole.
        let known = self.by_digest.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(stats) = known.get(&*statement.digest) {
            stats.is_read.store(is_read, Relaxed);
            stats.judged.store(Some(Arc::clone(statement)));
            return Arc::clone(stats);
        }
        drop(known);
        let mut known = self.by_digest.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.limit {
            return Arc::clone(if is_read { &self.other_reads } else { &self.other_writes });
        }
        let digest = Arc::clone(&statement.digest);
        let stats = known
            .entry(Arc::clone(&digest))
            .or_insert_with(|| Arc::new(DigestStats::new(digest, self.servers)));
        stats.is_read.store(is_read, Relaxed);
        stats.judged.store(Some(Arc::clone(statement)));
        Arc::clone(stats)
    }

    pub fn all(&self) -> Vec<Arc<DigestStats>> {
        let known = self.by_digest.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known.values().cloned().collect();
        all.extend([&self.other_reads, &self.other_writes].map(Arc::clone));
        all.retain(|stats| stats.count() > 0);
        all
    }

    /// Counts everything from zero again.
    pub fn clear(&self) {
        let mut known = self.by_digest.write().unwrap_or_else(PoisonError::into_inner);
        // A session that keeps an entry goes on counting in it: such an entry must stay the one that is shown.
        known.retain(|_, stats| Arc::strong_count(stats) > 1);
        for stats in known.values().chain([&self.other_reads, &self.other_writes]) {
            stats.clear();
        }
    }
}

impl DigestStats {
    fn new(digest: Arc<str>, servers: usize) -> Self {
        Self {
            digest,
            judged: ArcSwapOption::empty(),
            is_read: AtomicBool::new(false),
            by_server: (0..servers).map(|_| AtomicU64::new(0)).collect(),
            by_because: std::array::from_fn(|_| AtomicU64::new(0)),
            errors: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            latency: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(super) fn record(&self, server: ServerId, because: Because, rows: u64, failed: bool, took: Duration) {
        if let Some(count) = self.by_server.get(usize::from(server.0)) {
            count.fetch_add(1, Relaxed);
        }
        self.by_because[because as usize].fetch_add(1, Relaxed);
        // Every session writes to these: what need not be written is left to the other processors' caches.
        if failed {
            self.errors.fetch_add(1, Relaxed);
        }
        if rows > 0 {
            self.rows.fetch_add(rows, Relaxed);
        }
        let micros = took.as_micros() as u64;
        self.micros.fetch_add(micros, Relaxed);
        self.latency[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// What the judges said of it last; `None` where digests share the entry.
    pub fn judged(&self) -> Option<Arc<Statement>> {
        self.judged.load_full()
    }

    /// Whether it was held to be read-only when last judged.
    pub fn is_read(&self) -> bool {
        self.is_read.load(Relaxed)
    }

    fn clear(&self) {
        let counts = self.by_server.iter().chain(&self.by_because).chain(&self.latency);
        for count in counts.chain([&self.errors, &self.rows, &self.micros]) {
            count.store(0, Relaxed);
        }
    }

    pub fn count(&self) -> u64 {
        self.by_server.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// The latency that a `share` (0 to 1) of the statements kept under, to within a factor of 1.5.
    pub fn latency_percentile(&self, share: f64) -> Duration {
        let counts: Vec<u64> = self.latency.iter().map(|count| count.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let rank = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= rank {
                return Duration::from_micros(upper_bound(bucket));
            }
        }
        Duration::ZERO
    }

    /// Reasons with their counts, most frequent first.
    pub fn reasons(&self) -> Vec<(Because, u64)> {
        let counted = Because::ALL.into_iter().map(|b| (b, self.by_because[b as usize].load(Relaxed)));
        let mut reasons: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let doubling = micros.ilog2() as usize;
    let upper_half = doubling > 0 && micros & (1 << (doubling - 1)) != 0;
    (doubling * 2 + usize::from(upper_half)).min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> u64 {
    let base = 1_u64 << (bucket / 2);
    if bucket.is_multiple_of(2) { base + base / 2 } else { base * 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_under_its_bucket_bound_and_over_the_one_before() {
        for micros in (1..5_000).chain([1 << 20, (1 << 20) + (1 << 19), 3_000_000_000]) {
            let at = bucket(micros);
            assert!(micros <= upper_bound(at), "{micros} in bucket {at}");
            assert!(at == 0 || micros >= upper_bound(at - 1) || at == 1, "{micros} in bucket {at}");
        }
    }

    fn read(digest: &str) -> Arc<Statement> {
        Arc::new(Statement {
            kind: crate::sql::Kind::Select,
            access: Access::Read,
            pins: crate::sql::PinSet::EMPTY,
            unpins: crate::sql::PinSet::EMPTY,
            needs: crate::sql::Needs::default(),
            effect: None,
            digest: digest.into(),
        })
    }

    #[test]
    fn clearing_forgets_counts_but_not_the_entries_in_use() {
        let digests = Digests::new(2, 1);
        let record = |stats: &DigestStats| {
            stats.record(ServerId(0), Because::Replica, 1, false, Duration::from_millis(1));
        };
        let kept = digests.entry(&read("kept"));
        record(&kept);
        record(&digests.entry(&read("dropped")));
        record(&digests.entry(&read("beyond the limit")));
        let shown = || {
            let mut shown: Vec<_> = digests.all().iter().map(|stats| stats.digest.to_string()).collect();
            shown.sort();
            shown
        };
        assert_eq!(shown(), ["(other reads)", "dropped", "kept"]);
        digests.clear();
        assert!(shown().is_empty());
        assert_eq!((kept.latency_percentile(0.5), kept.reasons().len()), (Duration::ZERO, 0));
        record(&kept);
        assert_eq!(shown(), ["kept"]);
        assert!(kept.is_read());
        assert_eq!(kept.judged().expect("known").digest, kept.digest);
    }

    #[test]
    fn percentiles_come_from_the_counts() {
        let stats = DigestStats::new("x".into(), 1);
        for _ in 0..99 {
            stats.record(ServerId(0), Because::Replica, 1, false, Duration::from_micros(100));
        }
        stats.record(ServerId(0), Because::Replica, 1, true, Duration::from_millis(50));
        assert!(stats.latency_percentile(0.5) < Duration::from_micros(200));
        assert!(stats.latency_percentile(0.999) >= Duration::from_millis(50));
        assert_eq!((stats.count(), stats.errors.load(Relaxed)), (100, 1));
    }
}
