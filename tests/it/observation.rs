//! Rows recorded from real servers, read as observations.

use pointsman::control::observation::{Row, facts};

use crate::cases;

/// Each case is the output of `mysql --vertical` for the state statement, then for the replication
/// statement, then for the variables.
#[test]
fn recorded_rows() {
    cases::run("observation", |input| {
        let mut rows = input.split("***\n").filter_map(row);
        let Some(state) = rows.next() else { return "no row".to_owned() };
        let is_variable = |row: &Row| row.0.first().is_some_and(|(name, _)| name == "Variable_name");
        let (variables, replication): (Vec<Row>, Vec<Row>) = rows.partition(is_variable);
        match facts(&state, &replication, &variables) {
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
