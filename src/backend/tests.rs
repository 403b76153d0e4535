//! The books of a pool under any order of events, and settings on their way from one connection to another.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::settings::{Baseline, Settings};
use super::slots::{Checkout, Fit, Grant, Released, Slots};
use super::user_variables::UserVariables;
use crate::flavour::Flavour;

fn baseline() -> Baseline {
    Baseline {
        charset: "utf8mb4".to_owned(),
        collation: "utf8mb4_general_ci".to_owned(),
        ignores_space: false,
    }
}

#[test]
fn settings_are_replayed_as_the_difference_only() {
    let (mut have, mut want) = (Settings::default(), Settings::default());
    assert_eq!(have.statement_towards(&want, &baseline()), None);
    want.set("sql_mode", "ANSI_QUOTES");
    want.set("max_execution_time", "1000");
    want.set("character_set_results", "");
    assert_eq!(
        have.statement_towards(&want, &baseline()).as_deref(),
        Some("SET character_set_results=NULL,max_execution_time=1000,sql_mode='ANSI_QUOTES'")
    );
    have.set("sql_mode", "ANSI_QUOTES");
    have.set("time_zone", "+00:00");
    have.set("collation_connection", "latin1_bin");
    assert_eq!(
        have.statement_towards(&want, &baseline()).as_deref(),
        Some(
            "SET character_set_results=NULL,collation_connection='utf8mb4_general_ci',\
             max_execution_time=1000,time_zone=DEFAULT"
        )
    );
}

fn variables(named: &[(&str, &str)]) -> UserVariables {
    let mut variables = UserVariables::default();
    for (name, expression) in named {
        variables.set(&(*name).into(), &(*expression).into());
    }
    variables
}

#[test]
fn user_variables_are_given_as_the_difference_only() {
    let have = variables(&[("a", "1"), ("left", "_latin1 X'41'")]);
    let want = variables(&[("b", "NULL"), ("a", "1"), ("c", "'x'")]);
    let towards = |flavour| have.statement_towards(&want, flavour);
    let expected = "SET @`left`='',@`left`=NULL,@`b`=X'',@`b`=NULL,@`c`='x'";
    assert_eq!(towards(Flavour::MySql).as_deref(), Some(expected));
    let expected = "SET @`left`=X'',@`left`=NULL,@`b`=X'',@`b`=NULL,@`c`='x'";
    assert_eq!(towards(Flavour::MariaDb).as_deref(), Some(expected));
    assert_eq!(want.statement_towards(&want.clone(), Flavour::MySql), None);
}

#[test]
fn user_variables_compare_by_value_and_are_bounded() {
    let mut some = variables(&[("a", "1")]);
    assert!(some.same(&variables(&[("a", "1")])));
    some.remove("a");
    assert!(some.same(&UserVariables::default()) && some.is_empty());
    let long = "1".repeat(16 * 1024 - 2);
    assert!(some.has_room_for("a", &long));
    some.set(&"a".into(), &long.as_str().into());
    assert!(some.has_room_for("a", &long), "in its own place");
    assert!(!some.has_room_for("b", "1"));
}

#[test]
fn user_variables_of_one_shape_have_the_same_types() {
    let a =
        variables(&[("i", "5"), ("n", "-7"), ("d", "1.5"), ("t", "_utf8mb4 X'4142' COLLATE utf8mb4_bin")]);
    let b = variables(&[("i", "9"), ("n", "-1"), ("d", "1.5"), ("t", "_utf8mb4 X'' COLLATE utf8mb4_bin")]);
    assert_eq!(a.shape(), b.shape());
    for other in [("i", "18446744073709551615"), ("d", "1.25"), ("t", "_latin1 X''"), ("t", "NULL")] {
        let mut c = b.clone();
        c.set(&other.0.into(), &other.1.into());
        assert_ne!(a.shape(), c.shape(), "{other:?}");
    }
}

#[test]
fn what_one_statement_set_is_taken_back() {
    let (mut now, mut before) = (Settings::default(), Settings::default());
    now.set("sql_mode", "ANSI");
    now.take_back(&["sql_mode".into()], &before);
    assert!(now.same_variables(&before));
    before.set("time_zone", "+01:00");
    now.set("time_zone", "+02:00");
    now.set("sql_mode", "ANSI");
    now.take_back(&["time_zone".into()], &before);
    assert_eq!((now.variable("time_zone"), now.variable("sql_mode")), (Some("+01:00"), Some("ANSI")));
    assert!(now.has_more_than(&before) && !before.has_more_than(&now));
}

