//! The file as the operator typed it: a tree in which every value knows its line.
//!
//! Read through `toml`'s spanned tree and not through `serde`, because `serde` stops at the first mistake
//! and loses the line of a value that is well-formed but wrong.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::complaint::Complaint;
use super::document;
use super::quantity::{parse_duration, parse_size, show_duration, show_size};

/// One file under examination; gathers what is wrong with it.
pub(super) struct Source<'a> {
    name: &'a str,
    text: &'a str,
    complaints: RefCell<Vec<Complaint>>,
    /// Every key that was looked for; a test compares it with the documented ones.
    asked: RefCell<Vec<String>>,
}

/// What is wrong with a value; the value adds where.
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) mend: String,
}

impl<'a> Source<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, complaints: RefCell::default(), asked: RefCell::default() }
    }

    /// The root section. `table` is what `toml` made of the text.
    pub(super) fn root<'t>(&'t self, table: &'t DeTable<'a>) -> Section<'t, 'a> {
        Section {
            source: self,
            path: String::new(),
            line: None,
            table: Some(table),
            keys: RefCell::default(),
        }
    }

    pub(super) fn complain(&self, line: Option<usize>, key: &str, wrong: Wrong) {
        self.complaints.borrow_mut().push(Complaint {
            file: self.name.to_owned(),
            line,
            key: key.to_owned(),
            problem: wrong.problem,
            mend: wrong.mend,
        });
    }

    /// The line of a byte offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    pub(super) fn into_complaints(self) -> Vec<Complaint> {
        let mut complaints = self.complaints.into_inner();
        complaints.sort_by_key(|complaint| complaint.line);
        complaints.dedup();
        complaints
    }

    #[cfg(test)]
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

/// One table of the file, or the lack of it: then every key is absent.
pub(super) struct Section<'t, 'a> {
    source: &'t Source<'a>,
    path: String,
    line: Option<usize>,
    table: Option<&'t DeTable<'a>>,
    keys: RefCell<Vec<&'static str>>,
}

/// One value of the file, with where it stands.
#[derive(Clone)]
pub(super) struct Value<'t, 'a> {
    source: &'t Source<'a>,
    pub(super) path: String,
    pub(super) line: usize,
    value: &'t DeValue<'a>,
}

impl<'t, 'a> Section<'t, 'a> {
    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'t, 'a>> {
        let path = join(&self.path, key);
        self.keys.borrow_mut().push(key);
        self.source.asked.borrow_mut().push(path.clone());
        let (name, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        let line = self.source.line(name.span().start);
        Some(Value { source: self.source, path, line, value: value.get_ref() })
    }

    /// A table below this one; empty where the file has none.
    pub(super) fn section(&self, key: &'static str) -> Section<'t, 'a> {
        let path = join(&self.path, key);
        let value = self.get(key);
        let table = value.as_ref().and_then(Value::table);
        let line = value.map(|value| value.line).or(self.line);
        Section { source: self.source, path, line, table, keys: RefCell::default() }
    }

    pub(super) fn duration(
        &self,
        key: &'static str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(value) = self.get(key) else { return default };
        let shown = Shown {
            kind: "a duration",
            example: "\"500ms\", \"10s\", \"5m\" or \"8h\"",
            show: &|d| show_duration(*d),
        };
        value.quantity(parse_duration, &allowed, &shown).unwrap_or(default)
    }

    pub(super) fn size(&self, key: &'static str, default: usize, allowed: RangeInclusive<usize>) -> usize {
        let Some(value) = self.get(key) else { return default };
        let shown =
            Shown { kind: "a size", example: "\"64KiB\", \"16MiB\" or \"1GiB\"", show: &|n| show_size(*n) };
        value.quantity(parse_size, &allowed, &shown).unwrap_or(default)
    }

    pub(super) fn number(&self, key: &'static str, default: u32, allowed: RangeInclusive<u32>) -> u32 {
        self.get(key).and_then(|value| value.number(&allowed)).unwrap_or(default)
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        value.value.as_bool().unwrap_or_else(|| {
            value.mistyped("true or false");
            default
        })
    }

    pub(super) fn choice<T: Copy>(&self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        let Some(value) = self.get(key) else { return default };
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let Some(text) = value.value.as_str() else {
            value.mistyped(format_args!("one of {}", quoted(&names)));
            return default;
        };
        let choice = choices.iter().find(|(name, _)| *name == text);
        if choice.is_none() {
            value.wrong(format!("{text:?} is not a choice"), allowed_or_near(text, &names));
        }
        choice.map_or(default, |(_, choice)| *choice)
    }

    /// Complains that a key must be there.
    pub(super) fn missing(&self, key: &'static str, mend: impl Into<String>) {
        let wrong = Wrong { problem: "missing".to_owned(), mend: mend.into() };
        self.source.complain(self.line, &join(&self.path, key), wrong);
    }

    /// Complains about every key that nobody looked for.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        let known = self.keys.borrow();
        for (name, _) in table.iter().filter(|(name, _)| !known.contains(&name.get_ref().as_ref())) {
            let path = join(&self.path, name.get_ref());
            let mend = document::place_of(name.get_ref(), &self.path, &known);
            let wrong = Wrong { problem: "unknown key".to_owned(), mend };
            self.source.complain(Some(self.source.line(name.span().start)), &path, wrong);
        }
    }
}

