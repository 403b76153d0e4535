//! Which family and version of server; the one thing every room may know of the others.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    MySql,
    MariaDb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub flavour: Flavour,
    /// As in executable comments: 90704 is 9.7.4, 101119 is 10.11.19.
    pub number: u32,
}

impl Version {
    /// Reads a `VERSION()` text or a greeting's version: `9.7.4`, `10.11.19-MariaDB-0+deb12u1`,
    /// `5.5.5-10.11.6-MariaDB`. Unknown text is the oldest MySQL.
    pub fn parse(text: &str) -> Self {
        let flavour = if text.contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
        let text =
            if flavour == Flavour::MariaDb { text.strip_prefix("5.5.5-").unwrap_or(text) } else { text };
        let mut parts =
            text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0).min(99);
        let number = next() * 10_000 + next() * 100 + next();
        Self { flavour, number }
    }

    /// MySQL of this version or later.
    pub fn is_mysql_from(self, number: u32) -> bool {
        self.flavour == Flavour::MySql && self.number >= number
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::MySql => "mysql",
            Flavour::MariaDb => "mariadb",
        })
    }
}
