//! The cluster: one primary, its replicas, and the folder they live in.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::guard::Guard;
use super::{Error, Place, Programs, Progress, Server, ports, replication, template};
use crate::flavour::{Flavour, Version};

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Any that the machine has where `None`.
    pub flavour: Option<Flavour>,
    pub replicas: usize,
    /// A folder whose data outlives the process and is used again; a temporary one where `None`.
    pub keep: Option<PathBuf>,
    /// Further options for every server, as on its command line: `--max-connections=50`.
    pub server_options: Vec<String>,
    /// Further options for the replicas alone.
    pub replica_options: Vec<String>,
    /// Commits wait until a replica has them, and whatever was acknowledged survives the primary. Without a replica
    /// they wait for ever.
    pub semi_sync: bool,
    /// Where the servers run, the primary first; all on the loopback where empty.
    pub places: Vec<Place>,
    /// Whether the ways to the servers can be cut; everything that others send them takes a detour then.
    pub relays: bool,
}

impl Options {
    /// One primary and two replicas in a temporary folder.
    pub fn new(flavour: Option<Flavour>) -> Self {
        Self {
            flavour,
            replicas: 2,
            keep: None,
            server_options: Vec::new(),
            replica_options: Vec::new(),
            semi_sync: false,
            places: Vec::new(),
            relays: false,
        }
    }
}

/// Running servers. They end when this is dropped, and when the process ends in whatever way.
pub struct Cluster {
    pub version: Version,
    pub programs: Programs,
    pub primary: Server,
    pub replicas: Vec<Server>,
    /// Where everything lives.
    pub folder: PathBuf,
    /// Whether commits wait for replicas.
    pub semi_sync: bool,
    kept: bool,
    // Last: dropped after the servers, it removes their folder.
    _guard: Guard,
    _claim: File,
}

impl Cluster {
    /// Starts servers with replication, the accounts of this room and schema `app`; some seconds, more when the data
    /// directory of this version is set up for the first time.
    pub async fn start(options: &Options, progress: Progress<'_>) -> Result<Self, Error> {
        let programs = Programs::find(options.flavour)?;
        let flavour = programs.version.flavour;
        let (folder, claim) = claim(options.keep.as_deref(), flavour)?;
        let kept = options.keep.is_some();
        let guard = Guard::over(&folder, !kept).map_err(Error::file(Path::new("/bin/sh")))?;
        let template = template::prepare(&programs, progress)?;
        progress(&format!(
            "starting {flavour} {}: a primary and {} replicas in {}",
            programs.version_text,
            options.replicas,
            folder.display()
        ));
        let mut servers = Vec::new();
        for index in 0..=options.replicas {
            prepare(&folder.join(name(index)), &template)?;
            servers.push(launch(index, &folder, &programs, options)?);
        }
        for (index, server) in servers.iter_mut().enumerate() {
            settle(server, index, &folder, &programs, options).await?;
            if options.relays {
                server.relay().await?;
            }
            progress(&format!("{} answers on {}", server.name, server.address()));
        }
        let primary = servers.remove(0);
        let version = programs.version;
        let cluster = Self {
            version,
            programs,
            primary,
            replicas: servers,
            folder,
            semi_sync: options.semi_sync,
            kept,
            _guard: guard,
            _claim: claim,
        };
        for replica in &cluster.replicas {
            replication::attach(replica, &cluster.primary, flavour).await?;
            progress(&format!("{} replicates from the primary", replica.name));
        }
        if options.semi_sync {
            replication::wait_for_replicas(&cluster.primary, flavour).await?;
            progress("commits on the primary wait until a replica has them");
        }
        Ok(cluster)
    }

    /// The certificate authority of every server of this cluster. MySQL's certificates name no host; MariaDB's name
    /// 127.0.0.1 and localhost.
    pub fn authority(&self) -> PathBuf {
        self.primary.folder.join("data/ca.pem")
    }

    pub fn flavour(&self) -> Flavour {
        self.version.flavour
    }

    /// The primary, then the replicas.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// Waits until every replica has applied all that the primary has committed at this moment.
    pub async fn wait_applied(&self) -> Result<(), Error> {
        for replica in &self.replicas {
            replication::wait_applied(replica, &self.primary, self.flavour()).await?;
        }
        Ok(())
    }

