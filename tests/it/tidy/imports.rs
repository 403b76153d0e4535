//! The import table: which room may use which, and what only some rooms may touch.

use super::source::{Source, find_word, is_word, line_of};

/// A room and the rooms it may use beside itself and `flavour`, which is everybody's. In the order of `src/lib.rs`.
const ROOMS: &[(&str, &[&str])] = &[
    ("flavour", &[]),
    ("consistency", &[]),
    ("gtid", &[]),
    ("config", &["consistency"]),
    ("wire", &[]),
    ("net", &["wire"]),
    ("sql", &["consistency"]),
    ("topology", &[]),
    ("route", &["config", "sql", "topology"]),
    ("backend", &["gtid", "config", "wire", "net", "topology"]),
    (
        "serve",
        &["gtid", "consistency", "config", "wire", "net", "sql", "topology", "route", "backend", "shutdown"],
    ),
    ("control", &["gtid", "config", "topology", "shutdown"]),
    (
        "admin",
        &["config", "wire", "net", "sql", "topology", "route", "backend", "serve", "control", "shutdown"],
    ),
    ("playground", &["config"]),
    (
        "app",
        &[
            "gtid", "config", "wire", "net", "sql", "topology", "route", "backend", "serve", "control",
            "admin", "shutdown",
        ],
    ),
    // `explain` judges as the proxy would, with the catalog of a server that it reads as the proxy would.
    ("cli", &["config", "sql", "topology", "control", "playground", "app", "telemetry", "shutdown"]),
    ("telemetry", &["config"]),
    ("shutdown", &[]),
];

/// What a crossing most often means, by the room that was reached for.
const INSTEAD: &[(&str, &str)] = &[
    ("control", "what control knows is published in `topology`"),
    ("serve", "what serve knows is handed over by `app`"),
    ("config", "take the values as arguments"),
    ("app", "`app` builds and hands over; nobody reaches back"),
    ("wire", "bytes and packets are for `net`, `backend` and `serve`"),
];

/// A name that only some rooms may have: crates, and the doors through which truth is written.
struct Kept {
    name: &'static str,
    rooms: &'static [&'static str],
    because: &'static str,
}

const KEPT: &[Kept] = &[
    Kept {
        name: "Publisher",
        rooms: &["topology", "control"],
        because: "the topology has one writer, the control line",
    },
    Kept {
        name: "CatalogPublisher",
        rooms: &["topology", "control"],
        because: "the catalog has one writer, the control line",
    },
    Kept {
        name: "mysql_async",
        rooms: &["control", "playground", "cli"],
        because: "clients' statements go through `backend`, which does not decode them",
    },
    Kept {
        name: "mysql_common",
        rooms: &["wire", "backend"],
        because: "its packets are not ours; only scrambles and collations are borrowed",
    },
    Kept { name: "sqlparser", rooms: &["sql"], because: "what a statement is, is asked of `sql::Judge`" },
    Kept { name: "rusqlite", rooms: &["admin"], because: "SQLite answers people, not applications" },
    Kept { name: "toml", rooms: &["config"], because: "the file's shape ends in `config`" },
    Kept {
        name: "anyhow",
        rooms: &["app", "cli", "telemetry", "main"],
        because: "a room says what went wrong in an enum",
    },
    Kept { name: "clap", rooms: &["cli"], because: "arguments end in `cli`" },
    Kept { name: "tracing_subscriber", rooms: &["telemetry"], because: "logs are set up once" },
    Kept {
        name: "rustls",
        rooms: &["net", "backend", "serve", "wire", "cli"],
        because: "TLS is set up where connections are made",
    },
];

fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Paths from one room into another that the table does not allow.
pub(super) fn crossings(source: &Source) -> Vec<String> {
    let room = room_of(&source.path);
    let allowed: &[&str] = match room {
        // The binary and the list of rooms.
        "main" | "lib" => return Vec::new(),
        _ => ROOMS.iter().find(|(name, _)| *name == room).map_or(&[], |(_, rooms)| rooms),
    };
    let mut complaints = Vec::new();
    for (line, used) in paths(source) {
        let is_room = ROOMS.iter().any(|(name, _)| *name == used);
        if !is_room || used == room || used == "flavour" || allowed.contains(&used.as_str()) {
            continue;
        }
        let instead = INSTEAD.iter().find(|(name, _)| *name == used);
        let instead = instead.map_or(String::new(), |(_, instead)| format!(": {instead}"));
        complaints.push(format!("{}:{line}: `{room}` must not use `{used}`{instead}", source.path));
    }
    complaints
}

/// The rooms that a file names, by `crate::room`, `use crate::{room, …}` or enough `super::`s.
fn paths(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    for at in find_word(code, "crate::") {
        heads(code, at + "crate::".len(), &mut found);
    }
    let depth = depth_of(&source.path);
    for at in find_word(code, "super::").filter(|at| !code[..*at].ends_with("super::")) {
        let rest = code[at..].trim_start_matches("super::");
        let climbed = (code.len() - at - rest.len()) / "super::".len();
        if climbed >= depth {
            heads(code, code.len() - rest.len(), &mut found);
        }
    }
    found
}

