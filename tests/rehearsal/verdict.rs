//! What came of a scenario: the timeline, and what each checker says.

use std::fmt::Write as _;
use std::time::Duration;

use super::checks::Checked;
use super::scenario::Scenario;

pub(crate) struct Verdict {
    pub(crate) scenario: Scenario,
    /// Flavour and stage, in words.
    pub(crate) setting: String,
    /// What was done and what was seen, with the time since the clients began.
    pub(crate) timeline: Vec<(Duration, String)>,
    pub(crate) checked: Checked,
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    /// The errors that clients were given, each with how often.
    pub(crate) refused: Vec<(String, usize)>,
    pub(crate) lost_sessions: usize,
    pub(crate) longest_gap: (Duration, Duration),
    pub(crate) took: Duration,
}

/// Findings that are shown of one checker.
const SHOWN_MAX: usize = 5;

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.checked.is_clean()
    }

    /// For people.
    pub(crate) fn told(&self) -> String {
        let sheet = self.scenario.sheet();
        let mut text = format!("\n== {}, {}: {}\n", sheet.name, self.setting, sheet.about);
        for (at, line) in &self.timeline {
            let _ = writeln!(text, "{:>8.3} s  {line}", at.as_secs_f64());
        }
        let (gap, from) = self.longest_gap;
        let _ = writeln!(
            text,
            "   longest time without an acknowledged write: {:.3} s, from {:.3} s on",
            gap.as_secs_f64(),
            from.as_secs_f64()
        );
        let _ = writeln!(
            text,
            "   writes: {} acknowledged, {} of unknown outcome; sessions lost: {}",
            self.acknowledged, self.unknown, self.lost_sessions
        );
        for (error, count) in &self.refused {
            let _ = writeln!(text, "   refused {count} times: {error}");
        }
        for (name, found) in &self.checked.findings {
            let _ = writeln!(
                text,
                "   {:<32} {}",
                name,
                if found.is_empty() { "none".to_owned() } else { shown(found) }
            );
        }
        text.push_str(if self.is_clean() { "   ok\n" } else { "   FAILED\n" });
        text
    }

    /// One line of the table at the end.
    pub(crate) fn row(&self) -> String {
        format!(
            "{:<6} {:<32} {:<22} longest gap {:>7.3} s  {:>6} acknowledged  {:>4} unknown  {:>4.0} s",
            if self.is_clean() { "ok" } else { "FAILED" },
            self.scenario.sheet().name,
            self.setting,
            self.longest_gap.0.as_secs_f64(),
            self.acknowledged,
            self.unknown,
            self.took.as_secs_f64()
        )
    }
}

fn shown(found: &[String]) -> String {
    let more = found.len().saturating_sub(SHOWN_MAX);
    let first = found[..found.len() - more].join("; ");
    if more == 0 { first } else { format!("{first}; and {more} more") }
}
