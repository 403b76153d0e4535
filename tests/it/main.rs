//! What is tested without servers. One binary: linking is most of a rebuild.

#![allow(clippy::disallowed_methods, reason = "a test may block its own thread and needs no limits")]

mod admin;
mod cases;
mod classify;
mod classify_properties;
mod cli;
mod config;
mod conformance;
mod control;
mod control_loop;
mod failover;
mod login;
mod observation;
mod rehearsal;
mod tidy;
