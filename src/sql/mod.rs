//! What a statement is. Never executes, never talks to a server.

mod effect;
mod literal;
mod statement;

mod judge;

mod digest;
mod hint;
mod holds;
mod kill;
mod literals;
mod proxy_variables;

mod classify;
mod scan;
mod set;
mod show;

mod parse;

mod explain;
mod substitute;

mod catalog;

mod builtins;
mod functions;
mod variables;
mod words;

mod charset;
mod comment;
mod lex;

pub use catalog::{Catalog, DataAccess, Routine, RoutineKind, View};
pub use effect::{Assigned, Effect, TextSource};
pub use explain::{ExplainOptions, Explanation, Target, explain};
pub use holds::{Held, HoldChange, hold_changes};
pub use judge::Judge;
pub use kill::kill_expression;
pub use literal::{Literal, Reading, quoted};
pub use proxy_variables::{AssignedValue, NotAssigned, ProxyAssignment, ProxyVariable, proxy_assignments};
pub use statement::*;
pub use substitute::{Replacements, substitute_calls};
pub use variables::{is_replayable_variable, tracked_variables};

#[cfg(test)]
mod tests;
