//! What must outlive the process: each decision before it is carried out, one line each.

use std::fmt::Write as _;
use std::time::Duration;

use super::durability::Class;
use super::plan::{Because, Kind, WhyReturned};
use crate::control::semi_sync::SourceSide;
use crate::flavour::Flavour;
use crate::gtid::History;

/// Where records are kept. An append is over when the record will be read back whatever happens to this process
/// or its machine.
pub trait Journal: Send {
    fn append(&mut self, records: &[Record]) -> std::io::Result<()>;
}

/// Whether this process is the one that decides.
pub trait Leadership: Send + Sync {
    fn leads(&self) -> bool;
}

/// One line. Servers are named as in the configuration, because their places in it may change.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A primary was found, not made.
    Adopted {
        epoch: u64,
        server: String,
    },
    Began(Box<Began>),
    Chosen {
        epoch: u64,
        server: String,
        because: Because,
        floor: String,
        /// What clients were told of and the server has not got.
        acked_missing: String,
    },
    /// The server takes the epoch's writes.
    Opened {
        epoch: u64,
        server: String,
        kind: Kind,
        at: Wall,
    },
    /// An operator wants nothing to be promoted without being asked, until then or without end.
    Held {
        epoch: u64,
        until: Option<Wall>,
    },
    Released {
        epoch: u64,
    },
    /// About to be done, and what became of it; for people.
    Step {
        epoch: u64,
        server: String,
        what: String,
        outcome: Option<String>,
        at: Wall,
    },
}

/// Milliseconds since 1970 by the wall's clock: the only one that goes on while the process does not.
pub type Wall = u64;

#[derive(Clone, Debug, PartialEq)]
pub struct Began {
    pub epoch: u64,
    pub kind: Kind,
    pub from: String,
    pub wanted: Option<String>,
    pub members: Vec<String>,
    pub ackers: Vec<String>,
    pub quorum: usize,
    pub class: Class,
    pub semi_sync: Option<SourceSide>,
    pub baseline: String,
    pub floor: String,
    pub at: Wall,
}

/// A line that was written whole and is not what a record looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the failover journal cannot be read")]
pub struct Corrupt {
    pub line: usize,
}

impl Record {
    /// The line, with its checksum and its end.
    pub fn line(&self) -> String {
        let body = self.body();
        format!("{:016x} {body}\n", checksum(body.as_bytes()))
    }

    /// For the log: as it is written, without its checksum.
    pub fn told(&self) -> String {
        self.body()
    }

    fn body(&self) -> String {
        match self {
            Record::Adopted { epoch, server } => Fields::of("adopted", *epoch).with("server", server).0,
            Record::Began(began) => began.body(),
            Record::Chosen { epoch, server, because, floor, acked_missing } => {
                Fields::of("chosen", *epoch)
                    .with("server", server)
                    .with("because", because_word(because))
                    .with("floor", floor)
                    .with("acked_missing", acked_missing)
                    .0
            }
            Record::Opened { epoch, server, kind, at } => {
                Fields::of("opened", *epoch)
                    .with("server", server)
                    .with("kind", &kind.to_string())
                    .with("at", &at.to_string())
                    .0
            }
            Record::Held { epoch, until } => {
                let fields = Fields::of("held", *epoch);
                until.map_or(fields.0.clone(), |until| fields.with("until", &until.to_string()).0)
            }
            Record::Released { epoch } => Fields::of("released", *epoch).0,
            Record::Step { epoch, server, what, outcome, at } => {
                let fields = Fields::of("step", *epoch).with("server", server).with("what", what);
                let fields = fields.with("at", &at.to_string());
                match outcome {
                    Some(outcome) => fields.with("outcome", outcome).0,
                    None => fields.0,
                }
            }
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (sum, body) = line.split_once(' ')?;
        if u64::from_str_radix(sum, 16).ok()? != checksum(body.as_bytes()) {
            return None;
        }
        let mut words = body.split(' ');
        let kind = words.next()?;
        let mut fields = Vec::new();
        for word in words {
            let (name, value) = word.split_once('=')?;
            fields.push((name, unescape(value)?));
        }
        let fields = Read(fields);
        let epoch = fields.number("epoch")?;
        let server = || fields.text("server");
        Some(match kind {
            "adopted" => Record::Adopted { epoch, server: server()? },
            "began" => Record::Began(Box::new(Began::read(epoch, &fields)?)),
            "chosen" => {
                let because = because_of(&fields.text("because")?)?;
                let floor = fields.text("floor")?;
                // Earlier versions did not write it.
                let acked_missing = fields.text("acked_missing").unwrap_or_default();
                Record::Chosen { epoch, server: server()?, because, floor, acked_missing }
            }
            "opened" => {
                let kind = kind_of(&fields.text("kind")?)?;
                Record::Opened { epoch, server: server()?, kind, at: fields.number("at")? }
            }
            "held" => match fields.text("until") {
                Some(until) => Record::Held { epoch, until: Some(until.parse().ok()?) },
                None => Record::Held { epoch, until: None },
            },
            "released" => Record::Released { epoch },
            "step" => Record::Step {
                epoch,
                server: server()?,
                what: fields.text("what")?,
                outcome: fields.text("outcome"),
                at: fields.number("at")?,
            },
            _ => return None,
        })
    }
}

/// Reads a journal. The last line may have been cut short while it was written; its decision was not carried out.
///
/// # Errors
/// Where any other line is not a record: what was decided is not known, so nothing may be.
pub fn read(text: &str) -> Result<Vec<Record>, Corrupt> {
    let mut records = Vec::new();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (index, line) in lines.iter().enumerate() {
        match line.strip_suffix('\n').and_then(Record::parse) {
            Some(record) => records.push(record),
            None if index + 1 == lines.len() => {}
            None => return Err(Corrupt { line: index + 1 }),
        }
    }
    Ok(records)
}

/// How much of a journal's text is whole: the rest must go before anything is appended.
pub fn whole_len(text: &str) -> usize {
    let lines = text.split_inclusive('\n');
    lines.take_while(|line| line.strip_suffix('\n').and_then(Record::parse).is_some()).map(str::len).sum()
}

impl Began {
    fn body(&self) -> String {
        let mut fields = Fields::of("began", self.epoch)
            .with("kind", &self.kind.to_string())
            .with("from", &self.from)
            .with("members", &self.members.join(","))
            .with("ackers", &self.ackers.join(","))
            .with("quorum", &self.quorum.to_string())
            .with("class", &self.class.to_string())
            .with("baseline", &self.baseline)
            .with("floor", &self.floor)
            .with("at", &self.at.to_string());
        if let Some(wanted) = &self.wanted {
            fields = fields.with("wanted", wanted);
        }
        if let Some(source) = &self.semi_sync {
            let flags = (u8::from(source.before_visible), u8::from(source.waits_for_none));
            let text = format!("{}:{}:{}:{}", flags.0, flags.1, source.timeout.as_millis(), source.wanted);
            fields = fields.with("semi_sync", &text);
        }
        fields.0
    }

