//! The table of CONFORMANCE.md.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};

use anyhow::Result;
use pointsman::flavour::Flavour;

use crate::compare::{self, Difference, Results, Status};
use crate::options::Options;
use crate::stage::Way;
use crate::suite::Suite;

#[derive(Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

/// One suite on one flavour.
pub(crate) struct Row {
    what: &'static str,
    flavour: Flavour,
    pub(crate) version: String,
    /// Why it could not be run.
    pub(crate) missing: Option<String>,
    pub(crate) direct: Results,
    pub(crate) through: Vec<Through>,
}

/// The same suite through the proxy.
pub(crate) struct Through {
    way: Way,
    results: Results,
    accepted: usize,
    unexplained: Vec<Difference>,
}

impl Through {
    pub(crate) fn new(
        way: Way,
        results: Results,
        found: Vec<Difference>,
        is_accepted: impl Fn(&str) -> bool,
    ) -> Self {
        let all = found.len();
        let unexplained: Vec<Difference> =
            found.into_iter().filter(|difference| !is_accepted(&difference.test)).collect();
        Self { way, results, accepted: all - unexplained.len(), unexplained }
    }
}

impl Row {
    pub(crate) fn new(suite: &Suite, flavour: Flavour) -> Self {
        Self {
            what: suite.what,
            flavour,
            version: String::new(),
            missing: None,
            direct: Results::new(),
            through: Vec::new(),
        }
    }
}

impl Report {
    /// A suite that ran nothing shows nothing.
    pub(crate) fn is_clean(&self) -> bool {
        self.rows.iter().all(|row| {
            row.missing.is_some()
                || !row.direct.is_empty() && row.through.iter().all(|through| through.unexplained.is_empty())
        })
    }

    pub(crate) fn publish(&self, options: &Options) -> Result<()> {
        let text = self.text();
        let _ = io::stdout().write_all(text.as_bytes());
        if let Some(path) = &options.write {
            fs::write(path, text)?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for row in &self.rows {
            row.push(&mut text);
        }
        let missing: Vec<&Row> = self.rows.iter().filter(|row| row.missing.is_some()).collect();
        if !missing.is_empty() {
            text.push_str("\nLeft out, because the sources cannot be had:\n\n");
            for row in missing {
                let why = row.missing.as_deref().unwrap_or_default();
                let _ = writeln!(text, "- {}, {}: {why}", row.what, row.flavour);
            }
        }
        self.push_differences(&mut text);
        text
    }

    fn push_differences(&self, text: &mut String) {
        text.push_str("\n## Unexplained differences\n\n");
        let mut any = false;
        for row in &self.rows {
            for through in &row.through {
                for difference in &through.unexplained {
                    any = true;
                    let _ = writeln!(text, "- {}, {}, {}: {difference}", row.what, row.flavour, through.way);
                }
            }
        }
        if !any {
            text.push_str("None.\n");
        }
    }
}

impl Row {
    fn push(&self, text: &mut String) {
        if self.missing.is_some() {
            return;
        }
        for through in &self.through {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                self.what,
                self.version,
                self.flavour,
                through.way,
                self.direct.len(),
                counts(&self.direct),
                counts(&through.results),
                through.unexplained.len(),
                through.accepted
            );
        }
    }
}

fn counts(results: &Results) -> String {
    let count = |status| compare::count(results, status);
    format!("{} / {} / {}", count(Status::Passed), count(Status::Failed), count(Status::Skipped))
}

const HEAD: &str = "\
# Conformance

What drivers' own tests say directly and through Pointsman: a primary, two replicas, `consistency = \"session\"`.
`make conformance OPTIONS=\"--write CONFORMANCE.md\"` writes this page.

*shared*: the proxy as it is by default. *fresh*: `pool.reuse = false`, a new server connection for every statement
that permits it. Results are passed / failed / skipped. Tests that fail directly too fail by the age of the suite or
of the server. Accepted differences are in `tests/conformance/accepted.txt`, each with its reason.

| suite | version | servers | mode | tests | directly | through | differences | accepted |
|---|---|---|---|---|---|---|---|---|
";
