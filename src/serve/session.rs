//! One client, from login to goodbye: reads commands, hands each to what serves it.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::carried::Carried;
use super::house::House;
use super::login::LoggedIn;
use super::own_writes::Causal;
use super::prepared::Prepared;
use super::registry::{Activity, Order, Orders, SessionInfo};
use super::relay::Reply;
use super::split::Split;
use super::state::{Follow, InsertId, LastResult, StatsMemo, dialect_of, is_serializable};
use crate::backend::{Key, Lease, Opening, Settings, UserVariables, Wanted};
use crate::consistency::Consistency;
use crate::flavour::{Flavour, Version};
use crate::net::{Channel, PeerAddress};
use crate::route::{Seen, SessionState};
use crate::sql::{Dialect, PinSet};
use crate::wire::auth::NONCE_LEN;
use crate::wire::{self, Command, ErrPacket, HEADER_LEN, Header, MAX_PAYLOAD, OkPacket, code, status};

/// A logged-in client and all that is known of it.
pub(super) struct Session {
    pub(super) house: Arc<House>,
    pub(super) client: Channel,
    /// What client and proxy agreed on.
    pub(super) capabilities: u32,
    pub(super) info: Arc<SessionInfo>,
    pub(super) wanted: Wanted,
    pub(super) state: SessionState,
    pub(super) version: Version,
    pub(super) dialect: Dialect,
    /// The connection the session must go on with.
    pub(super) held: Option<Lease>,
    pub(super) follow: Follow,
    pub(super) last: LastResult,
    pub(super) insert_id: InsertId,
    pub(super) prepared: Prepared,
    pub(super) carried: Carried,
    /// What its reads must have seen, unless a statement says otherwise.
    pub(super) consistency: Consistency,
    /// What it has written.
    pub(super) causal: Option<Box<Causal>>,
    /// Its transaction, while that may read on a replica.
    pub(super) split: Option<Box<Split>>,
    /// The last statement ran beside the held connection, on a replica.
    pub(super) answered_aside: bool,
    pub(super) stats: StatsMemo,
    /// When the statement that is being served had its answer.
    pub(super) finished: Option<Instant>,
    /// A stable hash of the client's address.
    pub(super) client_hash: u64,
    pub(super) draining: bool,
    /// What the client was given last to prove its password by.
    pub(super) nonce: [u8; NONCE_LEN],
    /// How long the client said it may be silent: `SET wait_timeout`.
    patience: Option<Duration>,
}

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// COM_QUIT.
    Quit,
    ClientGone(io::Error),
    /// The client sent what cannot be understood; it has been told if it could be.
    Protocol,
    Killed,
    /// While a statement of it was served, which gets no answer then.
    KilledAtWork,
    Drained,
    IdleTooLong,
    /// Silent for longer than its own `wait_timeout`.
    WaitedTooLong,
    /// The client has been told that its state is lost with a server.
    StateLost,
    /// COM_CHANGE_USER: the session ends, the connection goes on with another.
    ChangeUser {
        payload: Vec<u8>,
        sequence: u8,
        capabilities: u32,
        collation: u16,
    },
}

/// A command at the front of the client's input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) command: Command,
    /// Bytes on the wire, header and all, if `whole`; else of the part that has come.
    pub(super) len: usize,
    /// All of it has come. Otherwise it is too long to hold, and is passed on as it comes.
    pub(super) whole: bool,
}

/// How much of a statement too long to hold is looked at.
const PREFIX_LEN: usize = 64 * 1024;

