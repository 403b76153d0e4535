//! The tables of the admin port.

mod counters;
mod durability;
mod events;
mod failovers;
mod pins;
mod pools;
mod routes;
mod servers;
mod sessions;
mod settings;

use super::table::Table;

/// In the order of SHOW TABLES.
pub(in crate::admin) const ALL: [&Table; 10] = [
    &servers::SERVERS,
    &sessions::SESSIONS,
    &pins::PINS,
    &pools::POOLS,
    &routes::ROUTES,
    &events::EVENTS,
    &failovers::FAILOVERS,
    &durability::DURABILITY,
    &counters::COUNTERS,
    &settings::SETTINGS,
];

pub(in crate::admin) fn named(name: &str) -> Option<&'static Table> {
    ALL.into_iter().find(|table| table.name.eq_ignore_ascii_case(name))
}