    /// Waits until both replication threads of that replica run.
    pub async fn wait_replicating(&self, replica: &Server) -> Result<(), Error> {
        replication::wait_running(replica, self.flavour()).await
    }

    /// Ends the servers: in order where the data is kept, at once where it is not.
    pub async fn stop(self) {
        if self.kept {
            for server in self.replicas.iter().chain([&self.primary]) {
                server.thaw();
                server.shutdown().await;
            }
        }
    }
}

fn name(index: usize) -> String {
    if index == 0 { "primary".to_owned() } else { format!("replica{index}") }
}

/// The folder to live in, and the lock that keeps others out of it.
fn claim(keep: Option<&Path>, flavour: Flavour) -> Result<(PathBuf, File), Error> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = || env::temp_dir().join(format!("pointsman-{}-{number}", std::process::id()));
    let folder = keep.map_or_else(temporary, Path::to_owned);
    if keep.is_none() {
        // Left by a process of the same number that the machine took down with it.
        let _ = fs::remove_dir_all(&folder);
    }
    fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
    // Servers make sockets in it that ask for no password.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(Error::file(&folder))?;
    let folder = folder.canonicalize().map_err(Error::file(&folder))?;
    let lock = lock(&folder, flavour)?;
    Ok((folder, lock))
}

/// Locks the file that says whose data the folder holds.
fn lock(folder: &Path, flavour: Flavour) -> Result<File, Error> {
    let marker = folder.join("flavour");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&marker)
        .map_err(Error::file(&marker))?;
    file.try_lock().map_err(|_| Error::InUse(folder.to_owned()))?;
    let mut holds = String::new();
    file.read_to_string(&mut holds).map_err(Error::file(&marker))?;
    if holds.is_empty() {
        write!(file, "{flavour}").map_err(Error::file(&marker))?;
    } else if holds != flavour.to_string() {
        return Err(Error::OtherFlavour(folder.to_owned(), holds, flavour));
    }
    Ok(file)
}

/// Gives a server its data directory, unless it has one.
fn prepare(folder: &Path, template: &Path) -> Result<(), Error> {
    let data = folder.join("data");
    for name in ["files", "tmp"] {
        let own = folder.join(name);
        fs::create_dir_all(&own).map_err(Error::file(&own))?;
    }
    // A stale number may by now be that of any process.
    let _ = fs::remove_file(folder.join("pid"));
    if data.is_dir() {
        return Ok(());
    }
    // A copy cut short must not pass for a data directory.
    let partial = folder.join("data.partial");
    let _ = fs::remove_dir_all(&partial);
    template::copy(&template.join("data"), &partial)?;
    fs::rename(&partial, &data).map_err(Error::file(&data))
}

/// Starts the process; does not wait for it.
fn launch(index: usize, folder: &Path, programs: &Programs, options: &Options) -> Result<Server, Error> {
    let name = name(index);
    let port = ports::free().ok_or_else(|| Error::NoPort { name: name.clone() })?;
    let place = options.places.get(index).cloned().unwrap_or_default();
    let mut own = vec![format!("--server-id={}", index + 1)];
    if options.semi_sync {
        own.extend(replication::semi_sync_options(programs.version.flavour, index > 0));
    }
    own.extend(options.server_options.iter().cloned());
    if index > 0 {
        own.push("--read-only=ON".to_owned());
        own.extend((programs.version.flavour == Flavour::MySql).then(|| "--super-read-only=ON".to_owned()));
        own.extend(options.replica_options.iter().cloned());
    }
    let server = Server::new(&name, (place, port), folder.join(&name), programs, own);
    server.spawn()?;
    Ok(server)
}

/// Waits for the server; one whose port was taken by somebody else is started again on another.
async fn settle(
    server: &mut Server,
    index: usize,
    folder: &Path,
    programs: &Programs,
    options: &Options,
) -> Result<(), Error> {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        match server.answered().await {
            Err(Error::Died { log, .. }) if log.contains("Address already in use") => {
                *server = launch(index, folder, programs, options)?;
            }
            other => return other,
        }
    }
    server.answered().await
}
