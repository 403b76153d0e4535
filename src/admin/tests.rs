//! The parts of the admin room by themselves.

use std::time::{Duration, UNIX_EPOCH};

use super::calendar::show_utc;
use super::commands::{ALL, HABITS, Request};
use super::grammar::{Unparsed, parse};
use super::sqlite_text::{heading, rewrite};
use super::table::{is_like, text};
use super::token::{TokenKind, tokens};
use super::{tables, variables};

#[test]
fn like_is_that_of_sql() {
    let cases = [
        ("replica-1", "replica%", true),
        ("replica-1", "REPLICA__", true),
        ("replica-1", "replica_", false),
        ("replica-1", "%1", true),
        ("replica-1", "%-%", true),
        ("replica-1", "", false),
        ("", "", true),
        ("", "%", true),
        ("a%b", "a\\%b", true),
        ("axb", "a\\%b", false),
        ("aab", "%ab", true),
        ("abcabd", "%abd", true),
        ("abc", "%%%c%", true),
        ("Ärger", "ä%", true),
        ("a", "a_", false),
    ];
    for (said, pattern, fits) in cases {
        assert_eq!(is_like(said, pattern), fits, "{said:?} LIKE {pattern:?}");
    }
}

#[test]
fn days_are_counted_as_in_the_calendar() {
    let cases = [
        (0, "1970-01-01 00:00:00.000"),
        (951_782_399_999, "2000-02-28 23:59:59.999"),
        (951_782_400_000, "2000-02-29 00:00:00.000"),
        (1_709_251_200_000, "2024-03-01 00:00:00.000"),
        (1_767_225_599_001, "2025-12-31 23:59:59.001"),
        (4_107_542_400_000, "2100-03-01 00:00:00.000"),
    ];
    for (millis, shown) in cases {
        assert_eq!(show_utc(UNIX_EPOCH + Duration::from_millis(millis)), shown);
    }
}

#[test]
fn every_example_is_understood_by_its_own_command() {
    for command in ALL {
        let request = parse(command.example).unwrap_or_else(|error| panic!("{}: {error}", command.example));
        let lower = format!("/* c */ {} ; -- end", command.example.to_lowercase());
        assert!(parse(&lower).is_ok(), "{lower}");
        assert!(command.grammar.starts_with(&command.name()), "{}", command.grammar);
        if let Request::Show { table, .. } = request {
            assert_eq!(command.table().map(|table| table.name), Some(table));
        }
    }
}

#[test]
fn every_table_can_be_shown_and_its_key_is_a_column_of_text() {
    for table in tables::ALL {
        assert!(ALL.iter().any(|command| command.table().is_some_and(|shown| shown.name == table.name)));
        let key = table.columns.iter().find(|column| column.name == table.key);
        assert_eq!(key.map(|key| key.kind), Some(text("", "").kind), "{}", table.name);
    }
}

#[test]
fn no_habit_hides_a_command() {
    for (name, _) in HABITS {
        assert!(!ALL.iter().any(|command| command.name == *name), "{name:?}");
    }
}

#[test]
fn variables_are_sorted_and_true() {
    assert!(variables::ALL.is_sorted());
    assert_eq!(variables::value("max_allowed_packet"), Some(variables::STATEMENT_MAX.to_string().as_str()));
    assert_eq!(variables::value("no_such"), None);
}

#[test]
fn texts_keep_what_they_say() {
    let said = |text: &str| match tokens(text).expect("readable").as_slice() {
        [token] => match &token.kind {
            TokenKind::Text(said) | TokenKind::Name(said) => said.clone(),
            other => panic!("{other:?}"),
        },
        several => panic!("{several:?}"),
    };
    assert_eq!(said(r"'it''s'"), "it's");
    assert_eq!(said(r"'it\'s'"), "it's");
    assert_eq!(said(r#""say ""so""""#), r#"say "so""#);
    assert_eq!(said(r"'a\\b\n\%'"), "a\\b\n\\%");
    assert_eq!(said("`a``b\\`"), "a`b\\");
}

#[test]
fn hostile_texts_are_refused_and_never_panic() {
    for text in
        ["'", "\"", "`", "'\\", "/*", "/*/", "@@", "@", "\u{0}", "((((", "ä'", "--", "#", "SHOW 'x", ";;"]
    {
        let _ = parse(text);
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let _ = parse(&text[..end]);
        }
    }
    assert!(parse(&format!("SELECT {}", "(".repeat(1 << 19))).is_ok(), "SQLite is to judge it");
    assert!(matches!(parse("/* only */ ; -- this"), Err(Unparsed::Empty)));
}

#[test]
fn selects_are_put_into_sqlite_spelling_and_their_headings_back() {
    let rewritten = |text: &str| rewrite(text, &tokens(text).expect("readable"));
    assert_eq!(
        rewritten("select @@version_comment limit 1"),
        "select session_variable('version_comment') limit 1"
    );
    assert_eq!(
        rewritten("SELECT @@SESSION.sql_mode, @@global.version;"),
        "SELECT session_variable('sql_mode'), session_variable('version')"
    );
    assert_eq!(rewritten("/* c */ SELECT \"it's\" # end\n FROM `servers`"), "SELECT 'it''s' FROM `servers`");
    assert_eq!(heading("session_variable('version')"), "@@version");
    assert_eq!(heading("1 + session_variable('a') + session_variable('b') x"), "1 + @@a + @@b x");
    assert_eq!(heading("session_variable('a"), "session_variable('a");
}
