//! `settings`: the configuration that runs, without its passwords.

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, text};

pub(super) const SETTINGS: Table = Table {
    name: "settings",
    doc: "The configuration that runs. Passwords are not shown.",
    columns: &[
        text("key", "As in the configuration file."),
        text("value", "NULL where none is given and none is the default."),
    ],
    key: "key",
    keep: Keep::First,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    let row = |(key, value): &(String, Option<String>)| {
        vec![Value::text(key.as_str()), Value::optional(value.as_deref().map(Value::text))]
    };
    view.settings.iter().map(row).collect()
}
