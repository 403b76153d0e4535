//! Data directories: set up once for each server version, then copied.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::programs::cache;
use super::{Error, Programs, Progress, accounts, certificates};
use crate::flavour::Flavour;

/// Sizes that the data directory is created with and must be run with.
pub(super) const SIZES_MYSQL: &[&str] =
    &["--loose-innodb-redo-log-capacity=32M", "--innodb-buffer-pool-size=64M"];
pub(super) const SIZES_MARIADB: &[&str] = &["--innodb-log-file-size=32M", "--innodb-buffer-pool-size=64M"];

/// Moves when anything below changes what a data directory holds and the accounts do not.
const RECIPE: u32 = 3;

/// A data directory with accounts and schema, to be copied; made now if this version has none yet.
pub(super) fn prepare(programs: &Programs, progress: Progress<'_>) -> Result<PathBuf, Error> {
    let flavour = programs.version.flavour;
    let setup = accounts::setup(flavour);
    let mut hasher = DefaultHasher::new();
    (RECIPE, &setup, &programs.server, SIZES_MYSQL, SIZES_MARIADB).hash(&mut hasher);
    let name = format!("{flavour}-{}-{:016x}", programs.version_text, hasher.finish());
    let ready = cache().join("templates").join(name);
    if ready.is_dir() {
        return Ok(ready);
    }
    progress(&format!("setting up a data directory of {flavour} {} (once)", programs.version_text));
    // Only a whole directory gets the final name; of two processes at it, either result is as good.
    let partial = ready.with_extension(format!("{}.partial", std::process::id()));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(Error::file(&partial))?;
    let made = initialise(programs, &partial, &setup);
    if made.is_ok() && fs::rename(&partial, &ready).is_ok() {
        return Ok(ready);
    }
    let _ = fs::remove_dir_all(&partial);
    made?;
    if ready.is_dir() { Ok(ready) } else { Err(Error::file(&ready)(io::ErrorKind::NotFound.into())) }
}

/// Copies a data directory; a missing target is made.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::file(to))?;
    for entry in fs::read_dir(from).map_err(Error::file(from))? {
        let entry = entry.map_err(Error::file(from))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(Error::file(&target))?;
        }
    }
    Ok(())
}

/// Both servers refuse to run as root unless told that it is meant.
pub(super) fn user_option(folder: &Path) -> Option<&'static str> {
    fs::metadata(folder).is_ok_and(|folder| folder.uid() == 0).then_some("--user=root")
}

fn initialise(programs: &Programs, folder: &Path, setup: &str) -> Result<(), Error> {
    let data = folder.join("data");
    fs::create_dir(&data).map_err(Error::file(&data))?;
    let script = folder.join("setup.sql");
    let log = folder.join("setup.log");
    let mut command = Command::new(&programs.server);
    command.arg("--no-defaults").args(user_option(&data)).arg(format!("--datadir={}", data.display()));
    // Not the machine's own: temporary tables of servers that run there would be deleted.
    command.arg(format!("--tmpdir={}", folder.display()));
    match programs.version.flavour {
        Flavour::MySql => {
            fs::write(&script, setup).map_err(Error::file(&script))?;
            command.args(SIZES_MYSQL).args([
                "--initialize-insecure",
                "--secure-file-priv=NULL",
                "--mysqlx=OFF",
            ]);
            command.arg("--innodb-use-native-aio=OFF").arg(format!("--init-file={}", script.display()));
            command.stdin(Stdio::null());
        }
        Flavour::MariaDb => {
            write_mariadb_script(programs, &script, setup)?;
            command.args(SIZES_MARIADB).args([
                "--bootstrap",
                "--enforce-storage-engine=",
                "--log-warnings=0",
            ]);
            command.args([
                "--innodb-use-native-aio=OFF",
                "--max-allowed-packet=8M",
                "--net-buffer-length=16K",
            ]);
            command.stdin(File::open(&script).map_err(Error::file(&script))?);
        }
    }
    let output = File::create(&log).map_err(Error::file(&log))?;
    command.stdout(output.try_clone().map_err(Error::file(&log))?).stderr(output);
    let status = command.status().map_err(Error::file(&programs.server))?;
    if !status.success() {
        return Err(Error::Initialise { flavour: programs.version.flavour, log: tail(&log) });
    }
    if programs.version.flavour == Flavour::MariaDb {
        certificates::write(&data)?;
    }
    // Each copy makes a server identity of its own.
    let _ = fs::remove_file(data.join("auto.cnf"));
    Ok(())
}

/// MariaDB has no initialise option: its system tables are SQL files fed to a server in bootstrap mode. Done here
/// rather than by `mariadb-install-db`, which finds only files at their installed places.
fn write_mariadb_script(programs: &Programs, script: &Path, setup: &str) -> Result<(), Error> {
    let mut file = File::create(script).map_err(Error::file(script))?;
    let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(Error::file(script));
    write(b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n")?;
    for name in ["system_tables", "performance_tables", "system_tables_data", "sys_schema"] {
        let names = [format!("mariadb_{name}.sql"), format!("mysql_{name}.sql")];
        let names = [names[0].as_str(), names[1].as_str()];
        let path = programs.share_file(&names).ok_or_else(|| {
            Error::file(Path::new(names[1]))(io::Error::new(
                io::ErrorKind::NotFound,
                "not found beside the server",
            ))
        })?;
        write(&fs::read(&path).map_err(Error::file(&path))?)?;
        write(b"\n")?;
    }
    // It comes with accounts without a password, which would stand before ours.
    write(b"DELETE FROM mysql.global_priv WHERE User IN ('root', '');\nFLUSH PRIVILEGES;\n")?;
    write(setup.as_bytes())
}

/// The last lines of a log, for an error message.
pub(super) fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
