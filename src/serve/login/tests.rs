//! The login policy as a table, and what the front says it is.

use std::sync::Arc;

use super::decide::{Decision, Proof, Standing, decide};
use super::greet::greeted_version;
use crate::backend::Credential;
use crate::flavour::Flavour;
use crate::serve::accounts::Trust;
use crate::wire::auth::Password;

fn credential() -> Arc<Credential> {
    Arc::new(Credential { user: "app".to_owned(), password: Password::clear("right") })
}

fn show(decision: &Decision) -> String {
    match decision {
        Decision::Admit(credential, admitted) => format!("admit {} {admitted:?}", credential.user),
        Decision::Ask { credential, without_server } => {
            let which = if credential.password.same(&Password::clear("right")) { "right" } else { "wrong" };
            format!("ask {which}, else {without_server:?}")
        }
        Decision::Deny => "deny".to_owned(),
    }
}

#[test]
fn the_policy() {
    let listed = |seen| Standing::Listed { credential: credential(), seen };
    let remembered = |trust| Standing::Remembered { credential: credential(), trust };
    let known = || Proof::Known;
    let right = || Proof::Claimed(Password::clear("right"));
    let wrong = || Proof::Claimed(Password::clear("wrong"));
    let cases = [
        // Listed in the configuration: a server is asked for the schema alone.
        (listed(true), known(), true, "admit app Listed"),
        (listed(true), right(), true, "admit app Listed"),
        (listed(true), wrong(), true, "deny"),
        (listed(false), known(), true, "ask right, else Some(Listed)"),
        (listed(false), known(), false, "admit app Listed"),
        (listed(false), wrong(), false, "deny"),
        // Remembered.
        (remembered(Trust::Trusted), known(), true, "admit app Remembered"),
        (remembered(Trust::SchemaUnseen), known(), true, "ask right, else Some(Remembered)"),
        (remembered(Trust::Expired), known(), true, "ask right, else None"),
        (remembered(Trust::AccountChanged), known(), true, "ask right, else None"),
        (remembered(Trust::Trusted), right(), true, "ask right, else None"),
        (remembered(Trust::Trusted), wrong(), true, "ask wrong, else None"),
        (remembered(Trust::Trusted), known(), false, "deny"),
        // Known to nobody here: the database decides, or nobody.
        (Standing::Unknown, right(), true, "ask right, else None"),
        (Standing::Unknown, wrong(), true, "ask wrong, else None"),
        (Standing::Unknown, right(), false, "deny"),
    ];
    for (standing, proof, servers, expected) in cases {
        let title = format!("{standing:?}, {proof:?}, servers: {servers}");
        assert_eq!(show(&decide("app", &standing, proof, servers)), expected, "{title}");
    }
}

#[test]
fn versions_are_greeted_as_servers_greet() {
    let cases = [
        (Flavour::MariaDb, "10.11.19-MariaDB-0+deb12u1", "5.5.5-10.11.19-MariaDB-0+deb12u1"),
        (Flavour::MariaDb, "11.8.2-MariaDB", "11.8.2-MariaDB"),
        (Flavour::MySql, "9.7.4-2", "9.7.4-2"),
        // A MySQL of that number, should there be one.
        (Flavour::MySql, "10.1.0", "10.1.0"),
    ];
    for (flavour, version, expected) in cases {
        assert_eq!(greeted_version(version, flavour), expected);
    }
}
