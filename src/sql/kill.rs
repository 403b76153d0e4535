//! KILL whose id is an expression: which part of the text is to be evaluated.

use std::ops::Range;

use super::Dialect;
use super::lex::{Lexer, TokenKind};

/// What a KILL aims at, where that is not a plain number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillExpression {
    pub query_only: bool,
    /// Where the expression stands that yields the connection's id.
    pub at: Range<usize>,
}

/// The expression of `KILL [HARD | SOFT] [CONNECTION | QUERY] expression`. `None` for forms that name no
/// connection: `KILL USER …` and `KILL QUERY ID …` of MariaDB, and what is no KILL at all.
pub fn kill_expression(text: &[u8], dialect: &Dialect) -> Option<KillExpression> {
    let mut lexer = Lexer::new(text, dialect);
    let is = |token: super::lex::Token, word: &str| {
        token.kind == TokenKind::Word && token.bytes(text).eq_ignore_ascii_case(word.as_bytes())
    };
    if !is(lexer.next(), "kill") {
        return None;
    }
    let mut token = lexer.next();
    if is(token, "hard") || is(token, "soft") {
        token = lexer.next();
    }
    let query_only = is(token, "query");
    if query_only || is(token, "connection") {
        token = lexer.next();
    }
    if is(token, "user") || is(token, "id") || token.kind == TokenKind::End {
        return None;
    }
    let start = token.start;
    let mut end = token.end;
    loop {
        match lexer.next() {
            token if token.kind == TokenKind::End => break,
            token if token.kind == TokenKind::Semicolon => break,
            token => end = token.end,
        }
    }
    (!lexer.is_odd()).then_some(KillExpression { query_only, at: start..end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flavour::Version;

    #[test]
    fn the_expression_is_found_behind_the_words() {
        let dialect = Dialect::plain(Version::parse("9.7.0"));
        let cases = [
            ("KILL CONNECTION_ID()", Some((false, "CONNECTION_ID()"))),
            ("kill /* x */ query 3+0;", Some((true, "3+0"))),
            ("KILL HARD CONNECTION @id", Some((false, "@id"))),
            ("KILL USER app", None),
            ("KILL QUERY ID 7", None),
            ("KILL", None),
            ("SELECT 1", None),
        ];
        for (text, expected) in cases {
            let found = kill_expression(text.as_bytes(), &dialect);
            let found = found.map(|kill| (kill.query_only, &text[kill.at]));
            assert_eq!(found, expected, "{text}");
        }
    }
}
