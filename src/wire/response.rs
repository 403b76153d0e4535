//! Is this reply over, and what did its packets say? Walks headers; never needs a row's bytes.

use super::frame::{HEADER_LEN, Header, MAX_PAYLOAD};
use super::read::Cursor;
use super::{Malformed, capability, status};

/// The form of reply a command gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// One OK, EOF or ERR.
    Ok,
    /// Any number of OKs, result sets and file requests: COM_QUERY, COM_STMT_EXECUTE.
    Results,
    /// As `Results`, and a result set may be left behind a cursor: COM_STMT_EXECUTE that asks for one. Without being
    /// asked, servers name in their flags the cursors that a stored procedure has opened, and send rows all the same.
    Cursor,
    /// A prepared statement's numbers and definitions.
    Prepared,
    /// Packets up to an EOF: COM_FIELD_LIST, COM_STMT_FETCH.
    Rows,
    /// One packet of text: COM_STATISTICS.
    Text,
}

/// How far a look at the bytes came: the first `forward` of them are passed on as they are, then `event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub forward: usize,
    pub event: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// What is left is the beginning of a packet that must be seen further; or nothing is left.
    More,
    /// A whole packet of `len` bytes, header and all, stands after the forwarded ones; call again behind it
    /// unless it is the `last` of the reply.
    Packet { kind: Kind, len: usize, last: bool },
    /// The reply ended with the last forwarded byte.
    End,
}

/// Packets the caller wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In OK form; its first byte is 0x00, or 0xFE at the end of rows.
    Ok,
    /// In the five-byte form of EOF.
    Eof,
    Err,
    /// The reply to COM_STMT_PREPARE.
    Prepared,
    /// The server asks for a file; the client's packets follow, up to an empty one.
    LocalInfile,
}

/// What a whole reply came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Of the last OK or EOF.
    pub status: u16,
    pub warnings: u16,
    /// Of the last OK that was not the end of rows; `None` if the last result was a result set or an error.
    pub affected_rows: Option<u64>,
    pub last_insert_id: u64,
    /// Rows of the last result set.
    pub rows: u64,
    pub error: Option<super::ErrPacket>,
}

/// Follows one reply, in whatever pieces it comes.
#[derive(Clone, Debug)]
pub struct ResponseTracker {
    deprecate_eof: bool,
    state: State,
    /// Payload bytes of the current packet that have not come yet and need no look.
    skip: usize,
    /// The command asked for a cursor.
    cursor: bool,
    /// The packet before was full, so the next continues it.
    continued: bool,
    rows: u64,
    /// Of the last packet begun.
    sequence: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First(Expect),
    /// Column definitions to come, then rows.
    Columns(u64),
    /// The EOF between definitions and rows.
    ColumnsEnd,
    Rows,
    /// Packets to pass, then the end.
    Pass(u64),
    Done,
}

impl ResponseTracker {
    /// Follows the reply to a command sent over a connection that speaks `capabilities`.
    pub fn new(expect: Expect, capabilities: u32) -> Self {
        let state = match expect {
            Expect::Rows => State::Rows,
            Expect::Cursor => State::First(Expect::Results),
            other => State::First(other),
        };
        Self {
            cursor: expect == Expect::Cursor,
            deprecate_eof: capabilities & capability::DEPRECATE_EOF != 0,
            state,
            skip: 0,
            continued: false,
            rows: 0,
            sequence: 0,
        }
    }

