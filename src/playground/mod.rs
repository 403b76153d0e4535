//! A primary and its replicas from the server programs of this machine, for trying, testing and measuring.

mod accounts;
mod certificates;
mod chaos;
mod cluster;
mod error;
mod guard;
mod ports;
mod programs;
mod relay;
mod replication;
mod server;
mod template;
mod tour;

#[cfg(test)]
mod tests;

pub use accounts::{APP, Account, CONTROL, ROOT};
pub use cluster::{Cluster, Options};
pub use error::Error;
pub use ports::free as free_port;
pub use programs::{Programs, cache};
pub use server::{Place, Server};
pub use tour::{TourOptions, config, run};

/// Takes one line of progress at a time; starting a cluster takes seconds, and people watch.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);
