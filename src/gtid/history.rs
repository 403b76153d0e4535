//! Histories: exactly which transactions a server has, to be compared, joined and subtracted.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use super::{join, parse_position, parse_source};
use crate::flavour::Flavour;

/// Transactions by who first committed them. Unlike a position it never takes one server's transactions for
/// another's: after MariaDB's `0-1-10`, a server may have gone on with `0-1-11` or with `0-2-11`, and neither
/// holds the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Never empty, in order and apart; both ends included.
    origins: BTreeMap<Origin, Vec<Interval>>,
}

type Interval = (u64, u64);

/// Who numbers transactions in one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// MySQL: a server's `uuid`, or `uuid:tag`.
    Uuid(String),
    /// MariaDB. Numbers of one server have gaps where others of the domain went on counting; a history holds
    /// all up to some number.
    Server { domain: u32, server: u32 },
}

impl Origin {
    /// Whether the server of this identity numbers them.
    pub fn is_of(&self, server_id: u32, server_uuid: Option<&str>) -> bool {
        match self {
            Origin::Uuid(source) => {
                let uuid = source.split(':').next().unwrap_or_default();
                server_uuid.is_some_and(|own| own.eq_ignore_ascii_case(uuid))
            }
            Origin::Server { server, .. } => *server == server_id,
        }
    }
}

impl History {
    /// Reads `gtid_executed`, `Retrieved_Gtid_Set`, `gtid_binlog_state`, `gtid_slave_pos` and their like. `None`
    /// for text that is none of them.
    pub fn parse(flavour: Flavour, text: &str) -> Option<Self> {
        let mut origins: BTreeMap<Origin, Vec<Interval>> = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match flavour {
                Flavour::MySql => {
                    let mut sources = BTreeMap::new();
                    parse_source(part, &mut sources)?;
                    for (source, intervals) in sources {
                        origins.entry(Origin::Uuid(source)).or_default().extend(intervals);
                    }
                }
                Flavour::MariaDb => {
                    let mut domains = BTreeMap::new();
                    parse_position(part, &mut domains)?;
                    for (domain, (server, number)) in domains.into_iter().filter(|(_, (_, n))| *n > 0) {
                        origins.entry(Origin::Server { domain, server }).or_default().push((1, number));
                    }
                }
            }
        }
        origins.values_mut().for_each(join);
        Some(Self { origins })
    }

    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Whether every transaction of `other` is in this history too.
    pub fn contains(&self, other: &History) -> bool {
        other.origins.iter().all(|(origin, wanted)| {
            let have = self.of(origin);
            wanted.iter().all(|w| have.iter().any(|h| h.0 <= w.0 && w.1 <= h.1))
        })
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &History) -> History {
        let mut both = self.clone();
        for (origin, intervals) in &other.origins {
            let have = both.origins.entry(origin.clone()).or_default();
            have.extend(intervals);
            join(have);
        }
        both
    }

    /// What is in this one and not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &History) -> History {
        let left = |(origin, have): (&Origin, &Vec<Interval>)| {
            let left = subtract(have, other.of(origin));
            (!left.is_empty()).then(|| (origin.clone(), left))
        };
        Self { origins: self.origins.iter().filter_map(left).collect() }
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &History) -> History {
        let shared = |(origin, have): (&Origin, &Vec<Interval>)| {
            let shared = intersect(have, other.of(origin));
            (!shared.is_empty()).then(|| (origin.clone(), shared))
        };
        Self { origins: self.origins.iter().filter_map(shared).collect() }
    }

    /// The part numbered by those origins.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&Origin) -> bool) -> History {
        let wanted = self.origins.iter().filter(|(origin, _)| is_wanted(origin));
        Self { origins: wanted.map(|(origin, have)| (origin.clone(), have.clone())).collect() }
    }

    fn of(&self, origin: &Origin) -> &[Interval] {
        self.origins.get(origin).map_or(&[], Vec::as_slice)
    }
}

/// More is greater; of two that each have what the other lacks, neither is.
impl PartialOrd for History {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.contains(other), other.contains(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

fn subtract(from: &[Interval], taken: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    for &(first, last) in from {
        let mut next = first;
        // In order and apart, so one walk finds what stands between them.
        for &(start, end) in taken.iter().filter(|taken| taken.0 <= last && taken.1 >= first) {
            if start > next {
                left.push((next, start - 1));
            }
            next = next.max(end.saturating_add(1));
        }
        // A set that ends with the last number there is has nothing behind it.
        let covered = taken.iter().any(|taken| taken.1 >= last && taken.0 <= last);
        if next <= last && !covered {
            left.push((next, last));
        }
    }
    left
}

fn intersect(ours: &[Interval], theirs: &[Interval]) -> Vec<Interval> {
    let pairs = ours.iter().flat_map(|our| theirs.iter().map(move |their| (our, their)));
    let mut shared: Vec<Interval> = pairs
        .map(|(our, their)| (our.0.max(their.0), our.1.min(their.1)))
        .filter(|(first, last)| first <= last)
        .collect();
    join(&mut shared);
    shared
}

/// MySQL's as its servers read them. MariaDB's with the last number, as its servers show positions; where a part
/// is missing at the front, as `domain-server-first..last`.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (origin, intervals) in &self.origins {
            match origin {
                Origin::Uuid(source) => {
                    write!(f, "{separator}{source}")?;
                    for (first, last) in intervals {
                        if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
                    }
                    separator = ",";
                }
                Origin::Server { domain, server } => {
                    for (first, last) in intervals {
                        write!(f, "{separator}{domain}-{server}-")?;
                        if *first == 1 || first == last {
                            write!(f, "{last}")?;
                        } else {
                            write!(f, "{first}..{last}")?;
                        }
                        separator = ",";
                    }
                }
            }
        }
        Ok(())
    }
}