impl Session {
    pub(super) fn new(id: u32, logged_in: LoggedIn, house: Arc<House>) -> Self {
        let LoggedIn {
            channel,
            peer,
            program,
            credential,
            schema,
            capabilities,
            collation,
            backend,
            nonce,
            ..
        } = logged_in;
        let user: Arc<str> = credential.user.as_str().into();
        let schema: Option<Arc<str>> = schema.map(Arc::from);
        let wanted = Wanted {
            key: Key {
                user: Arc::clone(&user),
                profile: Wanted::profile(capabilities),
                collation,
                has_schema: schema.is_some(),
            },
            settings: Settings::with_schema(schema.clone()),
            user_variables: UserVariables::default(),
            role: None,
            opening: Opening { credential, schema },
        };
        if let Some((server, conn)) = backend {
            let (pool, wanted) = (Arc::clone(house.pool(server)), wanted.clone());
            tokio::spawn(async move { pool.adopt(conn, &wanted).await });
        }
        let defaults = house.defaults();
        let version = house.topology.load().version().unwrap_or(Version::parse(""));
        let autocommit = defaults.as_ref().is_none_or(|defaults| defaults.autocommit);
        let serializable = is_serializable(&wanted.settings, defaults.as_deref());
        Self {
            info: house.registry.add(id, peer, program, &wanted),
            client: channel,
            capabilities,
            state: SessionState { autocommit, serializable, ..SessionState::default() },
            version,
            dialect: dialect_of(&wanted.settings, defaults.as_deref(), version, collation),
            wanted,
            held: None,
            follow: Follow::No,
            last: LastResult::default(),
            insert_id: InsertId::Known(0),
            prepared: Prepared::default(),
            carried: Carried::default(),
            consistency: house.routing.consistency_of(&user, &house.listen),
            causal: None,
            split: None,
            answered_aside: false,
            stats: StatsMemo::default(),
            finished: None,
            client_hash: client_hash(peer),
            draining: false,
            nonce,
            patience: None,
            house,
        }
    }

    /// Serves the client until one of the two leaves, or another user is to be served.
    pub(super) async fn run(&mut self) -> End {
        let end = loop {
            let served = match self.next_command().await {
                Ok(incoming) => self.serve(incoming).await,
                Err(end) => Err(end),
            };
            if let Err(end) = served {
                break end;
            }
            self.rest();
        };
        if !matches!(end, End::ChangeUser { .. }) {
            self.say_goodbye(&end).await;
        }
        self.give_back_held();
        self.show_pins(PinSet::EMPTY);
        match &end {
            End::ClientGone(error) => tracing::debug!(session = self.info.id, %error, "client gone"),
            end => tracing::debug!(session = self.info.id, ?end, "session ended"),
        }
        end
    }

    /// The statement is over: what people see of the session, until the next command.
    fn rest(&mut self) {
        // Each look at the clock costs as much as all the bookkeeping here.
        let now = self.finished.take().unwrap_or_else(Instant::now);
        self.info.set_activity(Activity::Idle, self.house.registry.millis(now));
    }

    async fn next_command(&mut self) -> Result<Incoming, End> {
        loop {
            if let Some(incoming) = self.look().await? {
                return Ok(incoming);
            }
            if self.draining && !self.state.holds_connection() && self.client.input().is_empty() {
                return Err(End::Drained);
            }
            // Orders come in between, and are no word of the client's.
            let silent = match self.patience {
                Some(_) if self.client.input().is_empty() => {
                    self.house.registry.in_activity_for(&self.info, Instant::now())
                }
                _ => Duration::ZERO,
            };
            let woken = poll_fn(|cx| {
                let orders = self.info.poll_orders(cx);
                if !orders.is_empty() {
                    return Poll::Ready(Woken::Orders(orders));
                }
                match self.client.poll_news(cx) {
                    Poll::Ready(Ok(())) => self.client.poll_fill(cx).map(Woken::Came),
                    Poll::Ready(Err(error)) => Poll::Ready(Woken::Came(Err(error))),
                    Poll::Pending => Poll::Pending,
                }
            });
            let woken = match self.patience {
                None => woken.await,
                // Boxed: few set it.
                Some(limit) => {
                    match Box::pin(tokio::time::timeout(limit.saturating_sub(silent), woken)).await {
                        Ok(woken) => woken,
                        Err(_) => return Err(End::WaitedTooLong),
                    }
                }
            };
            match woken {
                Woken::Came(Ok(0)) => return Err(End::ClientGone(io::ErrorKind::UnexpectedEof.into())),
                Woken::Came(Ok(_)) => {}
                Woken::Came(Err(error)) => return Err(End::ClientGone(error)),
                Woken::Orders(orders) => self.obey(orders).await?,
            }
        }
    }

