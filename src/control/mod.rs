//! The `control` room.
