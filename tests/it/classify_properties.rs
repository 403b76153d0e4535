//! What must hold of the judges for any text: they never panic, form never changes a verdict, and an effect
//! only moves a statement towards the primary.

use pointsman::flavour::{Flavour, Version};
use pointsman::sql::{
    Access, Catalog, Charset, Dialect, Judge, Judged, Kind, Replacements, WriteBecause, substitute_calls,
};
use proptest::prelude::*;
use proptest::sample::select;

fn dialect(flavour: Flavour) -> Dialect {
    let number = if flavour == Flavour::MySql { 90_704 } else { 101_119 };
    Dialect::plain(Version { flavour, number })
}

fn judge(text: &[u8], dialect: &Dialect) -> Judged {
    Judge::new(10).judge(text, dialect, Some("app"), &Catalog::default())
}

fn is_read(text: &str, flavour: Flavour) -> bool {
    judge(text.as_bytes(), &dialect(flavour)).statement.access == Access::Read
}

/// Enough for every day; `PROPTEST_CASES` widens the search.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}

fn any_dialect() -> impl Strategy<Value = Dialect> {
    let flavours = select(vec![Flavour::MySql, Flavour::MariaDb]);
    let numbers = select(vec![50_744, 80_036, 90_704, 101_119, 110_802]);
    let charsets = select(vec![
        Charset::AsciiSafe,
        Charset::SingleByte,
        Charset::Gbk,
        Charset::Gb18030,
        Charset::Big5,
        Charset::ShiftJis,
    ]);
    (flavours, numbers, any::<bool>(), any::<bool>(), charsets).prop_map(
        |(flavour, number, ansi_quotes, no_backslash_escapes, charset)| Dialect {
            version: Version { flavour, number },
            ansi_quotes,
            no_backslash_escapes,
            charset,
        },
    )
}

/// Pieces from which statements, and things that look like them, are put together. Each is one token.
const TOKENS: &[&str] = &[
    "select",
    "from",
    "where",
    "t",
    "u",
    "a",
    "b",
    "*",
    ",",
    "1",
    "2.5",
    "'x'",
    "\"y\"",
    "`q`",
    "=",
    "and",
    "or",
    "in",
    "exists",
    "union",
    "all",
    "with",
    "recursive",
    "c",
    "as",
    "update",
    "set",
    "delete",
    "insert",
    "into",
    "values",
    "for",
    "share",
    "lock",
    "mode",
    "outfile",
    "@v",
    ":=",
    "@@read_only",
    "@@hostname",
    "f",
    "now",
    "count",
    "last_insert_id",
    "get_lock",
    "row_count",
    "next",
    "value",
    "show",
    "tables",
    "warnings",
    "explain",
    "analyze",
    "describe",
    "table",
    "call",
    "do",
    "begin",
    "start",
    "transaction",
    "read",
    "only",
    "commit",
    ";",
    ".",
    "?",
    "-",
    "+",
    "create",
    "temporary",
    "kill",
    "5",
    "prepare",
    "execute",
    "case",
    "when",
    "then",
    "end",
    "order",
    "by",
    "group",
    "limit",
    "over",
    "partition",
    "convert",
    "datetime",
    "columns",
    "json_table",
    "returning",
    "procedure",
    "set",
    "statement",
    "names",
    "global",
    "session",
    "not",
    "null",
];

fn statement() -> impl Strategy<Value = Vec<&'static str>> {
    let piece = prop_oneof![8 => select(TOKENS), 1 => Just("("), 1 => Just(")")];
    let starts = prop_oneof![
        4 => Just("select"), 1 => Just("with"), 1 => Just("("), 1 => Just("explain"), 1 => Just("show"),
        1 => select(TOKENS),
    ];
    (starts, prop::collection::vec(piece, 0..24)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        rest
    })
}

/// What may stand between two tokens without meaning anything, and between any but a name and its `(`.
const GAPS: &[&str] = &[
    " ",
    "\n",
    "\t ",
    "  ",
    "/**/",
    " /* select */ ",
    " -- x\n",
    " # delete\n",
    "/*!99999 for update */",
    "\r\n",
];

