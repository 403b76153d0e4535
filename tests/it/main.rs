//! The one integration binary.

mod cases;
mod cli;
mod config;
mod control;
mod login;
