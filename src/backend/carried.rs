//! What a connection is given besides settings: roles, user variables, statements prepared as text.

use std::sync::Arc;

use super::lease::{Lease, in_time};
use super::session::{Backend, ExchangeError};
use super::settings::Settings;
use super::user_variables::UserVariables;
use crate::flavour::{Flavour, Version};

/// A statement prepared as text, as one session did.
#[derive(Debug, PartialEq, Eq)]
pub struct TextStatement {
    /// In lower case.
    pub name: Arc<str>,
    /// PREPARE … FROM …
    pub prepare: Vec<u8>,
    /// The schema, mode and character sets it was read under.
    pub environment: Settings,
    /// Where it names user variables: what gives them their types.
    pub variables: Option<UserVariables>,
}

/// What is on a connection of all that.
#[derive(Debug, Default)]
pub(super) struct CarriedHere {
    pub(super) user_variables: UserVariables,
    /// The roles that are active, where they are not those of the login.
    role: Option<Arc<str>>,
    /// Those of the login, once they were asked for.
    login_role: Option<Arc<str>>,
    /// The one prepared last is the last.
    texts: Vec<Arc<TextStatement>>,
}

/// Statements prepared as text that are left on a connection; the oldest makes room.
const TEXTS_MAX: usize = 32;

impl CarriedHere {
    /// How many prepared statements the server counts for it.
    pub(super) fn statements(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn fits(&self, variables: &UserVariables, role: Option<&Arc<str>>) -> bool {
        self.role.as_ref() == role && self.user_variables.same(variables)
    }

    /// The server has forgotten all but the roles. Returns how many statements it has forgotten.
    pub(super) fn forget(&mut self) -> usize {
        self.user_variables = UserVariables::default();
        std::mem::take(&mut self.texts).len()
    }

    fn take_text(&mut self, name: &str) -> Option<Arc<TextStatement>> {
        let at = self.texts.iter().position(|text| *text.name == *name)?;
        Some(self.texts.remove(at))
    }
}

impl Backend {
    fn flavour(&self) -> Flavour {
        Version::parse(&self.conn.version).flavour
    }

    /// The roles that are active now, as SET ROLE takes them.
    async fn ask_role(&mut self) -> Result<Arc<str>, ExchangeError> {
        let roles = self.scalar(b"SELECT CURRENT_ROLE()").await?;
        let roles = match (roles, self.flavour()) {
            (None, _) => "NONE".to_owned(),
            // Quoted by sql_mode.
            (Some(roles), Flavour::MySql) if !roles.contains('`') => roles.replace('"', "`"),
            (Some(roles), Flavour::MySql) => roles,
            (Some(role), Flavour::MariaDb) => format!("`{}`", role.replace('`', "``")),
        };
        Ok(roles.into())
    }

    /// Makes the roles those of the login once more.
    pub(super) async fn take_role_back(&mut self) -> Result<(), ExchangeError> {
        if self.carried.role.is_none() {
            return Ok(());
        }
        let Some(login) = self.carried.login_role.clone() else {
            // It cannot have been given others without these being known.
            return Err(ExchangeError::Lost(std::io::ErrorKind::NotConnected.into()));
        };
        self.execute(&format!("SET ROLE {login}")).await.map_err(|error| match error {
            // Revoked meanwhile: a new connection will do, this one not.
            ExchangeError::Refused(_) => ExchangeError::Lost(std::io::ErrorKind::NotConnected.into()),
            error => error,
        })?;
        self.carried.role = None;
        Ok(())
    }

    async fn settle_role(&mut self, wanted: Option<&Arc<str>>) -> Result<(), ExchangeError> {
        let Some(role) = wanted else { return self.take_role_back().await };
        self.know_login_role().await?;
        self.execute(&format!("SET ROLE {role}")).await?;
        self.carried.role = Some(Arc::clone(role));
        Ok(())
    }

    async fn know_login_role(&mut self) -> Result<(), ExchangeError> {
        if self.carried.login_role.is_none() {
            self.carried.login_role = Some(self.ask_role().await?);
        }
        Ok(())
    }
}

impl Lease {
    /// Gives the connection the session's roles. To be done first: the schema may need them.
    pub async fn settle_role(&mut self, wanted: Option<&Arc<str>>) -> Result<(), ExchangeError> {
        if self.carried.role.as_ref() == wanted {
            return Ok(());
        }
        let limit = self.pool().exchange_limit();
        Box::pin(in_time(limit, Backend::settle_role(self, wanted))).await
    }

