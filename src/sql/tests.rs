//! The rooms inside: substitution, explanation, tables, and the second judge by itself.

use super::*;
use crate::flavour::{Flavour, Version};

fn dialect(flavour: Flavour) -> Dialect {
    let number = if flavour == Flavour::MySql { 90_704 } else { 101_119 };
    Dialect::plain(Version { flavour, number })
}

fn substituted(text: &str) -> Option<String> {
    let replacements = Replacements {
        row_count: Some("3"),
        found_rows: Some("4"),
        connection_id: Some("5"),
        last_insert_id: Some("6"),
    };
    let bytes = substitute_calls(text.as_bytes(), &dialect(Flavour::MySql), &replacements)?;
    Some(String::from_utf8(bytes).expect("UTF-8 in, UTF-8 out"))
}

#[test]
fn calls_are_replaced_and_columns_keep_their_names() {
    for (text, expected) in [
        ("SELECT ROW_COUNT()", "SELECT 3 AS `ROW_COUNT()`"),
        ("select row_count ( ) , 1", "select 3 AS `row_count ( )` , 1"),
        ("SELECT FOUND_ROWS(/* c */);", "SELECT 4 AS `FOUND_ROWS(/* c */)`;"),
        ("SELECT ROW_COUNT(/*`*/)", "SELECT 3 AS `ROW_COUNT(/*``*/)`"),
        ("SELECT CONNECTION_ID() AS id", "SELECT 5 AS id"),
        ("SELECT CONNECTION_ID() id", "SELECT 5 id"),
        ("SELECT LAST_INSERT_ID() 'id'", "SELECT 6 'id'"),
        ("SELECT LAST_INSERT_ID() FROM dual", "SELECT 6 AS `LAST_INSERT_ID()` FROM dual"),
        (
            "SELECT DISTINCT LAST_INSERT_ID(), ROW_COUNT()",
            "SELECT DISTINCT 6 AS `LAST_INSERT_ID()`, 3 AS `ROW_COUNT()`",
        ),
        ("SELECT 1 + ROW_COUNT()", "SELECT 1 + 3"),
        ("SELECT ROW_COUNT() + 1", "SELECT 3 + 1"),
        ("SELECT ABS(ROW_COUNT()), 1", "SELECT ABS(3), 1"),
        ("SELECT IF(1, ROW_COUNT(), 2)", "SELECT IF(1, 3, 2)"),
        ("SELECT * FROM t WHERE id = LAST_INSERT_ID()", "SELECT * FROM t WHERE id = 6"),
        ("SELECT a FROM t ORDER BY a, FOUND_ROWS()", "SELECT a FROM t ORDER BY a, 4"),
        ("SELECT (SELECT ROW_COUNT())", "SELECT (SELECT 3 AS `ROW_COUNT()`)"),
        ("SELECT 1 UNION SELECT ROW_COUNT()", "SELECT 1 UNION SELECT 3 AS `ROW_COUNT()`"),
        ("KILL CONNECTION_ID()", "KILL 5"),
        (
            "INSERT INTO t VALUES (LAST_INSERT_ID(), 'LAST_INSERT_ID()')",
            "INSERT INTO t VALUES (6, 'LAST_INSERT_ID()')",
        ),
        ("SELECT /*! ROW_COUNT() */", "SELECT /*! 3 AS `ROW_COUNT()` */"),
        ("SELECT ROW_COUNT(), 'é'", "SELECT 3 AS `ROW_COUNT()`, 'é'"),
    ] {
        assert_eq!(substituted(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_is_no_such_call_is_left_alone() {
    for text in [
        "SELECT 1",
        "SELECT 'ROW_COUNT()'",
        "SELECT \"ROW_COUNT()\" FROM t",
        "SELECT `ROW_COUNT`()",
        "SELECT 1 /* ROW_COUNT() */",
        "SELECT 1 -- ROW_COUNT()",
        "SELECT row_count FROM t",
        "SELECT t.row_count()",
        "SELECT app.row_count()",
        "SELECT LAST_INSERT_ID(5)",
        "SELECT LAST_INSERT_ID(id) FROM t",
        "SELECT 1 /*!99999 ROW_COUNT() */",
        "SELECT ROW_COUNT(/*!50000 ) */",
        "INSERT INTO t VALUES (1); SELECT LAST_INSERT_ID()",
        "CREATE VIEW v AS SELECT CONNECTION_ID()",
        "CREATE PROCEDURE p() SELECT ROW_COUNT()",
        "SELECT ROW_COUNT(), 'open",
    ] {
        assert_eq!(substituted(text), None, "{text}");
    }
}

#[test]
fn only_what_has_a_value_is_replaced() {
    let replacements = Replacements { connection_id: Some("5"), ..Replacements::default() };
    let text = b"SELECT ROW_COUNT() + CONNECTION_ID()";
    let replaced = substitute_calls(text, &dialect(Flavour::MySql), &replacements);
    assert_eq!(replaced.as_deref(), Some(&b"SELECT ROW_COUNT() + 5"[..]));
}

fn explained(input: &str, lines: bool, json: bool) -> String {
    let options = ExplainOptions { dialect: dialect(Flavour::MySql), schema: None, lines, json };
    explain(input.as_bytes(), &options, &Catalog::default())
}

#[test]
fn explain_names_target_reason_and_pins() {
    for (text, expected) in [
        ("SELECT 1", "replica: read-only\n"),
        ("SELECT 1 FOR UPDATE", "primary: takes row locks\n"),
        ("KILL 5", "proxy: the proxy ends the session or statement of that id itself\n"),
        ("SET @a = 1", "primary: changes the session\n"),
        ("SET @a = b", "primary: changes the session [pins user_variable]\n"),
        ("SELECT SQL_CALC_FOUND_ROWS 1", "primary: pins the session: found_rows [pins found_rows]\n"),
        ("SELECT @a", "replica: read-only\n"),
        ("SELECT CONNECTION_ID()", "replica: read-only\n"),
        ("START TRANSACTION READ ONLY", "replica: read-only\n"),
        ("/* pointsman: primary */ SELECT 1", "primary: read-only; a hint asks for the primary\n"),
        ("/* pointsman: server=b */ SELECT 1", "replica: read-only; a hint asks for server b\n"),
        ("/* pointsman: replica */ DELETE FROM t", "primary: DELETE is not read-only\n"),
    ] {
        assert_eq!(explained(text, true, false), expected, "{text}");
    }
}

#[test]
fn explain_takes_a_line_or_all_of_the_input() {
    let input = "SELECT 1\r\n\nDELETE\n";
    assert_eq!(explained(input, true, false), "replica: read-only\nprimary: DELETE is not read-only\n");
    let whole = explained("SELECT 1\nFOR UPDATE\n", false, false);
    assert!(whole.starts_with("target   primary\nbecause  takes row locks\nkind     select\n"), "{whole}");
}

#[test]
fn explain_escapes_json() {
    let json = explained("SELECT `a\"b\\\u{1}`, 'x'", true, true);
    let expected = "{\"target\":\"replica\",\"pins\":[],\"unpins\":[],\"needs\":[],\"because\":\"read-only\",\
                    \"kind\":\"select\",\"digest\":\"select `a\\\"b\\\\\\u0001`, ?\"}\n";
    assert_eq!(json, expected);
    let json = explained("SELECT GET_LOCK('a', 1)", true, true);
    assert!(json.starts_with("{\"target\":\"primary\",\"pins\":[\"user_lock\"],"), "{json}");
}

/// The second judge by itself: what it would catch if the first had missed it.
#[test]
fn the_parser_objects_to_what_writes() {
    let dialect = dialect(Flavour::MySql);
    let catalog = Catalog::default();
    let objection =
        |digest: &str| parse::objection(digest.as_bytes(), &Kind::Select, &dialect, None, &catalog);
    for (digest, expected) in [
        ("select * from t where id = ? and a in (...)", None),
        ("select count(*), now(), json_extract(a, ?) from t as x join u using (id) group by a", None),
        ("with c (a) as (select ?) select * from c", None),
        ("select * from t for update", Some("a locking clause")),
        ("select * from (select * from t for share) as d", Some("a locking clause")),
        ("select f(a) from t", Some("function f")),
        ("select * from t where exists (select app.f(?))", Some("function app.f")),
        ("select `now`()", Some("function `now`")),
        ("select * from f(?)", Some("function f")),
        ("update t set a = ?", Some("UPDATE")),
        ("delete from t", Some("DELETE")),
        ("insert into t values (...)", Some("INSERT")),
        ("select ?; select ?", Some("several statements")),
        ("with c as (select ?) update t set a = ?", Some("UPDATE")),
        ("this is not sql", None),
    ] {
        assert_eq!(objection(digest).as_deref(), expected, "{digest}");
    }
}

#[test]
fn the_parser_is_not_asked_for_long_chains() {
    let dialect = dialect(Flavour::MySql);
    let chain = format!("select ?{} + f(?)", " + ?".repeat(100_000));
    assert_eq!(parse::objection(chain.as_bytes(), &Kind::Select, &dialect, None, &Catalog::default()), None);
}

#[test]
fn tables_of_variables_are_sorted_and_agree() {
    for (flavour, number) in [(Flavour::MySql, 90_704), (Flavour::MySql, 50_744), (Flavour::MariaDb, 101_119)]
    {
        let names = tracked_variables(Version { flavour, number });
        assert!(names.is_sorted(), "{flavour} {number}");
        for name in names {
            let old = number < 80_000;
            assert!(old || is_replayable_variable(name, flavour), "{name}");
        }
    }
    for name in
        ["sql_log_bin", "gtid_next", "timestamp", "insert_id", "rand_seed1", "profiling", "pseudo_thread_id"]
    {
        assert!(!is_replayable_variable(name, Flavour::MySql), "{name}");
        assert!(!is_replayable_variable(name, Flavour::MariaDb), "{name}");
    }
}

#[test]
fn character_sets_are_known_by_name() {
    for (name, expected) in [
        ("utf8mb4", Charset::AsciiSafe),
        ("GBK", Charset::Gbk),
        ("gb18030", Charset::Gb18030),
        ("big5", Charset::Big5),
        ("sjis", Charset::ShiftJis),
        ("cp932", Charset::ShiftJis),
        ("latin1", Charset::SingleByte),
        ("unheard_of", Charset::SingleByte),
    ] {
        assert_eq!(Charset::named(name), expected, "{name}");
    }
}

/// The expressions that SET gives its user variables, with `latin1` and `utf8mb4` for what texts are read by.
fn expressions(text: &str, no_backslash_escapes: bool) -> Vec<Option<String>> {
    let dialect = Dialect { no_backslash_escapes, ..dialect(Flavour::MySql) };
    let judged = Judge::new(10).judge(text.as_bytes(), &dialect, None, &Catalog::default());
    let reading = Reading { client: "latin1", connection: "utf8mb4", collation: "utf8mb4_bin" };
    match judged.statement.effect.as_deref() {
        Some(Effect::Assigns(assigned)) => {
            let values = assigned.variables.iter().map(|(_, value)| value.as_ref());
            values.map(|value| value.and_then(|value| value.expression(reading))).collect()
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn literals_are_written_down_for_any_connection() {
    for (text, expected) in [
        ("SET @a = -1.50", "-1.50"),
        ("SET @a = +2", "2"),
        ("SET @a = true", "true"),
        ("SET @a = NULL", "NULL"),
        ("SET @a = x'0aF'", "x'0aF'"),
        ("SET @a = 'x'", "CONVERT(_latin1 X'78' USING utf8mb4) COLLATE utf8mb4_bin"),
        ("SET @a = ''", "CONVERT(_latin1 X'' USING utf8mb4) COLLATE utf8mb4_bin"),
        ("SET @a = 'it''s'", "CONVERT(_latin1 X'69742773' USING utf8mb4) COLLATE utf8mb4_bin"),
        ("SET @a = \"a\\n\\%\"", "CONVERT(_latin1 X'610A5C25' USING utf8mb4) COLLATE utf8mb4_bin"),
        ("SET @a = 'x' COLLATE utf8mb4_bin", "CONVERT(_latin1 X'78' USING utf8mb4) COLLATE utf8mb4_bin"),
        ("SET @a = _gbk'x'", "_gbk X'78'"),
        ("SET @a = _latin1 X'E9' COLLATE latin1_bin", "_latin1 X'E9' COLLATE latin1_bin"),
        ("SET @a = _binary'x'", "_binary X'78'"),
    ] {
        assert_eq!(expressions(text, false), [Some(expected.to_owned())], "{text}");
    }
    let plain = expressions("SET @a = 'a\\n'", true);
    assert_eq!(plain, [Some("CONVERT(_latin1 X'615C6E' USING utf8mb4) COLLATE utf8mb4_bin".to_owned())]);
    for text in ["SET @a = (1)", "SET @a = 1 + 1", "SET @a = ?", "SET @a = 'x' 'y'", "SET @a = _latin1 X'E'"]
    {
        assert_eq!(expressions(text, false), [None], "{text}");
    }
}

#[test]
fn a_quoted_text_is_read_as_it_was() {
    for no_backslash_escapes in [false, true] {
        let dialect = Dialect { no_backslash_escapes, ..dialect(Flavour::MySql) };
        let text = b"SELECT 'it''s', \"\\n\"";
        let quoted = quoted(text, &dialect).expect("utf-8");
        let prepare = [b"PREPARE s FROM ".as_slice(), &quoted].concat();
        let judged = Judge::new(10).judge(&prepare, &dialect, None, &Catalog::default());
        let source = TextSource::Literal(text.as_slice().into());
        let expected = Effect::Prepare { name: "s".into(), text: source };
        assert_eq!(judged.statement.effect.as_deref(), Some(&expected));
    }
}

#[test]
fn a_set_of_the_proxys_variables_is_taken_apart() {
    use AssignedValue::{Expression, Null, Parameter, Text};
    use ProxyVariable::{Consistency, Gtid};
    let text = |text: &str| Text(text.to_owned());
    type Assigned = Result<Vec<(ProxyVariable, AssignedValue)>, NotAssigned>;
    let cases: &[(&str, Assigned)] = &[
        ("SET @pointsman_gtid = '0-1-5'", Ok(vec![(Gtid, text("0-1-5"))])),
        ("set/**/@`Pointsman_GTID`:=\"a\n\";", Ok(vec![(Gtid, text("a\n"))])),
        (
            "SET @pointsman_gtid=NULL,@pointsman_consistency=?",
            Ok(vec![(Gtid, Null), (Consistency, Parameter)]),
        ),
        // What a character set or a rule of quoting could change is left to a server.
        ("SET @pointsman_gtid = 'it''s'", Ok(vec![(Gtid, Expression(22..29))])),
        ("SET @pointsman_gtid = 'a\\'b'", Ok(vec![(Gtid, Expression(22..28))])),
        ("SET @pointsman_gtid = 'é'", Ok(vec![(Gtid, Expression(22..26))])),
        ("SET @pointsman_gtid = N'a'", Ok(vec![(Gtid, Expression(22..26))])),
        ("SET @pointsman_gtid = IF(a, b, (c)) , @pointsman_gtid = @x", {
            Ok(vec![(Gtid, Expression(22..35)), (Gtid, Expression(56..58))])
        }),
        ("SET @pointsman_gtid = ", Err(NotAssigned::Unreadable)),
        ("SET @pointsman_gtid", Err(NotAssigned::Unreadable)),
        ("SET @pointsman_gtid = 'x", Err(NotAssigned::Unreadable)),
        ("SET /*! @pointsman_gtid = 'x'", Err(NotAssigned::Unreadable)),
        ("SET @pointsman_gtid = 'x', ", Err(NotAssigned::NotAlone)),
        ("SET @pointsman_gtid = 'x', autocommit = 1", Err(NotAssigned::NotAlone)),
        ("SET SESSION x = 1, @pointsman_gtid = 'x'", Err(NotAssigned::NotAlone)),
        ("SET @pointsman_gtids = 'x'", Err(NotAssigned::UnknownName("@pointsman_gtids".to_owned()))),
        ("SELECT @pointsman_gtid", Err(NotAssigned::NotAlone)),
    ];
    for (text, expected) in cases {
        let assigned = proxy_assignments(text.as_bytes(), &dialect(Flavour::MySql));
        let assigned: Assigned =
            assigned.map(|list| list.into_iter().map(|one| (one.variable, one.value)).collect());
        assert_eq!(&assigned, expected, "{text}");
    }
}
