//! From the text of a statement to what is asked for.

use super::commands::{ALL, Command, HABITS, Parse, Request};
use super::table::Table;
use super::token::{Token, TokenKind, Unreadable, tokens};
use super::{sqlite_text, tables, variables};
use crate::config;
use crate::wire::{ErrPacket, code};

/// What may follow a SHOW.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub like: Option<String>,
    pub limit: Option<usize>,
}

/// Why a text is no command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unparsed {
    /// Nothing but space and comments.
    #[error("Query was empty")]
    Empty,
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    #[error("{near:?} is no command of this port.{} HELP lists all of them", suggestion(*.meant))]
    UnknownCommand { near: String, meant: Option<&'static Command> },
    #[error("{problem}. It is written: {grammar}")]
    Wrong { problem: String, grammar: &'static str },
    #[error("{0}")]
    Refused(String),
    #[error("Unknown system variable '{0}'")]
    UnknownVariable(String),
    #[error("Table 'pointsman.{0}' doesn't exist. SHOW TABLES names those that do")]
    UnknownTable(String),
}

/// Reads one statement.
pub fn parse(text: &str) -> Result<Request, Unparsed> {
    let tokens = tokens(text)?;
    if tokens.iter().all(|token| token.kind == TokenKind::Mark(';')) {
        return Err(Unparsed::Empty);
    }
    let mut reader = Reader { text, tokens: &tokens, at: 0, grammar: None };
    let command = ALL.iter().find(|command| reader.begins(command.name));
    let habit = HABITS.iter().filter(|(name, _)| reader.begins(name)).max_by_key(|(name, _)| name.len());
    // The longer name is the more exact one: KILL QUERY before KILL.
    let request = match (command, habit) {
        (Some(command), None) => reader.run(command.name.len(), Some(command.grammar), command.parse),
        (Some(command), Some((name, _))) if command.name.len() >= name.len() => {
            reader.run(command.name.len(), Some(command.grammar), command.parse)
        }
        (_, Some((name, parse))) => reader.run(name.len(), None, *parse),
        (None, None) => Err(unknown(text, &tokens)),
    }?;
    reader.end()?;
    Ok(request)
}

/// Reads what follows the name of a command.
pub struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    grammar: Option<&'static str>,
}

impl<'a> Reader<'a> {
    fn run(
        &mut self,
        name_len: usize,
        grammar: Option<&'static str>,
        parse: Parse,
    ) -> Result<Request, Unparsed> {
        self.at = name_len;
        self.grammar = grammar;
        parse(self)
    }

    fn begins(&self, name: &[&str]) -> bool {
        name.len() <= self.tokens.len()
            && name.iter().zip(self.tokens).all(|(word, token)| self.is(token, word))
    }

    fn is(&self, token: &Token, word: &str) -> bool {
        token.kind == TokenKind::Word && self.text[token.range.clone()].eq_ignore_ascii_case(word)
    }