#[test]
fn settings_compare_by_value() {
    let (mut a, mut b) = (Settings::default(), Settings::default());
    a.set("x", "1");
    a.set("a", "2");
    b.set("a", "2");
    assert!(!a.same_variables(&b));
    b.set("x", "1");
    assert!(a.same_variables(&b));
    assert!(
        !Settings::is_replayable("a\\b")
            && !Settings::is_replayable("é")
            && Settings::is_replayable("+00:00")
    );
}

#[test]
fn a_full_pool_serves_waiters_in_order() {
    let now = Instant::now();
    let mut slots = Slots::<&str, u32, &str>::new(1);
    assert_eq!(slots.checkout(&"k", |_| Fit::Exact), Checkout::Connect);
    assert_eq!(slots.checkout(&"k", |_| Fit::Exact), Checkout::Full);
    slots.wait("k", "first");
    slots.wait("other", "second");
    let Released::Hand { waiter, grant, close } = slots.release(&"k", 7, now, now) else { panic!("kept") };
    assert_eq!((waiter, grant, close), ("first", Grant::Connection(7), None));
    let Released::Hand { waiter, grant, close } = slots.release(&"k", 7, now, now) else { panic!("kept") };
    assert_eq!((waiter, grant, close), ("second", Grant::Slot, Some(7)));
    assert_eq!(slots.closed(), None);
    assert_eq!(slots.open(), 0);
}

#[test]
fn an_idle_connection_of_another_key_gives_its_slot() {
    let now = Instant::now();
    let mut slots = Slots::<&str, u32, ()>::new(1);
    assert_eq!(slots.checkout(&"a", |_| Fit::Exact), Checkout::Connect);
    assert_eq!(slots.release(&"a", 1, now, now), Released::Kept);
    assert_eq!(slots.checkout(&"b", |_| Fit::Exact), Checkout::Replace(1));
    assert_eq!(slots.open(), 1);
}

#[test]
fn an_exact_fit_is_preferred_to_the_most_recent() {
    let now = Instant::now();
    let mut slots = Slots::<&str, u32, ()>::new(9);
    for id in [1, 2, 3] {
        assert!(slots.adopt());
        slots.release(&"k", id, now, now);
    }
    assert_eq!(slots.checkout(&"k", |id| if *id == 1 { Fit::Exact } else { Fit::Poor }), Checkout::Reuse(1));
    assert_eq!(slots.checkout(&"k", |_| Fit::Poor), Checkout::Reuse(3));
}

#[test]
fn pruning_keeps_the_minimum_and_never_the_old() {
    let start = Instant::now();
    let mut slots = Slots::<&str, u32, ()>::new(9);
    for id in [1, 2, 3] {
        assert!(slots.adopt());
        slots.release(&"k", id, start, start);
    }
    let later = start + Duration::from_secs(60);
    assert_eq!(slots.prune(Duration::from_secs(60), Duration::from_secs(600), 1, later), [1, 2]);
    let much_later = start + Duration::from_secs(600);
    assert_eq!(slots.prune(Duration::from_secs(60), Duration::from_secs(600), 1, much_later), [3]);
    assert_eq!(slots.open(), 0);
}

proptest! {
    /// Any order of checkouts, releases, losses and prunes keeps the books: one owner each, never over the cap.
    #[test]
    fn slots_keep_their_books(cap in 1_usize..6, steps in prop::collection::vec((0_u8..5, 0_u8..3), 0..200)) {
        let now = Instant::now();
        let mut slots = Slots::<u8, u32, u32>::new(cap);
        let mut leased: Vec<(u8, u32)> = Vec::new();
        let mut next = 0;
        for (step, key) in steps {
            match step {
                0 | 1 => match slots.checkout(&key, |_| Fit::Exact) {
                    Checkout::Reuse(connection) => leased.push((key, connection)),
                    Checkout::Connect | Checkout::Replace(_) => {
                        next += 1;
                        leased.push((key, next));
                    }
                    Checkout::Full => slots.wait(key, next),
                },
                2 if !leased.is_empty() => {
                    let (key, connection) = leased.remove(0);
                    if let Released::Hand { grant, close, .. } = slots.release(&key, connection, now, now) {
                        match grant {
                            Grant::Connection(connection) => leased.push((key, connection)),
                            Grant::Slot => {
                                prop_assert_eq!(close, Some(connection));
                                next += 1;
                                leased.push((9, next));
                            }
                        }
                    }
                }
                3 if !leased.is_empty() => {
                    leased.remove(0);
                    if slots.closed().is_some() {
                        next += 1;
                        leased.push((9, next));
                    }
                }
                _ => drop(slots.prune(Duration::ZERO, Duration::MAX, 1, now)),
            }
            let mut owned: Vec<u32> = leased.iter().map(|(_, connection)| *connection).collect();
            owned.sort_unstable();
            owned.dedup();
            prop_assert_eq!(owned.len(), leased.len(), "one connection, one owner");
            slots.check_invariants(leased.len());
        }
    }
}
