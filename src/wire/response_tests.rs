//! Replies in every form, cut at every byte.

use proptest::prelude::*;

use super::response::{Event, Expect, Kind, ResponseTracker};
use super::{HEADER_LEN, OkPacket, SessionChange, capability, eof_packet, push_packet, status};

/// One packet of a scripted reply.
#[derive(Clone, Debug)]
enum Part {
    Raw(Vec<u8>),
    Ok { more: bool },
    RowsEnd { more: bool },
    Eof { status: u16 },
    Err,
}

fn reply(parts: &[Part], deprecate_eof: bool) -> Vec<u8> {
    let capabilities = if deprecate_eof { capability::DEPRECATE_EOF } else { 0 } | capability::SESSION_TRACK;
    let flags = |more: bool| if more { status::MORE_RESULTS } else { 0 } | status::AUTOCOMMIT;
    let mut bytes = Vec::new();
    let mut sequence = 1;
    for part in parts {
        let mut payload = Vec::new();
        match part {
            Part::Raw(raw) => payload.extend_from_slice(raw),
            Part::Ok { more } => {
                OkPacket { status: flags(*more), affected_rows: 3, ..OkPacket::default() }.push_payload(
                    &mut payload,
                    0,
                    capabilities,
                );
            }
            Part::RowsEnd { more } if deprecate_eof => {
                OkPacket { status: flags(*more), ..OkPacket::default() }.push_payload(
                    &mut payload,
                    0xFE,
                    capabilities,
                );
            }
            Part::RowsEnd { more } => payload.extend_from_slice(&eof_packet(flags(*more), 0)),
            Part::Eof { status } => payload.extend_from_slice(&eof_packet(*status, 0)),
            Part::Err => payload.extend_from_slice(b"\xFF\x28\x04#42000You have an error"),
        }
        sequence = push_packet(&mut bytes, &payload, sequence);
    }
    bytes
}

/// A result set of two columns.
fn result_set(rows: &[Vec<u8>], deprecate_eof: bool, more: bool) -> Vec<Part> {
    let mut parts =
        vec![Part::Raw(vec![2]), Part::Raw(b"\x03defone".to_vec()), Part::Raw(b"\x03deftwo".to_vec())];
    if !deprecate_eof {
        parts.push(Part::Eof { status: status::AUTOCOMMIT });
    }
    parts.extend(rows.iter().map(|row| Part::Raw(row.clone())));
    parts.push(Part::RowsEnd { more });
    parts
}

/// What the tracker makes of a reply that comes in the given pieces: the kinds it saw, and the bytes it
/// passed on. Fails where it ends too early or not at all.
fn track(bytes: &[u8], expect: Expect, deprecate_eof: bool, pieces: &[usize]) -> (Vec<Kind>, u64) {
    let capabilities = if deprecate_eof { capability::DEPRECATE_EOF } else { 0 };
    let mut tracker = ResponseTracker::new(expect, capabilities);
    let (mut kinds, mut passed, mut here) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter().copied().cycle();
    loop {
        let progress = tracker.advance(&bytes[passed..here]).expect("well-formed");
        passed += progress.forward;
        match progress.event {
            Event::More => {
                assert!(here < bytes.len(), "wants more than the reply holds");
                here = (here + pieces.next().unwrap_or(1).max(1)).min(bytes.len());
            }
            Event::Packet { kind, len, last } => {
                passed += len;
                kinds.push(kind);
                if last {
                    break;
                }
            }
            Event::End => break,
        }
    }
    assert_eq!(passed, bytes.len(), "ended before the reply did");
    assert!(tracker.is_done());
    (kinds, tracker.rows())
}

