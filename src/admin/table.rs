//! Tables: what they are called, what stands in their columns, and their rows at one moment.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::View;
use crate::wire::text::{TextColumn, TextType};

/// A table of the admin port. SHOW and SELECT both read it, so that they cannot disagree.
pub struct Table {
    pub name: &'static str,
    pub doc: &'static str,
    pub columns: &'static [Column],
    /// The column that LIKE compares.
    pub key: &'static str,
    /// Which rows LIMIT keeps.
    pub keep: Keep,
    pub rows: fn(&View) -> Vec<Row>,
}

pub struct Column {
    pub name: &'static str,
    pub kind: TextType,
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    First,
    /// The newest stand last.
    Last,
}

pub type Row = Vec<Value>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Text(Arc<str>),
    Integer(i64),
    Float(f64),
}

/// Rows under headings, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The table's name; empty where it is no table of ours.
    pub table: &'static str,
    pub headings: Vec<Heading>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Heading {
    pub name: Cow<'static, str>,
    pub kind: TextType,
}

/// What the port calls its only schema.
pub(super) const SCHEMA: &str = "pointsman";

pub(super) const fn text(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: TextType::Text, doc }
}

pub(super) const fn integer(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: TextType::Integer, doc }
}

pub(super) const fn float(name: &'static str, decimals: u8, doc: &'static str) -> Column {
    Column { name, kind: TextType::Float { decimals: Some(decimals) }, doc }
}

impl Table {
    /// Rows whose key is like `pattern`, at most `limit` of them.
    pub fn show(&self, view: &View, pattern: Option<&str>, limit: Option<usize>) -> Answer {
        let mut rows = (self.rows)(view);
        let key = self.columns.iter().position(|column| column.name == self.key).unwrap_or(0);
        if let Some(pattern) = pattern {
            rows.retain(|row| matches!(&row[key], Value::Text(text) if is_like(text, pattern)));
        }
        let limit = limit.unwrap_or(rows.len());
        match self.keep {
            Keep::First => rows.truncate(limit),
            Keep::Last => drop(rows.drain(..rows.len().saturating_sub(limit))),
        }
        let heading = |column: &Column| Heading { name: column.name.into(), kind: column.kind };
        Answer { table: self.name, headings: self.columns.iter().map(heading).collect(), rows }
    }

    pub fn text_columns(&self) -> impl ExactSizeIterator<Item = TextColumn<'_>> {
        self.columns.iter().map(|column| TextColumn {
            schema: SCHEMA,
            table: self.name,
            name: column.name,
            kind: column.kind,
        })
    }
}

impl Answer {
    /// An answer that is no table: one text column for each name.
    pub fn texts<const N: usize>(names: [&'static str; N], rows: Vec<[Value; N]>) -> Self {
        let heading = |name: &'static str| Heading { name: name.into(), kind: TextType::Text };
        Self {
            table: "",
            headings: names.into_iter().map(heading).collect(),
            rows: rows.into_iter().map(Vec::from).collect(),
        }
    }

    pub fn text_columns(&self) -> impl ExactSizeIterator<Item = TextColumn<'_>> {
        let schema = if self.table.is_empty() { "" } else { SCHEMA };
        self.headings.iter().map(move |heading| TextColumn {
            schema,
            table: self.table,
            name: &heading.name,
            kind: heading.kind,
        })
    }
}

impl Value {
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    /// Counters beyond the largest signed number are as good as that number.
    pub fn count(count: impl TryInto<i64>) -> Self {
        Value::Integer(count.try_into().unwrap_or(i64::MAX))
    }

    pub fn seconds(duration: Duration, decimals: u8) -> Self {
        Value::rounded(duration.as_secs_f64(), decimals)
    }

    pub fn millis(duration: Duration) -> Self {
        Value::rounded(duration.as_secs_f64() * 1e3, 3)
    }

    pub fn optional(value: Option<Self>) -> Self {
        value.unwrap_or(Value::Null)
    }

    /// An empty text says nothing.
    pub fn unless_empty(text: &str) -> Self {
        if text.is_empty() { Value::Null } else { Value::text(text) }
    }

    /// Rounded here and not when shown, so that SELECT computes with what SHOW shows.
    fn rounded(number: f64, decimals: u8) -> Self {
        let factor = 10_f64.powi(i32::from(decimals));
        Value::Float((number * factor).round() / factor)
    }

    /// As it is sent; `None` is NULL.
    pub fn shown(&self, kind: TextType) -> Option<Cow<'_, str>> {
        match self {
            Value::Null => None,
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Integer(number) => Some(number.to_string().into()),
            Value::Float(number) => Some(match kind {
                TextType::Float { decimals: Some(decimals) } => {
                    format!("{number:.*}", usize::from(decimals)).into()
                }
                _ => number.to_string().into(),
            }),
        }
    }
}

/// SQL's LIKE without regard to case: `%` is any text, `_` any character, `\` takes the next as it is.
pub(super) fn is_like(text: &str, pattern: &str) -> bool {
    let fold = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<char>>();
    let (text, pattern) = (fold(text), fold(pattern));
    let (mut at, mut in_pattern) = (0, 0);
    // Where to go on when what follows the last `%` does not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        let (wanted, width) = match pattern.get(in_pattern) {
            Some('\\') if in_pattern + 1 < pattern.len() => (Some(pattern[in_pattern + 1]), 2),
            Some('%') => {
                retry = Some((at, in_pattern + 1));
                in_pattern += 1;
                continue;
            }
            Some('_') => (Some(text[at]), 1),
            Some(other) => (Some(*other), 1),
            None => (None, 0),
        };
        if wanted == Some(text[at]) {
            at += 1;
            in_pattern += width;
            continue;
        }
        let Some((from, after)) = retry else { return false };
        retry = Some((from + 1, after));
        at = from + 1;
        in_pattern = after;
    }
    pattern[in_pattern..].iter().all(|c| *c == '%')
}
