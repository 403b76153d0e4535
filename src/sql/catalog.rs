//! What the primary's dictionary says of stored functions and views.

use std::collections::{HashMap, HashSet};

use super::classify;
use super::{Access, Dialect};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutineKind {
    Function,
    Procedure,
}

/// `SQL_DATA_ACCESS` of `information_schema.ROUTINES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataAccess {
    ContainsSql,
    NoSql,
    ReadsSqlData,
    ModifiesSqlData,
}

impl DataAccess {
    /// Anything unknown may write.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_uppercase().as_str() {
            "NO SQL" => DataAccess::NoSql,
            "READS SQL DATA" => DataAccess::ReadsSqlData,
            "CONTAINS SQL" => DataAccess::ContainsSql,
            _ => DataAccess::ModifiesSqlData,
        }
    }

    fn is_proven(self) -> bool {
        matches!(self, DataAccess::NoSql | DataAccess::ReadsSqlData)
    }
}

/// A row of `information_schema.ROUTINES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routine {
    pub schema: String,
    pub name: String,
    pub kind: RoutineKind,
    pub data_access: DataAccess,
}

/// A row of `information_schema.VIEWS`. An empty definition (no privilege to see it) proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub schema: String,
    pub name: String,
    pub definition: String,
}

/// Answers which stored functions are proven read-only and which views are not. The default knows nothing:
/// unknown functions are writes, and every name in FROM is taken for a table.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    version: u64,
    /// Lower-case name, then the schemas that have it and whether it is proven there.
    functions: HashMap<String, Vec<(String, bool)>>,
    /// Lower-case name, then the schemas where a view of that name is not proven.
    unproven_views: HashMap<String, HashSet<String>>,
}

impl Catalog {
    /// `version` tells one catalog from another in the verdict cache: never use one twice. 0 is the default's.
    pub fn new(version: u64, routines: &[Routine], views: &[View], dialect: &Dialect) -> Self {
        let mut catalog = Catalog { version, ..Catalog::default() };
        for routine in routines.iter().filter(|routine| routine.kind == RoutineKind::Function) {
            let schemas = catalog.functions.entry(routine.name.to_lowercase()).or_default();
            schemas.push((routine.schema.to_lowercase(), routine.data_access.is_proven()));
        }
        catalog.find_unproven_views(views, dialect);
        catalog
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the stored function is proven read-only; `None` if there is none of that name. Without any
    /// schema every function of that name must be proven.
    pub fn function(&self, schema: Option<&str>, name: &str) -> Option<bool> {
        let schemas = self.functions.get(&name.to_lowercase())?;
        match schema.map(str::to_lowercase) {
            Some(schema) => schemas.iter().find(|(known, _)| *known == schema).map(|(_, proven)| *proven),
            None => Some(schemas.iter().all(|(_, proven)| *proven)),
        }
    }

    pub(super) fn has_unproven_views(&self) -> bool {
        !self.unproven_views.is_empty()
    }

    /// True if a view of that name is not proven read-only; in any schema if none is given.
    pub(super) fn is_unproven_view(&self, schema: Option<&str>, name: &str) -> bool {
        self.unproven_views
            .get(&name.to_lowercase())
            .is_some_and(|schemas| schema.is_none_or(|schema| schemas.contains(&schema.to_lowercase())))
    }

    /// Views read views: those not proven grow until a round finds no more.
    fn find_unproven_views(&mut self, views: &[View], dialect: &Dialect) {
        let mut rest: Vec<&View> = views.iter().collect();
        loop {
            let (proven, unproven): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|view| self.is_proven_view(view, dialect));
            if unproven.is_empty() {
                return;
            }
            for view in unproven {
                let schemas = self.unproven_views.entry(view.name.to_lowercase()).or_default();
                schemas.insert(view.schema.to_lowercase());
            }
            rest = proven;
        }
    }

    fn is_proven_view(&self, view: &View, dialect: &Dialect) -> bool {
        // The dictionary gives definitions in UTF-8, in backticks, and with standard strings.
        let dialect = Dialect { ansi_quotes: false, charset: super::Charset::AsciiSafe, ..*dialect };
        let verdict = classify::classify(view.definition.as_bytes(), &dialect, Some(&view.schema), self);
        verdict.kind == super::Kind::Select && verdict.access == Access::Read
    }
}
