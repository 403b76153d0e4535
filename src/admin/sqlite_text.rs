//! A SELECT as MySQL's clients write it, in SQLite's spelling.

use super::token::{Token, TokenKind};

/// The function that stands for `@@name`.
pub(super) const VARIABLE_FUNCTION: &str = "session_variable";

/// Comments go, `"…"` and escapes become SQLite's texts, `@@name` a call. The rest stays, spaces included: it
/// becomes the heading of an expression.
pub(super) fn rewrite(text: &str, tokens: &[Token]) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut end = tokens.first().map_or(0, |token| token.range.start);
    for token in tokens {
        // Between tokens there is only space and comments.
        if token.range.start > end {
            out.push(' ');
        }
        end = token.range.end;
        let source = &text[token.range.clone()];
        match &token.kind {
            TokenKind::Text(said) => push_text(&mut out, said),
            TokenKind::Variable(name) => {
                out.push_str(VARIABLE_FUNCTION);
                out.push('(');
                push_text(&mut out, name);
                out.push(')');
            }
            TokenKind::Name(_) | TokenKind::Word | TokenKind::Mark(_) => out.push_str(source),
        }
    }
    let whole = out.trim_end_matches([';', ' ']).len();
    out.truncate(whole);
    out
}

fn push_text(out: &mut String, said: &str) {
    out.push('\'');
    out.push_str(&said.replace('\'', "''"));
    out.push('\'');
}

/// A heading as its author wrote it: `session_variable('x')` was `@@x`.
pub(super) fn heading(name: &str) -> String {
    let call = format!("{VARIABLE_FUNCTION}('");
    let mut heading = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once(call.as_str()) {
        let Some((variable, after)) = after.split_once("')") else { break };
        heading.push_str(before);
        heading.push_str("@@");
        heading.push_str(variable);
        rest = after;
    }
    heading.push_str(rest);
    heading
}
