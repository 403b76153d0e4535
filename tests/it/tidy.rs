//! The house rules that a machine can check: who imports whom, what is pure, and that documents are true.
//!
//! Each rule is a function from text to complaints, with its own test that it can complain; the tests here run
//! them over the tree.

mod documents;
mod imports;
mod manifest;
mod purity;
mod sizes;
mod source;
mod tracked;
mod words;

use source::{Source, sources};

/// Fails with every complaint at once.
fn assert_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn over(folders: &[&str], rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    folders.iter().flat_map(|folder| sources(folder)).flat_map(|source| rule(&source)).collect()
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    assert_tidy(&over(&["src"], imports::crossings));
}

#[test]
fn every_room_has_its_row_and_every_row_its_room() {
    assert_tidy(&imports::rows_and_rooms(&source::read("src/lib.rs").code));
}

#[test]
fn what_belongs_to_some_rooms_stays_in_them() {
    assert_tidy(&over(&["src"], imports::strays));
}

#[test]
fn pure_files_are_pure() {
    let sources = sources("src");
    assert_tidy(&purity::missing(sources.iter().map(|source| source.path.as_str())));
    assert_tidy(&sources.iter().flat_map(purity::stains).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is() {
    assert_tidy(&over(&["src", "tests", "examples", "benches", "fuzz"], words::unintroduced));
}

#[test]
fn nothing_is_left_undone() {
    assert_tidy(&over(&["src", "tests"], words::undone));
}

#[test]
fn functions_and_files_are_short_or_say_why_not() {
    let sources: Vec<Source> = ["src", "tests"].iter().flat_map(|folder| sources(folder)).collect();
    assert_tidy(&sizes::complaints(&sources, sizes::ALLOWED));
}

#[test]
fn documents_name_what_exists() {
    let complaints = documents::DOCUMENTS.iter().flat_map(|name| {
        let text = source::text(name);
        documents::complaints(name, &text, &documents::exists)
    });
    assert_tidy(&complaints.collect::<Vec<_>>());
}

#[test]
fn nothing_tracked_is_of_one_machine_or_huge() {
    assert_tidy(&tracked::files().iter().flat_map(tracked::complaints).collect::<Vec<_>>());
}

#[test]
fn every_dependency_has_its_reason() {
    assert_tidy(&manifest::unexplained(&source::text("Cargo.toml")));
}
