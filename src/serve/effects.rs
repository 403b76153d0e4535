//! User variables, roles and statements prepared as text: taken from the connection that ran a statement, given to
//! the one that will run the next.

use std::borrow::Cow;
use std::sync::Arc;

use super::carried::{CARRIED, KnownText, Text};
use super::query::Work;
use super::session::{End, Incoming, Session};
use crate::backend::{ExchangeError, Lease, TextStatement, UserVariables, baseline};
use crate::sql::{
    self, Assigned, Effect, Judged, Kind, Literal, PinCause, PinSet, Reading, Statement, TextSource,
};
use crate::wire::{ErrPacket, Expect, HEADER_LEN, code, push_packet};

/// A command about a statement prepared as text.
pub(super) enum TextWork {
    /// `None`: only the connection will know what it prepares.
    Prepare {
        name: Arc<str>,
        known: Option<Arc<KnownText>>,
    },
    Execute {
        known: Arc<KnownText>,
        using: Assigned,
    },
    Deallocate(Arc<KnownText>),
    /// Of what only the connection knows.
    DeallocateUnknown {
        name: Arc<str>,
    },
    /// The session knows no statement of that name.
    Absent {
        name: Arc<str>,
    },
    /// EXECUTE IMMEDIATE of this text; sent as it is where something in it had to be replaced.
    Immediate {
        text: Arc<[u8]>,
        instead: Option<Vec<u8>>,
    },
}

impl Session {
    /// COM_QUERY of a statement whose effect on the session is carried.
    pub(super) async fn query_with_effect(&mut self, judged: Judged, incoming: Incoming) -> Result<(), End> {
        let statement = Arc::clone(&judged.statement);
        let plain = Work::Plain(Expect::Results);
        let (judged, work) = match statement.effect.as_deref() {
            Some(Effect::Prepare { name, text }) => {
                let known = self.known_text(name, text);
                (judged, TextWork::Prepare { name: Arc::clone(name), known })
            }
            Some(Effect::Execute { name, using }) => match self.carried.text(name) {
                Some(Text::Known(known)) => {
                    let known = Arc::clone(known);
                    (inner(&known.judged, &judged), TextWork::Execute { known, using: using.clone() })
                }
                Some(Text::Unknown) => {
                    return self.serve_statement(&unknown(judged), incoming, &plain).await.map(drop);
                }
                None if self.carried.has_lost_texts() => {
                    return self.serve_statement(&unknown(judged), incoming, &plain).await.map(drop);
                }
                None => (judged, TextWork::Absent { name: Arc::clone(name) }),
            },
            Some(Effect::Deallocate { name }) => match self.carried.text(name) {
                Some(Text::Known(known)) => {
                    let known = Arc::clone(known);
                    (judged, TextWork::Deallocate(known))
                }
                Some(Text::Unknown) => (judged, TextWork::DeallocateUnknown { name: Arc::clone(name) }),
                None => (judged, TextWork::Absent { name: Arc::clone(name) }),
            },
            Some(Effect::ExecuteImmediate { text }) => match self.text_of(text) {
                Some(text) => self.immediate(&judged, text),
                None => return self.serve_statement(&judged, incoming, &plain).await.map(drop),
            },
            _ => return self.serve_statement(&judged, incoming, &plain).await.map(drop),
        };
        if let (Kind::Kill { query_only, id }, TextWork::Execute { .. } | TextWork::Immediate { .. }) =
            (&judged.statement.kind, &work)
        {
            let text = work.text().unwrap_or_default();
            return match id {
                Some(id) => {
                    self.consume(incoming.len);
                    self.kill(*id, *query_only).await
                }
                None => self.kill_by_text(&text, incoming).await,
            };
        }
        self.serve_statement(&judged, incoming, &Work::Text(work)).await.map(drop)
    }

    /// The text that is to be prepared, where it is known.
    fn text_of(&self, source: &TextSource) -> Option<Arc<[u8]>> {
        match source {
            TextSource::Literal(text) => Some(Arc::clone(text)),
            TextSource::Variable(name) => self.wanted.user_variables.get(name).and_then(|value| ascii(value)),
            TextSource::Unknown => None,
        }
    }

    fn judge(&self, text: &[u8]) -> Judged {
        let schema = self.wanted.settings.schema.as_deref();
        self.house.judge.judge(text, &self.dialect, schema, &self.house.catalog.load())
    }

