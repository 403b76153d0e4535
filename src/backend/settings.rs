//! A session's schema and variables, as the server reported them, and how to give another connection the same.

use std::sync::Arc;
use std::time::Duration;

use super::session::baseline;

/// What was changed since login. Cheap to clone and to compare with itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub schema: Option<Arc<str>>,
    variables: Option<Arc<Variables>>,
}

/// Variables on which the meaning of a text depends.
const READING: [&str; 5] = [
    "character_set_client",
    "character_set_connection",
    "collation_connection",
    "sql_mode",
    "sql_quote_show_create",
];

/// Variables that follow the chosen schema.
const OF_SCHEMA: [&str; 2] = ["character_set_database", "collation_database"];

/// Sorted by name.
type Variables = Vec<(Arc<str>, Arc<str>)>;

/// The character set a connection was opened with: what its variables go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    pub charset: String,
    pub collation: String,
    /// CLIENT_IGNORE_SPACE was asked for, which is a mode to the server.
    pub ignores_space: bool,
}

/// The mode of a connection that was opened with CLIENT_IGNORE_SPACE.
pub(super) const MODE_IGNORING_SPACE: &str = "CONCAT_WS(',',NULLIF(@@GLOBAL.sql_mode,''),'IGNORE_SPACE')";

impl Settings {
    pub fn with_schema(schema: Option<Arc<str>>) -> Self {
        Self { schema, variables: None }
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        let variables = self.variables.as_deref()?;
        let at = variables.binary_search_by(|(have, _)| (**have).cmp(name)).ok()?;
        Some(&variables[at].1)
    }

    /// How long a server lets this session be silent, where the session has said so.
    pub fn wait_timeout(&self) -> Option<Duration> {
        self.variable("wait_timeout")?.parse().ok().map(Duration::from_secs)
    }

    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().flat_map(|variables| variables.iter()).map(|(name, value)| (&**name, &**value))
    }

    /// Remembers a value the server reported.
    pub fn set(&mut self, name: &str, value: &str) {
        if self.variable(name) == Some(value) {
            return;
        }
        let variables = Arc::make_mut(self.variables.get_or_insert_default());
        match variables.binary_search_by(|(have, _)| (**have).cmp(name)) {
            Ok(at) => variables[at].1 = value.into(),
            Err(at) => variables.insert(at, (name.into(), value.into())),
        }
    }

    /// A variable is as whatever else is set makes it.
    pub fn forget(&mut self, name: &str) {
        if self.variable(name).is_some() {
            Arc::make_mut(self.variables.get_or_insert_default()).retain(|(have, _)| &**have != name);
        }
    }

    /// Whether a variable was set that `wanted` would have as after login.
    pub fn has_more_than(&self, wanted: &Settings) -> bool {
        !self.same_variables(wanted) && self.variables().any(|(name, _)| wanted.variable(name).is_none())
    }

    /// Gives variables the values they had before.
    pub fn take_back(&mut self, names: &[Arc<str>], before: &Settings) {
        for name in names {
            match (before.variable(name), &mut self.variables) {
                (Some(value), _) => self.set(name, value),
                (None, Some(variables)) => Arc::make_mut(variables).retain(|(have, _)| have != name),
                (None, None) => {}
            }
        }
        if self.same_variables(before) || self.variables.as_ref().is_some_and(|have| have.is_empty()) {
            self.variables.clone_from(&before.variables);
        }
    }

    /// As after USE, which also undoes what was set of the last schema's character set, and does not report it.
    pub fn choose(&mut self, schema: Option<Arc<str>>) {
        self.schema = schema;
        if OF_SCHEMA.iter().any(|name| self.variable(name).is_some()) {
            let variables = Arc::make_mut(self.variables.get_or_insert_default());
            variables.retain(|(name, _)| !OF_SCHEMA.contains(&&**name));
        }
    }

    /// The part that decides how a text is read: names are looked up in the schema, quotes and operators by
    /// the mode, bytes by the character sets.
    pub fn reading(&self) -> Settings {
        let mut reading = Settings::with_schema(self.schema.clone());
        for name in READING {
            if let Some(value) = self.variable(name) {
                reading.set(name, value);
            }
        }
        reading
    }

    /// These settings with that part taken from `other`.
    pub fn reading_as(&self, other: &Settings) -> Settings {
        let mut settings = Settings::with_schema(other.schema.clone());
        let kept = self.variables().filter(|(name, _)| !READING.contains(name));
        for (name, value) in kept.chain(other.variables()) {
            settings.set(name, value);
        }
        settings
    }

    /// As after SET NAMES, on a connection that began with the collation of this number.
    pub fn set_names(&mut self, charset: &str, collation: &str, began_with: u16) {
        let Baseline { charset: had_charset, collation: had_collation, .. } = baseline(began_with, 0);
        if (charset, collation) == (&had_charset, &had_collation) {
            return;
        }
        for name in ["character_set_client", "character_set_connection", "character_set_results"] {
            self.set(name, charset);
        }
        self.set("collation_connection", collation);
    }

    /// The same variables, without walking them when both sides share one list.
    pub fn same_variables(&self, other: &Settings) -> bool {
        match (&self.variables, &other.variables) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            _ => false,
        }
    }

    /// Whether a value can be written into a SET statement under every sql_mode and character set.
    pub fn is_replayable(value: &str) -> bool {
        value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\')
    }

    /// The SET statement that makes a connection with these settings like `wanted`, variables only.
    /// `None`: nothing to do.
    pub fn statement_towards(&self, wanted: &Settings, baseline: &Baseline) -> Option<String> {
        let mut assignments = Vec::new();
        for (name, _) in self.variables() {
            if wanted.variable(name).is_none() {
                assignments.push(format!("{name}={}", default_of(name, baseline)));
            }
        }
        for (name, value) in wanted.variables() {
            if self.variable(name) != Some(value) {
                assignments.push(format!("{name}={}", literal(name, value)));
            }
        }
        // Setting a character set resets its collation, so the collation comes last.
        assignments.sort();
        (!assignments.is_empty()).then(|| format!("SET {}", assignments.join(",")))
    }
}

/// What a variable is before anybody sets it.
fn default_of(name: &str, baseline: &Baseline) -> String {
    match name {
        "character_set_client" | "character_set_connection" | "character_set_results" => {
            literal(name, &baseline.charset)
        }
        "collation_connection" => literal(name, &baseline.collation),
        "sql_mode" if baseline.ignores_space => MODE_IGNORING_SPACE.to_owned(),
        _ => "DEFAULT".to_owned(),
    }
}

fn literal(name: &str, value: &str) -> String {
    let is_number = !value.is_empty()
        && value.strip_prefix('-').unwrap_or(value).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match value {
        "" if name == "character_set_results" => "NULL".to_owned(),
        _ if is_number => value.to_owned(),
        _ => format!("'{}'", value.replace('\'', "''")),
    }
}
