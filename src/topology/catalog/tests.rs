//! Versions move exactly when rows differ.

use super::{Account, Accounts, Catalog, CatalogRows, View};

fn rows(definition: &str) -> CatalogRows {
    let view = View { schema: "app".into(), name: "v".into(), definition: definition.into() };
    CatalogRows { version: 0, routines: Vec::new(), views: vec![view] }
}

fn accounts(hash: &[u8]) -> Accounts {
    let account = Account {
        user: "app".into(),
        host: "%".into(),
        plugin: "mysql_native_password".into(),
        authentication_string: hash.to_vec(),
        locked: false,
        requires_tls: false,
    };
    Accounts { version: 0, rows: vec![account] }
}

fn versions(catalog: &Catalog) -> (Option<u64>, Option<u64>) {
    (
        catalog.rows.as_ref().map(|rows| rows.version),
        catalog.accounts.as_ref().map(|accounts| accounts.version),
    )
}

#[test]
fn a_version_moves_when_its_rows_differ_and_only_then() {
    let first = Catalog::default().after(Some(rows("select 1")), Some(accounts(b"*A")), None);
    assert_eq!(versions(&first), (Some(1), Some(1)));
    let same = first.after(Some(rows("select 1")), Some(accounts(b"*A")), None);
    assert_eq!(same, first);
    let other_view = first.after(Some(rows("select 2")), Some(accounts(b"*A")), None);
    assert_eq!(versions(&other_view), (Some(2), Some(1)));
    let other_password = other_view.after(Some(rows("select 2")), Some(accounts(b"*B")), None);
    assert_eq!(versions(&other_password), (Some(2), Some(2)));
}

#[test]
fn what_cannot_be_read_is_kept() {
    let first = Catalog::default().after(Some(rows("select 1")), Some(accounts(b"*A")), None);
    assert_eq!(first.after(None, None, None), first);
    assert_eq!(versions(&Catalog::default().after(None, None, None)), (None, None));
}

#[test]
fn hashes_are_not_shown() {
    assert!(!format!("{:?}", accounts(b"*SECRET")).contains("SECRET"));
}
