//! The proxy as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use anyhow::{Context, Result};

/// The program with its configuration; it runs between `start` and `kill`.
pub(crate) struct Process {
    program: PathBuf,
    /// Before the program, where it is not run from here: `ip netns exec name`.
    before: Vec<String>,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// With its files in that folder, which holds its `proxy.toml`.
    pub(crate) fn new(program: PathBuf, before: Vec<String>, folder: PathBuf) -> Self {
        Self { program, before, folder, child: Mutex::new(None) }
    }

    pub(crate) fn start(&self) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log"))?;
        let words = self.before.iter().map(String::as_str);
        let program = self.program.to_str().context("a path of text")?;
        let config = self.folder.join("proxy.toml");
        let mut words = words.chain([program, "run", "--config"]);
        let mut command = Command::new(words.next().context("a program")?);
        command.args(words).arg(config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        *self.child() = Some(command.spawn().with_context(|| program.to_owned())?);
        Ok(())
    }

    /// kill -9, and waits for it.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match self.child().take() {
            Some(mut child) => {
                child.kill()?;
                child.wait().map(drop)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}
