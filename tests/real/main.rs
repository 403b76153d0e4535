//! What is tested against real servers. One process, so that the tests of a flavour share a cluster.

#![allow(clippy::disallowed_methods, reason = "a test may block its own thread and needs no limits")]

mod admin;
mod arrivals;
mod binary;
mod brake;
mod bulk;
mod carried;
mod clusters;
mod compression;
mod consistency;
mod crowd;
mod drivers;
mod failover;
mod faults;
mod flags;
mod gtid;
mod init_connect;
mod large;
mod leaks;
mod limits;
mod load;
mod login;
mod orders;
mod own_writes;
mod playground;
mod pools;
mod prepared;
mod process_list;
mod protocol;
mod random;
mod raw;
#[path = "../rehearsal/mod.rs"]
mod rehearsal;
mod scenarios;
mod scripts;
mod split;
mod switchover;
mod sysbench;
mod through;
mod trackers;
mod writers;
