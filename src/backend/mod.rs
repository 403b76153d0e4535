//! Connections to the database servers.

mod settings;
mod slots;
#[cfg(test)]
mod tests;

pub use settings::{Baseline, Settings};