    fn read(epoch: u64, fields: &Read<'_>) -> Option<Self> {
        let list = |name| {
            let text = fields.text(name)?;
            Some(text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
        };
        Some(Self {
            epoch,
            kind: kind_of(&fields.text("kind")?)?,
            from: fields.text("from")?,
            wanted: fields.text("wanted"),
            members: list("members")?,
            ackers: list("ackers")?,
            quorum: fields.number("quorum")?,
            class: class_of(&fields.text("class")?)?,
            semi_sync: match fields.text("semi_sync") {
                Some(text) => Some(source_side(&text)?),
                None => None,
            },
            baseline: fields.text("baseline")?,
            floor: fields.text("floor")?,
            at: fields.number("at")?,
        })
    }
}

/// How commits are to wait; whether any do at present is not for the journal.
fn source_side(text: &str) -> Option<SourceSide> {
    let mut parts = text.split(':');
    let mut next = || parts.next()?.parse::<u64>().ok();
    Some(SourceSide {
        enabled: true,
        active: false,
        before_visible: next()? == 1,
        waits_for_none: next()? == 1,
        timeout: Duration::from_millis(next()?),
        wanted: u32::try_from(next()?).ok()?,
        clients: 0,
        waiting: 0,
    })
}

/// A history from the journal, of either flavour: their forms do not meet.
pub fn history(text: &str) -> Option<History> {
    History::parse(Flavour::MySql, text).or_else(|| History::parse(Flavour::MariaDb, text))
}

fn kind_of(word: &str) -> Option<Kind> {
    [Kind::Failover, Kind::OrderedFailover, Kind::Switchover]
        .into_iter()
        .find(|kind| kind.to_string() == word)
}

fn class_of(word: &str) -> Option<Class> {
    [Class::BestEffort, Class::Bounded, Class::Lossless].into_iter().find(|class| class.to_string() == word)
}

const BECAUSES: [(Because, &str); 6] = [
    (Because::HasAll, "has_all"),
    (Because::Ordered, "ordered"),
    (Because::Returned(WhyReturned::Answers), "answers"),
    (Because::Returned(WhyReturned::NotClosed), "not_closed"),
    (Because::Returned(WhyReturned::TargetLost), "target_lost"),
    (Because::Returned(WhyReturned::NotCaughtUp), "not_caught_up"),
];

fn because_word(because: &Because) -> &'static str {
    BECAUSES.iter().find(|(known, _)| known == because).map_or("has_all", |(_, word)| word)
}

fn because_of(word: &str) -> Option<Because> {
    BECAUSES.iter().find(|(_, known)| *known == word).map(|(because, _)| because.clone())
}

/// `kind name=value name=value`
struct Fields(String);

impl Fields {
    fn of(kind: &str, epoch: u64) -> Self {
        Self(format!("{kind} epoch={epoch}"))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.0, " {name}=");
        for c in value.chars() {
            if c.is_whitespace() || c.is_control() || c == '%' {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(self.0, "%{byte:02x}");
                }
            } else {
                self.0.push(c);
            }
        }
        self
    }
}

fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let pair = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

struct Read<'r>(Vec<(&'r str, String)>);

impl Read<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }
}

/// FNV-1a: tells a line cut short, not a forger.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
