//! `@pointsman_consistency` and `@pointsman_gtid`: how a session says what its reads must see, and learns what it wrote.

use std::fmt::Write as _;

use super::session::{End, Incoming, Session};
use crate::backend::{ExchangeError, Lease};
use crate::consistency::Consistency;
use crate::gtid::GtidSet;
use crate::route::Transaction;
use crate::sql::{self, Access, AssignedValue, Judged, Kind, LevelHint, ProxyVariable, WriteBecause};
use crate::wire::{ErrPacket, code};

/// Longer tokens are nobody's: a set of a hundred sources with a few gaps each is not as long.
const TOKEN_LEN_MAX: usize = 8 * 1024;

/// Intervals that all tokens a session was given may come to.
const INTERVALS_MAX: usize = 1024;

/// What a variable may be given; worked out before any is changed.
enum Wish {
    Consistency(Option<Consistency>),
    ReadBehind(GtidSet),
    Nothing,
}

impl Session {
    /// Whether a statement is served without a server, or not at all: it sets the proxy's variables, or has a hint that
    /// makes no sense.
    pub(super) fn is_aside(&self, judged: &Judged) -> bool {
        matches!(judged.statement.access, Access::Write(WriteBecause::ProxyVariable))
            || (matches!(judged.consistency, Some(LevelHint::Unknown(_))) && self.house.routing.hints)
    }

    pub(super) async fn serve_aside(&mut self, judged: &Judged, incoming: Incoming) -> Result<(), End> {
        if let Some(error) = self.hint_refused(judged) {
            return self.answer_error(incoming, &error).await;
        }
        let text = match self.statement_of(incoming) {
            Ok(range) if incoming.whole => self.client.input()[range].to_vec(),
            _ => return Err(End::Protocol),
        };
        self.assign_proxy_variables(judged, &text, &[], incoming).await
    }

    pub(super) fn hint_refused(&self, judged: &Judged) -> Option<ErrPacket> {
        match &judged.consistency {
            Some(LevelHint::Unknown(word)) if self.house.routing.hints => Some(no_level("consistency", word)),
            _ => None,
        }
    }

    /// Carries out the SET, with these values for its parameters, and answers it.
    pub(super) async fn assign_proxy_variables(
        &mut self,
        judged: &Judged,
        text: &[u8],
        parameters: &[Option<String>],
        incoming: Incoming,
    ) -> Result<(), End> {
        self.count_statement();
        match self.wishes(judged, text, parameters).await {
            Ok(wishes) => wishes.into_iter().for_each(|wish| self.grant(wish)),
            Err(error) => return self.answer_error(incoming, &error).await,
        }
        if self.state.transaction == Transaction::None && !self.state.holds_connection() {
            // As any statement, it ends what SHOW WARNINGS could have shown.
            self.let_go().await;
        }
        self.last.row_count = 0;
        self.drop_command(incoming).await?;
        self.answer_ok().await
    }

    /// COM_STMT_EXECUTE of such a SET. `None`: a parameter is none that it could be set to.
    pub(super) async fn assign_prepared(
        &mut self,
        judged: &Judged,
        text: &[u8],
        parameters: Option<Vec<Option<String>>>,
        incoming: Incoming,
    ) -> Result<(), End> {
        match parameters {
            Some(parameters) => self.assign_proxy_variables(judged, text, &parameters, incoming).await,
            None => {
                let message = "@pointsman_ variables are set to parameters that are texts";
                let error = ErrPacket::new(code::WRONG_VALUE_FOR_VARIABLE, message);
                self.answer_error(incoming, &error).await
            }
        }
    }

    /// Why a statement that is being prepared could not be carried out.
    pub(super) fn assignment_refused(&self, judged: &Judged, text: &[u8]) -> Option<ErrPacket> {
        if judged.statement.access != Access::Write(WriteBecause::ProxyVariable) {
            return None;
        }
        if judged.statement.kind != Kind::Set {
            return Some(refused(&sql::NotAssigned::NotAlone));
        }
        sql::proxy_assignments(text, &self.dialect).err().map(|error| refused(&error))
    }

