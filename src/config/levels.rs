//! Levels of consistency: of the port, of the users of this file, of those of the database.

use super::check::name;
use super::file::{Section, Value};
use super::{Consistency, UserLevel};

pub(super) const CHOICES: [(&str, Consistency); 3] = [
    (Consistency::Session.name(), Consistency::Session),
    (Consistency::Global.name(), Consistency::Global),
    (Consistency::Eventual.name(), Consistency::Eventual),
];

/// The level of a section that may give none.
pub(super) fn optional(section: &Section<'_, '_>) -> Option<Consistency> {
    section.get("consistency")?;
    Some(section.choice("consistency", Consistency::Session, &CHOICES))
}

/// `routing.users`: users of this file or of the database.
pub(super) fn of_users(routing: &Section<'_, '_>) -> Vec<UserLevel> {
    let mut levels = Vec::new();
    let Some(list) = routing.get("users") else { return levels };
    for entry in list.list().unwrap_or_default() {
        let section = entry.as_section();
        let user = section.get("name");
        if user.is_none() && entry.is_table() {
            section.missing("name", "write name = \"…\"");
        }
        let level = optional(&section);
        if level.is_none() && entry.is_table() {
            section.missing("consistency", "write consistency = \"session\", \"global\" or \"eventual\"");
        }
        if let (Some(user), Some(level)) = (user, level) {
            add(&mut levels, &user, level);
        }
        section.finish();
    }
    levels
}

/// Gives a user a level, unless it has one.
pub(super) fn add(levels: &mut Vec<UserLevel>, user: &Value<'_, '_>, consistency: Consistency) {
    let Some(name) = name(user) else { return };
    if levels.iter().any(|level| level.name == name) {
        user.wrong(format!("user {name:?} is given a consistency twice"), "remove one of them");
    } else {
        levels.push(UserLevel { name, consistency });
    }
}
