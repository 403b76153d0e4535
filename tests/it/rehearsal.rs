//! The checkers of the rehearsals can find what they look for. And the names that the simulation plays too.

use std::time::Duration;

#[path = "../rehearsal/checks.rs"]
mod checks;
#[path = "../rehearsal/history.rs"]
#[allow(dead_code, reason = "some of it is only shown")]
mod history;
#[path = "../rehearsal/scenario.rs"]
#[allow(dead_code, reason = "the simulation has no use for all of it")]
pub(crate) mod scenario;

use history::{ACCOUNTS, BALANCE, Found, History, OwnRead, Row, Told, Write};

fn write(id: u64, sent: u64, answered: u64, told: Told) -> Write {
    Write { id, sent: Duration::from_millis(sent), answered: Duration::from_millis(answered), told }
}

fn refused() -> Told {
    Told::Refused("1290".to_owned())
}

/// Three writes on the first server, two on the second, one of an outcome that nobody knew.
fn good() -> (History, Vec<Found>) {
    let history = History {
        writes: vec![
            write(1, 0, 5, Told::Done),
            write(2, 1, 6, Told::Done),
            write(3, 10, 20, Told::Unknown),
            write(4, 11, 30, Told::Done),
            write(5, 31, 35, Told::Done),
            write(6, 36, 37, refused()),
        ],
        own_reads: vec![OwnRead { key: 0, written: 3, read: 3, at: Duration::ZERO }],
        transfers: [(7, Told::Done), (8, refused()), (9, Told::Unknown)].into(),
        sums: vec![(Duration::ZERO, ACCOUNTS * BALANCE)],
        lost_sessions: 0,
    };
    let rows = [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)];
    let found = |server: &str| Found {
        server: server.to_owned(),
        rows: rows.iter().map(|&(id, by_server)| Row { id, by_server }).collect(),
        transfers: vec![7, 9],
        sum: ACCOUNTS * BALANCE,
    };
    (history, vec![found("replica1"), found("replica2")])
}

/// What one wrong thing makes the checkers say: the names of those that found something.
fn found_by(spoil: impl FnOnce(&mut History, &mut Vec<Found>)) -> Vec<&'static str> {
    let (mut history, mut found) = good();
    spoil(&mut history, &mut found);
    let checked = checks::check(&history, &found);
    checked.findings.iter().filter(|(_, found)| !found.is_empty()).map(|(name, _)| *name).collect()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(found_by(|_, _| {}), [""; 0]);
    let (history, found) = good();
    assert!(checks::check(&history, &found).is_clean());
    assert_eq!(checks::turns(&found[0]), 1);
    assert_eq!(checks::longest_gap(&history), (Duration::from_millis(24), Duration::from_millis(6)));
}

#[test]
fn what_is_wrong_is_found() {
    let gone =
        |found: &mut Vec<Found>, id| found.iter_mut().for_each(|found| found.rows.retain(|row| row.id != id));
    assert_eq!(found_by(|_, found| gone(found, 5)), ["lost acknowledged writes"]);
    assert_eq!(found_by(|_, found| gone(found, 3)), [""; 0], "it was never acknowledged");
    assert_eq!(
        found_by(|_, found| {
            found[1].rows.pop();
        }),
        ["lost acknowledged writes", "servers that differ"]
    );
    let add = |found: &mut Vec<Found>, row: Row| found.iter_mut().for_each(|found| found.rows.push(row));
    let by_2 = |id| Row { id, by_server: 2 };
    assert_eq!(found_by(|_, found| add(found, by_2(6))), ["refused and there all the same"]);
    assert_eq!(found_by(|_, found| add(found, by_2(77))), ["rows that nobody wrote"]);
    assert_eq!(found_by(|_, found| add(found, by_2(5))), ["duplicates"]);
    let transfer = |found: &mut Vec<Found>, id| found.iter_mut().for_each(|found| found.transfers.push(id));
    assert_eq!(found_by(|_, found| transfer(found, 8)), ["refused and there all the same"]);
    assert_eq!(found_by(|_, found| transfer(found, 7)), ["duplicates"]);
    assert_eq!(found_by(|history, _| history.own_reads[0].read = 2), ["stale own reads"]);
    assert_eq!(found_by(|history, _| history.sums[0].1 -= 1), ["bank totals"]);
    assert_eq!(found_by(|_, found| found[0].sum += 1), ["bank totals"]);
}

#[test]
fn two_writers_are_found() {
    // Sent to the first server after the second had acknowledged one.
    let late = |history: &mut History, _: &mut Vec<Found>| {
        history.writes[1].sent = Duration::from_millis(31);
        history.writes[1].answered = Duration::from_millis(33);
    };
    assert_eq!(found_by(late), ["two writers"]);
    let (_, mut found) = good();
    found[0].rows.swap(2, 3);
    assert_eq!(checks::turns(&found[0]), 3, "they took turns");
}

#[test]
fn scenarios_have_names_of_their_own() {
    for sheet in scenario::ALL {
        assert_eq!(scenario::Scenario::named(sheet.name), Some(sheet.scenario));
        assert_eq!(sheet.scenario.sheet().name, sheet.name);
        assert!(!sheet.about.is_empty());
    }
}
