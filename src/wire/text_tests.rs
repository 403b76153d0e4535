//! Text results as clients read them.

use mysql_common::constants::{ColumnFlags, ColumnType};
use mysql_common::io::ParseBuf;
use mysql_common::packets::Column;
use mysql_common::proto::{MyDeserialize as _, Text};
use mysql_common::row::RowDeserializer;
use mysql_common::value::{ServerSide, Value};

use super::text::*;
use super::{Event, Expect, Kind, MAX_PAYLOAD, ResponseTracker, capability, status, whole_message};

fn columns() -> [TextColumn<'static>; 4] {
    let column = |name, kind| TextColumn { schema: "pointsman", table: "t", name, kind };
    [
        column("text", TextType::Text),
        column("whole", TextType::Integer),
        column("share", TextType::Float { decimals: Some(3) }),
        column("free", TextType::Float { decimals: None }),
    ]
}

fn packets(bytes: &[u8], first: u8) -> Vec<Vec<u8>> {
    let (mut packets, mut at, mut sequence) = (Vec::new(), 0, first);
    while at < bytes.len() {
        let (payload, taken, next) =
            whole_message(&bytes[at..], 1 << 30).expect("well formed").expect("whole");
        sequence = sequence.wrapping_add(taken.div_ceil(MAX_PAYLOAD + 4) as u8);
        assert_eq!(next, sequence, "numbered in sequence");
        packets.push(payload);
        at += taken;
    }
    packets
}

#[test]
fn mysql_common_reads_what_we_write() {
    let long = "x".repeat(70_000);
    let rows: [[Option<&[u8]>; 4]; 3] = [
        [Some(b"a"), Some(b"-1"), Some(b"0.500"), None],
        [Some("ärger".as_bytes()), Some(b"18446744073709551615"), None, Some(b"1e300")],
        [Some(long.as_bytes()), None, Some(b""), Some(b"2")],
    ];
    for capabilities in [0, capability::DEPRECATE_EOF] {
        let mut result = TextResult::begin(columns().into_iter(), capabilities, status::AUTOCOMMIT, 1);
        rows.iter().for_each(|row| result.row(*row));
        let packets = packets(&result.finish(), 1);
        let eofs = usize::from(capabilities == 0);
        assert_eq!(packets.len(), 1 + 4 + eofs + 3 + 1);
        let read: Vec<Column> = packets[1..5]
            .iter()
            .map(|packet| Column::deserialize((), &mut ParseBuf(packet)).expect("a definition"))
            .collect();
        let kinds: Vec<ColumnType> = read.iter().map(Column::column_type).collect();
        use ColumnType::{MYSQL_TYPE_DOUBLE, MYSQL_TYPE_LONGLONG, MYSQL_TYPE_VAR_STRING};
        assert_eq!(kinds, [MYSQL_TYPE_VAR_STRING, MYSQL_TYPE_LONGLONG, MYSQL_TYPE_DOUBLE, MYSQL_TYPE_DOUBLE]);
        assert_eq!(read[0].name_str(), "text");
        assert_eq!(read[0].table_str(), "t");
        assert_eq!(read.iter().map(Column::decimals).collect::<Vec<_>>(), [31, 0, 3, 31]);
        let numbers = |column: &Column| column.flags().contains(ColumnFlags::NUM_FLAG);
        assert_eq!(read.iter().map(numbers).collect::<Vec<_>>(), [false, true, true, true]);
        let definitions: std::sync::Arc<[Column]> = read.into();
        for (row, packet) in rows.iter().zip(&packets[5 + eofs..]) {
            let read =
                RowDeserializer::<ServerSide, Text>::deserialize(definitions.clone(), &mut ParseBuf(packet));
            let values = mysql_common::row::Row::from(read.expect("a row")).unwrap();
            let expected: Vec<Value> = row
                .iter()
                .map(|value| value.map_or(Value::NULL, |bytes| Value::Bytes(bytes.to_vec())))
                .collect();
            assert_eq!(values, expected);
        }
    }
}

#[test]
fn our_own_tracker_finds_the_end_and_the_status() {
    for capabilities in [0, capability::DEPRECATE_EOF, capability::DEPRECATE_EOF | capability::SESSION_TRACK]
    {
        let mut result = TextResult::begin(columns().into_iter(), capabilities, status::AUTOCOMMIT, 1);
        // More rows than sequence numbers.
        (0..300).for_each(|_| result.row([Some(&b"1"[..]), None, None, None]));
        let bytes = result.finish();
        let mut tracker = ResponseTracker::new(Expect::Results, capabilities);
        let progress = tracker.advance(&bytes).expect("well formed");
        let Event::Packet { kind, len, last } = progress.event else { panic!("{progress:?}") };
        assert_eq!(kind, if capabilities == 0 { Kind::Eof } else { Kind::Ok });
        assert!(last && progress.forward + len == bytes.len());
        assert_eq!(tracker.rows(), 300);
    }
}

#[test]
fn a_long_result_may_be_taken_in_pieces() {
    let whole = |take: bool| {
        let mut result = TextResult::begin(columns().into_iter(), 0, 2, 1);
        let mut bytes = Vec::new();
        for _ in 0..5 {
            result.row([Some(&b"1"[..]), None, None, None]);
            if take {
                bytes.extend(result.take());
            }
        }
        bytes.extend(result.finish());
        bytes
    };
    assert_eq!(whole(true), whole(false));
}

#[test]
fn field_lists_end_as_rows_do() {
    for capabilities in [0, capability::DEPRECATE_EOF] {
        let bytes = field_list(columns().into_iter(), capabilities, 2, 1);
        let packets = packets(&bytes, 1);
        assert_eq!(packets.len(), 5);
        assert_eq!(packets[4].first(), Some(&0xFE));
        let mut tracker = ResponseTracker::new(Expect::Rows, capabilities);
        tracker.advance(&bytes).expect("well formed");
        assert!(tracker.is_done());
        let first = Column::deserialize((), &mut ParseBuf(&packets[0])).expect("a definition");
        assert_eq!(first.name_str(), "text");
    }
}