    /// A text with the calls replaced whose value never changes. `None`: nothing to replace.
    fn with_own_id(&self, text: &[u8], judged: &Judged) -> Option<Vec<u8>> {
        let own_id = self.info.id.to_string();
        let known = sql::Replacements { connection_id: Some(&own_id), ..sql::Replacements::default() };
        let asks = judged.statement.needs.connection_id;
        asks.then(|| sql::substitute_calls(text, &self.dialect, &known)).flatten()
    }

    fn known_text(&self, name: &Arc<str>, source: &TextSource) -> Option<Arc<KnownText>> {
        let text = self.text_of(source).filter(|text| self.carried.has_room_for(name, text.len()))?;
        let judged = self.judge(&text);
        let text = self.with_own_id(&text, &judged).map_or(text, Arc::from);
        let mut prepare = format!("PREPARE `{name}` FROM ").into_bytes();
        prepare.extend_from_slice(&sql::quoted(&text, &self.dialect)?);
        let environment = self.wanted.settings.reading();
        let names_variables = judged.statement.needs.user_variable;
        let variables = names_variables.then(|| self.wanted.user_variables.shape());
        let statement = Arc::new(TextStatement { name: Arc::clone(name), prepare, environment, variables });
        Some(Arc::new(KnownText { statement, text, judged }))
    }

    /// EXECUTE IMMEDIATE of a known text is what that text is.
    fn immediate(&self, outer: &Judged, text: Arc<[u8]>) -> (Judged, TextWork) {
        let judged = self.judge(&text);
        let needs = judged.statement.needs;
        // With parameters it is left as it is: values cannot be put into its text.
        let asks = (needs.row_count || needs.found_rows || needs.connection_id)
            && !outer.statement.digest.to_ascii_lowercase().contains(" using ");
        let instead = asks.then(|| self.replaced(&judged, &text)).flatten();
        (inner(&judged, outer), TextWork::Immediate { text, instead })
    }

    fn replaced(&self, judged: &Judged, text: &[u8]) -> Option<Vec<u8>> {
        let held = self.state.holds_connection();
        let (row_count, found_rows) = (self.last.row_count.to_string(), self.last.found_rows.to_string());
        let connection_id = self.info.id.to_string();
        let needs = judged.statement.needs;
        let replacements = sql::Replacements {
            row_count: (!held && needs.row_count).then_some(row_count.as_str()),
            found_rows: (!held && needs.found_rows).then_some(found_rows.as_str()),
            connection_id: Some(&connection_id),
            last_insert_id: None,
        };
        sql::substitute_calls(text, &self.dialect, &replacements)
    }

    /// The session's user variables, unless only the connection knows some: then it is the one that has them.
    pub(super) fn known_variables(&self) -> Option<&UserVariables> {
        let unknown = self.state.pins.contains(PinCause::UserVariable);
        (!unknown).then_some(&self.wanted.user_variables)
    }

