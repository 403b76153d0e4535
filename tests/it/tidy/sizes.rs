//! How long functions and files are, and which may be longer.

use super::source::{Source, find_word, is_word, line_of};

const FUNCTION_LINES_MAX: usize = 80;
const FILE_LINES_MAX: usize = 800;

/// A file, or a function of a file, that may be longer, and why.
pub(super) struct Allowed {
    pub(super) path: &'static str,
    /// `None`: the file.
    pub(super) function: Option<&'static str>,
    pub(super) because: &'static str,
}

pub(super) const ALLOWED: &[Allowed] = &[Allowed {
    path: "tests/it/login/client.rs",
    function: Some("servers_that_misbehave"),
    because: "a table: one entry for each way in which a server can misbehave",
}];

/// What is too long without leave, and leave that nobody needs any more.
pub(super) fn complaints(sources: &[Source], allowed: &[Allowed]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut used = vec![false; allowed.len()];
    for source in sources {
        for (line, function, len) in too_long(source) {
            let leave =
                |allowed: &Allowed| allowed.path == source.path && allowed.function == function.as_deref();
            match allowed.iter().position(leave) {
                Some(at) => used[at] = true,
                None => complaints.push(complaint(source, line, function.as_deref(), len)),
            }
        }
    }
    let idle = allowed.iter().zip(used).filter(|(_, used)| !used).map(|(allowed, _)| {
        let function = allowed.function.map_or(String::new(), |name| format!(" {name}"));
        format!("{}{function} is short: take it off the list ({})", allowed.path, allowed.because)
    });
    complaints.extend(idle);
    complaints
}

fn complaint(source: &Source, line: usize, function: Option<&str>, len: usize) -> String {
    let path = &source.path;
    match function {
        Some(name) => format!(
            "{path}:{line}: `{name}` has {len} lines, more than {FUNCTION_LINES_MAX}: name a step of it, or add \
             it to ALLOWED in tests/it/tidy/sizes.rs with the reason"
        ),
        None => format!(
            "{path}:{line}: {len} lines, more than {FILE_LINES_MAX}: find the second idea in it, or add it to \
             ALLOWED in tests/it/tidy/sizes.rs with the reason"
        ),
    }
}

/// Line, name and length of what is too long.
fn too_long(source: &Source) -> Vec<(usize, Option<String>, usize)> {
    let mut long: Vec<_> = functions(&source.code)
        .into_iter()
        .filter(|(_, _, len)| *len > FUNCTION_LINES_MAX)
        .map(|(line, name, len)| (line, Some(name), len))
        .collect();
    let lines = source.text.lines().count();
    long.extend((lines > FILE_LINES_MAX).then_some((1, None, lines)));
    long
}

/// Line, name and length of each function with a body, from `fn` to the closing brace.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut functions = Vec::new();
    for at in find_word(code, "fn") {
        let name: String = code[at + 2..].trim_start().chars().take_while(|c| is_word(*c)).collect();
        if name.is_empty() {
            continue;
        }
        if let Some(len) = body_end(&code[at..]).map(|end| 1 + code[at..at + end].matches('\n').count()) {
            functions.push((line_of(code, at), name, len));
        }
    }
    functions
}

/// Where the body of the function at the beginning of `code` ends; `None` where it has none.
fn body_end(code: &str) -> Option<usize> {
    let (mut round, mut curly) = (0_i32, 0_i32);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 && curly == 0 => return None,
            '{' => curly += 1,
            '}' => {
                curly -= 1;
                if curly == 0 && round == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
fn long_function(lines: usize) -> String {
    format!("//! x\nfn long(a: [u8; 2]) -> u8 {{\n{}}}\n", "    f();\n".repeat(lines - 2))
}

#[test]
fn a_long_function_needs_leave() {
    let source = |lines| [Source::new("src/a.rs", &long_function(lines))];
    assert_eq!(complaints(&source(FUNCTION_LINES_MAX), &[]), [""; 0]);
    let found = complaints(&source(FUNCTION_LINES_MAX + 1), &[]);
    assert!(found[0].starts_with("src/a.rs:2: `long` has 81 lines, more than 80"), "{found:?}");
    let leave = [Allowed { path: "src/a.rs", function: Some("long"), because: "a table" }];
    assert_eq!(complaints(&source(FUNCTION_LINES_MAX + 1), &leave), [""; 0]);
    let idle = complaints(&source(10), &leave);
    assert_eq!(idle, ["src/a.rs long is short: take it off the list (a table)"]);
}

#[test]
fn a_long_file_needs_leave() {
    let long = [Source::new("src/a.rs", &"//! x\n".repeat(FILE_LINES_MAX + 1))];
    assert!(complaints(&long, &[])[0].starts_with("src/a.rs:1: 801 lines, more than 800"));
    let leave = [Allowed { path: "src/a.rs", function: None, because: "a table" }];
    assert_eq!(complaints(&long, &leave), [""; 0]);
}

#[test]
fn functions_are_measured_from_their_name_to_their_brace() {
    let code = "trait T {\n    fn a(&self);\n    fn b(&self) -> [u8; 4] {\n        [0; 4]\n    }\n}\n\
                fn c<F>(f: F)\nwhere\n    F: Fn(u8),\n{\n    f({ 1 })\n}\ntype D = fn(u8);\n";
    assert_eq!(functions(code), [(3, "b".to_owned(), 3), (7, "c".to_owned(), 6)]);
}
