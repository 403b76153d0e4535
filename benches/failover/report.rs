//! What was measured, in words and a table.

use std::fmt::Write as _;
use std::time::Duration;

use pointsman::flavour::Flavour;

use crate::machine::Machine;
use crate::options::Event;
use crate::writers::Seen;

pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) writers: usize,
    pub(crate) think: u64,
    pub(crate) measured: Vec<Measured>,
}

/// All runs of one event with one flavour.
pub(crate) struct Measured {
    flavour: Flavour,
    event: Event,
    pub(crate) seen: Vec<Seen>,
    /// How often the old primary did not come back as a replica, because it had what nobody else has.
    pub(crate) left_out: usize,
    /// Acknowledged rows that were not there in the end.
    pub(crate) lost: usize,
}

impl Measured {
    pub(crate) fn new(flavour: Flavour, event: Event) -> Self {
        Self { flavour, event, seen: Vec::new(), left_out: 0, lost: 0 }
    }

    fn row(&self) -> String {
        let of = |time: fn(&Seen) -> Duration| distribution(self.seen.iter().map(time).collect());
        let count = |what: fn(&Seen) -> usize| self.seen.iter().map(what).sum::<usize>();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.flavour,
            self.event.told(),
            self.seen.len(),
            of(|seen| seen.gap),
            of(|seen| seen.until_first),
            of(|seen| seen.longest),
            count(|seen| seen.failed),
            count(|seen| seen.unknown),
            self.left_out,
            self.lost,
        )
    }
}

/// p50, p99 and the worst, in milliseconds.
fn distribution(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let rank = (times.len() as f64 * share).ceil() as usize;
        times.get(rank.clamp(1, times.len().max(1)) - 1).map_or(0, Duration::as_millis)
    };
    format!("{} / {} / {}", at(0.5), at(0.99), at(1.0))
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let Machine { when, processor, cores, memory, system, kernel, commit, .. } = &self.machine;
        let build = if cfg!(debug_assertions) { "a debug build" } else { "a release build" };
        let mut text = String::new();
        let _ = writeln!(text, "{}\n", crate::record::FAILOVER);
        let _ = writeln!(text, "`{}`, {when}, commit {commit}, {build}.\n", self.command);
        let _ = writeln!(text, "{processor}, {cores} cores, {memory} GiB; {system}, Linux {kernel}.\n");
        let _ = writeln!(
            text,
            "A primary and two replicas, semi-synchronous, every commit synced; {} clients each insert a row, \
             wait {} ms and insert the next. All of it shares the machine. Milliseconds, p50 / p99 / worst. *No OK*: from the last OK that any \
             client got before to the first after. *Event to OK*: from the order, the kill or the stop to that. \
             *Longest statement*: of any client. *Left out*: the old primary had transactions that nobody was told \
             of and nobody else has, and did not come back by itself. *Lost*: rows that a client was told are there, \
             and are not.\n",
            self.writers, self.think
        );
        text.push_str(
            "| servers | event | runs | no OK | event to OK | longest statement | failed | outcome unknown | \
             left out | lost |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for measured in &self.measured {
            let _ = writeln!(text, "{}", measured.row());
        }
        text
    }
}
