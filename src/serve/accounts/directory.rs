//! What login must know of the accounts table, by user name.

/// All accounts of one name, over all hosts: which of them a server will take, it alone knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Changes whenever any account of that name does.
    pub stamp: u64,
    /// SHA1(SHA1(password)) of its accounts with mysql_native_password.
    pub native_hashes: Vec<[u8; 20]>,
    /// Some account of that name may not be used without TLS. The server cannot see to it: what it sees is
    /// the proxy's connection.
    pub requires_tls: bool,
}

/// The accounts table as last read; `None` for names that are not in it.
pub type AccountLookup = Box<dyn Fn(&str) -> Option<Account> + Send + Sync>;
