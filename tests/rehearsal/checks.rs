//! The checkers: pure, from what clients were told and what was found to what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{ACCOUNTS, BALANCE, Found, History, Told, Write};

/// What each checker found; empty is good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) findings: Vec<(&'static str, Vec<String>)>,
}

/// Every checker that needs nothing but what clients and servers say. The first of `found` is the primary.
pub(crate) fn check(history: &History, found: &[Found]) -> Checked {
    let primary = found.first();
    let on_primary = |check: fn(&History, &Found) -> Vec<String>| {
        primary.map_or_else(Vec::new, |found| check(history, found))
    };
    let everywhere = |check: fn(&History, &Found) -> Vec<String>| {
        found.iter().flat_map(|found| check(history, found)).collect()
    };
    Checked {
        findings: vec![
            ("lost acknowledged writes", everywhere(lost)),
            ("refused and there all the same", everywhere(denied)),
            ("rows that nobody wrote", everywhere(unexpected)),
            ("servers that differ", differing(found)),
            ("duplicates", everywhere(duplicates)),
            ("two writers", on_primary(two_writers)),
            ("stale own reads", stale(history)),
            ("bank totals", bank(history, found)),
        ],
    }
}

fn ids<'h>(history: &'h History, is: impl Fn(&Told) -> bool + 'h) -> impl Iterator<Item = u64> + 'h {
    history.writes.iter().filter(move |write| is(&write.told)).map(|write| write.id)
}

/// Acknowledged and not there.
fn lost(history: &History, found: &Found) -> Vec<String> {
    let have: BTreeSet<u64> = found.rows.iter().map(|row| row.id).collect();
    let missing = ids(history, |told| *told == Told::Done).filter(|id| !have.contains(id));
    let mut all: Vec<String> = missing.map(|id| format!("row {id} on {}", found.server)).collect();
    let transfers: BTreeSet<u64> = found.transfers.iter().copied().collect();
    let done = history.transfers.iter().filter(|(_, told)| **told == Told::Done).map(|(id, _)| *id);
    all.extend(
        done.filter(|id| !transfers.contains(id)).map(|id| format!("transfer {id} on {}", found.server)),
    );
    all
}

/// An error said that it was not done, and it was.
fn denied(history: &History, found: &Found) -> Vec<String> {
    let have: BTreeSet<u64> = found.rows.iter().map(|row| row.id).collect();
    let there = ids(history, |told| matches!(told, Told::Refused(_))).filter(|id| have.contains(id));
    let mut all: Vec<String> = there.map(|id| format!("row {id} on {}", found.server)).collect();
    let refused = |id: &&u64| matches!(history.transfers.get(id), Some(Told::Refused(_)));
    let transfers = found.transfers.iter().filter(refused);
    all.extend(transfers.map(|id| format!("transfer {id} on {}", found.server)));
    all
}

fn unexpected(history: &History, found: &Found) -> Vec<String> {
    let tried: BTreeSet<u64> = ids(history, |_| true).collect();
    let strange = found.rows.iter().filter(|row| !tried.contains(&row.id));
    strange.map(|row| format!("row {} on {}", row.id, found.server)).collect()
}

/// Whoever serves has what the primary has, and nothing else.
fn differing(found: &[Found]) -> Vec<String> {
    let Some((primary, others)) = found.split_first() else { return Vec::new() };
    let differs = |found: &&Found| found.rows != primary.rows || found.transfers != primary.transfers;
    let told = |found: &Found| {
        format!(
            "{} has {} rows, {} has {}",
            found.server,
            found.rows.len(),
            primary.server,
            primary.rows.len()
        )
    };
    others.iter().filter(differs).map(told).collect()
}

/// What was sent once is there more than once.
fn duplicates(_: &History, found: &Found) -> Vec<String> {
    let twice = |ids: &mut dyn Iterator<Item = u64>, what: &str| {
        let mut seen = BTreeSet::new();
        let again: Vec<u64> = ids.filter(|id| !seen.insert(*id)).collect();
        again.into_iter().map(|id| format!("{what} {id} on {}", found.server)).collect::<Vec<_>>()
    };
    let mut all = twice(&mut found.rows.iter().map(|row| row.id), "row");
    all.extend(twice(&mut found.transfers.iter().copied(), "transfer"));
    all
}

/// Rows in their order are in runs, each by one server: its term. No write of an earlier term may have been sent after
/// one of a later term was acknowledged, and no two servers may take turns more often than primaries changed.
fn two_writers(history: &History, found: &Found) -> Vec<String> {
    let mut terms: BTreeMap<u64, usize> = BTreeMap::new();
    let (mut term, mut writer) = (0, None);
    for row in &found.rows {
        if writer.is_some_and(|writer| writer != row.by_server) {
            term += 1;
        }
        writer = Some(row.by_server);
        terms.insert(row.id, term);
    }
    let done: Vec<(usize, &Write)> = history
        .writes
        .iter()
        .filter(|write| write.told == Told::Done)
        .filter_map(|write| Some((*terms.get(&write.id)?, write)))
        .collect();
    let late = |later: usize| {
        let of_later = done.iter().filter(|(term, _)| *term == later);
        let first = of_later.map(|(_, write)| write.answered).min()?;
        done.iter().find(|(term, write)| *term < later && write.sent > first)
    };
    let told = |(_, write): &(usize, &Write)| {
        format!("row {} was sent to a primary after its successor had acknowledged one", write.id)
    };
    (1..=term).filter_map(late).map(told).collect()
}

/// How often the server that writes changed, in the order of the rows.
pub(crate) fn turns(found: &Found) -> usize {
    found.rows.windows(2).filter(|pair| pair[0].by_server != pair[1].by_server).count()
}

/// A session read less than it had been told it wrote.
fn stale(history: &History) -> Vec<String> {
    let stale = history.own_reads.iter().filter(|read| read.read < read.written);
    stale
        .map(|read| {
            format!("session {} read {} after {} at {:?}", read.key, read.read, read.written, read.at)
        })
        .collect()
}

/// The accounts hold together what they held in the beginning, whenever and wherever they are read.
fn bank(history: &History, found: &[Found]) -> Vec<String> {
    let total = ACCOUNTS * BALANCE;
    let seen = history.sums.iter().filter(|(_, sum)| *sum != total);
    let mut all: Vec<String> = seen.map(|(at, sum)| format!("{sum} instead of {total} at {at:?}")).collect();
    let last = found.iter().filter(|found| found.sum != total);
    all.extend(last.map(|found| format!("{} instead of {total} on {} in the end", found.sum, found.server)));
    all
}

/// The longest time without an acknowledged write, and when it began.
pub(crate) fn longest_gap(history: &History) -> (Duration, Duration) {
    let done = history.writes.iter().filter(|write| write.told == Told::Done);
    let mut times: Vec<Duration> = done.map(|write| write.answered).collect();
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| (pair[1].saturating_sub(pair[0]), pair[0]));
    gaps.max().unwrap_or_default()
}

impl Checked {
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.iter().all(|(_, found)| found.is_empty())
    }
}
