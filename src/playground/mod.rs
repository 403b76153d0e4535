//! The `playground` room.
