//! Pins come and go with what is known.

use std::sync::Arc;

use super::*;
use crate::backend::Settings;
use crate::sql::{Access, Statement};

fn known(needs: Needs, len: usize) -> Text {
    let statement = TextStatement {
        name: "s".into(),
        prepare: Vec::new(),
        environment: Settings::default(),
        variables: None,
    };
    let inner = Statement { needs, ..Statement::bare(Kind::Select, Access::Read, "select ?") };
    let judged = Judged { statement: Arc::new(inner), hint: None, consistency: None };
    Text::Known(Arc::new(KnownText { statement: Arc::new(statement), text: vec![b' '; len].into(), judged }))
}

#[test]
fn a_variable_pins_until_its_value_is_known() {
    let mut carried = Carried::default();
    let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
    carried.know_variable(&a);
    assert_eq!(carried.pins(), PinSet::EMPTY);
    carried.lose_variable(&a);
    carried.lose_variable(&b);
    carried.know_variable(&a);
    assert_eq!(carried.pins(), PinSet::of(PinCause::UserVariable));
    carried.know_variable(&b);
    assert_eq!(carried.pins(), PinSet::EMPTY);
    carried.lose_variables();
    carried.know_variable(&a);
    assert_eq!(carried.pins(), PinSet::of(PinCause::UserVariable));
}

#[test]
fn a_text_pins_while_only_its_connection_knows_what_it_is() {
    let mut carried = Carried::default();
    let s: Arc<str> = "s".into();
    carried.put_text(&s, known(Needs::default(), 1));
    assert_eq!(carried.pins(), PinSet::EMPTY);
    carried.put_text(&s, Text::Unknown);
    assert_eq!(carried.pins(), PinSet::of(PinCause::PreparedText));
    carried.put_text(&s, known(Needs { row_count: true, ..Needs::default() }, 1));
    assert_eq!(carried.pins(), PinSet::of(PinCause::PreparedText));
    carried.remove_text(&s);
    assert_eq!(carried.pins(), PinSet::EMPTY);
    carried.lose_texts();
    assert_eq!(carried.pins(), PinSet::of(PinCause::PreparedText));
}

#[test]
fn texts_are_bounded_in_number_and_length() {
    let mut carried = Carried::default();
    assert!(!carried.has_room_for("s", TEXTS_LEN_MAX + 1));
    carried.put_text(&"s".into(), known(Needs::default(), TEXTS_LEN_MAX - 1));
    assert!(carried.has_room_for("t", 1));
    assert!(!carried.has_room_for("t", 2));
    assert!(carried.has_room_for("s", TEXTS_LEN_MAX), "in its own place");
    for number in 0..TEXTS_MAX - 1 {
        carried.put_text(&format!("n{number}").into(), Text::Unknown);
    }
    assert!(!carried.has_room_for("t", 1));
    assert!(!carried.has_lost_texts());
    carried.put_text(&"t".into(), Text::Unknown);
    assert!(carried.has_lost_texts(), "one more than can be told apart");
}
