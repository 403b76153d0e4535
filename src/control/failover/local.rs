//! The journal and the right to decide, kept in files of this machine.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::journal::{self, Journal, Leadership, Record};

/// The name of the journal in the data directory.
const JOURNAL: &str = "failover.journal";
/// Whoever holds its lock decides.
const LOCK: &str = "failover.lock";

/// A file that only grows; every append is on the disk before it returns.
pub struct FileJournal {
    file: File,
}

impl FileJournal {
    /// Opens the journal of this folder and reads what is in it.
    ///
    /// # Errors
    /// Where the file cannot be read or written, or holds what is no record.
    pub fn open(folder: &Path) -> io::Result<(Self, Vec<Record>)> {
        let path = folder.join(JOURNAL);
        let is_new = !path.exists();
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        if is_new {
            // Else the name may be lost with the machine although the contents are not.
            File::open(folder)?.sync_all()?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let records = journal::read(&text).map_err(|corrupt| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {corrupt}", path.display()))
        })?;
        // Of a line that was cut short, nothing may be left in the midst of the file.
        let whole = journal::whole_len(&text) as u64;
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        Ok((Self { file }, records))
    }
}

impl Journal for FileJournal {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let lines: String = records.iter().map(Record::line).collect();
        self.file.write_all(lines.as_bytes())?;
        self.file.sync_data()
    }
}

/// This process decides if no other holds the lock of the same folder. The system takes it back when it ends.
pub struct FileLeadership {
    held: Option<File>,
}

impl FileLeadership {
    /// # Errors
    /// Where the file cannot be made.
    pub fn take(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = File::options().write(true).create(true).truncate(false).open(folder.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { held: Some(file) }),
            Err(TryLockError::WouldBlock) => Ok(Self { held: None }),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Leadership for FileLeadership {
    fn leads(&self) -> bool {
        self.held.is_some()
    }
}
