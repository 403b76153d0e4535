//! Where the server programs are: the machine's own, else those `scripts/install-servers` unpacked.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use crate::flavour::{Flavour, Version};

/// One server program that can be run.
#[derive(Clone, Debug)]
pub struct Programs {
    pub version: Version,
    /// The server's own words: `9.7.4`, `10.11.19-MariaDB-0+deb12u1`.
    pub version_text: String,
    pub(super) server: PathBuf,
    /// A command line client to tell people of, where one is known.
    pub client: Option<PathBuf>,
    /// Where `share/mysql` is, as far as it is known.
    base: PathBuf,
}

impl Programs {
    /// The server of that flavour, or of any where none is wanted.
    pub fn find(flavour: Option<Flavour>) -> Result<Self, Error> {
        match flavour {
            Some(flavour) => find(flavour).ok_or_else(|| Error::NoServer(flavour, folder(flavour))),
            None => [Flavour::MariaDb, Flavour::MySql]
                .into_iter()
                .find_map(find)
                .ok_or_else(|| Error::NoServerAtAll(cache())),
        }
    }

    /// MariaDB's own SQL files for a new data directory; their names changed with 11.
    pub(super) fn share_file(&self, names: &[&str]) -> Option<PathBuf> {
        let folders = ["share/mysql", "share/mariadb", "share"].map(|folder| self.base.join(folder));
        let mut candidates = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
        candidates.find(|path| path.is_file())
    }
}

/// Where things that may be made again are kept between runs.
pub fn cache() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(env::temp_dir, PathBuf::from);
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("POINTSMAN_CACHE")
        .unwrap_or_else(|| named("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache")).join("pointsman"))
}

fn folder(flavour: Flavour) -> PathBuf {
    let variable = match flavour {
        Flavour::MySql => "POINTSMAN_MYSQL_DIR",
        Flavour::MariaDb => "POINTSMAN_MARIADB_DIR",
    };
    env::var_os(variable).map_or_else(|| cache().join(flavour.to_string()), PathBuf::from)
}

fn find(flavour: Flavour) -> Option<Programs> {
    let (server, client) = match flavour {
        Flavour::MySql => ("mysqld", "mysql"),
        Flavour::MariaDb => ("mariadbd", "mariadb"),
    };
    // Daemons live in sbin, which is not in everybody's PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin"].map(PathBuf::from));
    folders.push(folder(flavour).join("bin"));
    let (server, version_text) = folders.iter().find_map(|folder| {
        let server = folder.join(server);
        let text = version_of(&server)?;
        is_wanted(flavour, &text).then_some((server, text))
    })?;
    let beside = server.parent().map(Path::to_owned).into_iter();
    let client = beside.chain(folders).map(|folder| folder.join(client)).find(|path| path.is_file());
    Some(Programs {
        version: Version::parse(&version_text),
        version_text,
        base: base_of(&server),
        server,
        client,
    })
}

fn version_of(server: &Path) -> Option<String> {
    if !server.is_file() {
        return None;
    }
    let output = Command::new(server).args(["--no-defaults", "--version"]).output().ok()?;
    version_in(&String::from_utf8_lossy(&output.stdout)).map(str::to_owned)
}

/// `/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))` → `9.7.4-2`.
pub(super) fn version_in(line: &str) -> Option<&str> {
    line.split_once("Ver ")?.1.split_whitespace().next()
}

/// `mysqld` is MariaDB's on machines with MariaDB's packages; before 8 MySQL lacks what replication here uses.
pub(super) fn is_wanted(flavour: Flavour, version_text: &str) -> bool {
    let version = Version::parse(version_text);
    version.flavour == flavour && (flavour == Flavour::MariaDb || version.number >= 80_023)
}

/// `/usr` for `/usr/sbin/mariadbd`; the unpacked folder has its `usr` beside its `bin`.
fn base_of(server: &Path) -> PathBuf {
    let real = std::fs::canonicalize(server).unwrap_or_else(|_| server.to_owned());
    let above = real.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    let unpacked = above.join("usr");
    if unpacked.is_dir() && above != Path::new("/") { unpacked } else { above.to_owned() }
}
