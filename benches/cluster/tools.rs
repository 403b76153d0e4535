//! Where the programs are that this measures with: the machine's own, else those `scripts/install-bench` unpacked.

use std::env;
use std::path::PathBuf;

use pointsman::playground::cache;

pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    // Daemons live in sbin, which is not in everybody's PATH.
    folders.extend(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from));
    folders.push(unpacked(name).join("bin"));
    folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The folder that a program is unpacked into, whether it is there or not.
pub(crate) fn unpacked(name: &str) -> PathBuf {
    cache().join(name)
}
