//! Dependencies are hired: each line of the manifest has a reason above it.

/// Dependencies with no comment above them, or above the lines they stand together with.
pub(super) fn unexplained(manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let (mut hires, mut explained) = (false, false);
    for (line, text) in (1..).zip(manifest.lines()) {
        let text = text.trim();
        if text.starts_with('[') {
            hires = text.ends_with("dependencies]");
            explained = false;
        } else if text.starts_with('#') {
            explained = true;
        } else if text.is_empty() {
            explained = false;
        } else if hires && !explained {
            let name = text.split(['=', ' ']).next().unwrap_or(text);
            complaints.push(format!("Cargo.toml:{line}: {name}: say in a comment above why it is needed"));
        }
    }
    complaints
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n\nc = \"1\"\n\
                    [dev-dependencies]\nd = { version = \"1\" }\n[lints.rust]\ne = \"forbid\"\n";
    let found = unexplained(manifest);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "Cargo.toml:8: c: say in a comment above why it is needed");
    assert!(found[1].starts_with("Cargo.toml:10: d:"));
}
