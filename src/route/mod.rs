//! Where a statement goes and why. Pure.

mod choose;
mod holdings;
mod session;
#[cfg(test)]
mod tests;

pub use choose::{Because, Destination, Route, Spread, route};
pub use holdings::{Holdings, Question};
pub use session::{Seen, SessionState, Transaction};
