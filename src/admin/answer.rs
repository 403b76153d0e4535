//! From a request and a view to the rows of the answer.

use super::commands::{self, Request};
use super::grammar::Arguments;
use super::table::{self, Answer, Value, is_like};
use super::{View, help, tables, variables};

/// What a request comes to when it needs nothing but a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Rows(Answer),
    /// OK without rows.
    Done,
    /// It needs more than a view: the servers' judge, SQLite, or something is to be changed.
    Elsewhere,
}

pub fn answer(request: &Request, view: &View) -> Outcome {
    Outcome::Rows(match request {
        Request::Show { table, arguments } => match tables::named(table) {
            Some(table) => table.show(view, arguments.like.as_deref(), arguments.limit),
            None => return Outcome::Elsewhere,
        },
        Request::Columns { table, arguments } => columns(table, arguments),
        Request::Tables { full, arguments } => tables_of(*full, arguments),
        Request::Databases(arguments) => listed(["Database"], vec![[Value::text(table::SCHEMA)]], arguments),
        Request::Variables(arguments) => {
            let rows = variables::ALL.map(|(name, value)| [Value::text(name), Value::text(value)]);
            listed(["Variable_name", "Value"], rows.to_vec(), arguments)
        }
        Request::Warnings => Answer::texts(["Level", "Code", "Message"], Vec::new()),
        Request::Help { topic } => help::help(topic.as_deref()),
        Request::Commands(arguments) => commands(arguments),
        Request::Use { .. } | Request::Nothing => return Outcome::Done,
        Request::Explain { .. } | Request::Order(_) | Request::Select(_) => return Outcome::Elsewhere,
    })
}

pub(super) fn commands(arguments: &Arguments) -> Answer {
    let rows = commands::ALL.iter().map(|command| [Value::text(command.grammar), Value::text(command.help)]);
    listed(["command", "what it does"], rows.collect(), arguments)
}

/// As servers describe theirs.
fn columns(table: &str, arguments: &Arguments) -> Answer {
    let Some(table) = tables::named(table) else { return Answer::texts(["Field"], Vec::new()) };
    let rows = table.columns.iter().map(|column| {
        let kind = match column.kind {
            crate::wire::text::TextType::Text => "text",
            crate::wire::text::TextType::Integer => "bigint",
            crate::wire::text::TextType::Float { .. } => "double",
        };
        let key = if column.name == table.key { "LIKE" } else { "" };
        [column.name, kind, key, column.doc].map(Value::text)
    });
    listed(["Field", "Type", "Key", "Comment"], rows.collect(), arguments)
}

fn tables_of(full: bool, arguments: &Arguments) -> Answer {
    if full {
        let row = |table: &&table::Table| [Value::text(table.name), Value::text("SYSTEM VIEW")];
        return listed(
            ["Tables_in_pointsman", "Table_type"],
            tables::ALL.iter().map(row).collect(),
            arguments,
        );
    }
    let row = |table: &&table::Table| [Value::text(table.name)];
    listed(["Tables_in_pointsman"], tables::ALL.iter().map(row).collect(), arguments)
}

/// Rows of texts, chosen by their first.
fn listed<const N: usize>(
    headings: [&'static str; N],
    mut rows: Vec<[Value; N]>,
    arguments: &Arguments,
) -> Answer {
    if let Some(pattern) = &arguments.like {
        rows.retain(|row| matches!(&row[0], Value::Text(text) if is_like(text, pattern)));
    }
    rows.truncate(arguments.limit.unwrap_or(rows.len()));
    Answer::texts(headings, rows)
}