    pub(super) fn next(&mut self) -> Option<&'a TokenKind> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(&token.kind)
    }

    /// The text of the token read last.
    pub(super) fn last_word(&self) -> &'a str {
        self.tokens.get(self.at.wrapping_sub(1)).map_or("", |token| &self.text[token.range.clone()])
    }

    /// Reads `word` if it comes next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let is = self.tokens.get(self.at).is_some_and(|token| self.is(token, word));
        self.at += usize::from(is);
        is
    }

    /// `FROM schema`, which there is only one of.
    pub(super) fn skip_schema(&mut self) {
        if self.word("FROM") || self.word("IN") {
            self.at += 1;
        }
    }

    /// `LIKE 'pattern'` and `LIMIT n`, both or neither.
    pub(super) fn arguments(&mut self) -> Result<Arguments, Unparsed> {
        let mut arguments = Arguments::default();
        if self.word("LIKE") {
            match self.next() {
                Some(TokenKind::Text(pattern)) => arguments.like = Some(pattern.clone()),
                _ => return Err(self.wrong("after LIKE a pattern in quotes is missing")),
            }
        }
        if self.word("LIMIT") {
            arguments.limit = Some(self.number("a number after LIMIT")?);
        }
        Ok(arguments)
    }

    pub(super) fn number(&mut self, what: &str) -> Result<usize, Unparsed> {
        let number = match self.next() {
            Some(TokenKind::Word) => self.last_word().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(&format!("{what} is missing")))
    }

    /// A name as it stands, in quotes or bare: names of servers hold dots, dashes and colons.
    pub(super) fn bare_name(&mut self, what: &str) -> Result<String, Unparsed> {
        let missing = |reader: &Self| reader.wrong(&format!("{what} is missing"));
        let Some(first) = self.tokens.get(self.at) else { return Err(missing(self)) };
        if let TokenKind::Text(name) | TokenKind::Name(name) = &first.kind {
            self.at += 1;
            return Ok(name.clone());
        }
        let is_end = |token: &Token| token.kind == TokenKind::Mark(';');
        let mut end = first.range.start;
        for token in self.tokens[self.at..].iter().take_while(|token| !is_end(token)) {
            // A gap ends the name.
            if token.range.start != end {
                break;
            }
            end = token.range.end;
            self.at += 1;
        }
        let name = &self.text[first.range.start..end];
        if name.is_empty() { Err(missing(self)) } else { Ok(name.to_owned()) }
    }

    /// A table's name, with or without the schema's.
    pub(super) fn table(&mut self) -> Result<&'static str, Unparsed> {
        let mut name = self.name()?;
        if self.tokens.get(self.at).is_some_and(|token| token.kind == TokenKind::Mark('.')) {
            self.at += 1;
            name = self.name()?;
        }
        tables::named(&name).map(|table: &Table| table.name).ok_or(Unparsed::UnknownTable(name))
    }

    fn name(&mut self) -> Result<String, Unparsed> {
        match self.next() {
            Some(TokenKind::Word) => Ok(self.last_word().to_owned()),
            Some(TokenKind::Name(name)) => Ok(name.clone()),
            _ => Err(self.wrong("the name of a table is missing")),
        }
    }

    /// A statement in quotes, or all that is left.
    pub(super) fn statement(&mut self) -> Result<String, Unparsed> {
        let rest = &self.tokens[self.at..];
        let (first, others) = rest.split_first().ok_or_else(|| self.wrong("the statement is missing"))?;
        let only_end = others.iter().all(|token| token.kind == TokenKind::Mark(';'));
        if let (TokenKind::Text(statement), true) = (&first.kind, only_end) {
            self.at = self.tokens.len();
            return Ok(statement.clone());
        }
        // From behind FOR, not from the first token: a comment there may be a hint.
        let begin = self.tokens[self.at - 1].range.end;
        self.at = self.tokens.len();
        Ok(self.text[begin..].trim().trim_end_matches(';').trim_end().to_owned())
    }

    /// What HELP is asked about: a text in quotes or the words that are left.
    pub(super) fn topic(&mut self) -> Option<String> {
        let words: Vec<&str> = self.tokens[self.at..]
            .iter()
            .filter_map(|token| match &token.kind {
                TokenKind::Text(text) => Some(text.as_str()),
                TokenKind::Word => Some(&self.text[token.range.clone()]),
                _ => None,
            })
            .collect();
        self.skip_all();
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// The whole statement, from its first word on, in SQLite's spelling.
    pub(super) fn select(&mut self) -> Result<Request, Unparsed> {
        self.skip_all();
        for token in self.tokens {
            if let TokenKind::Variable(name) = &token.kind
                && variables::value(name).is_none()
            {
                return Err(Unparsed::UnknownVariable(name.clone()));
            }
        }
        Ok(Request::Select(sqlite_text::rewrite(self.text, self.tokens)))
    }

    pub(super) fn skip_all(&mut self) {
        self.at = self.tokens.len();
    }

    pub(super) fn wrong(&self, problem: &str) -> Unparsed {
        match self.grammar {
            Some(grammar) => Unparsed::Wrong { problem: problem.to_owned(), grammar },
            None => Unparsed::Refused(problem.to_owned()),
        }
    }

    /// Only the end of the statement may follow.
    fn end(&self) -> Result<(), Unparsed> {
        let extra = self.tokens[self.at.min(self.tokens.len())..]
            .iter()
            .find(|token| token.kind != TokenKind::Mark(';'));
        match extra {
            None => Ok(()),
            Some(token) => {
                let near = excerpt(&self.text[token.range.start..]);
                Err(self.wrong(&format!("{near:?} is not understood")))
            }
        }
    }
}

fn unknown(text: &str, tokens: &[Token]) -> Unparsed {
    let words: Vec<String> = tokens
        .iter()
        .take_while(|token| token.kind == TokenKind::Word)
        .map(|token| text[token.range.clone()].to_ascii_uppercase())
        .collect();
    let near = excerpt(text.trim_start());
    Unparsed::UnknownCommand { near, meant: meant(&words) }
}

fn suggestion(meant: Option<&Command>) -> String {
    meant.map_or(String::new(), |meant| format!(" Did you mean {}?", meant.name()))
}

/// The command whose name is nearest to the words.
pub(super) fn meant(words: &[String]) -> Option<&'static Command> {
    let names: Vec<String> = ALL.iter().map(Command::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let by_len = |len: usize| {
        let begun = words.get(..len)?.join(" ");
        config::nearest(&begun, &names)
    };
    // SHOW alone may be anything; "SHOW SEVRERS" and a bare "SERVERS" may not.
    let near = by_len(2).or_else(|| by_len(1)).or_else(|| {
        let with_show = format!("SHOW {}", words.first()?);
        config::nearest(&with_show, &names)
    })?;
    ALL.iter().find(|command| command.name() == near)
}

/// The beginning of a text, for a message.
fn excerpt(text: &str) -> String {
    const LEN: usize = 40;
    let line = text.lines().next().unwrap_or_default().trim_end();
    match line.char_indices().nth(LEN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

impl Unparsed {
    pub fn packet(&self) -> ErrPacket {
        let number = match self {
            Unparsed::Empty => code::EMPTY_QUERY,
            Unparsed::UnknownVariable(_) => code::UNKNOWN_SYSTEM_VARIABLE,
            Unparsed::UnknownTable(_) => code::NO_SUCH_TABLE,
            Unparsed::Unreadable(_)
            | Unparsed::UnknownCommand { .. }
            | Unparsed::Wrong { .. }
            | Unparsed::Refused(_) => code::PARSE_ERROR,
        };
        ErrPacket::new(number, self.to_string())
    }
}

impl PartialEq for Command {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}
