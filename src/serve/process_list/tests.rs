//! The list of a server, in both protocols, cut at every byte.

use super::*;

const NAMES: [(&str, u8); 8] = [
    ("Id", 8),
    ("User", 253),
    ("Host", 253),
    ("db", 253),
    ("Command", 253),
    ("Time", 3),
    ("State", 253),
    ("Info", 253),
];

fn threads() -> Threads {
    let session = |id, thread, user: &str| Shown {
        id,
        thread,
        user: user.into(),
        host: format!("10.0.0.{id}:5"),
        schema: None,
        command: "Sleep",
        seconds: 3,
    };
    let sessions = vec![session(1, Some(100), "app"), session(2, None, "app"), session(3, None, "other")];
    Threads { sessions, idle: vec![102], user: "app".into() }
}

fn definition(name: &str, kind: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    for text in ["def", "", "", "", name, ""] {
        write::lenenc_bytes(&mut packet, text.as_bytes());
    }
    packet.extend_from_slice(&[0x0c, 33, 0, 0, 0, 0, 0, kind, 0, 0, 0, 0, 0]);
    packet
}

/// What a server with these threads sends: their ids and users.
fn reply(capabilities: u32, binary: bool, rows: &[(u32, &str)]) -> Vec<u8> {
    let ends =
        if capabilities & capability::DEPRECATE_EOF == 0 { vec![0xFE, 0, 0, 2, 0] } else { vec![0xFE; 7] };
    let mut list = ProcessList::new(Threads::default(), capabilities, binary, 1);
    list.columns =
        NAMES.iter().map(|(name, kind)| list.column(&definition(name, *kind)).expect("a column")).collect();
    let mut packets = vec![vec![8]];
    packets.extend(NAMES.iter().map(|(name, kind)| definition(name, *kind)));
    if capabilities & capability::DEPRECATE_EOF == 0 {
        packets.push(ends.clone());
    }
    for (id, user) in rows {
        let text = |text: &str| Some(text.as_bytes().to_vec().into());
        let id = Some(list.encoded(0, u64::from(*id)).into());
        let time = Some(list.encoded(5, 9).into());
        let cells =
            [id, text(user), text("proxy:1"), None, text("Query"), time, text(""), text("SHOW PROCESSLIST")];
        packets.push(list.packed(&cells));
    }
    packets.push(ends);
    let mut bytes = Vec::new();
    packets.iter().fold(1, |sequence, packet| wire::push_packet(&mut bytes, packet, sequence));
    bytes
}

/// The rows of a reply as text, and whether its packets are numbered as they must be.
fn rows(capabilities: u32, binary: bool, bytes: &[u8]) -> (Vec<String>, bool) {
    let mut list = ProcessList::new(Threads::default(), capabilities, binary, 1);
    let (mut at, mut next, mut in_order, mut rows) = (0, 1, true, Vec::new());
    let mut out = Vec::new();
    while let Some((payload, len, after)) = wire::whole_message(&bytes[at..], ROW_LEN_MAX).expect("packets") {
        in_order &= bytes[at + 3] == next;
        (at, next) = (at + len, after);
        if list.stage == Stage::Rows && !list.ends(&payload) {
            let cells = if binary { list.binary_cells(&payload) } else { list.text_cells(&payload) };
            let cells = cells.expect("a row");
            let shown = |at: usize| match list.columns[at].width {
                Some(_) => {
                    list.number(at, cells[at].as_deref()).map_or("NULL".to_owned(), |id| id.to_string())
                }
                None => cells[at]
                    .as_deref()
                    .map_or("NULL".into(), |text| String::from_utf8_lossy(text).into_owned()),
            };
            rows.push([0, 1, 2, 3, 4, 5].map(shown).join(" "));
        } else {
            list.pass(&payload, &mut out).expect("understood");
        }
    }
    assert_eq!(at, bytes.len(), "whole packets");
    (rows, in_order)
}

#[test]
fn every_session_is_there_once_by_its_own_number() {
    for (capabilities, binary) in
        [(0, false), (0, true), (capability::DEPRECATE_EOF, false), (capability::DEPRECATE_EOF, true)]
    {
        let own = reply(capabilities, binary, &[(100, "app"), (102, "app"), (103, "app")]);
        for cut in 0..own.len() {
            let mut list = ProcessList::new(threads(), capabilities, binary, 1);
            let mut out = list.take(&own[..cut]).expect("understood");
            out.extend(list.take(&own[cut..]).expect("understood"));
            let (rows, in_order) = rows(capabilities, binary, &out);
            assert!(in_order, "cut at {cut}");
            assert_eq!(
                rows,
                [
                    "1 app 10.0.0.1:5 NULL Query 9",
                    "0 app proxy:1 NULL Query 9",
                    "2 app 10.0.0.2:5 NULL Sleep 3"
                ],
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn sessions_of_others_are_shown_to_those_whom_the_server_shows_others() {
    let all = reply(0, false, &[(100, "app"), (7, "system user")]);
    let mut list = ProcessList::new(threads(), 0, false, 1);
    let (rows, _) = rows(0, false, &list.take(&all).expect("understood"));
    assert_eq!(
        rows,
        [
            "1 app 10.0.0.1:5 NULL Query 9",
            "0 system user proxy:1 NULL Query 9",
            "2 app 10.0.0.2:5 NULL Sleep 3",
            "3 other 10.0.0.3:5 NULL Sleep 3",
        ]
    );
}

#[test]
fn an_error_passes_as_it_is() {
    let mut bytes = Vec::new();
    wire::push_packet(&mut bytes, b"\xff\x48\x04#HY000no", 1);
    let mut list = ProcessList::new(threads(), 0, false, 1);
    assert_eq!(list.take(&bytes), Ok(bytes));
}

#[test]
fn rows_that_make_no_sense_are_told_and_do_no_harm() {
    for payload in [&b"\x05ab"[..], b"", b"\xfc"] {
        let mut bytes = reply(0, false, &[]);
        bytes.truncate(bytes.len() - 9);
        wire::push_packet(&mut bytes, payload, 9);
        let mut list = ProcessList::new(threads(), 0, false, 1);
        assert!(list.take(&bytes).is_err(), "{payload:?}");
    }
}
