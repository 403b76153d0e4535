//! Line one, performed: from a client's connection to the answer of its last statement.

pub mod accounts;
pub mod login;
pub mod tls;
