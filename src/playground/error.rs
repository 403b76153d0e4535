//! Why a cluster could not be had, in words for the person at the terminal.

use std::path::{Path, PathBuf};

use crate::flavour::Flavour;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no {0} server found: neither in PATH nor in {1}; `scripts/install-servers {0}` gets one")]
    NoServer(Flavour, PathBuf),
    #[error(
        "no database server found: neither MySQL nor MariaDB is in PATH or in {0}; `scripts/install-servers` gets one"
    )]
    NoServerAtAll(PathBuf),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the {flavour} server could not set up a data directory; the end of its log:\n{log}")]
    Initialise { flavour: Flavour, log: String },
    #[error("{name} ended while starting; the end of its log:\n{log}")]
    Died { name: String, log: String },
    #[error("{name} did not answer within {seconds} s: {last}; the end of its log:\n{log}")]
    Silent { name: String, seconds: u64, last: String, log: String },
    #[error("{name}: {source}")]
    Sql { name: String, source: mysql_async::Error },
    #[error("{name} does not replicate: {why}")]
    Replication { name: String, why: String },
    #[error("{name}: no free port found on 127.0.0.1")]
    NoPort { name: String },
    #[error("{0} holds data of {1}, not of {2}; choose another folder")]
    OtherFlavour(PathBuf, String, Flavour),
    #[error("{0} is in use by another playground")]
    InUse(PathBuf),
    #[error("cannot make certificates: {0}")]
    Certificate(String),
}

impl Error {
    /// Names the file in an input or output error.
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::File { path: path.to_owned(), source }
    }
}
