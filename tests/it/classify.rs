//! The cases of tests/cases/classify: statements, and what the judges must say of them.
//!
//! A block is one statement a line (a `\` at the end joins the next line to it), then `----`, then what is
//! expected of each of them. Lines that start with `%` set the scene for all blocks below:
//! `% flavour mysql 9.7.4`, `% sql_mode ANSI_QUOTES,NO_BACKSLASH_ESCAPES`, `% charset gbk`, `% schema app`,
//! `% function app.f READS SQL DATA`, `% view app.v SELECT …`, `% digest on`, `% bytes on` (then `\xHH` is
//! that byte). `#` begins a comment. `BLESS=1` rewrites the expectations; read the difference.

use std::fmt::Write as _;
use std::path::Path;

use pointsman::flavour::{Flavour, Version};
use pointsman::sql::{
    Access, Catalog, Charset, DataAccess, Dialect, Hint, Judge, Judged, Kind, PinSet, Routine, RoutineKind,
    View,
};

#[test]
fn every_statement_is_judged_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/classify");
    let bless = std::env::var_os("BLESS").is_some();
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let mut statements = 0;
    let mut failures = String::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("UTF-8");
        let run = run(&text, &mut statements);
        if bless && run.text != text {
            std::fs::write(file, &run.text).expect("the file can be written");
        }
        for failure in &run.failures {
            writeln!(failures, "{}: {failure}", file.file_name().expect("a name").display()).expect("memory");
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(statements >= 400, "only {statements} statements were judged");
}

struct Run {
    text: String,
    failures: Vec<String>,
}

/// Judges the blocks of one file; its text as it should be, and what differs.
fn run(text: &str, statements: &mut usize) -> Run {
    let mut scene = Scene::new();
    let mut run = Run { text: String::new(), failures: Vec::new() };
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        writeln!(run.text, "{line}").expect("memory");
        if let Some(directive) = line.strip_prefix("% ") {
            scene.set(directive);
        }
        if line.is_empty() || line.starts_with(['%', '#']) {
            continue;
        }
        let mut given = vec![line];
        for (_, line) in lines.by_ref() {
            writeln!(run.text, "{line}").expect("memory");
            if line == "----" {
                break;
            }
            given.push(line);
        }
        let mut expected = String::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
            expected.push_str(line);
            expected.push('\n');
        }
        let mut first = None;
        for statement in join_continued(&given) {
            *statements += 1;
            let actual = scene.judge(&statement);
            if actual != expected {
                run.failures.push(format!("line {}: {statement}\n{actual}", number + 1));
            }
            first.get_or_insert(actual);
        }
        run.text.push_str(&first.unwrap_or(expected));
    }
    run
}

fn join_continued(lines: &[&str]) -> Vec<String> {
    let mut statements = Vec::new();
    let mut open = String::new();
    for line in lines {
        match line.strip_suffix('\\') {
            Some(part) => {
                open.push_str(part);
                open.push('\n');
            }
            None => {
                open.push_str(line);
                statements.push(std::mem::take(&mut open));
            }
        }
    }
    statements
}

struct Scene {
    judge: Judge,
    dialect: Dialect,
    schema: Option<String>,
    routines: Vec<Routine>,
    views: Vec<View>,
    digest: bool,
    bytes: bool,
}

impl Scene {
    fn new() -> Self {
        let version = Version { flavour: Flavour::MySql, number: 90_704 };
        Self {
            judge: Judge::new(1000),
            dialect: Dialect::plain(version),
            schema: None,
            routines: Vec::new(),
            views: Vec::new(),
            digest: false,
            bytes: false,
        }
    }

    fn set(&mut self, directive: &str) {
        let (key, value) = directive.split_once(' ').unwrap_or((directive, ""));
        match key {
            "flavour" => {
                let (flavour, number) = value.split_once(' ').expect("a flavour and a version");
                let suffix = if flavour == "mariadb" { "-MariaDB" } else { "" };
                self.dialect.version = Version::parse(&format!("{number}{suffix}"));
            }
            "sql_mode" => {
                self.dialect.ansi_quotes = value.contains("ANSI_QUOTES");
                self.dialect.no_backslash_escapes = value.contains("NO_BACKSLASH_ESCAPES");
            }
            "charset" => self.dialect.charset = Charset::named(value),
            "schema" => self.schema = (!value.is_empty()).then(|| value.to_owned()),
            "function" => {
                let (name, data_access) = value.split_once(' ').expect("a name and its data access");
                let (schema, name) = name.split_once('.').expect("a qualified name");
                self.routines.push(Routine {
                    schema: schema.to_owned(),
                    name: name.to_owned(),
                    kind: RoutineKind::Function,
                    data_access: DataAccess::parse(data_access),
                });
            }
            "view" => {
                let (name, definition) = value.split_once(' ').unwrap_or((value, ""));
                let (schema, name) = name.split_once('.').expect("a qualified name");
                let (schema, name) = (schema.to_owned(), name.to_owned());
                self.views.push(View { schema, name, definition: definition.to_owned() });
            }
            "digest" => self.digest = value == "on",
            "bytes" => self.bytes = value == "on",
            _ => panic!("unknown directive {directive}"),
        }
    }

    fn judge(&self, statement: &str) -> String {
        let text = if self.bytes { unescape(statement) } else { statement.as_bytes().to_vec() };
        let known = self.routines.len() + self.views.len();
        let catalog = if known == 0 {
            Catalog::default()
        } else {
            Catalog::new(known as u64, &self.routines, &self.views, &self.dialect)
        };
        let judged = self.judge.judge(&text, &self.dialect, self.schema.as_deref(), &catalog);
        let again = self.judge.judge(&text, &self.dialect, self.schema.as_deref(), &catalog);
        assert_eq!(judged, again, "the remembered verdict of {statement}");
        render(&judged, self.digest)
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).expect("two hexadecimal digits"));
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn render(judged: &Judged, digest: bool) -> String {
    let statement = &judged.statement;
    let mut text = kind(&statement.kind);
    match &statement.access {
        Access::Read => text.push_str(" read\n"),
        Access::Write(because) => writeln!(text, " write: {because}").expect("memory"),
    }
    let mut line = |key: &str, value: String| {
        if !value.is_empty() {
            writeln!(text, "{key} {value}").expect("memory");
        }
    };
    line("pins", causes(statement.pins));
    line("unpins", causes(statement.unpins));
    line("needs", statement.needs.iter().collect::<Vec<_>>().join(" "));
    let level = judged.consistency.iter().map(|level| level.to_string());
    let hints = judged.hint.iter().map(Hint::to_string).chain(level);
    line("hint", hints.collect::<Vec<_>>().join(", "));
    if digest {
        line("digest", statement.digest.to_string());
    }
    text
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Kill { id: Some(id), .. } => format!("{kind} {id}"),
        other => other.to_string(),
    }
}

fn causes(pins: PinSet) -> String {
    pins.iter().map(|cause| cause.to_string()).collect::<Vec<_>>().join(" ")
}
