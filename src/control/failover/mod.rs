//! Changes of primary: what is seen (`view`), what is to be done (`decide`), doing it (`act`), and what outlives the
//! process (`journal`).

pub(super) mod act;
mod choose;
pub mod coordinator;
pub mod decide;
pub mod durability;
pub mod journal;
pub mod lead;
pub mod local;
pub mod plan;
mod rehearsal;
mod repair;
pub mod statements;
pub mod step;
pub mod view;
