//! Frames in every piecing, and hostile ones.

use bytes::BytesMut;
use proptest::prelude::*;

use super::codec::pack;
use super::compression::{Frames, Peer};
use crate::wire::{Compression, FrameHeader, Header, Malformed, push_packet};

const WAYS: [Compression; 2] = [Compression::Zlib, Compression::Zstd { level: 3 }];

fn frame(sequence: u8, plain_len: usize, bytes: &[u8]) -> Vec<u8> {
    let header = FrameHeader { len: bytes.len(), sequence, plain_len };
    [&header.bytes()[..], bytes].concat()
}

fn packed(way: Compression, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(pack(way, plain, &mut out), "it becomes shorter");
    out
}

/// Everything that comes of the bytes, fed in pieces.
fn unpack(frames: &mut Frames, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Malformed> {
    let mut input = BytesMut::new();
    for piece in bytes.chunks(piece) {
        frames.raw.extend_from_slice(piece);
        while frames.unpack(&mut input)? > 0 {}
    }
    Ok(input.to_vec())
}

fn message(len: usize, sequence: u8) -> Vec<u8> {
    let payload: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
    let mut out = Vec::new();
    push_packet(&mut out, &payload, sequence);
    out
}

#[test]
fn what_is_packed_unpacks_in_any_pieces() {
    for way in WAYS {
        for len in [1, 49, 50, 51, 1000, 65_535, 65_536, 300_000] {
            let plain = message(len, 0);
            let mut server = Frames::new(way, Peer::Server);
            server.begin_command(0);
            let wire = server.pack(&plain);
            for piece in [1, 6, 7, 8, 4096, usize::MAX] {
                let mut client = Frames::new(way, Peer::Client);
                assert!(unpack(&mut client, &wire, piece).expect("well-formed") == plain, "{way:?} {len}");
                assert!(client.is_at_rest());
            }
        }
    }
}

/// Client libraries read two frames for a packet and no more.
#[test]
fn clients_get_packets_whole() {
    let packets = [message(9, 1), message(300_000, 2), message(1, 3), message(2, 4)].concat();
    for piece in [1, 3, 5, 8192, usize::MAX] {
        let mut frames = Frames::new(Compression::Zlib, Peer::Client);
        let mut wire = Vec::new();
        for piece in packets.chunks(piece) {
            wire.extend_from_slice(&frames.pack(piece));
        }
        let mut rest = &wire[..];
        let mut came = Vec::new();
        while let Some(header) = FrameHeader::read(rest) {
            let (one, next) = rest.split_at(7 + header.len);
            let mut reader = Frames::new(Compression::Zlib, Peer::Server);
            reader.begin_command(0);
            let plain = unpack(&mut reader, one, usize::MAX).expect("well-formed");
            let mut at = 0;
            while let Some(packet) = Header::read(&plain[at..]) {
                at += 4 + packet.len;
            }
            assert_eq!(at, plain.len(), "whole packets only");
            came.push(plain.len());
            rest = next;
        }
        assert_eq!(came.iter().sum::<usize>(), packets.len(), "{piece}");
    }
}

#[test]
fn short_and_random_bytes_go_as_they_are() {
    let noise: Vec<u8> = (0..400_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for way in WAYS {
        for plain in [&b"\x01\0\0\0\x0e"[..], &noise[..200]] {
            let wire = Frames::new(way, Peer::Server).pack(plain);
            assert_eq!(FrameHeader::read(&wire).expect("a header").plain_len, 0, "{way:?}");
            assert_eq!(wire[7..], *plain);
        }
    }
}

#[test]
fn several_packets_in_a_frame_and_one_in_several() {
    let plain = [message(300, 0), message(2, 1), message(500, 2)].concat();
    for way in WAYS {
        let wire = [
            frame(0, 100, &packed(way, &plain[..100])),
            frame(1, 0, &plain[100..103]),
            frame(2, plain.len() - 103, &packed(way, &plain[103..])),
        ];
        let mut frames = Frames::new(way, Peer::Client);
        assert!(unpack(&mut frames, &wire.concat(), 5).expect("well-formed") == plain);
    }
}

#[test]
fn hostile_frames_are_malformed() {
    let plain = vec![7; 1000];
    for way in WAYS {
        let good = packed(way, &plain);
        let bomb = packed(way, &vec![0; 10 << 20]);
        let cases = [
            ("says less", frame(0, 999, &good)),
            ("says more", frame(0, 1001, &good)),
            ("a bomb that says it is small", frame(0, 100, &bomb)),
            ("cut short", [frame(0, 1000, &good[..good.len() - 1]), frame(1, 0, b"x")].concat()),
            ("more behind it", frame(0, 1000, &[&good[..], b"more"].concat())),
            ("noise", frame(0, 1000, b"this is neither of the two")),
            ("nothing", [frame(0, 1000, b""), frame(1, 0, b"x")].concat()),
            ("out of order", frame(3, 0, b"x")),
            ("twice the same", [frame(0, 0, b"x"), frame(1, 0, b"x"), frame(1, 0, b"x")].concat()),
        ];
        for (what, wire) in cases {
            for piece in [1, usize::MAX] {
                let mut frames = Frames::new(way, Peer::Client);
                assert!(unpack(&mut frames, &wire, piece).is_err(), "{way:?} {what}");
            }
        }
    }
}

#[test]
fn a_bomb_is_unpacked_a_piece_at_a_time() {
    for way in WAYS {
        let len = (16 << 20) - 1;
        let mut frames = Frames::new(way, Peer::Client);
        frames.raw.extend_from_slice(&frame(0, len, &packed(way, &vec![0; len])));
        let (mut input, mut whole) = (BytesMut::new(), 0);
        loop {
            let came = frames.unpack(&mut input).expect("well-formed");
            assert!(came <= 2 * 64 * 1024, "{came} at once");
            if came == 0 {
                break;
            }
            whole += came;
            input.clear();
        }
        assert_eq!(whole, len);
    }
}

fn numbers(wire: &[u8]) -> Vec<u8> {
    let (mut rest, mut numbers) = (wire, Vec::new());
    while let Some(header) = FrameHeader::read(rest) {
        numbers.push(header.sequence);
        rest = &rest[7 + header.len..];
    }
    numbers
}

#[test]
fn replies_are_numbered_after_their_own_command() {
    let mut frames = Frames::new(Compression::Zlib, Peer::Client);
    let mut input = BytesMut::new();
    // One command in two frames, and another sent ahead before the first is answered.
    let (first, second) = (message(20, 0), message(3, 0));
    frames.raw.extend_from_slice(&frame(0, 0, &first[..9]));
    frames.raw.extend_from_slice(&frame(1, 0, &first[9..]));
    frames.unpack(&mut input).expect("well-formed");
    frames.begin_command(input.len());
    assert_eq!(numbers(&frames.pack(&message(5, 1))), [2]);
    frames.raw.extend_from_slice(&frame(0, 0, &second));
    frames.unpack(&mut input).expect("well-formed");
    assert_eq!(numbers(&frames.pack(&[message(70_000, 2), message(7, 3)].concat())), [3, 4]);
    let _ = input.split_to(first.len());
    frames.begin_command(input.len());
    assert_eq!(numbers(&frames.pack(&message(5, 1))), [1]);
    let _ = input.split_to(second.len());
    // A file asked for: the client's frames go on from the server's.
    frames.raw.extend_from_slice(&frame(2, 0, b"\x01\0\0\x02x\0\0\0\x03"));
    frames.unpack(&mut input).expect("well-formed");
    assert_eq!(numbers(&frames.pack(&message(5, 1))), [3]);
    frames.raw.extend_from_slice(&frame(0, 0, &second));
    input.clear();
    frames.unpack(&mut input).expect("well-formed");
    frames.begin_command(input.len());
    assert_eq!(numbers(&frames.pack(&message(5, 1))), [1]);
}

#[test]
fn packets_from_a_server_get_plain_numbers() {
    let mut frames = Frames::new(Compression::Zlib, Peer::Server);
    frames.begin_command(0);
    let command = [message(30, 0), message(2, 1)].concat();
    frames.count_packets(&command[..10]);
    frames.count_packets(&command[10..]);
    assert_eq!(numbers(&frames.pack(&command)), [0]);
    // Servers count frames and packets together.
    let reply = [message(5, 9), message(70, 10), message(1, 11)].concat();
    let wire = [frame(1, 0, &reply[..20]), frame(2, 0, &reply[20..])].concat();
    let came = unpack(&mut frames, &wire, 3).expect("well-formed");
    assert_eq!(came, [message(5, 2), message(70, 3), message(1, 4)].concat());
}

proptest! {
    #[test]
    fn no_bytes_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600), server: bool, zstd: bool) {
        let peer = if server { Peer::Server } else { Peer::Client };
        let mut frames = Frames::new(WAYS[usize::from(zstd)], peer);
        // Whatever it comes to.
        let _ = unpack(&mut frames, &bytes, 100);
    }

    #[test]
    fn damage_is_seen_or_harmless(at in 0_usize..60, bit in 0_u8..8, zstd: bool) {
        let way = WAYS[usize::from(zstd)];
        let plain: Vec<u8> = (0..2_000_u32).map(|at| (at % 97) as u8).collect();
        let mut wire = frame(0, plain.len(), &packed(way, &plain));
        let at = at % wire.len();
        wire[at] ^= 1 << bit;
        let mut frames = Frames::new(way, Peer::Client);
        if let Ok(came) = unpack(&mut frames, &wire, 11) {
            prop_assert!(came.len() <= 1 << 24);
        }
    }
}
