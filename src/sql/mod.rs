//! What a statement is. Never executes, never talks to a server.

mod statement;

pub use statement::*;
mod tmp;
pub use tmp::*;
