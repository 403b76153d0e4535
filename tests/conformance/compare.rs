//! Results of a run, and what is not the same in two of them.

use std::collections::BTreeMap;
use std::fmt;

/// What became of each test.
pub(crate) type Results = BTreeMap<String, Status>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Passed,
    Failed,
    Skipped,
}

/// A test that ended differently. `None`: it was not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) test: String,
    pub(crate) direct: Option<Status>,
    pub(crate) through: Option<Status>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |status| match status {
            Some(Status::Passed) => "passed",
            Some(Status::Failed) => "failed",
            Some(Status::Skipped) => "skipped",
            None => "not run",
        };
        write!(f, "{}: directly {}, through the proxy {}", self.test, word(self.direct), word(self.through))
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
        let have = results.entry(name.to_owned()).or_insert(status);
        if status == Status::Failed {
            *have = status;
        }
    }
    results
}

pub(crate) fn differences(direct: &Results, through: &Results) -> Vec<Difference> {
    let mut names: Vec<&String> = direct.keys().chain(through.keys()).collect();
    names.sort();
    names.dedup();
    let differ = names.into_iter().filter(|name| direct.get(*name) != through.get(*name));
    let difference = |name: &String| Difference {
        test: name.clone(),
        direct: direct.get(name).copied(),
        through: through.get(name).copied(),
    };
    differ.map(difference).collect()
}

pub(crate) fn count(results: &Results, status: Status) -> usize {
    results.values().filter(|have| **have == status).count()
}