    /// Makes a command about a statement prepared as text mean on this connection what it means to the session.
    /// `None`: as it came.
    pub(super) async fn fit_text(
        &mut self,
        work: &TextWork,
        incoming: Incoming,
        lease: &mut Lease,
    ) -> Result<Option<Vec<u8>>, ExchangeError> {
        if let TextWork::Prepare { known: Some(known), .. } = work
            && known.statement.variables.is_some()
        {
            // It is prepared for the types they have now.
            lease.settle_user_variables(&self.wanted.user_variables).await?;
        }
        let instead: Option<Cow<'_, [u8]>> = match work {
            TextWork::Prepare { known: Some(known), .. } if known.judged.statement.needs.connection_id => {
                Some(Cow::Borrowed(&known.statement.prepare))
            }
            TextWork::Prepare { .. } | TextWork::DeallocateUnknown { .. } => None,
            TextWork::Execute { known, .. } => {
                // Its parameters are user variables.
                lease.settle_user_variables(&self.wanted.user_variables).await?;
                lease.settle_text(&known.statement, &self.wanted.settings, self.known_variables()).await?;
                None
            }
            // Nothing is answered as DEALLOCATE is, but for this.
            TextWork::Deallocate(known) if !lease.has_text(&known.statement) => {
                Some(Cow::Borrowed(b"DO 0".as_slice()))
            }
            TextWork::Deallocate(_) => None,
            TextWork::Absent { name } => {
                lease.drop_text(name).await?;
                None
            }
            TextWork::Immediate { instead, .. } => {
                lease.settle_user_variables(&self.wanted.user_variables).await?;
                instead.as_deref().map(Cow::Borrowed)
            }
        };
        Ok(instead.and_then(|statement| self.with_text(incoming, &statement)))
    }

    /// The command at the front of the input, with another statement in it.
    pub(super) fn with_text(&self, incoming: Incoming, statement: &[u8]) -> Option<Vec<u8>> {
        let range = self.statement_of(incoming).ok()?;
        let payload = [&self.client.input()[HEADER_LEN..range.start], statement].concat();
        let mut packet = Vec::with_capacity(payload.len() + HEADER_LEN);
        push_packet(&mut packet, &payload, 0);
        Some(packet)
    }

    /// Several statements at once, some of them about statements prepared as text: all of the session's are
    /// made to be there, and no others.
    pub(super) async fn settle_texts(&mut self, lease: &mut Lease) -> Result<(), ExchangeError> {
        if self.carried.has_lost_texts() {
            return Ok(());
        }
        for name in lease.text_names() {
            if self.carried.text(&name).is_none() {
                lease.drop_text(&name).await?;
            }
        }
        for known in self.carried.known_texts() {
            lease.settle_text(&known.statement, &self.wanted.settings, self.known_variables()).await?;
        }
        Ok(())
    }

    /// Takes in what a statement has left that goes along, or that holds the connection.
    pub(super) async fn take_effect(
        &mut self,
        statement: &Statement,
        work: &Work,
        lease: &mut Lease,
        error: Option<&ErrPacket>,
    ) {
        let failed = error.is_some();
        match (work, statement.effect.as_deref()) {
            (Work::Text(TextWork::Prepare { name, known }), _) => {
                self.took_prepare(name, known.as_ref(), lease, failed);
            }
            (Work::Text(TextWork::DeallocateUnknown { name }), _) if !failed => {
                self.carried.remove_text(name);
            }
            (Work::Text(TextWork::Deallocate(known)), _) if !failed => {
                self.carried.remove_text(&known.statement.name);
                // Another session's of that name was left alone.
                if lease.has_text(&known.statement) {
                    lease.forget_text(&known.statement.name);
                }
            }
            // What cannot be parsed does nothing.
            (_, Some(Effect::Assigns(_))) if error.is_some_and(|error| error.code == code::PARSE_ERROR) => {}
            (_, Some(Effect::Assigns(assigned))) => self.took_assigned(assigned, lease, failed),
            (_, Some(Effect::Borrows(names))) => lease.settings.take_back(names, &self.wanted.settings),
            (_, Some(Effect::Role)) => self.took_role(lease, failed).await,
            _ => {}
        }
        let tells_variables = matches!(statement.effect.as_deref(), Some(Effect::Assigns(_)));
        if statement.pins.contains(PinCause::UserVariable) && !tells_variables {
            self.carried.lose_variables();
        }
        if let Work::Text(TextWork::Execute { using, .. }) = work
            && statement.kind == Kind::Modify
            && statement.digest.starts_with("call")
        {
            self.took_assigned(using, lease, failed);
        }
        let texts = (statement.needs.prepared_text && statement.kind == Kind::Several)
            || statement.pins.contains(PinCause::PreparedText);
        if texts && !statement.effect.as_deref().is_some_and(Effect::is_of_text) {
            self.carried.lose_texts();
            for name in lease.text_names() {
                lease.forget_text(&name);
            }
        }
        self.state.pins = self.state.pins.without(CARRIED).union(self.carried.pins());
    }

    /// A failed PREPARE drops the statement of that name too.
    fn took_prepare(
        &mut self,
        name: &Arc<str>,
        known: Option<&Arc<KnownText>>,
        lease: &mut Lease,
        failed: bool,
    ) {
        lease.forget_text(name);
        match known {
            _ if failed => self.carried.remove_text(name),
            Some(known) => {
                lease.note_text(&known.statement);
                self.carried.put_text(name, Text::Known(Arc::clone(known)));
            }
            None => self.carried.put_text(name, Text::Unknown),
        }
    }

    fn took_assigned(&mut self, assigned: &Assigned, lease: &mut Lease, failed: bool) {
        // Servers check all values before they set any.
        if failed && assigned.is_literal() && !assigned.mixed {
            return;
        }
        for (name, value) in &assigned.variables {
            let value = value.as_ref().filter(|_| !failed).and_then(|value| self.expression(value));
            match value.filter(|value| self.wanted.user_variables.has_room_for(name, value)) {
                Some(value) => {
                    self.wanted.user_variables.set(name, &value);
                    lease.note_user_variable(name, Some(&value));
                    self.carried.know_variable(name);
                }
                None => {
                    self.wanted.user_variables.remove(name);
                    lease.note_user_variable(name, None);
                    self.carried.lose_variable(name);
                }
            }
        }
        if assigned.others {
            self.carried.lose_variables();
        }
    }

    /// What has the literal's value on any connection, as the session's settings had it read.
    fn expression(&self, literal: &Literal) -> Option<Arc<str>> {
        let defaults = self.house.defaults();
        let init_connect = defaults.as_ref().map_or("", |defaults| &*defaults.init_connect);
        if init_connect.contains('@') {
            // It may set variables of its own, which cannot be given back to the next session.
            return None;
        }
        let settings = &self.wanted.settings;
        let began_with = self.wanted.key.collation;
        let client = settings.variable("character_set_client");
        let connection = settings.variable("character_set_connection");
        let collation = settings.variable("collation_connection");
        let is_named = client.is_some() && connection.is_some() && collation.is_some();
        let needs_reading = matches!(literal, Literal::Text { charset: None, .. });
        // What init_connect sets, nobody reports.
        if needs_reading && !is_named && !init_connect.is_empty() {
            return None;
        }
        let at_login = baseline(began_with, 0);
        let reading = Reading {
            client: client.unwrap_or(&at_login.charset),
            connection: connection.unwrap_or(&at_login.charset),
            collation: collation.unwrap_or(&at_login.collation),
        };
        literal.expression(reading).map(Arc::from)
    }

    /// The server knows which roles are active.
    async fn took_role(&mut self, lease: &mut Lease, failed: bool) {
        match lease.note_role().await {
            Ok(_) if failed => {}
            Ok(role) => {
                // A schema that only these roles may use cannot be named at login.
                let schema = self.wanted.settings.schema.clone().filter(|_| role.is_none());
                self.wanted.opening.schema = schema;
                self.wanted.role = role;
            }
            // The connection is lost, and whoever uses it next will notice.
            Err(_) => self.state.pins.insert(PinCause::Role),
        }
    }
}

