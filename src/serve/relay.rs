//! Moves one command to a server and its reply to the client, in the pieces they come in.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use super::acknowledged::Acknowledged;
use super::process_list::ProcessList;
use crate::backend::Backend;
use crate::net::Channel;
use crate::wire::{
    self, ErrPacket, Event, Expect, HEADER_LEN, Header, Kind, MAX_PAYLOAD, Malformed, OkPacket, Outcome,
    PreparedHead, Progress, ResponseTracker, STATEMENT_ID, SessionChange, capability, code,
};

/// A command about to be sent.
pub(super) struct Request {
    /// Its bytes at the front of the client's input. They stay there until the reply is over, so that they
    /// can be sent again.
    pub(super) input_len: usize,
    /// Sent in their stead: the command with calls replaced that only the proxy can answer.
    pub(super) instead: Option<Vec<u8>>,
    pub(super) expect: Expect,
    pub(super) refusal: Refused,
    /// The number that the client is to know a prepared statement by.
    pub(super) prepared_as: Option<u32>,
    /// The statement may have to be prepared anew: an ERR that says so is kept from the client.
    pub(super) may_prepare_again: bool,
    /// Another server may answer in this one's stead, as long as it has not begun to.
    pub(super) may_repeat: bool,
    /// A replica may lack what the statement names; then the primary is asked.
    pub(super) may_lack: bool,
    /// The number of the reply's first packet: 1, unless the command took several packets.
    pub(super) reply_sequence: u8,
    /// The reply is a list of sessions, rewritten in passing.
    pub(super) list: Option<Box<ProcessList>>,
    /// It is on its way: a server may have got it.
    pub(super) sent: bool,
}

impl Request {
    /// The primary must be asked: a replica lacks what the statement names, or could not even prepare it.
    pub(super) fn lacked(&self, outcome: &Result<Reply, Failure>) -> bool {
        match outcome {
            Ok(reply) => reply.withheld == Some(Withheld::Lacking),
            Err(Failure::Refused(error)) => self.lacks(error),
            Err(_) => false,
        }
    }

    /// The error may be one of a replica's that has not got all of the schema yet.
    pub(super) fn lacks(&self, error: &ErrPacket) -> bool {
        self.may_lack && self.refusal == Refused::Withhold && error.may_be_of_lag()
    }
}

/// What is done with an ERR by which a replica refuses to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The client gets it.
    Pass,
    /// The client does not get it: the primary will answer.
    Withhold,
    /// In a READ ONLY transaction the primary would have refused too, in other words.
    AsReadOnlyTransaction,
}

/// What a reply came to, beyond its outcome.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) outcome: Outcome,
    /// The ERR was kept from the client, because the statement will be tried in another way.
    pub(super) withheld: Option<Withheld>,
    /// The server said that session state has changed.
    pub(super) state_changed: bool,
    /// All of what changed was reported by value.
    pub(super) change_is_known: bool,
    /// The transactions committed, as the server names them.
    pub(super) gtids: Vec<String>,
    /// Where the command prepared a statement.
    pub(super) prepared: Option<PreparedHead>,
}

/// Why an ERR was kept from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// A replica refused a write.
    ReadOnly,
    /// The server does not know the statement, or not any more.
    Unprepared,
    /// A replica lacks what the statement names.
    Lacking,
}

/// Why an exchange did not come to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server's connection is lost or talks nonsense.
    Server {
        error: io::Error,
        /// Parts of the reply have been passed on.
        answered: bool,
        /// The sequence number of a packet that may follow what was passed on; `None` in mid-packet.
        next_sequence: Option<u8>,
    },
    /// The client has gone. The server may still be at work for it.
    Client(io::Error),
    /// The client has gone while the server worked on its command, which it has in full.
    Abandoned(io::Error),
    /// The server refused what had to come before the command; the command was not sent.
    Refused(ErrPacket),
}

/// Input that may pile up from a client that sends ahead while it is owed a reply.
const AHEAD_LEN_MAX: usize = 64 * 1024;

