//! What is tested against real servers. One process, so that the tests of a flavour share a cluster.

mod binary;
mod clusters;
mod faults;
mod large;
mod load;
mod playground;
mod protocol;
mod raw;
mod scripts;
mod through;
