//! Words, texts and marks of a command, with comments passed over.

use std::ops::Range;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    /// Where it stands in the text.
    pub range: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// Letters, digits, `_` and `$`; also numbers.
    Word,
    /// `'…'` or `"…"`, and what it says.
    Text(String),
    /// `` `…` ``, and what it says.
    Name(String),
    /// `@@name`, `@@global.name` or `@@session.name`: the name in lower case.
    Variable(String),
    /// Any other single character.
    Mark(char),
}

/// What cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the text does not end: a closing {0} is missing")]
    OpenQuote(char),
    #[error("the comment does not end: */ is missing")]
    OpenComment,
}

/// The tokens of `text`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Unreadable> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if let Some(len) = comment_len(rest)? {
            at += len;
            continue;
        }
        let (kind, len) = match first {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '\'' | '"' => quoted(rest, first).map(|(text, len)| (TokenKind::Text(text), len))?,
            '`' => quoted(rest, first).map(|(text, len)| (TokenKind::Name(text), len))?,
            '@' if rest.starts_with("@@") => variable(rest),
            c if is_word(c) => (TokenKind::Word, rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            other => (TokenKind::Mark(other), other.len_utf8()),
        };
        tokens.push(Token { kind, range: at..at + len });
        at += len;
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

fn comment_len(rest: &str) -> Result<Option<usize>, Unreadable> {
    let to_line_end = || Some(rest.find('\n').map_or(rest.len(), |end| end + 1));
    if let Some(comment) = rest.strip_prefix("/*") {
        let end = comment.find("*/").ok_or(Unreadable::OpenComment)?;
        return Ok(Some(end + 4));
    }
    let dashes =
        rest.strip_prefix("--").is_some_and(|after| after.chars().next().is_none_or(char::is_whitespace));
    Ok(if dashes || rest.starts_with('#') { to_line_end() } else { None })
}

/// A text in quotes: what it says, and how long it is with them. A doubled quote is one of its own, and so is
/// what follows a backslash, except in names.
fn quoted(rest: &str, quote: char) -> Result<(String, usize), Unreadable> {
    let mut said = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => match chars.next() {
                Some((_, escaped)) => push_escaped(&mut said, escaped),
                None => break,
            },
            _ if c == quote => {
                if chars.next_if(|(_, next)| *next == quote).is_none() {
                    return Ok((said, at + 1));
                }
                said.push(quote);
            }
            _ => said.push(c),
        }
    }
    Err(Unreadable::OpenQuote(quote))
}

fn push_escaped(said: &mut String, escaped: char) {
    match escaped {
        'n' => said.push('\n'),
        't' => said.push('\t'),
        'r' => said.push('\r'),
        '0' => said.push('\0'),
        // LIKE needs to see these escaped.
        '%' | '_' => said.extend(['\\', escaped]),
        other => said.push(other),
    }
}

fn variable(rest: &str) -> (TokenKind, usize) {
    let part = |c: char| is_word(c) || c == '.';
    let end = rest[2..].find(|c| !part(c)).map_or(rest.len(), |end| end + 2);
    let mut name = rest[2..end].to_ascii_lowercase();
    for scope in ["global.", "session.", "local."] {
        if let Some(bare) = name.strip_prefix(scope) {
            name = bare.to_owned();
            break;
        }
    }
    (TokenKind::Variable(name), end)
}
