//! The frames of one compressed connection: unpacks what comes, packs what goes, numbers both.

use std::collections::VecDeque;
use std::mem;

use bytes::{Buf, BytesMut};

use super::codec::{Unpacker, pack};
use crate::wire::{Compression, FRAME_HEADER_LEN, FrameHeader, HEADER_LEN, Header, Malformed, PacketWalk};

/// What is shorter goes as it is, as servers do.
const PACK_LEN_MIN: usize = 50;

/// Plain bytes after which a frame of ours is full, and unpacked in one go.
const PIECE_LEN: usize = 64 * 1024;

/// What a header can say.
const FRAME_LEN_MAX: usize = 0xFF_FFFF;

/// Whom the connection leads to: the client begins commands, the server answers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Client,
    Server,
}

/// The state of one compressed connection.
pub(super) struct Frames {
    compression: Compression,
    peer: Peer,
    /// What has come and is not unpacked.
    pub(super) raw: BytesMut,
    reading: Reading,
    /// Bytes unpacked since the beginning.
    unpacked: u64,
    /// The command that is being answered.
    current: Command,
    /// Commands that the client sent ahead.
    ahead: VecDeque<Command>,
    /// The beginning of a packet for a client, kept until there is all of it: client libraries of wide use do not read
    /// packets that are spread over more than two frames, and servers do not send such.
    held: Vec<u8>,
    /// Packets as the server sends them are numbered by another count than those of plain connections, and nobody
    /// looks at it there. What is passed on must have plain numbers.
    numbers: Numbers,
}

/// The frames of one command and of its reply, which are numbered together.
#[derive(Clone, Copy, Debug, Default)]
struct Command {
    next: u8,
    /// How much was unpacked when the last frame of it had come.
    ends_at: u64,
}

#[derive(Default)]
struct Numbers {
    next: u8,
    read: PacketWalk,
    written: PacketWalk,
}

enum Reading {
    Header,
    /// A frame that was not packed.
    Plain {
        left: usize,
    },
    Packed {
        unpacker: Unpacker,
        left: usize,
        plain_left: usize,
        plain_len: usize,
    },
}

impl Frames {
    pub(super) fn new(compression: Compression, peer: Peer) -> Self {
        Self {
            compression,
            peer,
            raw: BytesMut::new(),
            reading: Reading::Header,
            unpacked: 0,
            current: Command::default(),
            ahead: VecDeque::new(),
            held: Vec::new(),
            numbers: Numbers::default(),
        }
    }

    /// A command is about to be sent to a server, or to be answered to a client whose input still holds `unused`
    /// bytes, beginning with the command.
    pub(super) fn begin_command(&mut self, unused: usize) {
        match self.peer {
            Peer::Server => {
                self.current = Command::default();
                self.numbers = Numbers::default();
            }
            Peer::Client => {
                let used = self.unpacked - unused as u64;
                while self.current.ends_at <= used
                    && let Some(next) = self.ahead.pop_front()
                {
                    self.current = next;
                }
            }
        }
    }

    /// Nothing is left of a frame begun.
    pub(super) fn is_at_rest(&self) -> bool {
        self.raw.is_empty() && matches!(self.reading, Reading::Header)
    }

    /// Unpacks a piece of what has come behind `input`. 0: more must come first.
    pub(super) fn unpack(&mut self, input: &mut BytesMut) -> Result<usize, Malformed> {
        let begin = input.len();
        loop {
            let had = input.len();
            let goes_on = self.step(input)?;
            self.unpacked += (input.len() - had) as u64;
            self.ahead.back_mut().unwrap_or(&mut self.current).ends_at = self.unpacked;
            if !goes_on || input.len() - begin >= PIECE_LEN {
                break;
            }
        }
        if self.peer == Peer::Server {
            let (bytes, mut at) = (&mut input[begin..], 0);
            while let Some(number) = self.numbers.read.next_number(bytes, &mut at) {
                bytes[number] = self.numbers.next;
                self.numbers.next = self.numbers.next.wrapping_add(1);
            }
        }
        Ok(input.len() - begin)
    }

