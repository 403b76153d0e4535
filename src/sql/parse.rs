//! The second judge: a full parser's view of what the first holds to be read-only.
//!
//! It reads the digest, not the text: strings, quotes, character sets and executable comments are already
//! told from code there, by the rules of the server that will run it. Where it cannot parse, it says nothing.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, ObjectName, Query, Select, Statement, TableFactor, Visit, Visitor,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::functions::{self, Call};
use super::{Catalog, Dialect, Kind};
use crate::flavour::Version;

/// More words than this are not parsed: a long chain of terms overflows the stack when its tree is dropped.
const WORDS_MAX: usize = 2_000;

/// What the parser sees that is not read-only; `None` also where it cannot parse the text.
pub(super) fn objection(
    digest: &[u8],
    kind: &Kind,
    dialect: &Dialect,
    schema: Option<&str>,
    catalog: &Catalog,
) -> Option<String> {
    if !matches!(kind, Kind::Select | Kind::Describe) || dialect.charset.hides_ascii() {
        return None;
    }
    if memchr::memchr2_iter(b' ', b'(', digest).count() > WORDS_MAX {
        return None;
    }
    let text = std::str::from_utf8(digest).ok()?.replace("(...)", "(?)");
    let statements = Parser::parse_sql(&MySqlDialect {}, &text).ok()?;
    if statements.len() > 1 {
        return Some("several statements".to_owned());
    }
    let mut witness = Witness { version: dialect.version, schema, catalog };
    match statements.visit(&mut witness) {
        ControlFlow::Break(seen) => Some(*seen),
        ControlFlow::Continue(()) => None,
    }
}

struct Witness<'a> {
    version: Version,
    schema: Option<&'a str>,
    catalog: &'a Catalog,
}

/// Boxed, because the visitor's stack frames grow with it.
type Seen = ControlFlow<Box<String>>;

fn seen(what: impl Into<String>) -> Seen {
    ControlFlow::Break(Box::new(what.into()))
}

impl Visitor for Witness<'_> {
    type Break = Box<String>;

    fn pre_visit_statement(&mut self, statement: &Statement) -> Seen {
        match statement {
            Statement::Query(_) | Statement::ExplainTable { .. } => ControlFlow::Continue(()),
            Statement::Explain { analyze: false, .. } => ControlFlow::Continue(()),
            other => {
                let text = other.to_string();
                seen(text.split(' ').next().unwrap_or("a statement"))
            }
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> Seen {
        if query.locks.is_empty() { ControlFlow::Continue(()) } else { seen("a locking clause") }
    }

    fn pre_visit_select(&mut self, select: &Select) -> Seen {
        if select.into.is_none() { ControlFlow::Continue(()) } else { seen("INTO") }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Seen {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.called(name)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> Seen {
        match expression {
            Expr::Function(function) => self.called(&function.name),
            Expr::BinaryOp { op: BinaryOperator::Assignment, .. } => seen("an assignment"),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Witness<'_> {
    fn called(&self, name: &ObjectName) -> Seen {
        let parts: Vec<_> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let Some(function) = parts.last() else { return seen("a function without a name") };
        if parts.len() == 1 && function.quote_style.is_none() {
            let lower = function.value.to_ascii_lowercase();
            let call = functions::call(lower.as_bytes(), false, self.version);
            if matches!(call, Call::Keyword | Call::Pure | Call::ConnectionId) {
                return ControlFlow::Continue(());
            }
        }
        let schema = match parts.as_slice() {
            [.., schema, _] => Some(schema.value.as_str()),
            _ => self.schema,
        };
        if self.catalog.function(schema, &function.value) == Some(true) {
            ControlFlow::Continue(())
        } else {
            seen(format!("function {name}"))
        }
    }
}
