//! What is tested against real servers. One process, so that the tests of a flavour share a cluster.

mod clusters;
mod playground;
mod scripts;
mod through;
