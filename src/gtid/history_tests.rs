//! Histories held against sets of single transactions.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::History;
use crate::flavour::Flavour;

const UUIDS: [&str; 3] = [
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "4e11fa47-71ca-11e1-9e33-c80aa9429562",
    "4e11fa47-71ca-11e1-9e33-c80aa9429562:blue",
];

type Model = BTreeSet<(usize, u64)>;

fn mysql(text: &str) -> History {
    History::parse(Flavour::MySql, text).expect(text)
}

fn mariadb(text: &str) -> History {
    History::parse(Flavour::MariaDb, text).expect(text)
}

fn mysql_of(model: &Model) -> History {
    let ids: Vec<String> = model.iter().map(|(source, n)| format!("{}:{n}", UUIDS[*source])).collect();
    mysql(&ids.join(","))
}

#[test]
fn mariadb_compares_by_server_and_not_by_number() {
    let (old, new) = (mariadb("0-1-11"), mariadb("0-1-10,0-2-11"));
    assert_eq!(old.partial_cmp(&new), None);
    assert_eq!(old.subtract(&new).to_string(), "0-1-11");
    assert_eq!(new.subtract(&old).to_string(), "0-2-11");
    assert!(mariadb("0-1-11,0-2-12").contains(&old.union(&mariadb("0-2-11"))));
    assert_eq!(mariadb("0-1-30").subtract(&mariadb("0-1-10")).to_string(), "0-1-11..30");
    assert_eq!(mariadb("0-1-30,5-1-2").intersect(&mariadb("0-1-10,7-1-1")).to_string(), "0-1-10");
}

#[test]
fn a_position_of_zero_is_nothing() {
    assert!(mariadb("0-1-0").is_empty() && mysql("").is_empty());
}

#[test]
fn origins_know_their_server() {
    let history = mysql(&format!("{}:1-3,{}:7", UUIDS[0], UUIDS[2]));
    let own = history.only(|origin| origin.is_of(1, Some(&UUIDS[1].to_uppercase())));
    assert_eq!(own.to_string(), format!("{}:7", UUIDS[2]), "a tag is still the server's own");
    let own = mariadb("0-1-5,3-1-2,0-2-9").only(|origin| origin.is_of(1, None));
    assert_eq!(own.to_string(), "0-1-5,3-1-2");
}

#[test]
fn the_last_number_can_be_subtracted() {
    // MySQL's own limit.
    let last = i64::MAX - 1;
    let all = mysql(&format!("{}:1-{last}", UUIDS[0]));
    assert!(all.subtract(&all).is_empty());
    let most = mysql(&format!("{}:1-{}", UUIDS[0], last - 1));
    assert_eq!(all.subtract(&most).to_string(), format!("{}:{last}", UUIDS[0]));
}

prop_compose! {
    fn models()(of in prop::collection::btree_set((0..UUIDS.len(), 1_u64..40), 0..50)) -> Model { of }
}

proptest! {
    #[test]
    fn mysql_histories_are_sets(a in models(), b in models()) {
        let (ha, hb) = (mysql_of(&a), mysql_of(&b));
        prop_assert_eq!(ha.union(&hb), mysql_of(&a.union(&b).copied().collect()));
        prop_assert_eq!(ha.intersect(&hb), mysql_of(&a.intersection(&b).copied().collect()));
        prop_assert_eq!(ha.subtract(&hb), mysql_of(&a.difference(&b).copied().collect()));
        prop_assert_eq!(ha.contains(&hb), a.is_superset(&b));
        prop_assert_eq!(ha.is_empty(), a.is_empty());
        let order = match (a.is_superset(&b), a.is_subset(&b)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        };
        prop_assert_eq!(ha.partial_cmp(&hb), order);
        prop_assert_eq!(mysql(&ha.to_string()), ha);
    }

    /// Logs that grew from a common one by whoever was the primary: a log holds another exactly if its state
    /// holds the other's.
    #[test]
    fn mariadb_states_tell_forked_logs_apart(
        common in prop::collection::vec(1_u32..4, 0..12),
        left in prop::collection::vec(1_u32..4, 0..6),
        right in prop::collection::vec(4_u32..6, 0..6),
        seen in 0_usize..18,
    ) {
        let log = |tail: &[u32]| -> Vec<(u32, u64)> {
            common.iter().chain(tail).copied().zip(1..).collect()
        };
        let state = |log: &[(u32, u64)]| {
            let ids: Vec<String> = log.iter().map(|(server, n)| format!("0-{server}-{n}")).collect();
            mariadb(&ids.join(","))
        };
        let (a, b) = (log(&left), log(&right));
        let prefix = &a[..seen.min(a.len())];
        prop_assert!(state(&a).contains(&state(prefix)));
        prop_assert_eq!(state(prefix).contains(&state(&a)), prefix.len() == a.len());
        prop_assert_eq!(state(&a).contains(&state(&b)), right.is_empty());
        prop_assert_eq!(state(&b).contains(&state(&a)), left.is_empty());
        prop_assert_eq!(state(&b).subtract(&state(&a)).is_empty(), right.is_empty());
    }

    #[test]
    fn any_text_is_a_history_or_none(text in "[0-9a-f:,\\- \\n]{0,60}") {
        for flavour in [Flavour::MySql, Flavour::MariaDb] {
            if let Some(history) = History::parse(flavour, &text) {
                prop_assert!(history.contains(&history) && history.subtract(&history).is_empty());
            }
        }
    }
}
