//! Rows recorded from real servers, read as observations.

use pointsman::control::observation::{Row, facts};

use crate::cases;

/// Each case is the output of `mysql --vertical` for the state statement, then for the replication statement.
#[test]
fn recorded_rows() {
    cases::run("observation", |input| {
        let mut rows = input.split("***\n").filter_map(row);
        let Some(state) = rows.next() else { return "no row".to_owned() };
        let replication: Vec<Row> = rows.collect();
        match facts(&state, &replication) {
            Some(facts) => format!("{facts:#?}"),
            None => "not what was asked for".to_owned(),
        }
    });
}

fn row(text: &str) -> Option<Row> {
    let column = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        Some((name.trim().to_owned(), (value != "NULL").then(|| value.to_owned())))
    };
    let columns: Vec<_> = text.lines().filter(|line| !line.starts_with("***")).filter_map(column).collect();
    (!columns.is_empty()).then_some(Row(columns))
}
