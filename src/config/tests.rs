//! The table of documentation and the reader of the file name the same keys.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use toml::de::DeTable;

use super::document::{nearest, paths};
use super::file::Source;
use super::quantity::{parse_duration, parse_size, show_duration, show_size};
use super::{Surroundings, check};

#[test]
fn every_key_read_is_documented_and_every_documented_key_is_read() {
    let source = Source::new("p.toml", "");
    let empty = DeTable::new();
    let surroundings = Surroundings {
        folder: Path::new(""),
        variable: &|_| None,
        read: &|_| Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    check::read(source.root(&empty), &surroundings);
    let sections = ["cluster", "cluster.control", "cluster.tls", "listen", "listen.tls"];
    let sections =
        sections.into_iter().chain(["routing", "failover", "pool", "limits", "admin", "log", "users"]);
    let sections: BTreeSet<String> = sections.map(str::to_owned).collect();
    let read: BTreeSet<String> = source.asked().into_iter().filter(|path| !sections.contains(path)).collect();
    assert_eq!(read, paths().into_iter().collect());
}

#[test]
fn durations_and_sizes_read_back_as_shown() {
    for text in ["0ms", "1ms", "500ms", "10s", "90s", "5m", "8h", "1d"] {
        let duration = parse_duration(text).expect(text);
        assert_eq!(show_duration(duration), text);
    }
    for text in ["0B", "1B", "1000B", "64KiB", "16MiB", "1GiB", "4GiB"] {
        assert_eq!(show_size(parse_size(text).expect(text)), text);
    }
    for text in ["", "5", "s", "-5s", "1.5s", "5 parsecs", "99999999999999999999s", "9999999999999999999d"] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
    for text in ["16MB", "16", "KiB", "18446744073709551615KiB"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
}

#[test]
fn misspelt_names_find_the_name_meant() {
    let names = ["policy", "max_lag", "primary_reads", "hints", "primary_wait"];
    assert_eq!(nearest("polciy", &names), Some("policy"));
    assert_eq!(nearest("maxlag", &names), Some("max_lag"));
    assert_eq!(nearest("hint", &names), Some("hints"));
    assert_eq!(nearest("colour", &names), None);
    assert_eq!(nearest("x", &names), None);
}
