//! Where a statement goes and why. Pure.

mod choose;
mod session;
#[cfg(test)]
mod tests;

pub use choose::{Because, Destination, Route, Spread, route};
pub use session::{Seen, SessionState, Transaction};