    /// To be called before a SET ROLE goes to the server: what it can be taken back to.
    pub async fn know_login_role(&mut self) -> Result<(), ExchangeError> {
        let limit = self.pool().exchange_limit();
        Box::pin(in_time(limit, Backend::know_login_role(self))).await
    }

    /// After a SET ROLE: the roles that are active. `None`: those of the login.
    pub async fn note_role(&mut self) -> Result<Option<Arc<str>>, ExchangeError> {
        let limit = self.pool().exchange_limit();
        let role = Box::pin(in_time(limit, self.ask_role())).await?;
        let role = Some(role).filter(|role| self.carried.login_role.as_ref() != Some(role));
        self.carried.role.clone_from(&role);
        Ok(role)
    }

    /// Gives the connection the session's user variables, and takes all others from it.
    pub async fn settle_user_variables(&mut self, wanted: &UserVariables) -> Result<(), ExchangeError> {
        if self.carried.user_variables.same(wanted) {
            return Ok(());
        }
        if let Some(statement) = self.carried.user_variables.statement_towards(wanted, self.flavour()) {
            let limit = self.pool().exchange_limit();
            Box::pin(in_time(limit, self.execute(&statement))).await?;
        }
        self.carried.user_variables = wanted.clone();
        Ok(())
    }

    /// A statement of the session's own has given a user variable a value, or one that is not known.
    pub fn note_user_variable(&mut self, name: &Arc<str>, expression: Option<&Arc<str>>) {
        match expression {
            Some(expression) => self.carried.user_variables.set(name, expression),
            None => self.carried.user_variables.remove(name),
        }
    }

    pub fn has_text(&self, statement: &TextStatement) -> bool {
        self.carried.texts.iter().any(|text| **text == *statement)
    }

    /// Prepares a statement under its name, unless it is. The session's own settings are `current` and `variables`,
    /// which are not touched if none are given.
    pub async fn settle_text(
        &mut self,
        statement: &Arc<TextStatement>,
        current: &Settings,
        variables: Option<&UserVariables>,
    ) -> Result<(), ExchangeError> {
        if self.has_text(statement) {
            return Ok(());
        }
        Box::pin(self.prepare_text(statement, current, variables)).await
    }

    async fn prepare_text(
        &mut self,
        statement: &Arc<TextStatement>,
        current: &Settings,
        variables: Option<&UserVariables>,
    ) -> Result<(), ExchangeError> {
        self.settle(&current.reading_as(&statement.environment)).await?;
        let types = statement.variables.as_ref().zip(variables);
        if let Some((then, _)) = types {
            self.settle_user_variables(then).await?;
        }
        let limit = self.pool().exchange_limit();
        // Whether it succeeds or not, the old one of that name is gone.
        self.forget_text(&statement.name);
        let prepared = in_time(limit, self.execute_bytes(&statement.prepare)).await;
        if prepared.is_ok() {
            self.note_text(statement);
        }
        self.settle(current).await?;
        if let Some((_, now)) = types {
            self.settle_user_variables(now).await?;
        }
        prepared?;
        self.pool().counters.prepared.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.make_room().await?;
        if self.carried.texts.len() > TEXTS_MAX {
            let oldest = Arc::clone(&self.carried.texts[0].name);
            self.drop_text(&oldest).await?;
        }
        Ok(())
    }

    /// The session's own PREPARE went through this connection.
    pub fn note_text(&mut self, statement: &Arc<TextStatement>) {
        self.forget_text(&statement.name);
        self.carried.texts.push(Arc::clone(statement));
        self.pool().count_prepared(1, 0);
    }

    /// There is no statement of that name any more, or another.
    pub fn forget_text(&mut self, name: &str) {
        if self.carried.take_text(name).is_some() {
            self.pool().count_prepared(0, 1);
        }
    }

    /// Takes a statement from the connection that another session left there.
    pub async fn drop_text(&mut self, name: &str) -> Result<(), ExchangeError> {
        if self.carried.take_text(name).is_none() {
            return Ok(());
        }
        self.pool().count_prepared(0, 1);
        let limit = self.pool().exchange_limit();
        let statement = format!("DEALLOCATE PREPARE `{name}`");
        Box::pin(in_time(limit, self.execute(&statement))).await
    }

    /// Names of the statements that are on the connection.
    pub fn text_names(&self) -> Vec<Arc<str>> {
        self.carried.texts.iter().map(|text| Arc::clone(&text.name)).collect()
    }
}