/// How many `super::`s lead from a file's module to the root.
fn depth_of(path: &str) -> usize {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let parts = inside.split('/').count();
    if inside.ends_with("/mod.rs") { parts - 1 } else { parts }
}

/// The first names of the path, or of each path of the group, that begins at `at`.
fn heads(code: &str, at: usize, found: &mut Vec<(usize, String)>) {
    let rest = &code[at..];
    if !rest.starts_with('{') {
        let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
        found.push((line_of(code, at), name));
        return;
    }
    let (mut depth, mut begins) = (0, false);
    for (offset, c) in rest.char_indices() {
        match c {
            '{' => (depth, begins) = (depth + 1, depth == 0),
            '}' if depth == 1 => return,
            '}' => depth -= 1,
            ',' if depth == 1 => begins = true,
            c if is_word(c) && begins => {
                begins = false;
                heads(code, at + offset, found);
            }
            _ => {}
        }
    }
}

/// Names in rooms that may not have them.
pub(super) fn strays(source: &Source) -> Vec<String> {
    let room = room_of(&source.path);
    let mut complaints = Vec::new();
    for Kept { name, rooms, because } in KEPT.iter().filter(|kept| !kept.rooms.contains(&room)) {
        for at in find_word(&source.code, name) {
            // `config::toml` would be a module of ours, `record.toml` a field.
            let path = source.code[..at].ends_with("::") || source.code[..at].ends_with('.');
            if path && !name.starts_with(char::is_uppercase) {
                continue;
            }
            // A variable may be called as a crate is.
            let is_crate = source.code[at + name.len()..].starts_with("::");
            if is_crate || name.starts_with(char::is_uppercase) {
                let line = line_of(&source.code, at);
                let rooms = rooms.join(", ");
                complaints.push(format!("{}:{line}: `{name}` is for {rooms} only: {because}", source.path));
            }
        }
    }
    complaints
}

/// What the table and the list of rooms in `lib.rs` do not have in common.
pub(super) fn rows_and_rooms(lib: &str) -> Vec<String> {
    let declared: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let rows: Vec<&str> = ROOMS.iter().map(|(name, _)| *name).collect();
    let missing = declared.iter().filter(|room| !rows.contains(room));
    let missing = missing.map(|room| format!("src/lib.rs: `{room}` has no row in the import table"));
    let gone = rows.iter().filter(|room| !declared.contains(room));
    let gone = gone.map(|room| format!("the import table has a row for `{room}`, which is no room"));
    let unknown = ROOMS.iter().flat_map(|(_, used)| used.iter()).filter(|room| !rows.contains(room));
    let unknown = unknown.map(|room| format!("the import table allows `{room}`, which is no room"));
    missing.chain(gone).chain(unknown).collect()
}

#[test]
fn a_crossing_is_found_however_it_is_written() {
    let crossing = |path: &str, text: &str| crossings(&Source::new(path, text));
    let control =
        ["src/serve/query.rs:2: `serve` must not use `control`: what control knows is published in \
                    `topology`"];
    assert_eq!(crossing("src/serve/query.rs", "//! x\nuse crate::control::Judge;"), control);
    assert_eq!(crossing("src/serve/query.rs", "\nuse crate::{wire, control::Judge};"), control);
    assert_eq!(crossing("src/serve/query.rs", "use crate::{wire::{a, b},\n  control};"), control);
    assert_eq!(crossing("src/serve/query.rs", "\nfn f() { crate::control::x() }"), control);
    assert_eq!(crossing("src/serve/query.rs", "\nuse super::super::control::x;"), control);
    assert_eq!(crossing("src/net.rs", "use super::sql::x;").len(), 1);
    assert_eq!(crossing("src/control/mod.rs", "use crate::route;").len(), 1);
    assert_eq!(crossing("src/wire/auth/mod.rs", "use super::super::config;").len(), 1);
}

#[test]
fn what_is_allowed_or_no_path_is_not_a_crossing() {
    let texts = [
        "use crate::{flavour::Flavour, route, wire::{control, admin}};",
        "// crate::control\nlet x = \"crate::control\";",
        "use super::control;",
        "let x = my_crate::control;",
        "use crate::serve::login;",
    ];
    for text in texts {
        assert_eq!(crossings(&Source::new("src/serve/query.rs", text)), [""; 0], "{text}");
    }
}

#[test]
fn a_kept_name_is_missed_elsewhere() {
    let stray = |path: &str, text: &str| strays(&Source::new(path, text)).len();
    assert_eq!(stray("src/serve/query.rs", "use topology::{Reader, Publisher};"), 1);
    assert_eq!(stray("src/serve/query.rs", "use mysql_async::Conn;"), 1);
    assert_eq!(stray("src/serve/query.rs", "fn f() -> anyhow::Result<()>"), 1);
    assert_eq!(stray("src/control/mod.rs", "use topology::Publisher; use mysql_async::Conn;"), 0);
    assert_eq!(stray("src/serve/query.rs", "let toml = file.toml; // anyhow::Error"), 0);
}

#[test]
fn a_room_without_a_row_is_missed() {
    let complaints = rows_and_rooms("pub mod attic;");
    assert_eq!(complaints[0], "src/lib.rs: `attic` has no row in the import table");
    assert_eq!(complaints.len(), 1 + ROOMS.len());
}
