//! What a session has left behind beyond settings, as far as its text told: what is known goes along from
//! connection to connection, what is not holds its connection.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::backend::TextStatement;
use crate::sql::{Judged, Kind, Needs, PinCause, PinSet};

/// Empty for most sessions.
#[derive(Default)]
pub(super) struct Carried(Option<Box<Left>>);

#[derive(Default)]
struct Left {
    /// User variables whose values only the connection knows.
    unknown: BTreeSet<Arc<str>>,
    /// There may be others of them, whose names nobody knows.
    others: bool,
    texts: BTreeMap<Arc<str>, Text>,
    /// Statements were prepared as text whose names nobody knows.
    other_texts: bool,
}

/// What a name given by PREPARE stands for.
#[derive(Clone)]
pub(super) enum Text {
    Known(Arc<KnownText>),
    /// Only the connection knows.
    Unknown,
}

/// A statement prepared from a text that was seen.
pub(super) struct KnownText {
    pub(super) statement: Arc<TextStatement>,
    /// What was prepared.
    pub(super) text: Arc<[u8]>,
    /// What the text is.
    pub(super) judged: Judged,
}

/// Names and texts of one session; beyond these, statements hold their connection.
const TEXTS_MAX: usize = 64;
const TEXTS_LEN_MAX: usize = 64 * 1024;

/// The causes that follow from this alone.
pub(super) const CARRIED: PinSet =
    PinSet::of(PinCause::UserVariable).union(PinSet::of(PinCause::PreparedText));

impl KnownText {
    /// Whether it asks for what only the connection of the statement before it knows.
    fn holds(&self) -> bool {
        let Needs { row_count, found_rows, diagnostics, .. } = self.judged.statement.needs;
        row_count || found_rows || diagnostics || self.judged.statement.kind == Kind::Several
    }
}

impl Carried {
    fn left(&mut self) -> &mut Left {
        self.0.get_or_insert_default()
    }

    /// The causes for which the connection must be kept now.
    pub(super) fn pins(&self) -> PinSet {
        let mut pins = PinSet::EMPTY;
        let Some(left) = &self.0 else { return pins };
        if left.others || !left.unknown.is_empty() {
            pins.insert(PinCause::UserVariable);
        }
        let holds = |text: &Text| match text {
            Text::Known(known) => known.holds(),
            Text::Unknown => true,
        };
        if left.other_texts || left.texts.values().any(holds) {
            pins.insert(PinCause::PreparedText);
        }
        pins
    }

    /// The variable's value is known.
    pub(super) fn know_variable(&mut self, name: &str) {
        if let Some(left) = &mut self.0 {
            left.unknown.remove(name);
        }
    }

    pub(super) fn lose_variable(&mut self, name: &Arc<str>) {
        self.left().unknown.insert(Arc::clone(name));
    }

    /// Any variable may have another value than is known.
    pub(super) fn lose_variables(&mut self) {
        self.left().others = true;
    }

    pub(super) fn text(&self, name: &str) -> Option<&Text> {
        self.0.as_ref()?.texts.get(name)
    }

    pub(super) fn known_texts(&self) -> Vec<Arc<KnownText>> {
        let texts = self.0.iter().flat_map(|left| left.texts.values());
        let known = texts.filter_map(|text| match text {
            Text::Known(known) => Some(Arc::clone(known)),
            Text::Unknown => None,
        });
        known.collect()
    }

    /// Whether a text of this length may be remembered under the name.
    pub(super) fn has_room_for(&self, name: &str, len: usize) -> bool {
        let Some(left) = &self.0 else { return len <= TEXTS_LEN_MAX };
        let others = || left.texts.iter().filter(|(have, _)| ***have != *name);
        let used: usize = others()
            .map(|(_, text)| match text {
                Text::Known(known) => known.text.len(),
                Text::Unknown => 0,
            })
            .sum();
        others().count() < TEXTS_MAX && used + len <= TEXTS_LEN_MAX
    }

    pub(super) fn put_text(&mut self, name: &Arc<str>, text: Text) {
        let left = self.left();
        // An unknown one costs nothing but its name; of too many names, none is needed any more.
        if left.texts.len() >= TEXTS_MAX && !left.texts.contains_key(name) {
            return self.lose_texts();
        }
        left.texts.insert(Arc::clone(name), text);
    }

    pub(super) fn remove_text(&mut self, name: &str) {
        if let Some(left) = &mut self.0 {
            left.texts.remove(name);
        }
    }

    /// Only the connection knows what is prepared from here on.
    pub(super) fn lose_texts(&mut self) {
        let left = self.left();
        left.texts.clear();
        left.other_texts = true;
    }

    /// Whether only the connection knows what names stand for.
    pub(super) fn has_lost_texts(&self) -> bool {
        self.0.as_ref().is_some_and(|left| left.other_texts)
    }
}
