//! Pointsman: a MySQL/MariaDB proxy that sends writes to the primary and reads to the replicas.
//!
//! Two straight lines and one window between them. Line one is the life of a statement
//! (`serve::session`: classify, route, checkout, relay, release); line two is the life of the cluster
//! (`control`: probe, judge, publish). They meet only at `topology::Snapshot`. In reading order:

pub mod flavour;

pub mod consistency;

pub mod gtid;

pub mod config;

pub mod wire;

pub mod net;

pub mod sql;

pub mod topology;

pub mod route;

pub mod backend;

pub mod serve;

pub mod control;

pub mod admin;

pub mod playground;

pub mod app;

pub mod cli;

pub mod telemetry;

pub mod shutdown;
