//! The accounts and the schema every playground cluster is born with.

use crate::flavour::Flavour;

/// A database account and its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub user: &'static str,
    pub password: &'static str,
}

/// May do anything; for tests and for wiring replication.
pub const ROOT: Account = Account { user: "root", password: "root" };
/// What an application uses: everything in schema `app`, nothing else.
pub const APP: Account = Account { user: "app", password: "app" };
/// The proxy's control account: probes, catalog, and what a promotion needs.
pub const CONTROL: Account = Account { user: "pointsman", password: "pointsman" };
/// What replicas log in to the primary with.
pub(super) const REPLICATION: Account = Account { user: "replication", password: "replication" };

/// The statements that make them, one a line: both servers read them while they set up a data directory,
/// and there a line is a statement.
pub(super) fn setup(flavour: Flavour) -> String {
    let mut lines = Vec::new();
    for account in [ROOT, APP, CONTROL, REPLICATION] {
        lines.push(format!("CREATE USER '{}'@'%' IDENTIFIED BY '{}';", account.user, account.password));
    }
    lines.push("GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;".to_owned());
    lines.push("GRANT ALL ON app.* TO 'app'@'%';".to_owned());
    lines.push(format!("GRANT {} ON *.* TO 'pointsman'@'%';", control_privileges(flavour)));
    lines.push("GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%';".to_owned());
    lines.extend(SCHEMA.iter().map(|line| (*line).to_owned()));
    lines.join("\n") + "\n"
}

/// Probes and catalog need the first line of each; the rest is for promotion: making a server writable or
/// not, pointing replicas elsewhere, ending connections.
fn control_privileges(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => {
            "SELECT, PROCESS, SHOW VIEW, SHOW_ROUTINE, REPLICATION CLIENT, REPLICATION SLAVE, \
             RELOAD, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN"
        }
        Flavour::MariaDb => {
            "SELECT, PROCESS, SHOW VIEW, BINLOG MONITOR, REPLICA MONITOR, REPLICATION SLAVE, \
             RELOAD, SUPER, REPLICATION SLAVE ADMIN, READ_ONLY ADMIN, CONNECTION ADMIN, BINLOG ADMIN"
        }
    }
}

const SCHEMA: &[&str] = &[
    "CREATE DATABASE app CHARACTER SET utf8mb4;",
    "CREATE TABLE app.fruit (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL) ENGINE=InnoDB;",
    "INSERT INTO app.fruit (name) VALUES ('apple'), ('pear'), ('plum');",
];
