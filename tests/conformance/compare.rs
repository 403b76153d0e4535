//! Results of runs, and what is not the same in those of two ways.

use std::collections::BTreeMap;
use std::fmt;

/// What became of each test.
pub(crate) type Results = BTreeMap<String, Status>;

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Passed,
    Skipped,
    Failed,
}

/// What came of a suite once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) results: Results,
    /// Why some tests may be missing: it did not run to its end.
    pub(crate) fault: Option<String>,
}

/// A test that ended through the proxy as it never did directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) test: String,
    direct: Endings,
    through: Endings,
}

/// How it ended in each run, no ending twice. `None`: it was not run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endings(Vec<Option<Status>>);

impl Endings {
    fn of(test: &str, runs: &[Run]) -> Self {
        let mut endings: Vec<_> = runs.iter().map(|run| run.results.get(test).copied()).collect();
        endings.sort();
        endings.dedup();
        Self(endings)
    }
}

impl fmt::Display for Endings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().map(|ending| match ending {
            Some(Status::Passed) => "passed",
            Some(Status::Failed) => "failed",
            Some(Status::Skipped) => "skipped",
            None => "not run",
        });
        f.write_str(&words.collect::<Vec<_>>().join(" or "))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: directly {}, through the proxy {}", self.test, self.direct, self.through)
    }
}

/// Reads what a suite's script wrote: a line for each test, its status and its name. The same name again: the worst
/// of its results counts.
pub(crate) fn read(text: &str) -> Results {
    let mut results = Results::new();
    for line in text.lines() {
        let Some((status, name)) = line.split_once('\t') else { continue };
        let status = match status {
            "ok" => Status::Passed,
            "skip" => Status::Skipped,
            _ => Status::Failed,
        };
        let worst = results.entry(name.to_owned()).or_insert(status);
        *worst = status.max(*worst);
    }
    results
}

/// Every test that ended through the proxy, in any run, as it did directly in none. A test that is not the same twice
/// directly may be as changeable through the proxy.
pub(crate) fn differences(direct: &[Run], through: &[Run]) -> Vec<Difference> {
    let mut names: Vec<&String> = direct.iter().chain(through).flat_map(|run| run.results.keys()).collect();
    names.sort();
    names.dedup();
    let difference = |name: &String| {
        let (direct, through) = (Endings::of(name, direct), Endings::of(name, through));
        let known = through.0.iter().all(|ending| direct.0.contains(ending));
        (!known).then(|| Difference { test: name.clone(), direct, through })
    };
    names.into_iter().filter_map(difference).collect()
}

pub(crate) fn count(results: &Results, status: Status) -> usize {
    results.values().filter(|have| **have == status).count()
}