    /// Rows of the current or last result set.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done && self.skip == 0 && !self.continued
    }

    /// Whether all that was passed on are whole packets, so that another may follow.
    pub fn at_packet_boundary(&self) -> bool {
        self.skip == 0
    }

    /// The sequence number of the last packet passed on.
    pub fn last_sequence(&self) -> u8 {
        self.sequence
    }

    /// Looks at what has come and has not been passed on yet.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            if self.skip > 0 {
                return Ok(Progress { forward: at, event: Event::More });
            }
            if self.is_done() {
                return Ok(Progress { forward: at, event: Event::End });
            }
            let rest = &bytes[at..];
            let Some(header) = Header::read(rest) else {
                return Ok(Progress { forward: at, event: Event::More });
            };
            if self.continued {
                self.sequence = header.sequence;
                self.pass(header.len);
                at += HEADER_LEN;
                continue;
            }
            let Some(first) = rest.get(HEADER_LEN) else {
                if header.len == 0 {
                    return Err(Malformed("empty packet"));
                }
                return Ok(Progress { forward: at, event: Event::More });
            };
            if self.passes_unseen(*first, header.len) {
                self.sequence = header.sequence;
                self.pass(header.len);
                at += HEADER_LEN;
                continue;
            }
            let whole = HEADER_LEN + header.len;
            let Some(payload) = rest.get(HEADER_LEN..whole) else {
                return Ok(Progress { forward: at, event: Event::More });
            };
            self.sequence = header.sequence;
            match self.see(payload)? {
                None => at += whole,
                Some(kind) => {
                    let last = self.state == State::Done;
                    let event = Event::Packet { kind, len: whole, last };
                    return Ok(Progress { forward: at, event });
                }
            }
        }
    }

    /// The server has been given the file it asked for; its answer follows.
    pub fn file_sent(&mut self) {
        self.state = State::First(Expect::Results);
    }

    /// Counts a packet that is forwarded whatever it holds.
    fn pass(&mut self, len: usize) {
        self.skip = len;
        let starts = !std::mem::replace(&mut self.continued, len == MAX_PAYLOAD);
        match &mut self.state {
            State::Rows if starts => self.rows += 1,
            State::Columns(left) if starts => *left -= 1,
            State::Pass(left) if starts => *left -= 1,
            _ => {}
        }
        if !self.continued {
            self.state = match self.state {
                State::Columns(0) if self.deprecate_eof => State::Rows,
                State::Columns(0) => State::ColumnsEnd,
                State::Pass(0) | State::First(Expect::Text) => State::Done,
                state => state,
            };
        }
    }

    fn passes_unseen(&self, first: u8, len: usize) -> bool {
        match self.state {
            State::Columns(_) | State::Pass(_) => true,
            // A row may begin with 0xFE only when its first column is longer than a packet.
            State::Rows => !(first == 0xFF || (first == 0xFE && self.ends_rows(len))),
            State::First(Expect::Text) => first != 0xFF,
            _ => false,
        }
    }

    fn ends_rows(&self, len: usize) -> bool {
        if self.deprecate_eof { len < MAX_PAYLOAD } else { len < 9 }
    }

    /// Reads a packet that decides how the reply goes on. `None`: of no interest to the caller.
    fn see(&mut self, payload: &[u8]) -> Result<Option<Kind>, Malformed> {
        let first = payload[0];
        if first == 0xFF {
            self.state = State::Done;
            return Ok(Some(Kind::Err));
        }
        match self.state {
            State::First(Expect::Prepared) => {
                self.state = prepared_follows(payload, self.deprecate_eof)?;
                Ok(Some(Kind::Prepared))
            }
            State::First(Expect::Results) if !matches!(first, 0x00 | 0xFE) => self.see_result_set(payload),
            State::First(Expect::Ok | Expect::Results) | State::Rows => {
                if !matches!(first, 0x00 | 0xFE) {
                    return Err(Malformed("neither OK, EOF nor ERR"));
                }
                self.see_end(payload).map(Some)
            }
            State::ColumnsEnd => {
                if first != 0xFE || payload.len() < 5 {
                    return Err(Malformed("no EOF after column definitions"));
                }
                let status = u16::from_le_bytes([payload[3], payload[4]]);
                self.state = State::Rows;
                if self.cursor && status & status::CURSOR_EXISTS != 0 {
                    self.state = State::Done;
                    return Ok(Some(Kind::Eof));
                }
                Ok(None)
            }
            _ => Err(Malformed("packet after the end")),
        }
    }

    fn see_result_set(&mut self, payload: &[u8]) -> Result<Option<Kind>, Malformed> {
        if payload[0] == 0xFB {
            return Ok(Some(Kind::LocalInfile));
        }
        let columns = Cursor::new(payload).lenenc_int()?;
        if columns == 0 || columns > u64::from(u16::MAX) {
            return Err(Malformed("column count"));
        }
        self.rows = 0;
        self.state = State::Columns(columns);
        Ok(None)
    }

    fn see_end(&mut self, payload: &[u8]) -> Result<Kind, Malformed> {
        let (kind, status) = if payload[0] == 0xFE && payload.len() < 6 {
            let status = payload.get(3..5).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
            (Kind::Eof, status)
        } else {
            let mut cursor = Cursor::new(&payload[1..]);
            cursor.lenenc_int()?;
            cursor.lenenc_int()?;
            (Kind::Ok, cursor.u16()?)
        };
        let more = status & status::MORE_RESULTS != 0;
        self.state = if more { State::First(Expect::Results) } else { State::Done };
        Ok(kind)
    }
}

/// How many definitions and EOFs follow a COM_STMT_PREPARE's OK.
fn prepared_follows(payload: &[u8], deprecate_eof: bool) -> Result<State, Malformed> {
    let mut cursor = Cursor::new(payload);
    if cursor.u8()? != 0 {
        return Err(Malformed("not a prepared statement"));
    }
    cursor.u32()?;
    let columns = u64::from(cursor.u16()?);
    let parameters = u64::from(cursor.u16()?);
    let mut packets = columns + parameters;
    if !deprecate_eof {
        packets += u64::from(columns > 0) + u64::from(parameters > 0);
    }
    Ok(if packets == 0 { State::Done } else { State::Pass(packets) })
}
