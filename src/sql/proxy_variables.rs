//! `@pointsman_…`: variables that look like the user's own and are the proxy's.

use std::ops::Range;

use super::Dialect;
use super::lex::{Lexer, Token, TokenKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVariable {
    /// `@pointsman_consistency`
    Consistency,
    /// `@pointsman_gtid`
    Gtid,
}

/// What a SET gives one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAssignment {
    pub variable: ProxyVariable,
    pub value: AssignedValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignedValue {
    Null,
    /// A string that means the same however a server reads it.
    Text(String),
    /// `?`
    Parameter,
    /// Where an expression stands that a server must work out.
    Expression(Range<usize>),
}

/// Why such a SET is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAssigned {
    #[error("'{0}' is not a variable of the proxy's: there are @pointsman_consistency and @pointsman_gtid")]
    UnknownName(String),
    #[error("@pointsman_ variables are set by a SET that sets nothing else")]
    NotAlone,
    #[error("this SET of a @pointsman_ variable cannot be read")]
    Unreadable,
}

const PREFIX: &str = "pointsman_";

/// Whether a user variable, as it stands in a text, is one of the proxy's, or meant to be one.
pub(super) fn is_proxys(token: &[u8]) -> bool {
    // Cheap where it is not: this is asked of every user variable.
    let name = token.strip_prefix(b"@").unwrap_or(token);
    let name = match name {
        [b'`' | b'\'' | b'"', rest @ ..] => rest,
        _ => name,
    };
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// What a SET of nothing but the proxy's variables assigns, in order.
pub fn proxy_assignments(text: &[u8], dialect: &Dialect) -> Result<Vec<ProxyAssignment>, NotAssigned> {
    let mut lexer = Lexer::new(text, dialect);
    let first = lexer.next();
    if first.kind != TokenKind::Word || !first.bytes(text).eq_ignore_ascii_case(b"set") {
        return Err(NotAssigned::NotAlone);
    }
    let mut assignments = Vec::new();
    loop {
        let variable = named(lexer.next(), text)?;
        let assigns = lexer.next();
        if !(assigns.kind == TokenKind::Assign || assigns.bytes(text) == b"=") {
            return Err(NotAssigned::Unreadable);
        }
        let (value, ended_by) = value(&mut lexer, text)?;
        assignments.push(ProxyAssignment { variable, value });
        match ended_by {
            TokenKind::Comma => {}
            // An executable comment around part of it is nothing that anybody writes.
            _ if lexer.is_odd() || lexer.depth() > 0 => return Err(NotAssigned::Unreadable),
            _ => return Ok(assignments),
        }
    }
}

fn named(token: Token, text: &[u8]) -> Result<ProxyVariable, NotAssigned> {
    let bytes = token.bytes(text);
    if token.kind != TokenKind::UserVariable || !is_proxys(bytes) {
        return Err(NotAssigned::NotAlone);
    }
    let shown = String::from_utf8_lossy(bytes);
    let name = shown.trim_start_matches('@').trim_matches(['`', '\'', '"']).to_ascii_lowercase();
    match name.strip_prefix(PREFIX) {
        Some("consistency") => Ok(ProxyVariable::Consistency),
        Some("gtid") => Ok(ProxyVariable::Gtid),
        _ => Err(NotAssigned::UnknownName(shown.into_owned())),
    }
}

/// One value, and what came behind it.
fn value(lexer: &mut Lexer<'_>, text: &[u8]) -> Result<(AssignedValue, TokenKind), NotAssigned> {
    let (mut nested, mut tokens) = (0_usize, 0);
    let mut only = None;
    let mut range = 0..0;
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End | TokenKind::Semicolon => break,
            TokenKind::Comma if nested == 0 => {
                return Ok((valued(tokens, only, range, text)?, TokenKind::Comma));
            }
            TokenKind::Open => nested += 1,
            TokenKind::Close => nested = nested.saturating_sub(1),
            _ => {}
        }
        if tokens == 0 {
            (only, range.start) = (Some(token), token.start);
        }
        range.end = token.end;
        tokens += 1;
    }
    Ok((valued(tokens, only, range, text)?, TokenKind::End))
}

fn valued(
    tokens: usize,
    only: Option<Token>,
    range: Range<usize>,
    text: &[u8],
) -> Result<AssignedValue, NotAssigned> {
    let Some(token) = only else { return Err(NotAssigned::Unreadable) };
    let bytes = token.bytes(text);
    Ok(match token.kind {
        TokenKind::Placeholder if tokens == 1 => AssignedValue::Parameter,
        TokenKind::Word if tokens == 1 && bytes.eq_ignore_ascii_case(b"null") => AssignedValue::Null,
        TokenKind::Text if tokens == 1 => match plain(bytes) {
            Some(text) => AssignedValue::Text(text),
            None => AssignedValue::Expression(range),
        },
        _ => AssignedValue::Expression(range),
    })
}

/// What is between the quotes, where no rule of quoting or character set can change its meaning.
fn plain(quoted: &[u8]) -> Option<String> {
    let (first, inner) = quoted.split_first()?;
    let (last, inner) = inner.split_last()?;
    let plain = matches!(first, b'\'' | b'"')
        && first == last
        && inner
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~' | b'\n') && !matches!(byte, b'\\' | b'\'' | b'"'));
    plain.then(|| String::from_utf8_lossy(inner).into_owned())
}
