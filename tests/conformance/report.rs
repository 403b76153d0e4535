//! What came of a suite, and what of it must not be.

use std::fmt;

use pointsman::flavour::Flavour;

use crate::accepted::{Accepted, END, SOURCES};
use crate::compare::{self, Run};
use crate::stage::Way;

/// One suite on one flavour.
pub(crate) struct Row {
    /// As in `accepted.txt`.
    pub(crate) suite: &'static str,
    /// The same for people.
    pub(crate) what: &'static str,
    pub(crate) version: String,
    pub(crate) flavour: Flavour,
    /// Name and version of the servers.
    pub(crate) servers: String,
    /// Why it could not be run.
    pub(crate) missing: Option<String>,
    /// Each run of it to the primary; more than one where there was something to be made sure of.
    pub(crate) direct: Vec<Run>,
    /// Each run of it through the proxy.
    pub(crate) through: Vec<(Way, Vec<Run>)>,
}

/// What is not as it should be, or is accepted.
#[derive(Debug)]
pub(crate) struct Finding {
    way: Option<Way>,
    /// Or what `accepted.txt` has in a test's place.
    test: String,
    text: String,
}

impl Row {
    pub(crate) fn new(suite: &'static str, what: &'static str, flavour: Flavour, servers: String) -> Self {
        let (version, missing) = (String::new(), None);
        Self { suite, what, version, flavour, servers, missing, direct: Vec::new(), through: Vec::new() }
    }

    /// Everything that was found, accepted or not.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        if let Some(why) = &self.missing {
            return vec![Finding { way: None, test: SOURCES.to_owned(), text: why.clone() }];
        }
        let mut findings: Vec<Finding> = faults(Way::Direct, &self.direct).collect();
        for (way, runs) in &self.through {
            findings.extend(faults(*way, runs));
            let differences = compare::differences(&self.direct, runs);
            findings.extend(differences.into_iter().map(|difference| Finding {
                way: Some(*way),
                text: difference.to_string(),
                test: difference.test,
            }));
        }
        findings
    }

    /// Why it may be so, if it may.
    pub(crate) fn reason(&self, accepted: &Accepted<'static>, finding: &Finding) -> Option<&'static str> {
        accepted.reason(self.suite, self.flavour, &finding.test)
    }

    /// What is not accepted.
    pub(crate) fn problems(&self, accepted: &Accepted<'static>) -> impl Iterator<Item = Finding> {
        self.findings().into_iter().filter(|finding| self.reason(accepted, finding).is_none())
    }
}

/// Runs that did not come to their end. One that ran nothing shows nothing.
fn faults(way: Way, runs: &[Run]) -> impl Iterator<Item = Finding> {
    runs.iter().filter_map(move |run| {
        let nothing = || run.results.is_empty().then(|| "no test at all".to_owned());
        let text = run.fault.clone().or_else(nothing)?;
        Some(Finding { way: Some(way), test: END.to_owned(), text })
    })
}

impl Finding {
    pub(crate) fn way(&self) -> Option<Way> {
        self.way
    }

    /// Whether it is about a test, and not about the suite.
    pub(crate) fn is_difference(&self) -> bool {
        self.test != SOURCES && self.test != END
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(way) = self.way {
            write!(f, "{way}: ")?;
        }
        if !self.is_difference() {
            write!(f, "{}: ", self.test)?;
        }
        f.write_str(&self.text)
    }
}
