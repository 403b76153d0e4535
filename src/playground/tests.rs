//! What the room decides without starting anything.

use super::chaos::{self, Order};
use super::{accounts, ports, programs};
use crate::flavour::Flavour;

#[test]
fn version_lines_are_read() {
    let lines = [
        ("/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", Some("9.7.4-2")),
        (
            "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)",
            Some("10.11.19-MariaDB-0+deb12u1"),
        ),
        ("mysqld: unknown option", None),
        ("Ver ", None),
        ("", None),
    ];
    for (line, version) in lines {
        assert_eq!(programs::version_in(line), version, "{line}");
    }
}

#[test]
fn servers_are_told_apart_by_version_not_by_name() {
    let cases = [
        ("9.7.4-2", Flavour::MySql, true),
        ("8.0.23", Flavour::MySql, true),
        ("8.0.22", Flavour::MySql, false),
        ("5.7.44-log", Flavour::MySql, false),
        ("10.11.19-MariaDB-0+deb12u1", Flavour::MySql, false),
        ("10.11.19-MariaDB-0+deb12u1", Flavour::MariaDb, true),
        ("9.7.4-2", Flavour::MariaDb, false),
    ];
    for (version, flavour, wanted) in cases {
        assert_eq!(programs::is_wanted(flavour, version), wanted, "{version} as {flavour}");
    }
}

#[test]
fn free_ports_differ_and_are_not_ephemeral() {
    let (first, second) = (ports::free(), ports::free());
    assert_ne!(first, second);
    for port in [first, second] {
        assert!(port.is_some_and(|port| (20_000..32_768).contains(&port)), "{port:?}");
    }
}

#[test]
fn setup_is_one_statement_a_line() {
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        for line in accounts::setup(flavour).lines() {
            assert!(line.ends_with(';') && line.matches(';').count() == 1, "{line}");
        }
    }
}

#[test]
fn the_console_understands_what_it_offers() {
    let lines = [
        ("kill primary", Some(Order::Kill("primary".to_owned()))),
        (" STOP  replica1; ", Some(Order::Stop("replica1".to_owned()))),
        ("heal", Some(Order::Heal)),
        ("heal;", Some(Order::Heal)),
        ("kill", None),
        ("heal primary", None),
        ("kill primary replica1", None),
        ("drop primary", None),
        ("", None),
    ];
    for (line, order) in lines {
        assert_eq!(Order::parse(line), order, "{line}");
    }
    for line in chaos::HELP {
        let offered = line.split("  ").next().unwrap_or_default();
        assert!(Order::parse(offered).is_some(), "{offered}");
    }
}
