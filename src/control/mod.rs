//! The `control` room.

pub mod changes;
pub mod health;
pub mod judge;
pub mod lineage;
pub mod observation;
pub mod standing;
