//! Words that must stand in a file, and words that must not.

use super::source::{Source, find_word, line_of};

/// What says that something was left undone, or waits where it could be told.
const UNDONE: &[(&str, &str)] = &[
    ("#[ignore", "a test that does not run tests nothing: mend or remove it"),
    ("todo!", "write it or leave it out"),
    ("unimplemented!", "write it or leave it out"),
    ("dbg!", "use tracing, or nothing"),
    ("thread::sleep", "await the event instead"),
];

/// A file whose first line does not say what it is.
pub(super) fn unintroduced(source: &Source) -> Vec<String> {
    let introduced = source.text.starts_with("//! ");
    let complaint = format!("{}:1: begin with one `//!` sentence that says what the file is", source.path);
    if introduced { Vec::new() } else { vec![complaint] }
}

pub(super) fn undone(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (word, instead) in UNDONE {
        for at in find_word(&source.code, word) {
            let line = line_of(&source.code, at);
            complaints.push(format!("{}:{line}: `{word}`: {instead}", source.path));
        }
    }
    complaints
}

#[test]
fn a_file_must_introduce_itself() {
    assert_eq!(unintroduced(&Source::new("src/a.rs", "//! What it is.\n")), [""; 0]);
    for text in ["", "use std::fmt;\n//! Late.", "//!", "// Not a doc."] {
        assert_eq!(unintroduced(&Source::new("src/a.rs", text)).len(), 1, "{text:?}");
    }
}

#[test]
fn what_is_undone_is_found_in_code_and_not_in_words_about_it() {
    for (word, instead) in UNDONE {
        let found = undone(&Source::new("src/a.rs", &format!("//! a\n  {word}(x)]")));
        assert_eq!(found, [format!("src/a.rs:2: `{word}`: {instead}")]);
        assert_eq!(undone(&Source::new("src/a.rs", &format!("// {word}\n\"{word}\""))), [""; 0]);
    }
}
