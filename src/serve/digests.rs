//! What was done for each digest: counts, latency, the reason. Bounded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::route::Because;
use crate::sql::Statement;
use crate::topology::ServerId;

/// Statistics by digest. Digests beyond the limit share one entry.
pub struct Digests {
    limit: usize,
    servers: usize,
    by_digest: RwLock<HashMap<Arc<str>, Arc<DigestStats>>>,
    others: Arc<DigestStats>,
}

pub struct DigestStats {
    pub digest: Arc<str>,
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
        let others = Arc::new(DigestStats::new("(others)".into(), servers));
        Self { limit, servers, by_digest: RwLock::default(), others }
    }

    /// The entry of a statement. Keep it: the next statement is likely the same.
    pub fn entry(&self, statement: &Statement) -> Arc<DigestStats> {
        // Nothing panics while the lock is held, so what a poisoned one guards is whole.
        let known = self.by_digest.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(stats) = known.get(&*statement.digest) {
            return Arc::clone(stats);
        }
        drop(known);
        let mut known = self.by_digest.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() >= self.limit {
            return Arc::clone(&self.others);
        }
        let digest = Arc::clone(&statement.digest);
        let stats = known
            .entry(Arc::clone(&digest))
            .or_insert_with(|| Arc::new(DigestStats::new(digest, self.servers)));
        Arc::clone(stats)
    }

    pub fn all(&self) -> Vec<Arc<DigestStats>> {
        let known = self.by_digest.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut all: Vec<_> = known.values().cloned().collect();
        if self.others.count() > 0 {
            all.push(Arc::clone(&self.others));
        }
        all
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.by_digest.write().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
}

impl DigestStats {
    fn new(digest: Arc<str>, servers: usize) -> Self {
        Self {
            digest,
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
        self.errors.fetch_add(u64::from(failed), Relaxed);
        self.rows.fetch_add(rows, Relaxed);
        let micros = took.as_micros() as u64;
        self.micros.fetch_add(micros, Relaxed);
        self.latency[bucket(micros)].fetch_add(1, Relaxed);
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