/// Writes tokens with gaps; before a `(` the gap of `plain` is kept, since it may mean something there.
fn write(tokens: &[&str], gaps: &[usize], upper: u64) -> String {
    let mut text = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let dotted = *token == "." || (index > 0 && tokens[index - 1] == ".");
        if index > 0 && *token != "(" && !dotted {
            text.push_str(GAPS[gaps.get(index).copied().unwrap_or(0) % GAPS.len()]);
        }
        let quoted = token.starts_with(['\'', '"', '`']);
        if !quoted && upper >> (index % 64) & 1 == 1 {
            text.push_str(&token.to_uppercase());
        } else {
            text.push_str(token);
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn any_bytes_are_judged(text in prop::collection::vec(any::<u8>(), 0..200), dialect in any_dialect()) {
        let judged = judge(&text, &dialect);
        let truncated = Judge::new(1).judge_truncated(&text, &dialect, None, &Catalog::default());
        prop_assert_eq!(&truncated.statement.access, &Access::Write(WriteBecause::TooLong));
        prop_assert_eq!(&truncated.statement.kind, &judged.statement.kind);
        let replacements = Replacements { row_count: Some("5"), ..Replacements::default() };
        if let Some(replaced) = substitute_calls(&text, &dialect, &replacements) {
            prop_assert_ne!(replaced, text);
        }
    }

    #[test]
    fn bytes_that_matter_are_judged(
        text in prop::collection::vec(select(b"'\"`\\/*!M+-#;@(),.?$\0\xbf\x5c\xa0\x81 \n09aexXbNn_:=".to_vec()), 0..60),
        dialect in any_dialect(),
    ) {
        let judged = judge(&text, &dialect);
        // None of these letters spells SELECT, so nothing of it is proven.
        prop_assert_ne!(&judged.statement.access, &Access::Read, "{}", judged.statement.digest);
    }

    #[test]
    fn form_changes_nothing(
        tokens in statement(),
        gaps in prop::collection::vec(0usize..100, 24),
        upper in any::<u64>(),
        flavour in select(vec![Flavour::MySql, Flavour::MariaDb]),
    ) {
        let plain = judge(write(&tokens, &[], 0).as_bytes(), &dialect(flavour));
        let formed = judge(write(&tokens, &gaps, upper).as_bytes(), &dialect(flavour));
        prop_assert_eq!(plain.statement, formed.statement);
    }

    #[test]
    fn a_gap_before_a_parenthesis_only_moves_towards_the_primary(
        tokens in statement(), flavour in select(vec![Flavour::MySql, Flavour::MariaDb]),
    ) {
        let glued = write(&tokens, &[], 0);
        let spaced = tokens.join(" ");
        if is_read(&spaced, flavour) && !tokens.contains(&".") {
            prop_assert!(is_read(&glued, flavour), "{} is read, {} is not", spaced, glued);
        }
    }

    #[test]
    fn an_effect_only_moves_towards_the_primary(
        tokens in statement(), flavour in select(vec![Flavour::MySql, Flavour::MariaDb]),
    ) {
        let text = write(&tokens, &[], 0);
        for changed in [
            format!("{text} FOR UPDATE"),
            format!("{text}; DELETE FROM t"),
            format!("SELECT * FROM ({text}) AS d FOR UPDATE"),
            format!("SELECT 1 FROM t WHERE unheard_of(1) AND EXISTS ({text})"),
            format!("SELECT @x := 1, ({text})"),
            format!("SELECT LAST_INSERT_ID(), ({text})"),
            format!("EXPLAIN ANALYZE {text}"),
            format!("WITH w AS ({text}) DELETE FROM t"),
            format!("WITH w AS ({text}), x (y) AS (SELECT unheard_of()) SELECT 1"),
        ] {
            prop_assert!(!is_read(&changed, flavour), "{} is taken for a read", changed);
        }
        let wrapped = format!("SELECT * FROM ({text}) AS d");
        if is_read(&wrapped, flavour) && tokens[0] == "select" && !tokens.contains(&".") && !tokens.contains(&";") && is_closed(&tokens) {
            prop_assert!(is_read(&text, flavour), "{} is a read, {} is not", wrapped, text);
        }
    }

    #[test]
    fn the_digest_does_not_depend_on_literals(
        tokens in statement(), literals in prop::collection::vec(0usize..8, 24),
    ) {
        let other: Vec<_> = tokens
            .iter()
            .zip(literals.iter().chain(std::iter::repeat(&0)))
            .map(|(token, pick)| match *token {
                "1" | "2.5" | "'x'" | "\"y\"" | "5" => {
                    ["7", ".5", "'it''s'", "\"a\\\"b\"", "0x1F", "1e5", "''", "x'41'"][*pick]
                }
                token => token,
            })
            .collect();
        // A number that begins with a dot and a string behind `@` would make other tokens.
        let safe = |tokens: &[&str]| tokens.join(" ");
        let (one, two) = (safe(&tokens), safe(&other));
        let dialect = dialect(Flavour::MySql);
        let (one, two) = (judge(one.as_bytes(), &dialect), judge(two.as_bytes(), &dialect));
        prop_assert_eq!(&one.statement.digest, &two.statement.digest);
        prop_assert_eq!(&one.statement.access, &two.statement.access);
    }

    #[test]
    fn a_digest_is_its_own_digest(tokens in statement()) {
        // Three dots in a row stand for a list in a digest, and for nothing in a statement.
        let tokens: Vec<_> = tokens.into_iter().filter(|token| *token != ".").collect();
        let dialect = dialect(Flavour::MySql);
        let once = judge(tokens.join(" ").as_bytes(), &dialect);
        let twice = judge(once.statement.digest.as_bytes(), &dialect);
        prop_assert_eq!(&once.statement.digest, &twice.statement.digest);
        let kinds_with_values = matches!(once.statement.kind, Kind::Kill { .. });
        if !kinds_with_values {
            prop_assert_eq!(&once.statement, &twice.statement);
        }
    }
}

fn is_closed(tokens: &[&str]) -> bool {
    let mut depth = 0i32;
    tokens.iter().all(|token| {
        depth += i32::from(*token == "(") - i32::from(*token == ")");
        depth >= 0
    }) && depth == 0
}

/// Each pair of tokens of real statements, with each comment between them.
#[test]
fn comments_between_any_two_tokens_change_nothing() {
    let statements = [
        "SELECT a , b FROM t JOIN u USING ( id ) WHERE a IN ( 1 , 2 ) AND b = 'x' ORDER BY a LIMIT 5",
        "SELECT * FROM t WHERE id = 5 FOR UPDATE",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "WITH c ( a ) AS ( SELECT 1 ) SELECT * FROM c",
        "WITH c AS ( SELECT 1 ) DELETE FROM t",
        "SELECT 1 INTO OUTFILE 'x'",
        "SELECT @a := 1",
        "SET SESSION sql_log_bin = 0",
        "SET TRANSACTION READ ONLY",
        "START TRANSACTION READ ONLY",
        "SHOW BINARY LOGS",
        "SHOW WARNINGS",
        "EXPLAIN ANALYZE SELECT 1",
        "CREATE TEMPORARY TABLE t ( a INT )",
        "SELECT f ( 1 )",
        "SELECT last_insert_id ( )",
        "SELECT @@global . read_only",
        "FLUSH TABLES WITH READ LOCK",
        "KILL QUERY 5",
        "SELECT NEXT VALUE FOR s",
        "INSERT INTO t ( a ) VALUES ( 1 ) , ( 2 )",
    ];
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        let dialect = dialect(flavour);
        for text in statements {
            let tokens: Vec<_> = text.split(' ').collect();
            let plain = judge(text.as_bytes(), &dialect).statement;
            for at in 0..=tokens.len() {
                for gap in GAPS {
                    let (before, after) = tokens.split_at(at);
                    let formed = format!("{} {gap} {}", before.join(" "), after.join(" "));
                    assert_eq!(plain, judge(formed.as_bytes(), &dialect).statement, "{formed}");
                }
            }
        }
    }
}

