//! BENCHMARKS.md has a part for each program that measures; each writes its own and leaves the others.

use std::fs;
use std::io;
use std::path::Path;

/// The heading that a part begins with.
pub(crate) const CLUSTER: &str = "# Benchmarks";
pub(crate) const FAILOVER: &str = "# Failover";

/// Puts the part in the place of what was there under its heading, or at the end.
pub(crate) fn part(root: &Path, heading: &str, text: &str) -> io::Result<()> {
    let path = root.join("BENCHMARKS.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let mut parts: Vec<String> = Vec::new();
    for line in before.split_inclusive('\n') {
        if line.starts_with("# ") || parts.is_empty() {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
        }
    }
    let text = format!("{}\n", text.trim_end());
    match parts.iter_mut().find(|part| part.lines().next() == Some(heading)) {
        Some(part) => *part = text,
        None => parts.push(text),
    }
    let whole: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    fs::write(path, format!("{}\n", whole.join("\n\n")))
}
