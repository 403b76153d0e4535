//! SHOW PROCESSLIST as one server would show it: every session once, by the number that its client knows.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use crate::wire::read::Cursor;
use crate::wire::{self, Malformed, capability, write};

/// Who there is, as known just before the server is asked.
#[derive(Debug, Default)]
pub(super) struct Threads {
    pub(super) sessions: Vec<Shown>,
    /// The server's threads that work for no session now.
    pub(super) idle: Vec<u32>,
    /// Who asks.
    pub(super) user: Arc<str>,
}

/// One session.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) id: u32,
    /// The thread of the server asked that works for it.
    pub(super) thread: Option<u32>,
    pub(super) user: Arc<str>,
    pub(super) host: String,
    pub(super) schema: Option<Arc<str>>,
    pub(super) command: &'static str,
    pub(super) seconds: u64,
}

/// Rewrites the reply as it passes. Rows of the proxy's sessions get their numbers and their clients' addresses; those
/// of connections that nobody uses are left out; sessions that the server does not know of are put in at the end, if
/// whoever asks may see them. What remains is no session of the proxy's and has no number here: 0, which no KILL finds.
#[derive(Debug)]
pub(super) struct ProcessList {
    threads: Threads,
    capabilities: u32,
    binary: bool,
    /// The beginning of a packet.
    pending: Vec<u8>,
    stage: Stage,
    columns: Vec<Column>,
    /// Of the next packet to the client.
    sequence: u8,
    /// Whether rows of other users were there: then the server shows everybody.
    sees_all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    /// So many definitions to come.
    Columns(u64),
    ColumnsEnd,
    Rows,
    Over,
}

#[derive(Debug)]
struct Column {
    /// In lower case.
    name: String,
    /// How long its numbers are in binary rows; `None` where the length stands before the value.
    width: Option<usize>,
}

type Cell<'a> = Option<Cow<'a, [u8]>>;

/// A row that is longer (the statement in it is) is not understood.
const ROW_LEN_MAX: usize = 64 << 20;

impl ProcessList {
    pub(super) fn new(threads: Threads, capabilities: u32, binary: bool, sequence: u8) -> Self {
        Self {
            threads,
            capabilities,
            binary,
            pending: Vec::new(),
            stage: Stage::Head,
            columns: Vec::new(),
            sequence,
            sees_all: false,
        }
    }

