//! Failover rehearsed: what is done to a cluster, what clients do meanwhile, and what is held against it afterwards.
//!
//! One definition for every place it is played in: `tests/drill` (Docker, network namespaces, plain processes) and
//! `tests/real`. `tests/it/failover/scenarios.rs` plays the same names in the simulation.

#![allow(dead_code, unused_imports, reason = "each of the crates that include this uses a part of it")]

pub(crate) mod checks;
mod clients;
mod conduct;
pub(crate) mod containers;
pub(crate) mod history;
mod outlook;
pub(crate) mod processes;
mod proxy;
pub(crate) mod scenario;
mod scripts;
pub(crate) mod stage;
pub(crate) mod verdict;

pub(crate) use conduct::play;