/// Sends the request and passes the reply on.
pub(super) async fn exchange(
    client: &mut Channel,
    client_capabilities: u32,
    acknowledged: &Acknowledged,
    backend: &mut Backend,
    request: &mut Request,
) -> Result<Reply, Failure> {
    let bytes = request.instead.as_deref().unwrap_or(&client.input()[..request.input_len]);
    backend.conn.channel.begin_command();
    backend.conn.channel.write_all(bytes).await.map_err(unanswered)?;
    pass_reply(client, client_capabilities, acknowledged, backend, request).await
}

/// Passes the reply to a command already sent.
pub(super) async fn pass_reply(
    client: &mut Channel,
    client_capabilities: u32,
    acknowledged: &Acknowledged,
    backend: &mut Backend,
    request: &mut Request,
) -> Result<Reply, Failure> {
    let mut passage = Passage {
        client,
        client_capabilities,
        acknowledged,
        tracker: ResponseTracker::new(request.expect, backend.conn.capabilities),
        reply: Reply { change_is_known: true, ..Reply::default() },
        answered: false,
        next_sequence: request.reply_sequence,
        file_sent: false,
        list: request.list.take(),
    };
    loop {
        match passage.pass_what_came(backend, request).await? {
            Pass::Over => return Ok(passage.reply),
            Pass::WantsFile => passage.pass_file(backend, request).await?,
            Pass::More => passage.await_more(backend, request).await?,
        }
    }
}

/// One reply on its way.
struct Passage<'a> {
    client: &'a mut Channel,
    client_capabilities: u32,
    acknowledged: &'a Acknowledged,
    tracker: ResponseTracker,
    reply: Reply,
    answered: bool,
    /// Of a packet to the client, where the client has spoken last.
    next_sequence: u8,
    /// The client has sent the file it was asked for, and the server has not answered yet.
    file_sent: bool,
    list: Option<Box<ProcessList>>,
}

enum Pass {
    Over,
    WantsFile,
    More,
}

