//! The differences that are accepted, each with its reason: `accepted.txt`.

use anyhow::{Context, Result};
use pointsman::flavour::Flavour;

/// Lines of `suite | flavour or both | test, or its beginning and * | reason`.
const TEXT: &str = include_str!("accepted.txt");

pub(crate) struct Accepted(Vec<Line>);

struct Line {
    suite: &'static str,
    flavour: &'static str,
    test: &'static str,
    reason: &'static str,
}

impl Accepted {
    pub(crate) fn load() -> Result<Self> {
        let lines = TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let read = |line: &'static str| {
            let mut fields = line.split(" | ").map(str::trim);
            let mut next = || fields.next().filter(|field| !field.is_empty());
            let parsed = Line { suite: next()?, flavour: next()?, test: next()?, reason: next()? };
            ["mysql", "mariadb", "both"].contains(&parsed.flavour).then_some(parsed)
        };
        lines
            .map(|line| read(line).with_context(|| format!("accepted.txt: not understood: {line}")))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Why this test may end differently, if it may.
    pub(crate) fn reason(&self, suite: &str, flavour: Flavour, test: &str) -> Option<&'static str> {
        let flavour = match flavour {
            Flavour::MySql => "mysql",
            Flavour::MariaDb => "mariadb",
        };
        let fits = |line: &&Line| {
            line.suite == suite
                && (line.flavour == "both" || line.flavour == flavour)
                && match line.test.strip_suffix('*') {
                    Some(beginning) => test.starts_with(beginning),
                    None => line.test == test,
                }
        };
        self.0.iter().find(fits).map(|line| line.reason)
    }
}