    /// `false`: more must come first.
    fn step(&mut self, input: &mut BytesMut) -> Result<bool, Malformed> {
        match &mut self.reading {
            Reading::Header => {
                let Some(header) = FrameHeader::read(&self.raw) else { return Ok(false) };
                self.raw.advance(FRAME_HEADER_LEN);
                self.take_number(header.sequence)?;
                self.reading = match header {
                    FrameHeader { plain_len: 0, len: left, .. } => Reading::Plain { left },
                    FrameHeader { plain_len, len, .. } => {
                        let unpacker = Unpacker::new(self.compression)?;
                        Reading::Packed { unpacker, left: len, plain_left: plain_len, plain_len }
                    }
                };
            }
            Reading::Plain { left: 0 } => self.reading = Reading::Header,
            Reading::Plain { left } => {
                let len = (*left).min(self.raw.len()).min(PIECE_LEN);
                input.extend_from_slice(&self.raw[..len]);
                self.raw.advance(len);
                *left -= len;
                return Ok(len > 0);
            }
            Reading::Packed { unpacker, left, plain_left, plain_len } => {
                let packed = &self.raw[..self.raw.len().min(*left)];
                // One byte more than there should be, to see it come.
                let room = PIECE_LEN.min(*plain_left + 1);
                let step = unpacker.step(packed, input, room)?;
                self.raw.advance(step.read);
                *left -= step.read;
                *plain_left =
                    plain_left.checked_sub(step.written).ok_or(Malformed("a frame longer than it says"))?;
                if step.ended {
                    if *plain_left > 0 || *left > 0 {
                        return Err(Malformed("a frame shorter than it says"));
                    }
                    let len = *plain_len;
                    if let Reading::Packed { unpacker, .. } = mem::replace(&mut self.reading, Reading::Header)
                    {
                        unpacker.put_back(len);
                    }
                } else if step.read + step.written == 0 {
                    if *left == 0 {
                        return Err(Malformed("a frame that ends too early"));
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The frame's number must be the next of its command, or begin one.
    fn take_number(&mut self, number: u8) -> Result<(), Malformed> {
        if self.peer == Peer::Server {
            // What a server says unasked, it numbers as it likes.
            self.current.next = number.wrapping_add(1);
            return Ok(());
        }
        let last = self.ahead.back_mut().unwrap_or(&mut self.current);
        if number == last.next {
            last.next = number.wrapping_add(1);
        } else if number == 0 {
            self.ahead.push_back(Command { next: 1, ends_at: self.unpacked });
        } else {
            return Err(Malformed("compressed frames out of order"));
        }
        Ok(())
    }

    /// `plain` in frames, except for the beginning of a packet of which there is more to come.
    pub(super) fn pack(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len().min(PIECE_LEN) / 2 + FRAME_HEADER_LEN);
        if self.peer == Peer::Server {
            plain.chunks(PIECE_LEN).for_each(|piece| self.push_frame(piece, &mut out));
            return out;
        }
        let mut held = mem::take(&mut self.held);
        let bytes = if held.is_empty() {
            plain
        } else {
            held.extend_from_slice(plain);
            &held
        };
        let (mut begin, mut at) = (0, 0);
        while let Some(header) = Header::read(&bytes[at..])
            && bytes.len() - at >= HEADER_LEN + header.len
        {
            at += HEADER_LEN + header.len;
            if at - begin >= PIECE_LEN {
                bytes[begin..at].chunks(FRAME_LEN_MAX).for_each(|piece| self.push_frame(piece, &mut out));
                begin = at;
            }
        }
        if at > begin {
            self.push_frame(&bytes[begin..at], &mut out);
        }
        self.held = if at == 0 && !held.is_empty() { held } else { bytes[at..].to_vec() };
        out
    }

    fn push_frame(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let mut packed = Vec::new();
        let is_packed = plain.len() >= PACK_LEN_MIN && pack(self.compression, plain, &mut packed);
        let (bytes, plain_len) = if is_packed { (&packed[..], plain.len()) } else { (plain, 0) };
        let header = FrameHeader { len: bytes.len(), sequence: self.current.next, plain_len };
        self.current.next = self.current.next.wrapping_add(1);
        out.extend_from_slice(&header.bytes());
        out.extend_from_slice(bytes);
    }

    /// Counts the packets of what is sent to a server: those of its reply go on from there.
    pub(super) fn count_packets(&mut self, plain: &[u8]) {
        if self.peer == Peer::Server {
            let mut at = 0;
            while let Some(number) = self.numbers.written.next_number(plain, &mut at) {
                self.numbers.next = plain[number].wrapping_add(1);
            }
        }
    }
}

/// A frame of a few bytes, first of its command.
pub(super) fn lone_frame(plain: &[u8]) -> Vec<u8> {
    let header = FrameHeader { len: plain.len(), sequence: 0, plain_len: 0 };
    let mut frame = header.bytes().to_vec();
    frame.extend_from_slice(plain);
    frame
}
