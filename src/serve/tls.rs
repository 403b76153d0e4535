//! The front's keys: its certificate and the RSA key for passwords sent without TLS.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::{TlsAcceptor, TlsStream};
use zeroize::Zeroizing;

use crate::backend::tls::{TlsSetupError, read_certificates, read_key, read_roots};
use crate::config::{FrontTls, FrontTlsMode};
use crate::net::Socket;
use crate::wire::Malformed;
use crate::wire::auth::RsaKey;

/// Files under `data_dir`, made at the first start.
const CERTIFICATE_FILE: &str = "front-certificate.pem";
const KEY_FILE: &str = "front-key.pem";
const RSA_KEY_FILE: &str = "password-key.pem";

/// Names and addresses the generated certificate is good for.
const CERTIFICATE_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Ready to be used for any number of clients.
pub struct FrontTlsSetup {
    acceptor: TlsAcceptor,
    /// Clients whose connection can be listened in to must ask for TLS.
    pub required: bool,
    /// Clients must show a certificate: a client without TLS shows none, so asking for one asks for TLS.
    pub(super) certificate_required: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum FrontKeyError {
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    #[error("generating a key: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("{0}: {1}; delete the file to have a new one made")]
    Unusable(&'static str, String),
    #[error("password key: {0}")]
    Rsa(#[from] Malformed),
}

impl FrontTlsSetup {
    /// `None` when the configuration switches TLS off.
    pub fn load(config: &FrontTls, data_dir: &Path) -> Result<Option<Self>, FrontKeyError> {
        if config.mode == FrontTlsMode::Disabled {
            return Ok(None);
        }
        let (certificates, key) = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => (read_certificates(certificate)?, read_key(key)?),
            (None, None) => generated(data_dir)?,
            _ => return Err(TlsSetupError::HalfAPair.into()),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsSetupError::from)?;
        let builder = match &config.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(read_roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(TlsSetupError::from)?)
            }
        };
        let server = builder.with_single_cert(certificates, key).map_err(TlsSetupError::from)?;
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            required: config.mode == FrontTlsMode::Required,
            certificate_required: config.client_ca.is_some(),
        }))
    }

    pub(super) async fn accept(&self, socket: Socket) -> io::Result<TlsStream<Socket>> {
        self.acceptor.accept(socket).await.map(TlsStream::from)
    }
}

/// The RSA key pair of caching_sha2_password, kept under `data_dir` because clients may hold its public half.
pub fn load_rsa_key(data_dir: &Path) -> Result<RsaKey, FrontKeyError> {
    let path = data_dir.join(RSA_KEY_FILE);
    let key = if path.exists() {
        let pem = fs::read_to_string(&path).map_err(|error| TlsSetupError::File { path, error })?;
        KeyPair::from_pem(&Zeroizing::new(pem)).map_err(|error| unusable(RSA_KEY_FILE, error))?
    } else {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        keep(data_dir, &[(RSA_KEY_FILE, &Zeroizing::new(key.serialize_pem()))], "password key");
        key
    };
    Ok(RsaKey::new(&Zeroizing::new(key.serialize_der()), key.public_key_pem())?)
}

type CertifiedKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn generated(data_dir: &Path) -> Result<CertifiedKey, FrontKeyError> {
    let (certificate, key) = (data_dir.join(CERTIFICATE_FILE), data_dir.join(KEY_FILE));
    if certificate.exists() && key.exists() {
        return Ok((read_certificates(&certificate)?, read_key(&key)?));
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(CERTIFICATE_NAMES.map(str::to_owned))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Pointsman, generated certificate");
    let certificate = params.self_signed(&key)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    // The key first: a certificate without its key would be in the way at the next start.
    keep(data_dir, &[(KEY_FILE, &key_pem), (CERTIFICATE_FILE, &certificate.pem())], "front certificate");
    let der = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| unusable(KEY_FILE, error))?;
    Ok((vec![certificate.der().clone()], der))
}

fn unusable(file: &'static str, error: impl std::fmt::Display) -> FrontKeyError {
    FrontKeyError::Unusable(file, error.to_string())
}

/// Writes new keys, to be found at the next start. Where that fails they serve this process only.
fn keep(data_dir: &Path, files: &[(&str, &str)], what: &str) {
    let written = fs::create_dir_all(data_dir)
        .and_then(|()| files.iter().try_for_each(|(name, pem)| write_private(&data_dir.join(name), pem)));
    match written {
        Ok(()) => tracing::info!(dir = %data_dir.display(), "{what} generated"),
        Err(error) => {
            tracing::warn!(dir = %data_dir.display(), %error, "{what} generated but not kept: the next start makes another");
        }
    }
}

/// Makes the file in one step, so that nobody finds half of it, and readable for its owner alone.
fn write_private(path: &Path, pem: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
