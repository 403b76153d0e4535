//! Rust files as the rules read them: with comments and literals blanked, lines kept.

use std::path::{Path, PathBuf};

/// One file of the tree.
pub(super) struct Source {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// `text` with blanks in the place of comments and of what stands in quotes.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blanked(text) }
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn read(path: &str) -> Source {
    Source::new(path, &text(path))
}

/// Every Rust file under `folder`, in order; none where there is no such folder.
pub(super) fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root().join(folder), &mut paths);
    paths.sort();
    paths.iter().map(|path| read(&relative(path))).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, paths);
        } else if is_rust {
            paths.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("within the tree");
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Whether a word could go on with this character.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Byte offsets at which `word` stands in `code` with no word character at its outer ends.
pub(super) fn find_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let opens = word.starts_with(is_word);
    let closes = word.ends_with(is_word);
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let goes_on = opens && before.is_some_and(is_word) || closes && after.is_some_and(is_word);
        !goes_on
    })
}

/// Which line, counted from 1, an offset is in.
pub(super) fn line_of(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

/// The text with comments and literals replaced by blanks; their quotes and all line ends stay.
fn blanked(text: &str) -> String {
    let text: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let end = match literal_end(&text, at) {
            Some(end) => end,
            None => {
                code.push(text[at]);
                at += 1;
                continue;
            }
        };
        code.extend(text[at..end].iter().map(|c| if matches!(c, '\n' | '"' | '\'') { *c } else { ' ' }));
        at = end;
    }
    code
}

/// Behind the comment or literal that begins here, if one does.
fn literal_end(text: &[char], at: usize) -> Option<usize> {
    let next = text.get(at + 1).copied();
    match (text[at], next) {
        ('/', Some('/')) => Some(at + text[at..].iter().take_while(|c| **c != '\n').count()),
        ('/', Some('*')) => Some(comment_end(text, at)),
        ('"', _) => Some(string_end(text, at)),
        ('r', Some('"' | '#')) => raw_string_end(text, at),
        ('\'', Some('\\')) => {
            let close = text[at + 3..].iter().position(|c| *c == '\'')?;
            Some(at + 3 + close + 1)
        }
        ('\'', Some(_)) if text.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

fn comment_end(text: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < text.len() {
        match text[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn string_end(text: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(c) = text.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Of `r"…"` and `r#"…"#`, also behind a `b`; not of a name that ends in `r`, nor of `r#type`.
fn raw_string_end(text: &[char], start: usize) -> Option<usize> {
    let before = start.checked_sub(1).map(|at| text[at]);
    let behind_b = before == Some('b') && !start.checked_sub(2).is_some_and(|at| is_word(text[at]));
    if before.is_some_and(is_word) && !behind_b {
        return None;
    }
    let hashes = text[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| {
        text[*at] == '"' && text[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    Some((open + 1..text.len()).find(closes).map_or(text.len(), |at| at + 1 + hashes))
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    let cases = [
        ("a // crate::b\nc", "a            \nc"),
        ("a /* x /* y */ z */ b", "a                     b"),
        (r#"f("crate::x \" y") g"#, r#"f("            " ") g"#),
        ("r#\"a\"b\"# c", "  \" \" \"  c"),
        ("'{' '\\'' &'a str", "' ' ' '' &'a str"),
        ("br\"x\" var\"y\"", "b \" \" var\" \""),
        ("r#type", "r#type"),
    ];
    for (text, code) in cases {
        let blanked = blanked(text);
        assert_eq!(blanked.chars().count(), text.chars().count(), "{text}");
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&blanked), squeeze(code), "{text}");
    }
    assert_eq!(find_word("tokio tokio_rustls my_tokio::x tokio::y", "tokio").count(), 2);
    assert_eq!(line_of("a\nb\nc", 4), 3);
}
