//! The user variables that a session has, or that a connection holds, and how to make the one from the other.

use std::sync::Arc;

use crate::flavour::Flavour;

/// A name, and an expression that has its value.
type Variable = (Arc<str>, Arc<str>);

/// Names in lower case, with expressions that have their values on any connection. Cheap to clone and to compare
/// with itself. Whatever it does not name is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserVariables(Option<Arc<Vec<Variable>>>);

/// Names and values of one session together, in bytes; beyond it, variables hold their connection.
const LEN_MAX: usize = 16 * 1024;

impl UserVariables {
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        let variables = self.0.as_deref()?;
        let at = variables.binary_search_by(|(have, _)| (**have).cmp(name)).ok()?;
        Some(&variables[at].1)
    }

    pub fn set(&mut self, name: &Arc<str>, expression: &Arc<str>) {
        if self.get(name) == Some(expression) {
            return;
        }
        let variables = Arc::make_mut(self.0.get_or_insert_default());
        match variables.binary_search_by(|(have, _)| have.cmp(name)) {
            Ok(at) => variables[at].1 = Arc::clone(expression),
            Err(at) => variables.insert(at, (Arc::clone(name), Arc::clone(expression))),
        }
    }

    pub fn remove(&mut self, name: &str) {
        if self.get(name).is_none() {
            return;
        }
        if let Some(variables) = &mut self.0 {
            Arc::make_mut(variables).retain(|(have, _)| **have != *name);
        }
        if self.is_empty() {
            self.0 = None;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.as_deref().is_none_or(Vec::is_empty)
    }

    /// Without walking them when both sides share one list.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            _ => false,
        }
    }

    /// Whether one more of this length may be remembered.
    pub fn has_room_for(&self, name: &str, expression: &str) -> bool {
        let others = self.iter().filter(|(have, _)| **have != *name);
        let len: usize = others.map(|(name, expression)| name.len() + expression.len()).sum();
        len + name.len() + expression.len() <= LEN_MAX
    }

    /// Others of the same types, character sets and collations: all that a statement's preparation depends on.
    pub fn shape(&self) -> UserVariables {
        let shaped = self.iter().map(|(name, expression)| (Arc::clone(name), shape(expression)));
        UserVariables(self.0.as_ref().map(|_| Arc::new(shaped.collect())))
    }

    fn iter(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().flat_map(|variables| variables.iter())
    }

    /// The SET statement that makes a connection which holds these hold `wanted`. `None`: nothing to do.
    pub fn statement_towards(&self, wanted: &UserVariables, flavour: Flavour) -> Option<String> {
        // A variable that is NULL has a type all the same, that of its last value; this is the type of one
        // that was never set.
        let (never, null) = match flavour {
            Flavour::MySql => ("''", "X''"),
            Flavour::MariaDb => ("X''", "X''"),
        };
        let mut assignments = Vec::new();
        for (name, _) in self.iter().filter(|(name, _)| wanted.get(name).is_none()) {
            assignments.push(format!("@`{name}`={never},@`{name}`=NULL"));
        }
        for (name, expression) in wanted.iter().filter(|(name, value)| self.get(name) != Some(value)) {
            if &**expression == "NULL" {
                assignments.push(format!("@`{name}`={null}"));
            }
            assignments.push(format!("@`{name}`={expression}"));
        }
        (!assignments.is_empty()).then(|| format!("SET {}", assignments.join(",")))
    }
}

fn shape(expression: &str) -> Arc<str> {
    if let Some((before, rest)) = expression.split_once("X'")
        && let Some((_, after)) = rest.split_once('\'')
    {
        return format!("{before}X''{after}").into();
    }
    match expression.parse::<i64>() {
        Ok(0..) => "1".into(),
        Ok(_) => "-1".into(),
        Err(_) => expression.into(),
    }
}
