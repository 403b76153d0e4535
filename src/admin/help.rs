//! HELP, made of the table of commands. Its shapes are those of MySQL's own HELP, which the mysql command line
//! knows how to print: one topic, several topics, or a category of topics.

use super::commands::{ALL, Command};
use super::grammar::Arguments;
use super::table::{Answer, Value};

pub(super) fn help(topic: Option<&str>) -> Answer {
    let Some(topic) = topic else { return super::answer::commands(&Arguments::default()) };
    let wanted = topic.trim().trim_end_matches(';').to_ascii_uppercase();
    if wanted == "CONTENTS" {
        let rows = ALL
            .iter()
            .map(|command| [Value::text("Pointsman"), Value::text(command.name()), Value::text("N")]);
        return Answer::texts(["source_category_name", "name", "is_it_category"], rows.collect());
    }
    if let Some(command) = ALL.iter().find(|command| command.name() == wanted) {
        return one(command);
    }
    let meant: Vec<&Command> = ALL
        .iter()
        .filter(|command| command.name.iter().any(|word| wanted.split(' ').any(|w| w == *word)))
        .collect();
    match meant.as_slice() {
        [command] => one(command),
        several => {
            let rows = several.iter().map(|command| [Value::text(command.name()), Value::text("N")]);
            Answer::texts(["name", "is_it_category"], rows.collect())
        }
    }
}

fn one(command: &Command) -> Answer {
    let mut description = format!("{}\n\n{}\n", command.grammar, command.help);
    if let Some(table) = command.table() {
        description.push_str("\nColumns:\n");
        let width = table.columns.iter().map(|column| column.name.len()).max().unwrap_or(0);
        for column in table.columns {
            description.push_str(&format!("  {:<width$}  {}\n", column.name, column.doc));
        }
        description.push_str(&format!("\nLIKE compares {}.\n", table.key));
    }
    let example = format!("{};\n", command.example);
    let row = [Value::text(command.name()), Value::text(description), Value::text(example)];
    Answer::texts(["name", "description", "example"], vec![row])
}
