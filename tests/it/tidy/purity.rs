//! Pure files: what they must not contain, and which they are.

use super::source::{Source, find_word, line_of};

/// Files and folders (with a `/` at the end) that decide or describe and never act.
const PURE: &[&str] = &[
    "src/flavour.rs",
    "src/gtid.rs",
    "src/gtid/",
    "src/consistency.rs",
    "src/config/check.rs",
    "src/config/complaint.rs",
    "src/config/document.rs",
    "src/config/file.rs",
    "src/config/levels.rs",
    "src/config/quantity.rs",
    "src/config/refer.rs",
    "src/config/servers.rs",
    "src/config/settings.rs",
    "src/wire/",
    "src/sql/",
    "src/topology/mod.rs",
    "src/route/",
    "src/backend/prepared.rs",
    "src/backend/settings.rs",
    "src/backend/slots.rs",
    "src/backend/user_variables.rs",
    "src/serve/carried.rs",
    "src/serve/login/decide.rs",
    "src/serve/process_list.rs",
    "src/serve/refusal.rs",
    "src/serve/state.rs",
    "src/control/changes.rs",
    "src/control/failover/choose.rs",
    "src/control/failover/coordinator.rs",
    "src/control/failover/decide.rs",
    "src/control/failover/durability.rs",
    "src/control/failover/journal.rs",
    "src/control/failover/plan.rs",
    "src/control/failover/rehearsal.rs",
    "src/control/failover/repair.rs",
    "src/control/failover/statements.rs",
    "src/control/failover/step.rs",
    "src/control/failover/view.rs",
    "src/control/health.rs",
    "src/control/judge.rs",
    "src/control/lineage.rs",
    "src/control/observation.rs",
    "src/control/semi_sync.rs",
    "src/control/standing.rs",
    "src/admin/answer.rs",
    "src/admin/commands.rs",
    "src/admin/explain.rs",
    "src/admin/grammar.rs",
    "src/admin/help.rs",
    "src/admin/sqlite_text.rs",
    "src/admin/table.rs",
    "src/admin/tables/",
    "src/admin/token.rs",
    "src/admin/variables.rs",
    "src/admin/view.rs",
];

/// What is not for pure files, and what to do instead.
const STAINS: &[(&str, &str)] = &[
    ("tokio", "a pure file waits for nothing"),
    ("async fn", "a pure file waits for nothing"),
    ("async move", "a pure file waits for nothing"),
    (".await", "a pure file waits for nothing"),
    ("Instant::now", "take `now: Instant` as the last argument"),
    ("SystemTime", "take the time as an argument"),
    ("rand::", "take a ticket or a nonce as an argument"),
    ("thread_rng", "take a ticket or a nonce as an argument"),
    ("tracing", "return what should be logged; the caller logs it"),
    ("static", "keep state in a value that somebody owns"),
    ("thread_local", "keep state in a value that somebody owns"),
    ("TcpStream", "sockets are for the shell"),
    ("TcpListener", "sockets are for the shell"),
    ("UdpSocket", "sockets are for the shell"),
    ("UnixStream", "sockets are for the shell"),
    ("std::fs", "take what is in the file as an argument"),
    ("File", "take what is in the file as an argument"),
    ("std::env", "take the value as an argument"),
    ("println!", "return what should be printed"),
];

fn is_pure(path: &str) -> bool {
    PURE.iter().any(|pure| if pure.ends_with('/') { path.starts_with(pure) } else { path == *pure })
}

/// What a pure file has that it must not.
pub(super) fn stains(source: &Source) -> Vec<String> {
    if !is_pure(&source.path) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (stain, instead) in STAINS {
        for at in find_word(&source.code, stain) {
            // A lifetime, or a type of ours in another room's name.
            if source.code[..at].ends_with('\'') {
                continue;
            }
            let line = line_of(&source.code, at);
            complaints.push(format!("{}:{line}: `{stain}` in a pure file: {instead}", source.path));
        }
    }
    complaints
}

/// Entries of the list that no file answers to.
pub(super) fn missing<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let answers = |pure: &str| {
        paths.clone().any(|path| if pure.ends_with('/') { path.starts_with(pure) } else { path == pure })
    };
    let gone = PURE.iter().filter(|pure| !answers(pure));
    gone.map(|pure| format!("{pure} is listed as pure and does not exist")).collect()
}

#[test]
fn every_stain_shows_in_a_pure_file_and_in_no_other() {
    let stained = |path: &str, text: &str| stains(&Source::new(path, text));
    for (stain, instead) in STAINS {
        let text = format!("//! x\nlet a = {stain} ();");
        let shown = format!("src/route/choose.rs:2: `{stain}` in a pure file: {instead}");
        assert!(stained("src/route/choose.rs", &text).contains(&shown), "{stain}");
        assert!(stained("src/backend/pool.rs", &text).is_empty(), "{stain}");
    }
}

#[test]
fn words_that_only_look_like_stains_do_not_show() {
    let clean =
        "fn f(x: &'static str, random: u8) {} // tokio\nlet profile = \"std::fs\"; RandomState::new();";
    assert_eq!(stains(&Source::new("src/sql/judge.rs", clean)), [""; 0]);
}

#[test]
fn a_pure_file_that_is_gone_is_missed() {
    let without = missing(["src/flavour.rs"].into_iter());
    assert_eq!(without.len(), PURE.len() - 1);
    assert_eq!(without[0], "src/gtid.rs is listed as pure and does not exist");
}