impl TextWork {
    /// The statement that is run, and the schema it was prepared in, if not now.
    pub(super) fn runs(&self) -> Option<(&[u8], Option<&str>)> {
        match self {
            TextWork::Execute { known, .. } => {
                Some((&known.text, known.statement.environment.schema.as_deref()))
            }
            TextWork::Immediate { text, .. } => Some((text, None)),
            _ => None,
        }
    }

    /// What is run, where that is not what was sent.
    pub(super) fn text(&self) -> Option<Arc<[u8]>> {
        match self {
            TextWork::Execute { known, .. } => Some(Arc::clone(&known.text)),
            TextWork::Immediate { text, .. } => Some(Arc::clone(text)),
            _ => None,
        }
    }
}

/// EXECUTE is what it executes.
fn inner(inner: &Judged, outer: &Judged) -> Judged {
    let hint = outer.hint.clone().or_else(|| inner.hint.clone());
    let consistency = outer.consistency.clone().or_else(|| inner.consistency.clone());
    Judged { statement: Arc::clone(&inner.statement), hint, consistency }
}

/// What nobody has seen may leave anything behind.
fn unknown(mut judged: Judged) -> Judged {
    let statement = Arc::make_mut(&mut judged.statement);
    statement.pins = statement.pins.union(PinSet::of(PinCause::Unknown));
    judged
}

/// The text in an expression made of a literal, where it is plain ASCII and so the same in every character set.
fn ascii(expression: &str) -> Option<Arc<[u8]>> {
    let (_, rest) = expression.split_once("X'")?;
    let (digits, _) = rest.split_once('\'')?;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = digits.as_bytes().chunks(2).map(byte).collect::<Option<_>>()?;
    let wide = ["_ucs2", "_utf16", "_utf32"].iter().any(|charset| expression.contains(charset));
    (bytes.is_ascii() && !wide && expression.contains('_')).then(|| bytes.into())
}

/// Whether a statement has to be looked at when it is over.
pub(super) fn leaves_something(statement: &Statement, work: &Work) -> bool {
    let pins = |cause| statement.pins.contains(cause);
    statement.effect.is_some()
        || matches!(work, Work::Text(_))
        || statement.needs.prepared_text
        || pins(PinCause::UserVariable)
        || pins(PinCause::PreparedText)
}
