//! What the harness itself must get right: a difference that it does not see is one that nobody sees.

use pointsman::flavour::Flavour;

use crate::accepted::Accepted;
use crate::compare::{Run, Status, differences, read};
use crate::page::Page;
use crate::report::Row;
use crate::stage::Way;

fn run(text: &str) -> Run {
    Run { results: read(text), fault: None }
}

fn row() -> Row {
    Row::new("d", "Driver, tests", Flavour::MySql, "MySQL 9.7".to_owned())
}

#[test]
fn the_worst_result_of_a_name_counts() {
    for text in ["ok\ta\nskip\ta\nfail\ta", "fail\ta\nskip\ta\nok\ta"] {
        assert_eq!(read(text)["a"], Status::Failed);
    }
    assert_eq!(read("skip\ta\nok\ta")["a"], Status::Skipped);
    assert_eq!(read("no tab\nbroken\ta")["a"], Status::Failed);
}

#[test]
fn what_never_happened_directly_is_a_difference() {
    let words = |direct: &[&str], through: &[&str]| {
        let runs = |texts: &[&str]| texts.iter().map(|text| run(text)).collect::<Vec<_>>();
        let found = differences(&runs(direct), &runs(through));
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(words(&["ok\ta"], &["fail\ta"]), "a: directly passed, through the proxy failed");
    assert_eq!(words(&["fail\ta"], &["ok\ta"]), "a: directly failed, through the proxy passed");
    assert_eq!(
        words(&["ok\ta\nok\tb"], &["ok\ta\nok\tc"]),
        "b: directly passed, through the proxy not run; c: directly not run, through the proxy passed"
    );
    // It fails now and then, through the proxy only.
    assert_eq!(
        words(&["ok\ta", "ok\ta"], &["ok\ta", "fail\ta"]),
        "a: directly passed, through the proxy passed or failed"
    );
    // It is changeable by itself.
    assert_eq!(words(&["ok\ta", "fail\ta"], &["fail\ta", "fail\ta"]), "");
}

#[test]
fn nothing_that_did_not_run_is_clean() {
    let accepted = Accepted::read("").expect("nothing to read");
    let problems =
        |row: &Row| row.problems(&accepted).map(|finding| finding.to_string()).collect::<Vec<_>>().join("; ");
    let mut good = row();
    good.direct = vec![run("ok\ta")];
    good.through = vec![(Way::Shared, vec![run("ok\ta")])];
    assert_eq!(problems(&good), "");

    let mut missing = row();
    missing.missing = Some("no network".to_owned());
    assert_eq!(problems(&missing), "(sources): no network");

    let mut empty = row();
    empty.direct = vec![run("")];
    empty.through = vec![(Way::Shared, vec![run("")])];
    assert_eq!(
        problems(&empty),
        "direct: (runs to its end): no test at all; shared: (runs to its end): no test at all"
    );

    good.through[0].1.push(Run { fault: Some("status 139".to_owned()), ..run("ok\ta") });
    assert_eq!(problems(&good), "shared: (runs to its end): status 139");
}

#[test]
fn what_is_accepted_is_so_for_its_suite_and_flavour() {
    let accepted = Accepted::read("# head\nd | mysql | a* | why a\nd | both | (sources) | no such package")
        .expect("lines");
    assert_eq!(accepted.reason("d", Flavour::MySql, "ab"), Some("why a"));
    assert_eq!(accepted.reason("d", Flavour::MySql, "ba"), None);
    assert_eq!(accepted.reason("d", Flavour::MariaDb, "ab"), None);
    assert_eq!(accepted.reason("e", Flavour::MySql, "ab"), None);
    assert_eq!(accepted.reason("d", Flavour::MariaDb, "(sources)"), Some("no such package"));
    assert!(Accepted::read("d | oracle | a | why").is_err() && Accepted::read("d | both | a").is_err());
}

#[test]
fn a_page_keeps_what_was_not_run_again() {
    let accepted = Accepted::read("").expect("nothing to read");
    let (mut one, mut other) = (row(), row());
    one.direct = vec![run("ok\ta")];
    one.through = vec![(Way::Shared, vec![run("fail\ta")])];
    other.missing = Some("no network".to_owned());
    (other.what, other.flavour) = ("Other, tests", Flavour::MariaDb);
    let page = |page: Page, row: &Row| page.with(row, &accepted).to_string();
    let first = page(Page::read(&page(Page::default(), &one)), &other);
    assert_eq!(Page::read(&first).to_string(), first);
    let line = "- Driver, tests, mysql, shared: a: directly passed, through the proxy failed\n";
    assert!(
        first.contains(line) && first.contains("- Other, tests, mariadb: (sources): no network\n"),
        "{first}"
    );

    one.through = vec![(Way::Shared, vec![run("ok\ta")])];
    let second = page(Page::read(&first), &one);
    assert!(!second.contains("through the proxy failed") && second.contains("no network"), "{second}");
    assert_eq!(second.matches("| Driver, tests |").count(), 1, "{second}");
}
