//! Sets of global transaction identifiers, in both flavours' forms: which transactions a server has.

mod history;
#[cfg(test)]
mod history_tests;
mod ledger;

use std::collections::BTreeMap;
use std::fmt;

pub use self::history::{History, Origin};
pub use self::ledger::Ledger;
use crate::flavour::Flavour;

/// Transactions, by who first committed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GtidSet {
    /// Intervals of numbers, both ends included, in order and apart, by source and tag
    /// (`uuid` or `uuid:tag`).
    MySql(BTreeMap<String, Vec<(u64, u64)>>),
    /// A replication position: the last sequence number by domain, with the server that wrote it. All
    /// before it in its domain are included.
    MariaDb(BTreeMap<u32, (u32, u64)>),
}

/// Intervals of one source that a set may grow to before they are taken for one: asking for more than was
/// written is safe, and sessions that write among many others would gather numbers without end.
const INTERVALS_MAX: usize = 16;

impl GtidSet {
    pub fn empty(flavour: Flavour) -> Self {
        match flavour {
            Flavour::MySql => GtidSet::MySql(BTreeMap::new()),
            Flavour::MariaDb => GtidSet::MariaDb(BTreeMap::new()),
        }
    }

    /// Reads `gtid_executed`, `gtid_current_pos` or one identifier. `None` for text that is none of them.
    pub fn parse(flavour: Flavour, text: &str) -> Option<Self> {
        let mut set = Self::empty(flavour);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match &mut set {
                GtidSet::MySql(sources) => parse_source(part, sources)?,
                GtidSet::MariaDb(domains) => parse_position(part, domains)?,
            }
        }
        Some(set)
    }

    /// The same, of a flavour that the text shows.
    pub fn parse_either(text: &str) -> Option<Self> {
        let flavour = if text.contains(':') { Flavour::MySql } else { Flavour::MariaDb };
        Self::parse(flavour, text)
    }

    pub fn is_empty(&self) -> bool {
        match self {
            GtidSet::MySql(sources) => sources.is_empty(),
            GtidSet::MariaDb(domains) => domains.is_empty(),
        }
    }

    /// Whether every transaction of `other` is in this set too.
    pub fn contains(&self, other: &GtidSet) -> bool {
        match (self, other) {
            (GtidSet::MySql(ours), GtidSet::MySql(theirs)) => theirs.iter().all(|(source, intervals)| {
                let have = ours.get(source).map_or(&[][..], Vec::as_slice);
                intervals.iter().all(|wanted| have.iter().any(|i| i.0 <= wanted.0 && wanted.1 <= i.1))
            }),
            (GtidSet::MariaDb(ours), GtidSet::MariaDb(theirs)) => theirs
                .iter()
                .all(|(domain, (_, number))| ours.get(domain).is_some_and(|(_, have)| have >= number)),
            (_, other) => other.is_empty(),
        }
    }

    /// The transactions that both have.
    pub fn intersection(&self, other: &GtidSet) -> GtidSet {
        match (self, other) {
            (GtidSet::MySql(ours), GtidSet::MySql(theirs)) => {
                let both = ours.iter().filter_map(|(source, intervals)| {
                    let common = common(intervals, theirs.get(source)?);
                    (!common.is_empty()).then(|| (source.clone(), common))
                });
                GtidSet::MySql(both.collect())
            }
            (GtidSet::MariaDb(ours), GtidSet::MariaDb(theirs)) => {
                let both = ours.iter().filter_map(|(domain, position)| {
                    let other = theirs.get(domain)?;
                    Some((*domain, if other.1 < position.1 { *other } else { *position }))
                });
                GtidSet::MariaDb(both.collect())
            }
            (GtidSet::MySql(_), _) => GtidSet::MySql(BTreeMap::new()),
            (GtidSet::MariaDb(_), _) => GtidSet::MariaDb(BTreeMap::new()),
        }
    }

    /// How many intervals it takes to tell it.
    pub fn gaps(&self) -> usize {
        match self {
            GtidSet::MySql(sources) => sources.values().map(Vec::len).sum(),
            GtidSet::MariaDb(domains) => domains.len(),
        }
    }

    /// Adds the transactions of `other`.
    pub fn add(&mut self, other: &GtidSet) {
        match (self, other) {
            (GtidSet::MySql(ours), GtidSet::MySql(theirs)) => {
                for (source, intervals) in theirs {
                    let have = ours.entry(source.clone()).or_default();
                    have.extend(intervals);
                    join(have);
                }
            }
            (GtidSet::MariaDb(ours), GtidSet::MariaDb(theirs)) => {
                for (domain, position) in theirs {
                    let have = ours.entry(*domain).or_insert(*position);
                    if position.1 > have.1 {
                        *have = *position;
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes sources with many gaps as if there were none.
    pub fn coarsen(&mut self) {
        let GtidSet::MySql(sources) = self else { return };
        for intervals in sources.values_mut().filter(|intervals| intervals.len() > INTERVALS_MAX) {
            let whole = (intervals[0].0, intervals[intervals.len() - 1].1);
            *intervals = vec![whole];
        }
    }
}

const TAG_LEN_MAX: usize = 32;

/// No server of MySQL's knows a greater one.
const NUMBER_MAX: u64 = i64::MAX as u64 - 1;

fn is_uuid(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// `uuid:1-5:7` or, with tags, `uuid:1-5:tag:1-3`.
fn parse_source(part: &str, sources: &mut BTreeMap<String, Vec<(u64, u64)>>) -> Option<()> {
    let (uuid, rest) = part.split_once(':')?;
    let uuid = uuid.trim().to_ascii_lowercase();
    if !is_uuid(&uuid) {
        return None;
    }
    let mut source = uuid.clone();
    for piece in rest.split(':').map(str::trim) {
        if piece.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            if piece.len() > TAG_LEN_MAX || !piece.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
                return None;
            }
            source = format!("{uuid}:{}", piece.to_ascii_lowercase());
            continue;
        }
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        let interval = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if interval.0 == 0 || interval.0 > interval.1 || interval.1 > NUMBER_MAX {
            return None;
        }
        sources.entry(source.clone()).or_default().push(interval);
    }
    sources.values_mut().for_each(join);
    Some(())
}

/// `domain-server-sequence`
fn parse_position(part: &str, domains: &mut BTreeMap<u32, (u32, u64)>) -> Option<()> {
    let mut numbers = part.split('-');
    let domain = numbers.next()?.parse().ok()?;
    let position = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    if numbers.next().is_some() {
        return None;
    }
    let have = domains.entry(domain).or_insert(position);
    if position.1 > have.1 {
        *have = position;
    }
    Some(())
}

/// What two lists of intervals, each in order, have in common.
fn common(ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut both = Vec::new();
    for our in ours {
        let meets = theirs.iter().filter(|their| their.0 <= our.1 && our.0 <= their.1);
        both.extend(meets.map(|their| (our.0.max(their.0), our.1.min(their.1))));
    }
    both
}

/// Puts intervals in order and joins those that touch.
fn join(intervals: &mut Vec<(u64, u64)>) {
    intervals.sort_unstable();
    intervals.dedup_by(|next, before| {
        let touch = next.0 <= before.1.saturating_add(1);
        if touch {
            before.1 = before.1.max(next.1);
        }
        touch
    });
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        match self {
            GtidSet::MySql(sources) => {
                for (source, intervals) in sources {
                    write!(f, "{separator}{source}")?;
                    for (first, last) in intervals {
                        if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
                    }
                    separator = ",";
                }
            }
            GtidSet::MariaDb(domains) => {
                for (domain, (server, number)) in domains {
                    write!(f, "{separator}{domain}-{server}-{number}")?;
                    separator = ",";
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const OTHER: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn mysql(text: &str) -> GtidSet {
        GtidSet::parse(Flavour::MySql, text).expect(text)
    }

    fn mariadb(text: &str) -> GtidSet {
        GtidSet::parse(Flavour::MariaDb, text).expect(text)
    }

    #[test]
    fn intervals_are_joined_and_shown() {
        let set = mysql(&format!("{}:3:1-2:7-9,\n{OTHER}:5", UUID.to_uppercase()));
        assert_eq!(set.to_string(), format!("{UUID}:1-3:7-9,{OTHER}:5"));
        let tagged = mysql(&format!("{UUID}:1-5:blue:1-3:8"));
        assert_eq!(tagged.to_string(), format!("{UUID}:1-5,{UUID}:blue:1-3:8"));
        assert!(mysql("").is_empty() && mariadb("").is_empty());
    }

    #[test]
    fn containment_is_by_every_transaction() {
        let have = mysql(&format!("{UUID}:1-10:20-30"));
        assert!(have.contains(&mysql(&format!("{UUID}:5-6:22"))));
        assert!(!have.contains(&mysql(&format!("{UUID}:9-11"))));
        assert!(!have.contains(&mysql(&format!("{OTHER}:1"))));
        assert!(!have.contains(&mysql(&format!("{UUID}:red:1"))), "a tag is another source");
        assert!(mariadb("0-1-100,1-5-7").contains(&mariadb("0-3-99")));
        assert!(!mariadb("0-1-100").contains(&mariadb("0-1-101")));
        assert!(!mariadb("0-1-100").contains(&mariadb("2-1-1")));
        assert_eq!(
            mariadb("0-1-5,1-1-9").intersection(&mariadb("0-2-7,1-2-3,2-1-1")),
            mariadb("0-1-5,1-2-3")
        );
    }

    #[test]
    fn many_gaps_are_taken_for_none() {
        let mut set = GtidSet::empty(Flavour::MySql);
        for number in 0..40 {
            set.add(&mysql(&format!("{UUID}:{}", number * 2 + 1)));
        }
        set.coarsen();
        assert_eq!(set.to_string(), format!("{UUID}:1-79"));
    }

    #[test]
    fn nonsense_is_no_set() {
        let no_uuid = format!("{}'", &UUID[..35]);
        for numbers in ["5-3", "0", "-", "9223372036854775807", "a'b:1"] {
            assert_eq!(GtidSet::parse(Flavour::MySql, &format!("{UUID}:{numbers}")), None, "{numbers}");
        }
        for text in ["x", "x:1", &format!("{no_uuid}:1")] {
            assert_eq!(GtidSet::parse(Flavour::MySql, text), None, "{text}");
        }
        for text in ["1", "1-2", "1-2-3-4", "a-b-c"] {
            assert_eq!(GtidSet::parse(Flavour::MariaDb, text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn sets_behave_as_sets(a in prop::collection::vec(1_u64..60, 0..30), b in prop::collection::vec(1_u64..60, 0..30)) {
            let of = |numbers: &[u64]| {
                let mut set = GtidSet::empty(Flavour::MySql);
                for number in numbers {
                    set.add(&mysql(&format!("{UUID}:{number}")));
                }
                set
            };
            let (set_a, set_b) = (of(&a), of(&b));
            prop_assert_eq!(set_a.contains(&set_b), b.iter().all(|number| a.contains(number)));
            let common = set_a.intersection(&set_b);
            for number in 1..60 {
                let one = of(&[number]);
                prop_assert_eq!(common.contains(&one), set_a.contains(&one) && set_b.contains(&one));
            }
            let mut both = set_a.clone();
            both.add(&set_b);
            prop_assert!(both.contains(&set_a) && both.contains(&set_b));
            prop_assert_eq!(&GtidSet::parse(Flavour::MySql, &both.to_string()), &Some(both.clone()));
        }
    }
}
