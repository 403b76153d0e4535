//! The one integration binary.

mod cases;
mod classify;
mod cli;
mod config;
mod control;
mod control_loop;
mod login;
mod observation;
