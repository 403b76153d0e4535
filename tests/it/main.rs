//! The one integration binary.

mod cases;
mod config;