    /// What the client gets for these bytes of the reply, which are cut anywhere.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some((payload, len, _)) = wire::whole_message(&pending[at..], ROW_LEN_MAX)? {
            self.pass(&payload, &mut out)?;
            at += len;
        }
        pending.drain(..at);
        self.pending = pending;
        Ok(out)
    }

    fn pass(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let is_error = payload.first() == Some(&0xFF);
        self.stage = match self.stage {
            Stage::Over => Stage::Over,
            _ if is_error => Stage::Over,
            Stage::Head => match Cursor::new(payload).lenenc_int()? {
                0 => Stage::Over,
                columns => Stage::Columns(columns),
            },
            Stage::Columns(left) => {
                self.columns.push(self.column(payload)?);
                match (left, self.capabilities & capability::DEPRECATE_EOF) {
                    (1, 0) => Stage::ColumnsEnd,
                    (1, _) => Stage::Rows,
                    _ => Stage::Columns(left - 1),
                }
            }
            Stage::ColumnsEnd => Stage::Rows,
            Stage::Rows if self.ends(payload) => {
                self.push_unknown(out);
                Stage::Over
            }
            Stage::Rows => {
                if let Some(row) = self.row(payload)? {
                    self.sequence = wire::push_packet(out, &row, self.sequence);
                }
                return Ok(());
            }
        };
        self.sequence = wire::push_packet(out, payload, self.sequence);
        Ok(())
    }

    fn ends(&self, payload: &[u8]) -> bool {
        let longest = if self.capabilities & capability::DEPRECATE_EOF == 0 { 9 } else { wire::MAX_PAYLOAD };
        payload.first() == Some(&0xFE) && payload.len() < longest
    }

    fn column(&self, definition: &[u8]) -> Result<Column, Malformed> {
        let mut cursor = Cursor::new(definition);
        // Catalog, schema, table and its original name.
        for _ in 0..4 {
            cursor.lenenc_bytes()?;
        }
        let name = String::from_utf8_lossy(cursor.lenenc_bytes()?).to_ascii_lowercase();
        cursor.lenenc_bytes()?;
        if self.capabilities & capability::MARIADB_EXTENDED_METADATA != 0 {
            cursor.lenenc_bytes()?;
        }
        // The length of what follows, character set, longest value.
        cursor.bytes(1 + 2 + 4)?;
        let width = match cursor.u8()? {
            1 => Some(1),
            2 | 13 => Some(2),
            3 | 4 | 9 => Some(4),
            5 | 8 => Some(8),
            0 | 15 | 16 | 245..=255 => None,
            _ => return Err(Malformed("type of a column of a process list")),
        };
        Ok(Column { name, width })
    }

    /// A row as the client gets it; `None`: not at all.
    fn row(&mut self, payload: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let mut cells = if self.binary { self.binary_cells(payload)? } else { self.text_cells(payload)? };
        let at = |name: &str| self.columns.iter().position(|column| column.name == name);
        let (Some(id), Some(user)) = (at("id"), at("user")) else {
            return Err(Malformed("columns of a process list"));
        };
        self.sees_all |= cells[user].as_deref() != Some(self.threads.user.as_bytes());
        let thread = self.number(id, cells[id].as_deref());
        if thread.is_some_and(|thread| self.threads.idle.contains(&thread)) {
            return Ok(None);
        }
        let known = |session: &Shown| thread.is_some() && session.thread == thread;
        let session =
            self.threads.sessions.iter().position(known).map(|at| self.threads.sessions.swap_remove(at));
        let number = session.as_ref().map_or(0, |session| session.id);
        cells[id] = Some(self.encoded(id, u64::from(number)).into());
        if let (Some(session), Some(host)) = (session, at("host")) {
            cells[host] = Some(session.host.into_bytes().into());
        }
        Ok(Some(self.packed(&cells)))
    }

    /// Rows of those that the server has no thread for, or a thread of another server.
    fn push_unknown(&mut self, out: &mut Vec<u8>) {
        let mut sessions = std::mem::take(&mut self.threads.sessions);
        sessions.retain(|session| self.sees_all || session.user == self.threads.user);
        sessions.sort_by_key(|session| session.id);
        for session in &sessions {
            let cell = |(at, column): (usize, &Column)| -> Cell<'_> {
                let text = |text: &str| Some(text.as_bytes().to_vec().into());
                match column.name.as_str() {
                    "id" => Some(self.encoded(at, session.id.into()).into()),
                    "user" => text(&session.user),
                    "host" => text(&session.host),
                    "db" => session.schema.as_deref().and_then(text),
                    "command" => text(session.command),
                    "time" => Some(self.encoded(at, session.seconds).into()),
                    "state" => text(""),
                    "progress" if column.width.is_none() => text("0.000"),
                    "progress" => Some(self.encoded(at, 0).into()),
                    _ => None,
                }
            };
            let cells: Vec<Cell<'_>> = self.columns.iter().enumerate().map(cell).collect();
            let row = self.packed(&cells);
            self.sequence = wire::push_packet(out, &row, self.sequence);
        }
    }

    fn text_cells<'a>(&self, payload: &'a [u8]) -> Result<Vec<Cell<'a>>, Malformed> {
        let mut cursor = Cursor::new(payload);
        self.columns.iter().map(|_| Ok(cursor.nullable_lenenc_bytes()?.map(Cow::Borrowed))).collect()
    }

    fn binary_cells<'a>(&self, payload: &'a [u8]) -> Result<Vec<Cell<'a>>, Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.u8()?;
        let nulls = cursor.bytes((self.columns.len() + 9) / 8)?;
        let cell = |(at, column): (usize, &Column)| {
            if nulls[(at + 2) / 8] & (1 << ((at + 2) % 8)) != 0 {
                return Ok(None);
            }
            let value = match column.width {
                Some(width) => cursor.bytes(width)?,
                None => cursor.lenenc_bytes()?,
            };
            Ok(Some(Cow::Borrowed(value)))
        };
        self.columns.iter().enumerate().map(cell).collect()
    }

    fn packed(&self, cells: &[Cell<'_>]) -> Vec<u8> {
        let mut row = Vec::new();
        if self.binary {
            row.resize(1 + (cells.len() + 9) / 8, 0);
        }
        for (at, cell) in cells.iter().enumerate() {
            match cell {
                None if self.binary => row[1 + (at + 2) / 8] |= 1 << ((at + 2) % 8),
                None => row.push(0xFB),
                Some(value) if self.binary && self.columns[at].width.is_some() => {
                    row.extend_from_slice(value)
                }
                Some(value) => write::lenenc_bytes(&mut row, value),
            }
        }
        row
    }

    /// A number as it stands in this column.
    fn encoded(&self, at: usize, number: u64) -> Vec<u8> {
        match self.columns[at].width {
            Some(width) if self.binary => number.to_le_bytes()[..width].to_vec(),
            _ => number.to_string().into_bytes(),
        }
    }

    fn number(&self, at: usize, cell: Option<&[u8]>) -> Option<u32> {
        let cell = cell?;
        let number = match self.columns[at].width {
            Some(_) if self.binary => {
                cell.iter().rev().fold(0, |number: u64, byte| (number << 8) | u64::from(*byte))
            }
            _ => std::str::from_utf8(cell).ok()?.parse().ok()?,
        };
        u32::try_from(number).ok()
    }
}
