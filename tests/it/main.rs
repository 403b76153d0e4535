//! The one integration binary.

mod classify;