impl Passage<'_> {
    /// Looks at all that has come from the server and writes it to the client, in one write where nothing
    /// needs changing.
    async fn pass_what_came(&mut self, backend: &mut Backend, request: &Request) -> Result<Pass, Failure> {
        if backend.is_fenced() {
            // It may have come before the way was closed; but what a primary that was says counts no more.
            return Err(self.server_failure(io::ErrorKind::ConnectionAborted.into()));
        }
        let mut at = 0;
        let over = loop {
            let Progress { forward, event } = match self.tracker.advance(&backend.conn.channel.input()[at..])
            {
                Ok(progress) => progress,
                Err(malformed) => return Err(self.server_failure(nonsense(malformed))),
            };
            at += forward;
            match event {
                Event::More => break Pass::More,
                Event::End => break Pass::Over,
                Event::Packet { kind, len, last } => {
                    let instead = self.see_packet(backend, at, len, kind, request)?;
                    match instead {
                        Instead::Same => at += len,
                        Instead::Withheld(why) => {
                            backend.conn.channel.consume(at + len);
                            self.reply.withheld = Some(why);
                            return Ok(Pass::Over);
                        }
                        Instead::Other(packet) => {
                            self.write_changed(backend, at, len, &packet).await?;
                            at = 0;
                        }
                    }
                    if kind == Kind::LocalInfile {
                        break Pass::WantsFile;
                    }
                    if last {
                        break Pass::Over;
                    }
                }
            }
        };
        if at > 0 {
            self.answered = true;
            self.file_sent = false;
            if self.list.is_some() {
                self.write_listed(backend, at, &[]).await?;
            } else {
                self.client.forward(&mut backend.conn.channel, at).await.map_err(Failure::Client)?;
            }
        }
        Ok(over)
    }

    /// Reads a packet that says something of the session or of the reply.
    fn see_packet(
        &mut self,
        backend: &mut Backend,
        at: usize,
        len: usize,
        kind: Kind,
        request: &Request,
    ) -> Result<Instead, Failure> {
        let packet = &backend.conn.channel.input()[at..at + len];
        let payload = &packet[HEADER_LEN..];
        match kind {
            Kind::Ok => {
                let rows = self.tracker.rows();
                let named = self.reply.gtids.len();
                let instead = see_ok(&mut self.reply, rows, self.client_capabilities, backend, at, len);
                // Before the client gets it: from then on others may hear of it.
                self.reply.gtids[named..].iter().for_each(|gtids| self.acknowledged.note(gtids));
                instead.map_err(|error| self.server_failure(nonsense(error)))
            }
            Kind::Eof => {
                let field = |at: usize| u16::from_le_bytes([payload[at], payload[at + 1]]);
                if payload.len() >= 5 {
                    self.reply.outcome.warnings = field(1);
                    self.reply.outcome.status = field(3);
                }
                self.reply.outcome.affected_rows = None;
                self.reply.outcome.rows = self.tracker.rows();
                Ok(Instead::Same)
            }
            Kind::Err => {
                let error = match ErrPacket::parse(payload) {
                    Ok(error) => error,
                    Err(malformed) => return Err(self.server_failure(nonsense(malformed))),
                };
                let first = !self.answered && at == 0;
                if !self.answered && request.may_repeat && error.code == code::SERVER_SHUTDOWN {
                    // Its last words to everybody whose statement it breaks off.
                    return Err(self.server_failure(io::ErrorKind::ConnectionAborted.into()));
                }
                let instead = match request.refusal {
                    _ if request.may_prepare_again && first && error.asks_to_prepare_again() => {
                        Instead::Withheld(Withheld::Unprepared)
                    }
                    Refused::Withhold if first && error.refused_as_read_only() => {
                        Instead::Withheld(Withheld::ReadOnly)
                    }
                    _ if first && request.lacks(&error) => Instead::Withheld(Withheld::Lacking),
                    Refused::AsReadOnlyTransaction if error.code == code::OPTION_PREVENTS_STATEMENT => {
                        Instead::Other(read_only_transaction(packet[3]))
                    }
                    _ => Instead::Same,
                };
                self.reply.outcome.error = Some(error);
                Ok(instead)
            }
            Kind::Prepared => {
                let head =
                    PreparedHead::parse(payload).map_err(|error| self.server_failure(nonsense(error)))?;
                self.reply.prepared = Some(head);
                let Some(id) = request.prepared_as else { return Ok(Instead::Same) };
                let mut packet = packet.to_vec();
                let at = HEADER_LEN + STATEMENT_ID.start..HEADER_LEN + STATEMENT_ID.end;
                packet[at].copy_from_slice(&id.to_le_bytes());
                Ok(Instead::Other(packet))
            }
            // No server asks for what was not agreed on, unless it is not one of ours.
            Kind::LocalInfile if backend.conn.capabilities & capability::LOCAL_FILES == 0 => {
                Err(self.server_failure(nonsense(Malformed("a file that may not be asked for"))))
            }
            Kind::LocalInfile => Ok(Instead::Same),
        }
    }

    /// Writes what stands before a changed packet, and the packet, at once.
    async fn write_changed(
        &mut self,
        backend: &mut Backend,
        at: usize,
        len: usize,
        packet: &[u8],
    ) -> Result<(), Failure> {
        self.answered = true;
        self.file_sent = false;
        if self.list.is_some() {
            self.write_listed(backend, at, packet).await?;
            backend.conn.channel.consume(len);
            return Ok(());
        }
        if at == 0 {
            self.client.write_all(packet).await.map_err(Failure::Client)?;
        } else {
            let mut out = Vec::with_capacity(at + packet.len());
            out.extend_from_slice(&backend.conn.channel.input()[..at]);
            out.extend_from_slice(packet);
            self.client.write_all(&out).await.map_err(Failure::Client)?;
        }
        backend.conn.channel.consume(at + len);
        Ok(())
    }

    /// Writes what becomes of the first `at` bytes and this packet in a list of sessions, and takes those bytes.
    async fn write_listed(&mut self, backend: &mut Backend, at: usize, packet: &[u8]) -> Result<(), Failure> {
        let Some(list) = &mut self.list else { return Ok(()) };
        let passed = list.take(&backend.conn.channel.input()[..at]).and_then(|mut out| {
            out.extend(list.take(packet)?);
            Ok(out)
        });
        let out = passed.map_err(|malformed| self.server_failure(nonsense(malformed)))?;
        backend.conn.channel.consume(at);
        self.client.write_all(&out).await.map_err(Failure::Client)
    }

    /// Waits for the server, and notices a client that goes away meanwhile.
    async fn await_more(&mut self, backend: &mut Backend, request: &Request) -> Result<(), Failure> {
        let client = &mut *self.client;
        let ahead_max = request.input_len + AHEAD_LEN_MAX;
        let came = poll_fn(|cx| {
            if let Poll::Ready(came) = backend.conn.channel.poll_fill(cx) {
                return Poll::Ready(Ok(came));
            }
            while client.input().len() < ahead_max {
                match client.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        });
        match came.await {
            Err(gone) => Err(Failure::Abandoned(gone)),
            Ok(Ok(0)) => Err(self.server_failure(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.server_failure(error)),
        }
    }

    /// LOAD DATA LOCAL: the client's packets go to the server, up to and with an empty one.
    async fn pass_file(&mut self, backend: &mut Backend, request: &mut Request) -> Result<(), Failure> {
        self.client.consume(std::mem::take(&mut request.input_len));
        let mut last_was_full = false;
        let mut upload = Upload { next: self.tracker.last_sequence().wrapping_add(1), ..Upload::default() };
        loop {
            let header = upload.pass_packet(self.client, backend).await.map_err(Failure::Client)?;
            self.next_sequence = header.sequence.wrapping_add(1);
            // An empty packet ends the file, unless it is the tail of a full one.
            if header.len == 0 && !last_was_full {
                break;
            }
            last_was_full = header.len == MAX_PAYLOAD;
        }
        self.tracker.file_sent();
        self.file_sent = true;
        Ok(())
    }

    fn server_failure(&self, error: io::Error) -> Failure {
        // A list has numbers of its own.
        let boundary = self.tracker.at_packet_boundary() && !(self.answered && self.list.is_some());
        let spoke_last = self.answered && !self.file_sent;
        let next = if spoke_last { self.tracker.last_sequence().wrapping_add(1) } else { self.next_sequence };
        Failure::Server { error, answered: self.answered, next_sequence: boundary.then_some(next) }
    }
}

enum Instead {
    Same,
    Withheld(Withheld),
    Other(Vec<u8>),
}

/// Reads an OK, and what it says of the session's state.
fn see_ok(
    reply: &mut Reply,
    rows: u64,
    client_capabilities: u32,
    backend: &mut Backend,
    at: usize,
    len: usize,
) -> Result<Instead, Malformed> {
    let packet = &backend.conn.channel.input()[at..at + len];
    let payload = &packet[HEADER_LEN..];
    let ok = OkPacket::parse(payload, backend.conn.capabilities)?;
    let ends_rows = payload[0] == 0xFE;
    reply.outcome.status = ok.status;
    reply.outcome.warnings = ok.warnings;
    reply.outcome.affected_rows = (!ends_rows).then_some(ok.affected_rows);
    reply.outcome.rows = if ends_rows { rows } else { 0 };
    if ok.last_insert_id > 0 {
        reply.outcome.last_insert_id = ok.last_insert_id;
    }
    if ok.state.is_empty() {
        return Ok(Instead::Same);
    }
    let mut kept = Vec::new();
    let mut reported = false;
    // Taken out so that the backend's settings may change while they are read.
    let state = ok.state.to_vec();
    let (first, sequence, info) = (payload[0], packet[3], ok.info.to_vec());
    let ok = OkPacket { state: &state, info: &info, ..ok };
    for change in ok.changes() {
        if change == SessionChange::State {
            reply.state_changed = true;
            continue;
        }
        if let SessionChange::Gtids(gtids) | SessionChange::Variable { name: b"last_gtid", value: gtids } =
            change
        {
            reply.gtids.push(String::from_utf8_lossy(gtids).into_owned());
            continue;
        }
        reported = true;
        reply.change_is_known &= backend.observe(&change);
        if client_would_see(&change) {
            OkPacket::push_change(&mut kept, &change);
        }
    }
    reply.change_is_known &= reported || !reply.state_changed;
    if backend.trackers_are_clients() && client_capabilities & capability::SESSION_TRACK != 0 {
        return Ok(Instead::Same);
    }
    let mut packet = vec![0; HEADER_LEN];
    OkPacket { state: &kept, ..ok }.push_payload(&mut packet, first, client_capabilities);
    let header = Header { len: packet.len() - HEADER_LEN, sequence };
    packet[..HEADER_LEN].copy_from_slice(&header.bytes());
    Ok(Instead::Other(packet))
}

/// Sends a command whose packets are too long to hold: as they come, to the end. Returns the sequence number of
/// the reply.
pub(super) async fn stream_command(client: &mut Channel, backend: &mut Backend) -> io::Result<u8> {
    let mut upload = Upload::default();
    backend.conn.channel.begin_command();
    loop {
        let header = upload.pass_packet(client, backend).await?;
        if header.len < MAX_PAYLOAD {
            return Ok(header.sequence.wrapping_add(1));
        }
    }
}

/// Passes packets from client to server without holding more of them than a buffer. Its errors are the client's.
///
/// Where the server stops taking them, the rest is read all the same: the client would go on, and what it sends
/// must not be taken for commands. Why the server stopped, reading its answer tells.
#[derive(Default)]
struct Upload {
    server_lost: bool,
    /// The number of the next packet.
    next: u8,
}

impl Upload {
    async fn pass_packet(&mut self, client: &mut Channel, backend: &mut Backend) -> io::Result<Header> {
        let mut header = loop {
            match Header::read(client.input()) {
                Some(header) => break header,
                None => fill(client).await?,
            }
        };
        if client.is_compressed() {
            // Nobody looks at the numbers of packets in compressed frames, and clients put what they like.
            header.sequence = self.next;
            client.input_mut()[HEADER_LEN - 1] = header.sequence;
        }
        self.next = header.sequence.wrapping_add(1);
        let mut left = HEADER_LEN + header.len;
        while left > 0 {
            if client.input().is_empty() {
                fill(client).await?;
            }
            let len = left.min(client.input().len());
            if !self.server_lost {
                let passed = backend.conn.channel.write_all(&client.input()[..len]).await;
                self.server_lost = passed.is_err();
            }
            client.consume(len);
            left -= len;
        }
        Ok(header)
    }
}

async fn fill(client: &mut Channel) -> io::Result<()> {
    match client.fill().await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// What a server that may write says to a write in a READ ONLY transaction.
fn read_only_transaction(sequence: u8) -> Vec<u8> {
    let error = ErrPacket::new(
        code::CANT_EXECUTE_IN_READ_ONLY_TRANSACTION,
        "Cannot execute statement in a READ ONLY transaction.",
    );
    let mut packet = Vec::new();
    wire::push_packet(&mut packet, &error.payload(), sequence);
    packet
}

/// What servers report by default to a client that asked for session tracking.
fn client_would_see(change: &SessionChange<'_>) -> bool {
    match change {
        SessionChange::Schema(_) => true,
        SessionChange::Variable { name, .. } => matches!(
            *name,
            b"autocommit"
                | b"character_set_client"
                | b"character_set_connection"
                | b"character_set_results"
                | b"time_zone"
        ),
        _ => false,
    }
}

fn unanswered(error: io::Error) -> Failure {
    Failure::Server { error, answered: false, next_sequence: Some(1) }
}

fn nonsense(malformed: wire::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, malformed)
}
