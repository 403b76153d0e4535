//! Certificates for MariaDB servers, which before 11.4 make none of their own as MySQL does.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::Error;

/// Names by which the servers are reached, so that they can be verified in full.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

/// Writes `ca.pem`, `server-cert.pem` and `server-key.pem`, named as MySQL names its own.
pub(super) fn write(folder: &Path) -> Result<(), Error> {
    let [authority, certificate, key] = make().map_err(|error| Error::Certificate(error.to_string()))?;
    for (name, text) in [("ca.pem", authority), ("server-cert.pem", certificate), ("server-key.pem", key)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::file(&path))?;
    }
    Ok(())
}

fn make() -> Result<[String; 3], rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "pointsman playground authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "pointsman playground server");
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;
    Ok([authority.pem(), certificate.pem(), key.serialize_pem()])
}