/// How the values of a quantity are spoken of.
struct Shown<'s, T> {
    kind: &'s str,
    example: &'s str,
    show: &'s dyn Fn(&T) -> String,
}

impl<'t, 'a> Value<'t, 'a> {
    pub(super) fn wrong(&self, problem: impl Into<String>, mend: impl Into<String>) {
        let wrong = Wrong { problem: problem.into(), mend: mend.into() };
        self.source.complain(Some(self.line), &self.path, wrong);
    }

    pub(super) fn text(&self) -> Option<&'t str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.mistyped("a text in quotes");
        }
        text
    }

    /// Whether this is a text; for values that may be one of several types.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// This value read as a section.
    pub(super) fn as_section(&self) -> Section<'t, 'a> {
        Section {
            source: self.source,
            path: self.path.clone(),
            line: Some(self.line),
            table: self.table(),
            keys: RefCell::default(),
        }
    }

    /// The elements of a list, each with its own line.
    pub(super) fn list(&self) -> Option<Vec<Value<'t, 'a>>> {
        let Some(array) = self.value.as_array() else {
            self.mistyped("a list in brackets");
            return None;
        };
        let element = |(index, item): (usize, &'t toml::Spanned<DeValue<'a>>)| Value {
            source: self.source,
            path: format!("{}[{index}]", self.path),
            line: self.source.line(item.span().start),
            value: item.get_ref(),
        };
        Some(array.iter().enumerate().map(element).collect())
    }

    pub(super) fn number(&self, allowed: &RangeInclusive<u32>) -> Option<u32> {
        let Some(integer) = self.value.as_integer() else {
            self.mistyped("a whole number");
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let good = number.filter(|number| allowed.contains(number));
        if good.is_none() {
            let (low, high) = (allowed.start(), allowed.end());
            self.wrong(format!("{integer} is out of range"), format!("allowed is {low} to {high}"));
        }
        good
    }

    pub(super) fn mistyped(&self, expected: impl Display) {
        self.wrong(format!("found {}", spoken(self.value)), format!("write {expected}"));
    }

    fn quantity<T: PartialOrd>(
        &self,
        parse: fn(&str) -> Option<T>,
        allowed: &RangeInclusive<T>,
        shown: &Shown<'_, T>,
    ) -> Option<T> {
        let Some(text) = self.value.as_str() else {
            self.mistyped(format_args!("{} with its unit, as in {}", shown.kind, shown.example));
            return None;
        };
        let Some(quantity) = parse(text) else {
            self.wrong(
                format!("{text:?} is not {}", shown.kind),
                format!("write it as in {}", shown.example),
            );
            return None;
        };
        if !allowed.contains(&quantity) {
            let (low, high) = ((shown.show)(allowed.start()), (shown.show)(allowed.end()));
            self.wrong(format!("{text:?} is out of range"), format!("allowed is {low} to {high}"));
            return None;
        }
        Some(quantity)
    }

    fn table(&self) -> Option<&'t DeTable<'a>> {
        let table = self.value.as_table();
        if table.is_none() && self.path.ends_with(']') {
            self.mistyped("a table in braces, { key = value, … }");
        } else if table.is_none() {
            self.mistyped(format_args!("a table: a line [{}] and its keys below", self.path));
        }
        table
    }
}

/// "did you mean" where one of the names is near, else all of them.
fn allowed_or_near(text: &str, names: &[&str]) -> String {
    match document::nearest(text, names) {
        Some(near) => format!("did you mean {near:?}? Allowed is {}", quoted(names)),
        None => format!("allowed is {}", quoted(names)),
    }
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}

fn spoken(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
