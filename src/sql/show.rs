//! Which SHOW a replica may answer.

use super::scan::Scan;
use super::{Access, WriteBecause};

/// The first words of SHOW that any server of the cluster answers alike, or for itself.
const READS: &[&[u8]] = &[
    b"all_plugins",
    b"authors",
    b"character",
    b"charset",
    b"client_statistics",
    b"collation",
    b"columns",
    b"contributors",
    b"create",
    b"databases",
    b"engine",
    b"engines",
    b"events",
    b"fields",
    b"function",
    b"generic",
    b"grants",
    b"index",
    b"index_statistics",
    b"indexes",
    b"keys",
    b"library",
    b"locales",
    b"open",
    b"package",
    b"parse_tree",
    b"plugins",
    b"privileges",
    b"procedure",
    b"schemas",
    b"sequences",
    b"status",
    b"storage",
    b"table",
    b"table_statistics",
    b"tables",
    b"triggers",
    b"user_statistics",
    b"variables",
    b"query_response_time",
    b"thread_statistics",
];

/// Words between SHOW and what is shown.
const MODIFIERS: &[&[u8]] = &[b"full", b"extended", b"global", b"session", b"local"];

pub(super) fn access(scan: &mut Scan<'_>) -> Access {
    let first = if MODIFIERS.contains(&scan.head(1)) { 2 } else { 1 };
    let first = if MODIFIERS.contains(&scan.head(first)) { first + 1 } else { first };
    let word = scan.head(first);
    let because = match word {
        b"warnings" | b"errors" | b"count" | b"profile" | b"profiles" => {
            scan.needs.diagnostics = true;
            WriteBecause::OwnWriteValue(name(scan, first, 1))
        }
        b"processlist" => {
            scan.needs.process_list = true;
            WriteBecause::PrimaryOnly(name(scan, first, 1))
        }
        b"master" | b"binary" | b"binlog" | b"relaylog" | b"replica" | b"slave" | b"all" => {
            WriteBecause::PrimaryOnly(name(scan, first, 2))
        }
        b"replicas" | b"explain" | b"analyze" => WriteBecause::PrimaryOnly(name(scan, first, 1)),
        _ if READS.contains(&word) => {
            return scan.objection.take().map_or(Access::Read, Access::Write);
        }
        _ => WriteBecause::Unknown,
    };
    Access::Write(because)
}

fn name(scan: &Scan<'_>, first: usize, count: usize) -> std::sync::Arc<str> {
    let mut name = String::from("SHOW");
    for index in first..first + count {
        let word = scan.head(index);
        if !word.is_empty() {
            name.push(' ');
            name.push_str(&String::from_utf8_lossy(word).to_uppercase());
        }
    }
    name.into()
}
