//! Paths that documents name must exist.

use super::source::{Source, root, sources};

pub(super) const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"];

/// Endings by which a name without a folder is known to be a file's.
const ENDINGS: &[&str] = &[".rs", ".toml", ".md", ".txt", ".lock", ".yml"];

/// Names that look like paths of ours and are not.
const NOT_OURS: &[&str] = &["ca.pem", "text/plain"];

/// What a document names in backticks that looks like a path and is none.
pub(super) fn complaints(name: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut fenced = false;
    for (line, words) in (1..).zip(text.lines()) {
        if words.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every other piece stands between backticks.
        for quoted in words.split('`').skip(1).step_by(2) {
            if let Some(complaint) = complaint(quoted, exists) {
                complaints.push(format!("{name}:{line}: `{quoted}` {complaint}"));
            }
        }
    }
    complaints
}

fn complaint(quoted: &str, exists: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    if !looks_like_path(quoted) {
        return None;
    }
    if quoted.rsplit_once(':').is_some_and(|(_, line)| line.starts_with(|c: char| c.is_ascii_digit())) {
        return Some("has a line number, which will be wrong soon");
    }
    let path = quoted.trim_end_matches('*').trim_end_matches('/');
    (!exists(path)).then_some("does not exist")
}

fn looks_like_path(quoted: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./*:".contains(c);
    if quoted.is_empty() || !quoted.chars().all(plain) || quoted.contains("::") || quoted.contains("//") {
        return false;
    }
    if quoted.starts_with(['/', '-', '*']) || NOT_OURS.contains(&quoted) {
        return false;
    }
    let bare = quoted.split(':').next().unwrap_or(quoted);
    quoted.contains('/') || ENDINGS.iter().any(|ending| bare.ends_with(ending))
}

/// From the root, or from `src`, whose rooms are named without it. A bare name is that of any Rust file.
pub(super) fn exists(path: &str) -> bool {
    let named = |source: &Source| source.path.rsplit('/').next() == Some(path);
    ["", "src"].iter().any(|folder| root().join(folder).join(path).exists())
        || (!path.contains('/') && sources("src").iter().any(named))
}

#[test]
fn a_path_that_does_not_exist_is_missed() {
    let exists = |path: &str| matches!(path, "src/net.rs" | "tests/cases" | "README.md");
    let found = |text: &str| complaints("A.md", text, &exists);
    assert_eq!(found("a `src/net.rs` b `src/nat.rs`"), ["A.md:1: `src/nat.rs` does not exist"]);
    assert_eq!(found("\n`NOTICE.md`"), ["A.md:2: `NOTICE.md` does not exist"]);
    assert_eq!(
        found("`src/net.rs:12`"),
        ["A.md:1: `src/net.rs:12` has a line number, which will be wrong soon"]
    );
    assert_eq!(found("`tests/case/**`"), ["A.md:1: `tests/case/**` does not exist"]);
    assert_eq!(found("`tests/cases/**` and `README.md`"), [""; 0]);
}

#[test]
fn what_is_no_path_is_left_alone() {
    let text = "`wire::Packet` `SELECT 1/2` `--config` `/etc/mysql` `SHOW SERVERS` `mysql://u:p@h/db` `1290`\n\
                ```\n`gone/for/ever`\n```\ngone/for/ever";
    assert_eq!(complaints("A.md", text, &|_| false), [""; 0]);
}

#[test]
fn rooms_are_found_without_their_folder() {
    assert!(exists("src/net/stream.rs") && exists("serve/session.rs") && exists("relay.rs"));
    assert!(!exists("serve/sessions.rs") && !exists("relays.rs"));
}
