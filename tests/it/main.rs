//! The one integration binary.

mod classify;
mod classify_properties;
