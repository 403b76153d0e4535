//! The differences that are accepted, each with its reason: `accepted.txt`.

use anyhow::{Context, Result};
use pointsman::flavour::Flavour;

/// Lines of `suite | flavour or both | test, or its beginning and * | reason`.
const TEXT: &str = include_str!("accepted.txt");

/// In a test's place: that a suite cannot be had.
pub(crate) const SOURCES: &str = "(sources)";
/// In a test's place: that a suite does not run to its end.
pub(crate) const END: &str = "(runs to its end)";

pub(crate) struct Accepted<'a>(Vec<Line<'a>>);

struct Line<'a> {
    suite: &'a str,
    flavour: &'a str,
    test: &'a str,
    reason: &'a str,
}

impl Accepted<'static> {
    pub(crate) fn load() -> Result<Self> {
        Self::read(TEXT)
    }
}

impl<'a> Accepted<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let read = |line: &'a str| {
            let mut fields = line.splitn(4, " | ").map(str::trim);
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
    pub(crate) fn reason(&self, suite: &str, flavour: Flavour, test: &str) -> Option<&'a str> {
        let fits = |line: &&Line<'_>| {
            line.suite == suite
                && (line.flavour == "both" || line.flavour == flavour.to_string())
                && match line.test.strip_suffix('*') {
                    Some(beginning) => test.starts_with(beginning),
                    None => line.test == test,
                }
        };
        self.0.iter().find(fits).map(|line| line.reason)
    }
}
