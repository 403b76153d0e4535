//! How connections are made beyond addresses and TLS: compression.

use super::CompressionAlgorithm::{self, Zlib, Zstd};
use super::file::Section;

const ALGORITHMS: [(&str, CompressionAlgorithm); 2] = [("zlib", Zlib), ("zstd", Zstd)];

/// `listen.compression`: a list of names, each once.
pub(super) fn offered(listen: &Section<'_, '_>) -> Option<Vec<CompressionAlgorithm>> {
    let mut offered = Vec::new();
    for entry in listen.get("compression")?.list()? {
        let name = entry.text()?;
        match ALGORITHMS.iter().find(|(known, _)| *known == name) {
            Some((_, algorithm)) if offered.contains(algorithm) => {
                entry.wrong(format!("{name:?} is listed twice"), "remove one of them");
            }
            Some((_, algorithm)) => offered.push(*algorithm),
            None => entry.wrong(format!("{name:?} is not a choice"), "allowed is \"zlib\" and \"zstd\""),
        }
    }
    Some(offered)
}

/// `cluster.compression`.
pub(super) fn towards_servers(cluster: &Section<'_, '_>) -> Option<CompressionAlgorithm> {
    let choices = [("off", None), ("zlib", Some(Zlib)), ("zstd", Some(Zstd))];
    cluster.choice("compression", None, &choices)
}

/// As it is written in the file.
pub(super) fn name(algorithm: CompressionAlgorithm) -> &'static str {
    match algorithm {
        Zlib => "zlib",
        Zstd => "zstd",
    }
}
