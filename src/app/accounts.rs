//! What login must know of the accounts that the control line has read.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use crate::serve::accounts::{Account, AccountLookup};
use crate::topology::catalog::{Accounts, CatalogReader};

/// Looks accounts up in the last reading; its index is made anew when the reading changes.
pub(super) fn lookup(dictionary: CatalogReader) -> AccountLookup {
    let indexed: Mutex<(u64, Arc<HashMap<String, Account>>)> = Mutex::new((0, Arc::default()));
    Box::new(move |user| {
        let accounts = dictionary.load().accounts.clone()?;
        let mut indexed = indexed.lock().unwrap_or_else(PoisonError::into_inner);
        // Versions of readings begin at one.
        if indexed.0 != accounts.version {
            *indexed = (accounts.version, Arc::new(index(&accounts)));
        }
        indexed.1.get(user).cloned()
    })
}

fn index(accounts: &Accounts) -> HashMap<String, Account> {
    let mut stamps: HashMap<&str, DefaultHasher> = HashMap::new();
    let mut index: HashMap<String, Account> = HashMap::new();
    for row in &accounts.rows {
        let stamp = stamps.entry(&row.user).or_default();
        (&row.host, &row.plugin, &row.authentication_string, row.locked, row.requires_tls).hash(stamp);
        let account = index.entry(row.user.clone()).or_default();
        account.stamp = stamp.finish();
        account.requires_tls |= row.requires_tls;
        if row.plugin == "mysql_native_password" && !row.locked {
            account.native_hashes.extend(native_hash(&row.authentication_string));
        }
    }
    index
}

/// Reads `*` and forty hexadecimal digits.
fn native_hash(text: &[u8]) -> Option<[u8; 20]> {
    let digits = text.strip_prefix(b"*").filter(|digits| digits.len() == 40)?;
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::catalog;

    fn row(host: &str, plugin: &str, authentication: &str) -> catalog::Account {
        catalog::Account {
            user: "app".to_owned(),
            host: host.to_owned(),
            plugin: plugin.to_owned(),
            authentication_string: authentication.as_bytes().to_vec(),
            locked: false,
            requires_tls: false,
        }
    }

    #[test]
    fn hashes_of_all_hosts_are_offered_and_any_change_moves_the_stamp() {
        let native = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19";
        let mut accounts = Accounts {
            version: 1,
            rows: vec![
                row("%", "mysql_native_password", native),
                row("h", "caching_sha2_password", "$A$005$x"),
            ],
        };
        let before = index(&accounts)["app"].clone();
        assert_eq!(before.native_hashes.len(), 1);
        assert_eq!(before.native_hashes[0][..2], [0x24, 0x70]);
        accounts.rows[1].locked = true;
        assert_ne!(index(&accounts)["app"].stamp, before.stamp);
        assert!(!before.requires_tls);
        accounts.rows[0].requires_tls = true;
        assert!(index(&accounts)["app"].requires_tls);
        assert_eq!(native_hash(b"*24"), None);
        assert_eq!(native_hash(b"*ZZ70C0C06DEE42FD1618BB99005ADCA2EC9D1E19"), None);
    }
}
