//! The port for people: the proxy seen and steered with SQL, over the MySQL protocol.
//!
//! A statement is parsed into a `Request`; a `View` of this moment is gathered; the tables make rows of it. What
//! SHOW prints and what SELECT reads come from the same definition of columns and rows.

mod listener;
mod session;

mod desk;

mod commands;
mod grammar;
mod token;

mod answer;
mod calendar;
mod explain;
mod help;
mod table;
mod tables;
mod view;

mod select;
mod sqlite_text;
mod variables;

#[cfg(test)]
mod tests;

pub use answer::{Outcome, answer};
pub use commands::{Command, Order, Request};
pub use desk::{Desk, front_login};
pub use explain::{Situation, explain};
pub use grammar::{Arguments, Unparsed, parse};
pub use listener::{Bound, bind};
pub use select::{Asker, SelectError, select};
pub use table::{Answer, Heading, Row, Value};
pub use view::{DigestView, PinView, PoolView, SessionView, View};
