//! The `route` room.