#[test]
fn replies_of_every_form_end_where_they_end() {
    for deprecate_eof in [false, true] {
        let row = b"\x011\x012".to_vec();
        let ended = if deprecate_eof { Kind::Ok } else { Kind::Eof };
        let cases: Vec<(&str, Expect, Vec<Part>, Vec<Kind>)> = vec![
            ("ok", Expect::Results, vec![Part::Ok { more: false }], vec![Kind::Ok]),
            ("error", Expect::Results, vec![Part::Err], vec![Kind::Err]),
            (
                "rows",
                Expect::Results,
                result_set(&[row.clone(), row.clone()], deprecate_eof, false),
                vec![ended],
            ),
            ("no rows", Expect::Results, result_set(&[], deprecate_eof, false), vec![ended]),
            (
                "two results and an ok",
                Expect::Results,
                [
                    result_set(std::slice::from_ref(&row), deprecate_eof, true),
                    result_set(&[], deprecate_eof, true),
                    vec![Part::Ok { more: false }],
                ]
                .concat(),
                vec![ended, ended, Kind::Ok],
            ),
            (
                "an error among rows",
                Expect::Results,
                {
                    let mut parts = result_set(std::slice::from_ref(&row), deprecate_eof, false);
                    *parts.last_mut().expect("an end") = Part::Err;
                    parts
                },
                vec![Kind::Err],
            ),
            (
                "fields",
                Expect::Rows,
                vec![Part::Raw(b"\x03def".to_vec()), Part::RowsEnd { more: false }],
                vec![ended],
            ),
            ("statistics", Expect::Text, vec![Part::Raw(b"Uptime: 1".to_vec())], vec![]),
            ("a pong", Expect::Ok, vec![Part::Ok { more: false }], vec![Kind::Ok]),
            ("an option", Expect::Ok, vec![Part::Eof { status: 2 }], vec![Kind::Eof]),
            (
                "prepared, nothing to define",
                Expect::Prepared,
                vec![Part::Raw(vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
                vec![Kind::Prepared],
            ),
            (
                "prepared with a parameter and a column",
                Expect::Prepared,
                {
                    let mut parts = vec![Part::Raw(vec![0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0])];
                    for _ in 0..2 {
                        parts.push(Part::Raw(b"\x03def".to_vec()));
                        if !deprecate_eof {
                            parts.push(Part::Eof { status: 2 });
                        }
                    }
                    parts
                },
                vec![Kind::Prepared],
            ),
        ];
        for (name, expect, parts, kinds) in cases {
            let bytes = reply(&parts, deprecate_eof);
            for piece in [1, 3, 7, bytes.len()] {
                assert_eq!(track(&bytes, expect, deprecate_eof, &[piece]).0, kinds, "{name} by {piece}");
            }
        }
    }
}

#[test]
fn a_cursor_ends_the_reply_after_its_definitions() {
    let parts = vec![
        Part::Raw(vec![1]),
        Part::Raw(b"\x03def".to_vec()),
        Part::Eof { status: status::CURSOR_EXISTS | status::AUTOCOMMIT },
    ];
    assert_eq!(track(&reply(&parts, false), Expect::Cursor, false, &[1]).0, [Kind::Eof]);
}

#[test]
fn a_cursor_nobody_asked_for_is_a_procedures_own() {
    let named = Part::Eof { status: status::CURSOR_EXISTS | status::AUTOCOMMIT };
    let parts: Vec<Part> = result_set(&[b"\x011".to_vec()], false, false)
        .into_iter()
        .map(|part| if matches!(part, Part::Eof { .. }) { named.clone() } else { part })
        .collect();
    assert_eq!(track(&reply(&parts, false), Expect::Results, false, &[1]), (vec![Kind::Eof], 1));
}

#[test]
fn a_file_is_asked_for_and_answered() {
    let request = reply(&[Part::Raw(b"\xFB/tmp/x".to_vec())], true);
    let mut tracker = ResponseTracker::new(Expect::Results, capability::DEPRECATE_EOF);
    let progress = tracker.advance(&request).expect("well-formed");
    assert_eq!(progress.event, Event::Packet { kind: Kind::LocalInfile, len: request.len(), last: false });
    tracker.file_sent();
    let answer = reply(&[Part::Ok { more: false }], true);
    let progress = tracker.advance(&answer).expect("well-formed");
    assert_eq!(progress.event, Event::Packet { kind: Kind::Ok, len: answer.len(), last: true });
}

#[test]
fn rows_longer_than_a_packet_are_one_row() {
    // The first column's length takes nine bytes and begins with 0xFE, as an EOF would.
    let mut row = vec![0xFE];
    row.extend_from_slice(&(17_u64 << 20).to_le_bytes());
    row.resize(17 << 20, 0xFE);
    for deprecate_eof in [false, true] {
        let bytes = reply(&result_set(std::slice::from_ref(&row), deprecate_eof, false), deprecate_eof);
        let (kinds, rows) = track(&bytes, Expect::Results, deprecate_eof, &[65_536]);
        assert_eq!((kinds.len(), rows), (1, 1));
    }
}

#[test]
fn state_is_reported_and_taken_out() {
    let mut state = Vec::new();
    let changes = [
        SessionChange::Variable { name: b"sql_mode", value: b"ANSI" },
        SessionChange::Schema(b"app"),
        SessionChange::State,
        SessionChange::Gtids(b"0-1-2"),
    ];
    for change in &changes {
        OkPacket::push_change(&mut state, change);
    }
    let ok = OkPacket {
        status: status::AUTOCOMMIT,
        info: b"Rows matched: 1",
        state: &state,
        ..OkPacket::default()
    };
    let mut tracked = Vec::new();
    ok.push_payload(&mut tracked, 0, capability::SESSION_TRACK);
    let read = OkPacket::parse(&tracked, capability::SESSION_TRACK).expect("our own");
    assert_eq!(read.changes().collect::<Vec<_>>(), changes);
    let mut plain = Vec::new();
    read.push_payload(&mut plain, 0, 0);
    let stripped = OkPacket::parse(&plain, 0).expect("our own");
    assert_eq!(
        (stripped.info, stripped.state, stripped.status),
        (&b"Rows matched: 1"[..], &b""[..], status::AUTOCOMMIT)
    );
}

proptest! {
    /// However a reply is cut into pieces, it is the same reply.
    #[test]
    fn pieces_do_not_matter(
        rows in prop::collection::vec(prop::collection::vec(0_u8..0xFB, 1..40), 0..20),
        deprecate_eof: bool,
        more: bool,
        pieces in prop::collection::vec(1_usize..64, 1..20),
    ) {
        let mut parts = result_set(&rows, deprecate_eof, more);
        if more {
            parts.push(Part::Ok { more: false });
        }
        let bytes = reply(&parts, deprecate_eof);
        let whole = track(&bytes, Expect::Results, deprecate_eof, &[bytes.len()]);
        prop_assert_eq!(&whole, &track(&bytes, Expect::Results, deprecate_eof, &pieces));
        prop_assert_eq!(whole.0.len(), 1 + usize::from(more));
    }

    /// Any bytes at all: no panic, and never more passed on than came.
    #[test]
    fn nonsense_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), deprecate_eof: bool, form in 0_u8..5) {
        let expect = [Expect::Ok, Expect::Results, Expect::Prepared, Expect::Rows, Expect::Text][usize::from(form)];
        let capabilities = if deprecate_eof { capability::DEPRECATE_EOF } else { 0 };
        let mut tracker = ResponseTracker::new(expect, capabilities);
        let mut at = 0;
        while let Ok(progress) = tracker.advance(&bytes[at..]) {
            at += progress.forward;
            match progress.event {
                Event::Packet { len, last: false, .. } => at += len,
                _ => break,
            }
            prop_assert!(at <= bytes.len());
        }
        if let Some(payload) = bytes.get(HEADER_LEN..) {
            let _ = OkPacket::parse(payload, capability::SESSION_TRACK).map(|ok| ok.changes().count());
            let _ = super::statement_range(payload, capability::QUERY_ATTRIBUTES);
        }
    }
}
