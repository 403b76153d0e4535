//! What a configuration refers to outside itself: variables, password files, certificates.

use std::io;
use std::path::{Path, PathBuf};

use super::Secret;
use super::file::{Section, Value};

/// What a configuration may refer to outside itself.
pub struct Surroundings<'s> {
    /// Relative paths in the file start here.
    pub folder: &'s Path,
    pub variable: &'s dyn Fn(&str) -> Option<String>,
    pub read: &'s dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// A literal text, `{ env = "…" }` or `{ file = "…" }`.
pub(super) fn secret(value: &Value<'_, '_>, around: &Surroundings<'_>) -> Option<Secret> {
    if value.is_text() {
        return value.text().map(Secret::new);
    }
    if !value.is_table() {
        value.mistyped("{ env = \"VARIABLE\" }, { file = \"path\" } or a text in quotes");
        return None;
    }
    let section = value.as_section();
    let found = match (section.get("env"), section.get("file")) {
        (Some(variable), None) => secret_of_variable(&variable, around),
        (None, Some(file)) => secret_of_file(&file, around),
        _ => {
            value.wrong("it takes exactly one of env and file", "keep one of them");
            None
        }
    };
    section.finish();
    found
}

fn secret_of_variable(value: &Value<'_, '_>, around: &Surroundings<'_>) -> Option<Secret> {
    let variable = value.text()?;
    let found = (around.variable)(variable);
    if found.is_none() {
        value.wrong(
            format!("the environment variable {variable} is not set"),
            "set it where pointsman is started, or use { file = \"path\" }",
        );
    }
    found.map(Secret::new)
}

fn secret_of_file(value: &Value<'_, '_>, around: &Surroundings<'_>) -> Option<Secret> {
    let (_, bytes) = readable(value, around)?;
    let Ok(text) = String::from_utf8(bytes) else {
        value.wrong("the file is not UTF-8 text", "write the password into it, nothing else");
        return None;
    };
    // Editors end a file with a newline that nobody means.
    Some(Secret::new(text.strip_suffix('\n').map_or(text.as_str(), |line| line.trim_end_matches('\r'))))
}

/// A certificate and its key: both or neither.
pub(super) fn pair(
    section: &Section<'_, '_>,
    around: &Surroundings<'_>,
) -> (Option<PathBuf>, Option<PathBuf>) {
    let certificate = pem(section, "certificate", "CERTIFICATE", around);
    let key = pem(section, "key", "PRIVATE KEY", around);
    match (section.get("certificate"), section.get("key")) {
        (Some(alone), None) => alone.wrong("a certificate without its key", "add key = \"….pem\""),
        (None, Some(alone)) => alone.wrong("a key without its certificate", "add certificate = \"….pem\""),
        _ => {}
    }
    (certificate, key)
}

/// A PEM file that holds at least one block of the kind.
pub(super) fn pem(
    section: &Section<'_, '_>,
    key: &'static str,
    kind: &str,
    around: &Surroundings<'_>,
) -> Option<PathBuf> {
    let value = section.get(key)?;
    let (path, bytes) = readable(&value, around)?;
    let marker = format!("{kind}-----");
    if memchr::memmem::find(&bytes, marker.as_bytes()).is_none() {
        let problem = format!("{} holds no PEM block that ends in {kind}", path.display());
        value.wrong(problem, "name a PEM file (text that begins with -----BEGIN …)");
        return None;
    }
    Some(path)
}

fn readable(value: &Value<'_, '_>, around: &Surroundings<'_>) -> Option<(PathBuf, Vec<u8>)> {
    let path = around.folder.join(value.text()?);
    match (around.read)(&path) {
        Ok(bytes) => Some((path, bytes)),
        Err(error) => {
            let problem = format!("cannot read {}: {error}", path.display());
            value.wrong(problem, "name a file this user may read; relative paths start at the configuration");
            None
        }
    }
}

/// A path that need not exist yet.
pub(super) fn path(
    section: &Section<'_, '_>,
    key: &'static str,
    around: &Surroundings<'_>,
) -> Option<PathBuf> {
    let value = section.get(key)?;
    let text = value.text()?;
    if text.is_empty() {
        value.wrong("the path is empty", "name a folder");
        return None;
    }
    Some(around.folder.join(text))
}