    async fn wishes(
        &mut self,
        judged: &Judged,
        text: &[u8],
        parameters: &[Option<String>],
    ) -> Result<Vec<Wish>, ErrPacket> {
        if judged.statement.kind != Kind::Set {
            return Err(refused(&sql::NotAssigned::NotAlone));
        }
        let assignments = sql::proxy_assignments(text, &self.dialect).map_err(|error| refused(&error))?;
        let mut parameters = parameters.iter();
        let mut wishes = Vec::with_capacity(assignments.len());
        for sql::ProxyAssignment { variable, value } in assignments {
            let value = match value {
                AssignedValue::Null => None,
                AssignedValue::Text(text) => Some(text),
                AssignedValue::Parameter => match parameters.next() {
                    Some(given) => given.clone(),
                    None => return Err(refused(&sql::NotAssigned::Unreadable)),
                },
                AssignedValue::Expression(at) => self.evaluate(&[b"SELECT ", &text[at]].concat()).await?,
            };
            wishes.push(self.wish(variable, value)?);
        }
        Ok(wishes)
    }

    fn wish(&self, variable: ProxyVariable, value: Option<String>) -> Result<Wish, ErrPacket> {
        let value = value.as_deref().map(str::trim).filter(|value| !value.is_empty());
        match (variable, value) {
            (ProxyVariable::Consistency, None) => Ok(Wish::Consistency(None)),
            (ProxyVariable::Consistency, Some(name)) => match Consistency::named(name) {
                Some(level) => Ok(Wish::Consistency(Some(level))),
                None => Err(no_level("@pointsman_consistency", name)),
            },
            // Whoever has written nothing has no token, and nothing to wait for.
            (ProxyVariable::Gtid, None) => Ok(Wish::Nothing),
            (ProxyVariable::Gtid, Some(token)) => self.token(token).map(Wish::ReadBehind),
        }
    }

    fn token(&self, token: &str) -> Result<GtidSet, ErrPacket> {
        if token.len() > TOKEN_LEN_MAX {
            let why = format!("it is longer than {TOKEN_LEN_MAX} bytes");
            return Err(no_token(&why));
        }
        let Some(mut gtids) = GtidSet::parse(self.version.flavour, token) else {
            let shown: String = token.chars().take(64).collect();
            return Err(no_token(&format!("'{shown}' is not a set of {} GTIDs", self.version.flavour)));
        };
        if let Some(causal) = &self.causal {
            gtids.add(&causal.written);
        }
        gtids.coarsen();
        if gtids.gaps() > INTERVALS_MAX {
            return Err(no_token("this session has been given too many"));
        }
        Ok(gtids)
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Consistency(level) => {
                let own = self.house.routing.consistency_of(&self.wanted.key.user, &self.house.listen);
                self.consistency = level.unwrap_or(own);
            }
            Wish::ReadBehind(gtids) => self.read_behind(&gtids, true),
            Wish::Nothing => {}
        }
    }

    /// Gives the variables their values on the connection of a statement that reads them, so that the server answers
    /// as it does for any user variable.
    pub(super) async fn show_proxy_variables(&mut self, lease: &mut Lease) -> Result<(), ExchangeError> {
        let mut statement = format!("SET @pointsman_consistency='{}',@pointsman_gtid=", self.consistency);
        match self.causal.as_ref().filter(|causal| !causal.written.is_empty()) {
            Some(causal) => write!(statement, "'{}'", causal.written).expect("a String takes all"),
            None => statement.push_str("NULL"),
        }
        lease.execute(&statement).await
    }
}

fn refused(error: &sql::NotAssigned) -> ErrPacket {
    let code = match error {
        sql::NotAssigned::UnknownName(_) => code::UNKNOWN_SYSTEM_VARIABLE,
        sql::NotAssigned::NotAlone | sql::NotAssigned::Unreadable => code::NOT_SUPPORTED_YET,
    };
    ErrPacket::new(code, error.to_string())
}

fn no_level(name: &str, word: &str) -> ErrPacket {
    let word: String = word.chars().take(64).collect();
    let levels = Consistency::ALL.map(Consistency::name).join(", ");
    let message = format!("Variable '{name}' can't be set to the value of '{word}': the levels are {levels}");
    ErrPacket::new(code::WRONG_VALUE_FOR_VARIABLE, message)
}

fn no_token(why: &str) -> ErrPacket {
    let message = format!("Variable '@pointsman_gtid' can't be set to this value: {why}");
    ErrPacket::new(code::WRONG_VALUE_FOR_VARIABLE, message)
}
