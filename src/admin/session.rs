//! One person's connection: reads commands, answers them.

use std::io;
use std::sync::Arc;

use super::answer::{Outcome, answer};
use super::commands::Request;
use super::desk::Desk;
use super::grammar::{Unparsed, parse};
use super::select::{Asker, select};
use super::table::Answer;
use super::variables::STATEMENT_MAX;
use super::{tables, view::View};
use crate::net::Channel;
use crate::serve::login::LoggedIn;
use crate::wire::text::{TextResult, field_list};
use crate::wire::{self, Command, ErrPacket, OkPacket, code, status};

/// A result goes out in pieces of this size, so that it is not held twice.
const WRITE_LEN: usize = 64 * 1024;

pub(super) struct Session {
    channel: Channel,
    capabilities: u32,
    asker: Asker,
    desk: Arc<Desk>,
}

/// What a statement is answered with.
enum Reply {
    Rows(Answer),
    Ok(String),
    Error(ErrPacket),
}

impl Session {
    pub(super) fn new(id: u32, logged_in: LoggedIn, desk: Arc<Desk>) -> Self {
        let LoggedIn { channel, peer, credential, schema, capabilities, .. } = logged_in;
        let asker = Asker { user: credential.user.clone(), peer, schema, connection_id: id };
        Self { channel, capabilities, asker, desk }
    }

    /// Serves until one of the two leaves.
    pub(super) async fn run(mut self) {
        let served = async {
            while let Some(payload) = self.next_command().await? {
                if !self.serve(&payload).await? {
                    break;
                }
            }
            io::Result::Ok(())
        };
        if let Err(error) = served.await {
            tracing::debug!(id = self.asker.connection_id, %error, "admin connection lost");
        }
        self.channel.shutdown().await;
    }

