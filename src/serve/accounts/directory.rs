//! The accounts table by user name.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::topology::catalog::{self, Accounts, CatalogReader};

/// What the accounts table says of a user name, over all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Changes whenever any account of that name does.
    pub stamp: u64,
    /// SHA1(SHA1(password)) of its accounts with mysql_native_password.
    pub native_hashes: Vec<[u8; 20]>,
}

/// The accounts table as last read; `None` for names that are not in it.
pub type AccountLookup = Box<dyn Fn(&str) -> Option<Account> + Send + Sync>;

/// Looks names up in the catalog of the moment.
pub fn from_catalog(catalog: CatalogReader) -> AccountLookup {
    let indexed: ArcSwapOption<Index> = ArcSwapOption::empty();
    Box::new(move |user| {
        let accounts = catalog.load().accounts.clone()?;
        let index = match indexed.load_full() {
            Some(index) if Arc::ptr_eq(&index.accounts, &accounts) => index,
            _ => {
                let index = Arc::new(Index::new(accounts));
                indexed.store(Some(Arc::clone(&index)));
                index
            }
        };
        index.by_user.get(user).cloned()
    })
}

/// One reading of the table.
struct Index {
    accounts: Arc<Accounts>,
    by_user: HashMap<String, Account>,
}

impl Index {
    fn new(accounts: Arc<Accounts>) -> Self {
        let mut rows: Vec<&catalog::Account> = accounts.rows.iter().collect();
        // The stamp is not to change with the order in which a server gives the rows.
        rows.sort_by_key(|row| (&row.user, &row.host, &row.plugin, &row.authentication_string));
        let mut by_user: HashMap<String, Account> = HashMap::new();
        for row in rows {
            let account = by_user.entry(row.user.clone()).or_default();
            account.stamp = stamp(account.stamp, row);
            account.native_hashes.extend(native_hash(row));
        }
        Self { accounts, by_user }
    }
}

/// The stamp of the rows up to and with this one.
fn stamp(before: u64, row: &catalog::Account) -> u64 {
    let mut hasher = DefaultHasher::new();
    before.hash(&mut hasher);
    row.host.hash(&mut hasher);
    row.plugin.hash(&mut hasher);
    row.authentication_string.hash(&mut hasher);
    row.locked.hash(&mut hasher);
    hasher.finish()
}

/// `*` and forty hexadecimal digits. Of locked accounts too, so that a server tells their owners why.
fn native_hash(row: &catalog::Account) -> Option<[u8; 20]> {
    if row.plugin != "mysql_native_password" {
        return None;
    }
    let digits: &[u8; 40] = row.authentication_string.strip_prefix(b"*")?.try_into().ok()?;
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let text = std::str::from_utf8(pair).ok().filter(|text| !text.starts_with('+'))?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(hash)
}
