//! CONFORMANCE.md: a table and lists, of which a run replaces what it ran and keeps the rest.

use std::fmt;

use pointsman::flavour::Flavour;

use crate::accepted::Accepted;
use crate::compare::{self, Run, Status};
use crate::report::Row;
use crate::stage::Way;
use crate::suite;

/// Lines as they stand on the page.
#[derive(Default)]
pub(crate) struct Page {
    table: Vec<String>,
    unexplained: Vec<String>,
    accepted: Vec<String>,
}

impl Page {
    /// What `to_string` wrote; nothing of any other text.
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut lines = text.lines().skip_while(|line| *line != TABLE_RULE).skip(1);
        page.table = lines.by_ref().take_while(|line| line.starts_with('|')).map(str::to_owned).collect();
        let mut list = None;
        for line in lines {
            match line {
                UNEXPLAINED => list = Some(&mut page.unexplained),
                ACCEPTED => list = Some(&mut page.accepted),
                _ => {
                    if let (Some(list), true) = (&mut list, line.starts_with("- ")) {
                        list.push(line.to_owned());
                    }
                }
            }
        }
        page
    }

    /// With this row in the place of what was there of its suite and flavour.
    pub(crate) fn with(mut self, row: &Row, accepted: &Accepted<'static>) -> Self {
        let name = format!("- {}, {}", row.what, row.flavour);
        for list in [&mut self.unexplained, &mut self.accepted] {
            list.retain(|line| !line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([',', ':'])));
        }
        self.table.retain(|line| !is_of(line, row));
        for finding in row.findings() {
            let mark = if finding.way().is_some() { ',' } else { ':' };
            match row.reason(accepted, &finding) {
                Some(why) => self.accepted.push(format!("{name}{mark} {finding} ({why})")),
                None => self.unexplained.push(format!("{name}{mark} {finding}")),
            }
        }
        self.table.extend(table_lines(row, accepted));
        // Suites in their order; what they are called no more, at the end.
        self.table.sort_by_key(|line| {
            let known = suite::ALL.iter().position(|suite| cell(line, 0) == suite.what);
            known.unwrap_or(usize::MAX)
        });
        self.unexplained.sort();
        self.accepted.sort();
        self
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{HEAD}
{TABLE_HEAD}
{TABLE_RULE}"
        )?;
        for line in &self.table {
            writeln!(f, "{line}")?;
        }
        for (title, list) in [(UNEXPLAINED, &self.unexplained), (ACCEPTED, &self.accepted)] {
            writeln!(
                f,
                "
{title}
"
            )?;
            for line in list {
                writeln!(f, "{line}")?;
            }
            if list.is_empty() {
                writeln!(f, "None.")?;
            }
        }
        Ok(())
    }
}

fn table_lines(row: &Row, accepted: &Accepted<'static>) -> Vec<String> {
    let Row { what, version, servers, .. } = row;
    if row.missing.is_some() {
        return vec![format!("| {what} | cannot be had | {servers} | | | | | | |")];
    }
    let findings = row.findings();
    let line = |(way, runs): &(Way, Vec<Run>)| {
        let (mut open, mut explained) = (0, 0);
        for finding in
            findings.iter().filter(|finding| finding.way() == Some(*way) && finding.is_difference())
        {
            match row.reason(accepted, finding) {
                Some(_) => explained += 1,
                None => open += 1,
            }
        }
        let (direct, through) = (row.direct.first(), runs.first());
        let tests = direct.map_or(0, |run| run.results.len());
        let (direct, through) = (counts(direct), counts(through));
        format!(
            "| {what} | {version} | {servers} | {way} | {tests} | {direct} | {through} | {open} | {explained} |"
        )
    };
    row.through.iter().map(line).collect()
}

fn counts(run: Option<&Run>) -> String {
    let Some(Run { results, fault }) = run else { return "not run".to_owned() };
    let count = |status| compare::count(results, status);
    let broken = if fault.is_some() { ", broken off" } else { "" };
    format!("{} / {} / {}{broken}", count(Status::Passed), count(Status::Failed), count(Status::Skipped))
}

/// Whether a line of the table is of this suite and flavour.
fn is_of(line: &str, row: &Row) -> bool {
    let flavour = if cell(line, 2).starts_with("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
    cell(line, 0) == row.what && flavour == row.flavour
}

fn cell(line: &str, index: usize) -> &str {
    line.split('|').nth(index + 1).unwrap_or_default().trim()
}

const TABLE_HEAD: &str =
    "| suite | version | servers | mode | tests | directly | through | differences | accepted |";
const TABLE_RULE: &str = "|---|---|---|---|---|---|---|---|---|";
const UNEXPLAINED: &str = "## Unexplained";
const ACCEPTED: &str = "## Accepted";

const HEAD: &str = "\
# Conformance

What drivers' own tests say directly and through Pointsman: a primary, two replicas, `consistency = \"session\"`.
`make conformance OPTIONS=--record` writes this page; what it does not run (`--suite`, `--flavour`) stays as it is.

*shared*: the proxy as it is by default. *fresh*: `pool.reuse = false`, a new server connection for every statement
that permits it. Results are passed / failed / skipped. Tests that fail directly too fail by the age of the suite or
of the server. A difference is a test that ended through the proxy as it never did directly; where there is one, both
are run again. Accepted differences are in `tests/conformance/accepted.txt`, each with its reason.
";