    /// The next command's payload; `None` when the client has gone or is gone from now on.
    async fn next_command(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.channel.release_buffer();
        let silence = self.desk.config.listen.idle_timeout;
        let Ok(read) = tokio::time::timeout(silence, self.channel.read_message(STATEMENT_MAX)).await else {
            let words = "The client was disconnected by the server because of inactivity.";
            self.refuse(&ErrPacket::new(code::CLIENT_INTERACTION_TIMEOUT, words), 0).await?;
            return Ok(None);
        };
        match read {
            Ok((payload, 1)) if !payload.is_empty() => Ok(Some(payload)),
            Ok((payload, 1)) if payload.is_empty() => {
                let words = "Malformed communication packet";
                self.refuse(&ErrPacket::new(code::MALFORMED_PACKET, words), 1).await?;
                Ok(None)
            }
            Ok(_) => {
                let words = "Got packets out of order";
                self.refuse(&ErrPacket::new(code::PACKETS_OUT_OF_ORDER, words), 1).await?;
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let words = "Got a packet bigger than 'max_allowed_packet' bytes";
                self.refuse(&ErrPacket::new(code::PACKET_TOO_LARGE, words), 1).await?;
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers one command. Whether there may be another.
    async fn serve(&mut self, payload: &[u8]) -> io::Result<bool> {
        match Command::of(payload[0]) {
            Command::Quit => return Ok(false),
            Command::Query => self.query(payload).await?,
            Command::Ping => self.ok("").await?,
            Command::InitDb => {
                self.asker.schema = Some(text_of(&payload[1..]));
                self.ok("").await?;
            }
            Command::ResetConnection => {
                self.asker.schema = None;
                self.ok("").await?;
            }
            // MULTI_STATEMENTS on or off: there is one statement at a time either way.
            Command::SetOption => self.end_of_rows().await?,
            Command::Statistics => self.statistics().await?,
            Command::FieldList => self.field_list(payload).await?,
            _ => self.refuse(&ErrPacket::new(code::UNKNOWN_COMMAND, "Unknown command"), 1).await?,
        }
        Ok(true)
    }

    async fn query(&mut self, payload: &[u8]) -> io::Result<()> {
        let Ok(range) = wire::statement_range(payload, self.capabilities) else {
            return self
                .refuse(&ErrPacket::new(code::MALFORMED_PACKET, "Malformed communication packet"), 1)
                .await;
        };
        let text = text_of(&payload[range]);
        let reply = match parse(&text) {
            Ok(Request::Use { schema }) => {
                self.asker.schema = Some(schema);
                Reply::Ok(String::new())
            }
            Ok(Request::Order(order)) => match self.desk.carry_out(&order, &self.asker).await {
                Ok(said) => Reply::Ok(said),
                Err(error) => Reply::Error(error),
            },
            Ok(request) => self.reply(request).await,
            Err(unparsed) => Reply::Error(unparsed.packet()),
        };
        match reply {
            Reply::Rows(answer) => self.rows(&answer).await,
            Reply::Ok(info) => self.ok(&info).await,
            Reply::Error(error) => self.refuse(&error, 1).await,
        }
    }

    /// Works out the answer on a thread where it is nobody's loss if it takes long.
    async fn reply(&self, request: Request) -> Reply {
        let (desk, asker) = (Arc::clone(&self.desk), self.asker.clone());
        let working = tokio::task::spawn_blocking(move || respond(&request, &desk, &asker));
        match working.await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::error!(%error, "an admin command failed by an error in the program");
                Reply::Error(ErrPacket::new(code::UNKNOWN, "the command failed by an error in the program"))
            }
        }
    }

    async fn rows(&mut self, answer: &Answer) -> io::Result<()> {
        let columns = answer.text_columns();
        let mut result = TextResult::begin(columns, self.capabilities, status::AUTOCOMMIT, 1);
        for row in &answer.rows {
            let shown: Vec<_> = row.iter().zip(&answer.headings).map(|(v, h)| v.shown(h.kind)).collect();
            result.row(shown.iter().map(|text| text.as_ref().map(|text| text.as_bytes())));
            if result.len() >= WRITE_LEN {
                self.channel.write_all(&result.take()).await?;
            }
        }
        self.channel.write_all(&result.finish()).await
    }

    async fn ok(&mut self, info: &str) -> io::Result<()> {
        let mut payload = Vec::new();
        let ok = OkPacket { status: status::AUTOCOMMIT, info: info.as_bytes(), ..OkPacket::default() };
        ok.push_payload(&mut payload, 0x00, self.capabilities);
        self.channel.write_message(&payload, 1).await.map(drop)
    }

    async fn end_of_rows(&mut self) -> io::Result<()> {
        let payload = wire::eof_packet(status::AUTOCOMMIT, 0);
        self.channel.write_message(&payload, 1).await.map(drop)
    }

    async fn refuse(&mut self, error: &ErrPacket, sequence: u8) -> io::Result<()> {
        self.channel.write_message(&error.payload(), sequence).await.map(drop)
    }

    /// COM_STATISTICS: one line in the form that servers give.
    async fn statistics(&mut self) -> io::Result<()> {
        let house = &self.desk.house;
        let uptime = house.registry.uptime(std::time::Instant::now()).as_secs();
        let statements = house.counters.statements.load(std::sync::atomic::Ordering::Relaxed);
        let line = format!(
            "Uptime: {uptime}  Threads: {}  Questions: {statements}  Slow queries: 0  Opens: 0  Open tables: 0  \
             Queries per second avg: {:.3}",
            house.registry.len(),
            statements as f64 / uptime.max(1) as f64
        );
        self.channel.write_message(line.as_bytes(), 1).await.map(drop)
    }

    async fn field_list(&mut self, payload: &[u8]) -> io::Result<()> {
        let name = payload[1..].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = text_of(name);
        match tables::named(&name) {
            Some(table) => {
                let list = field_list(table.text_columns(), self.capabilities, status::AUTOCOMMIT, 1);
                self.channel.write_all(&list).await
            }
            None => self.refuse(&Unparsed::UnknownTable(name).packet(), 1).await,
        }
    }
}

/// Answers a request. Takes as long as it takes: not for the runtime's threads.
fn respond(request: &Request, desk: &Desk, asker: &Asker) -> Reply {
    match request {
        Request::Explain { statement } => Reply::Rows(desk.explain(statement, asker)),
        Request::Select(sql) => match select(sql, &desk.view(), asker) {
            Ok(answer) => Reply::Rows(answer),
            Err(error) => Reply::Error(error.packet()),
        },
        request => look(request, &desk.view()),
    }
}

fn look(request: &Request, view: &View) -> Reply {
    match answer(request, view) {
        Outcome::Rows(rows) => Reply::Rows(rows),
        Outcome::Done | Outcome::Elsewhere => Reply::Ok(String::new()),
    }
}

/// Names and statements that are not UTF-8 become those of nothing.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
