//! What ties a session to its connection, one by one, so that it is known when the last of a kind is gone.

use std::fmt::Write as _;

use crate::sql::{Held, HoldChange, PinCause, PinSet};

/// The things held, for the causes of `PinSet::NAMED`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    held: Vec<(PinCause, Held)>,
    /// Causes of which something may be held or not: the server is to be asked.
    doubtful: PinSet,
}

/// One row and column: a 1 for each thing that is still held, a 0 for each that is not.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    about: Vec<(PinCause, Held)>,
}

/// Things remembered one by one. Whoever holds more holds them to the end.
const HELD_MAX: usize = 1_000;

impl Holdings {
    /// Takes in one step. A statement that failed has let go of nothing, and `may_have_begun` says whether it may
    /// have taken hold of something before it failed.
    pub(super) fn apply(&mut self, change: &HoldChange, failed: bool, may_have_begun: bool) {
        match change {
            HoldChange::Takes(..) if failed && !may_have_begun => {}
            HoldChange::Takes(cause, name) => self.take(*cause, name.clone()),
            HoldChange::Ask(cause) => self.doubtful.insert(*cause),
            _ if failed => {}
            HoldChange::LetsGo(cause, name) => {
                self.held.retain(|(have, held)| have != cause || held.as_ref() != Some(name));
            }
            HoldChange::LetsGoOfAll(cause) => self.held.retain(|(have, _)| have != cause),
            HoldChange::Renames(cause) => {
                if self.holds(*cause) {
                    self.take(*cause, None);
                }
            }
        }
        self.doubtful = self.doubtful.intersection(self.pins());
    }

    /// A statement ran that uses up what was set for it.
    pub(super) fn used(&mut self) {
        if self.held.contains(&(PinCause::SessionVariable, Some(INSERT_ID.into()))) {
            self.doubtful.insert(PinCause::SessionVariable);
        }
    }

    fn take(&mut self, cause: PinCause, name: Held) {
        let name = if self.held.len() < HELD_MAX { name } else { None };
        let thing = (cause, name);
        if !self.held.contains(&thing) {
            self.held.push(thing);
        }
    }

    fn holds(&self, cause: PinCause) -> bool {
        self.held.iter().any(|(have, _)| *have == cause)
    }

    pub fn pins(&self) -> PinSet {
        self.held.iter().fold(PinSet::EMPTY, |pins, (cause, _)| pins.union(PinSet::of(*cause)))
    }

    /// What to ask the server about the things in doubt, if it can tell.
    pub fn question(&self) -> Option<Question> {
        let mut question = Question { text: String::new(), about: Vec::new() };
        for (cause, name) in self.held.iter().filter(|(cause, _)| self.doubtful.contains(*cause)) {
            let separator = if question.about.is_empty() { "SELECT CONCAT(" } else { "," };
            let asked = match (cause, name.as_deref()) {
                (PinCause::UserLock, Some(name)) => {
                    write!(question.text, "{separator}IS_USED_LOCK('{name}')<=>CONNECTION_ID()")
                }
                (PinCause::Xa, _) => write!(question.text, "{separator}@@SESSION.xa_detach_on_prepare=0"),
                (PinCause::SessionVariable, Some(INSERT_ID)) => {
                    write!(question.text, "{separator}@@SESSION.insert_id<>0")
                }
                _ => continue,
            };
            if asked.is_ok() {
                question.about.push((*cause, name.clone()));
            }
        }
        question.text.push(')');
        (!question.about.is_empty()).then_some(question)
    }

    /// Takes in the answer; `None` where there was none that tells anything.
    pub(super) fn answered(&mut self, question: &Question, answer: Option<&str>) {
        self.doubtful = PinSet::EMPTY;
        let Some(answer) = answer.filter(|answer| answer.len() == question.about.len()) else { return };
        for (thing, digit) in question.about.iter().zip(answer.bytes()) {
            if digit == b'0' {
                self.held.retain(|held| held != thing);
            }
        }
    }
}

/// A variable that the next statement that needs it uses up.
const INSERT_ID: &str = "insert_id";
