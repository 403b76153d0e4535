//! What is known of the database's users: their accounts, and passwords that a server has verified.

mod cache;
mod directory;
#[cfg(test)]
mod tests;

pub use cache::{CREDENTIALS_MAX, CredentialCache, Trust};
pub use directory::{Account, AccountLookup};