    /// Waits before a statement is sent, and no longer than somebody waits for its answer.
    pub(super) async fn unless_over<T>(
        client: &mut Channel,
        info: &SessionInfo,
        ahead_max: usize,
        what: impl Future<Output = T>,
    ) -> Result<T, End> {
        let mut what = pin!(what);
        poll_fn(|cx| {
            if let Poll::Ready(done) = what.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let orders = info.poll_orders(cx);
            if !orders.is_empty() {
                // Whatever it is, the session is told again when it rests.
                info.leave_orders(orders);
            }
            if orders.has(Order::Kill) {
                return Poll::Ready(Err(End::KilledAtWork));
            }
            if orders.has(Order::DrainNow) {
                return Poll::Ready(Err(End::Drained));
            }
            while client.input().len() < ahead_max {
                match client.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(End::ClientGone(io::ErrorKind::UnexpectedEof.into())));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(End::ClientGone(error))),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Input that may pile up while a statement waits to be sent.
    pub(super) fn ahead_max(&self) -> usize {
        self.house.limits.statement_buffer + PREFIX_LEN
    }

    async fn obey(&mut self, orders: Orders) -> Result<(), End> {
        if orders.has(Order::Kill) {
            return Err(End::Killed);
        }
        if orders.has(Order::DrainNow) {
            return Err(End::Drained);
        }
        if orders.has(Order::IdleTooLong) {
            return Err(End::IdleTooLong);
        }
        self.draining |= orders.has(Order::Drain);
        if orders.has(Order::GiveWay) && self.follow == Follow::Possible {
            self.let_go().await;
        }
        if orders.has(Order::Rest) {
            self.client.release_buffer();
        }
        Ok(())
    }

    /// Looks whether a command has come, and whether it may be served.
    async fn look(&mut self) -> Result<Option<Incoming>, End> {
        let input = self.client.input();
        let Some(header) = Header::read(input) else { return Ok(None) };
        if header.sequence != 0 {
            return self
                .end_with(ErrPacket::new(code::PACKETS_OUT_OF_ORDER, "Got packets out of order"))
                .await;
        }
        if header.len > self.house.limits.max_allowed_packet {
            let message = "Got a packet bigger than 'max_allowed_packet' bytes";
            return self.end_with(ErrPacket::new(code::PACKET_TOO_LARGE, message)).await;
        }
        let Some(byte) = input.get(HEADER_LEN) else {
            if header.len == 0 {
                let error = ErrPacket::new(code::MALFORMED_PACKET, "Malformed communication packet");
                return self.end_with(error).await;
            }
            return Ok(None);
        };
        let command = Command::of(*byte);
        let len = HEADER_LEN + header.len;
        // A text to be prepared must be kept, to be prepared elsewhere too.
        let limit =
            if command == Command::StmtPrepare { MAX_PAYLOAD } else { self.house.limits.statement_buffer };
        let whole = header.len <= limit && header.len < MAX_PAYLOAD;
        let needed = if whole { len } else { PREFIX_LEN.min(len) };
        if input.len() < needed {
            return Ok(None);
        }
        let incoming = Incoming { command, len: if whole { len } else { input.len() }, whole };
        self.client.begin_command();
        Ok(Some(incoming))
    }

    pub(super) async fn end_with<T>(&mut self, error: ErrPacket) -> Result<T, End> {
        self.write(&error.payload(), 1).await?;
        Err(End::Protocol)
    }

    /// Says why the session ends, where the client would otherwise not know.
    async fn say_goodbye(&mut self, end: &End) {
        let error = match end {
            // As the servers do: MariaDB says nothing, and resets.
            End::WaitedTooLong if self.version.flavour == Flavour::MariaDb => {
                return self.client.reset_when_dropped();
            }
            End::Drained => ErrPacket::new(code::SERVER_SHUTDOWN, "Server shutdown in progress"),
            End::IdleTooLong => ErrPacket::new(
                code::CLIENT_INTERACTION_TIMEOUT,
                "The client was disconnected by the server because of inactivity.",
            ),
            End::WaitedTooLong => ErrPacket::new(
                code::CLIENT_INTERACTION_TIMEOUT,
                "The client was disconnected by the server because of inactivity. See wait_timeout and \
                 interactive_timeout for configuring this behavior.",
            ),
            End::Killed => ErrPacket::new(code::QUERY_INTERRUPTED, "Connection was killed"),
            // It can still be told that it sent what is no frame.
            End::ClientGone(error) if error.get_ref().is_some_and(|inner| inner.is::<wire::Malformed>()) => {
                ErrPacket::new(code::NET_UNCOMPRESS_ERROR, "Couldn't uncompress communication packet")
            }
            End::Quit
            | End::KilledAtWork
            | End::ClientGone(_)
            | End::Protocol
            | End::StateLost
            | End::ChangeUser { .. } => {
                return self.client.shutdown().await;
            }
        };
        // It may have gone as well; then there is nobody to tell.
        let _ = self.client.write_message(&error.payload(), 0).await;
        self.client.shutdown().await;
    }

    /// Lets the connection go while the session goes on: what only it knows is asked before.
    pub(super) async fn let_go(&mut self) {
        if self.insert_id == InsertId::OnHeldConnection
            && let Some(lease) = &mut self.held
        {
            // A connection lost meanwhile tells nothing more.
            self.insert_id = InsertId::Known(lease.last_insert_id().await.unwrap_or(0));
        }
        self.give_back_held();
    }

    /// Lets the connection go, clean or to be cleaned.
    pub(super) fn give_back_held(&mut self) {
        self.end_split();
        if let Some(lease) = self.held.take() {
            if self.state.holds_connection() { lease.release_after_reset() } else { lease.release_clean() }
        }
        self.follow = Follow::No;
    }

    pub(super) async fn write(&mut self, payload: &[u8], sequence: u8) -> Result<(), End> {
        self.client.write_message(payload, sequence).await.map(drop).map_err(End::ClientGone)
    }

    /// Answers a command that ends here with OK.
    pub(super) async fn answer_ok(&mut self) -> Result<(), End> {
        let mut payload = Vec::new();
        OkPacket { status: self.status(), ..OkPacket::default() }.push_payload(
            &mut payload,
            0,
            self.capabilities,
        );
        self.write(&payload, 1).await
    }

    /// The status flags as the client last saw them.
    pub(super) fn status(&self) -> u16 {
        let mut flags = 0;
        if self.state.autocommit {
            flags |= status::AUTOCOMMIT;
        }
        match self.state.transaction {
            crate::route::Transaction::None => {}
            crate::route::Transaction::ReadWrite => flags |= status::IN_TRANS,
            crate::route::Transaction::ReadOnly => flags |= status::IN_TRANS | status::IN_TRANS_READONLY,
        }
        if self.dialect.no_backslash_escapes {
            flags |= status::NO_BACKSLASH_ESCAPES;
        }
        flags
    }

    /// Consumes the command at the front of the input.
    pub(super) fn consume(&mut self, len: usize) {
        self.client.consume(len);
    }

    /// Passes over a command that gets no answer.
    pub(super) async fn drop_command(&mut self, incoming: Incoming) -> Result<(), End> {
        self.skip_command(incoming).await.map(drop)
    }

    /// Passes over a command that will not be sent. Returns the sequence number of an answer to it.
    pub(super) async fn skip_command(&mut self, incoming: Incoming) -> Result<u8, End> {
        if incoming.whole {
            self.consume(incoming.len);
            return Ok(1);
        }
        loop {
            let Some(header) = Header::read(self.client.input()) else {
                self.fill().await?;
                continue;
            };
            let mut left = HEADER_LEN + header.len;
            while left > 0 {
                if self.client.input().is_empty() {
                    self.fill().await?;
                }
                let len = left.min(self.client.input().len());
                self.consume(len);
                left -= len;
            }
            if header.len < crate::wire::MAX_PAYLOAD {
                return Ok(header.sequence.wrapping_add(1));
            }
        }
    }

    async fn fill(&mut self) -> Result<(), End> {
        match self.client.fill().await {
            Ok(0) => Err(End::ClientGone(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(End::ClientGone(error)),
        }
    }

    pub(super) fn payload(&self, incoming: Incoming) -> &[u8] {
        &self.client.input()[HEADER_LEN..incoming.len]
    }

    /// Takes over what the server reported of variables and schema.
    pub(super) fn adopt_settings(&mut self, lease: &Lease) {
        let same = lease.settings.same_variables(&self.wanted.settings)
            && lease.settings.schema == self.wanted.settings.schema;
        if same {
            return;
        }
        self.wanted.settings = lease.settings.clone();
        self.wanted.key.has_schema = self.wanted.settings.schema.is_some();
        if self.wanted.role.is_none() {
            self.wanted.opening.schema.clone_from(&self.wanted.settings.schema);
        }
        self.read_settings();
        let schema = self.wanted.settings.schema.clone();
        self.info.update(|seen| seen.schema = schema);
    }

    /// Works out what the settings mean for reading statements and for routing.
    pub(super) fn read_settings(&mut self) {
        let defaults = self.house.defaults();
        let settings = &self.wanted.settings;
        self.state.serializable = is_serializable(settings, defaults.as_deref());
        self.dialect = dialect_of(settings, defaults.as_deref(), self.version, self.wanted.key.collation);
        self.patience = settings.wait_timeout().filter(|limit| *limit < self.house.listen.idle_timeout);
    }

    /// What the end of a reply says of the session, for routing.
    pub(super) fn seen(&self, reply: &Reply) -> Seen {
        let outcome = &reply.outcome;
        let failed = outcome.error.is_some();
        // An ERR carries no flags, and the answer to COM_STMT_PREPARE neither: what was, still is, unless the
        // server rolled back and says so later.
        let silent = failed || reply.prepared.is_some();
        let flags = if silent { self.status() } else { outcome.status };
        Seen {
            in_transaction: flags & status::IN_TRANS != 0,
            read_only_transaction: flags & status::IN_TRANS_READONLY != 0,
            autocommit: flags & status::AUTOCOMMIT != 0,
            state_changed: reply.state_changed,
            change_is_known: reply.change_is_known,
            failed,
        }
    }

    pub(super) fn capability(&self, flag: u32) -> bool {
        self.capabilities & flag != 0
    }

    pub(super) fn count_statement(&self) {
        self.info.statements.fetch_add(1, Relaxed);
        self.house.counters.statements.fetch_add(1, Relaxed);
    }

    pub(super) fn statement_of(&self, incoming: Incoming) -> Result<std::ops::Range<usize>, wire::Malformed> {
        let range = wire::statement_range(self.payload(incoming), self.capabilities)?;
        Ok(HEADER_LEN + range.start..HEADER_LEN + range.end)
    }
}

/// The same for every connection from one address; stays the same over restarts.
pub fn client_hash(address: PeerAddress) -> u64 {
    let bytes = match address.ip() {
        Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(v6)) => v6.octets(),
        None => [0; 16],
    };
    // FNV-1a: the routing mixes it further.
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

enum Woken {
    Came(io::Result<usize>),
    Orders(Orders),
}