#[test]
fn a_statement_of_16_mib_is_one_short_digest() {
    let mut text = String::from("INSERT INTO t VALUES (0, 'x')");
    while text.len() < 16 << 20 {
        text.push_str(", (1, 'a longer text, with \\' and '' in it', NULL, -5)");
    }
    let judged = judge(text.as_bytes(), &dialect(Flavour::MySql));
    assert_eq!(judged.statement.kind, Kind::Modify);
    assert_eq!(&*judged.statement.digest, "insert into t values (...)");
}

#[test]
fn long_and_deep_statements_are_judged_to_their_end() {
    let terms = |count: usize, tail: &str| format!("SELECT 1{}{tail}", " + 1".repeat(count));
    let nested = |depth: usize, core: &str| {
        format!(
            "SELECT * FROM t WHERE a IN {}{core}{}",
            "(SELECT a FROM t WHERE a IN ".repeat(depth),
            ")".repeat(depth)
        )
    };
    let deep = |depth: usize, core: &str| format!("SELECT {}{core}{}", "(".repeat(depth), ")".repeat(depth));
    for (text, read) in [
        (terms(50_000, ""), true),
        (terms(50_000, " FROM t FOR UPDATE"), false),
        (terms(50_000, " + f(1)"), false),
        (nested(40, "(SELECT 1)"), true),
        (nested(40, "(SELECT a FROM t FOR UPDATE)"), false),
        (nested(40, "(SELECT f(1))"), false),
        (nested(500, "(SELECT 1)"), true),
        (deep(1_000, "1"), true),
        (deep(1_000, "f(1)"), false),
        (deep(100_000, "1"), false),
        (format!("{}SELECT 1", "/* c */".repeat(100_000)), true),
        (format!("SELECT 1{}", ";".repeat(100_000)), true),
        (format!("SELECT '{}'", "\\'".repeat(100_000)), true),
        (format!("SELECT {}1 FROM t", "a, ".repeat(100_000)), true),
        (format!("SELECT {}1 FROM t FOR UPDATE", "a, ".repeat(100_000)), false),
        (format!("SELECT 1{}", " UNION SELECT 1".repeat(20_000)), true),
        (format!("SELECT {}", "- ".repeat(100_000)), true),
        (format!("SELECT {}", "@@".repeat(100_000)), false),
        (format!("SELECT {}", "x".repeat(1 << 20)), true),
    ] {
        assert_eq!(is_read(&text, Flavour::MySql), read, "{}… of {} bytes", &text[..40], text.len());
    }
}

#[test]
fn a_cached_verdict_is_not_that_of_another_text() {
    let judge = Judge::new(100);
    let catalog = Catalog::default();
    let dialect = dialect(Flavour::MySql);
    for (text, kind) in [
        ("KILL 5", Kind::Kill { query_only: false, id: Some(5) }),
        ("KILL 6", Kind::Kill { query_only: false, id: Some(6) }),
    ] {
        let judged = judge.judge(text.as_bytes(), &dialect, None, &catalog);
        assert_eq!(judged.statement.kind, kind);
    }
    let access = |text: &str| judge.judge(text.as_bytes(), &dialect, None, &catalog).statement.access.clone();
    assert_eq!(access("SHOW VARIABLES LIKE 'version'"), Access::Read);
    assert_ne!(access("SHOW VARIABLES LIKE 'read_only'"), Access::Read);
    assert_eq!(access("SHOW VARIABLES LIKE 'version'"), Access::Read);
    assert_eq!(access("SELECT 'x' FROM t"), Access::Read);
    assert_ne!(access("SELECT 'x' FROM t FOR UPDATE"), Access::Read);
}

#[test]
fn a_refused_digest_stays_a_write() {
    let judge = Judge::new(100);
    let catalog = Catalog::default();
    let dialect = dialect(Flavour::MySql);
    let access = |text: &str, schema| {
        judge.judge(text.as_bytes(), &dialect, schema, &catalog).statement.access.clone()
    };
    assert_eq!(access("SELECT a FROM sneaky WHERE id = 1", None), Access::Read);
    judge.remember_write(b"SELECT a FROM sneaky WHERE id = 2", &dialect);
    assert_eq!(access("SELECT a FROM sneaky WHERE id = 3", None), Access::Write(WriteBecause::Learned));
    assert_eq!(
        access("SELECT a FROM sneaky WHERE id = 3", Some("app")),
        Access::Write(WriteBecause::Learned)
    );
    assert_eq!(access("SELECT a FROM honest WHERE id = 3", None), Access::Read);
}
