//! How backend connections are encrypted and what is asked of a server's certificate.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::config::{BackendTls, BackendTlsMode};
use crate::net::Socket;

/// Ready to be used for any number of connections.
pub struct BackendTlsSetup {
    mode: BackendTlsMode,
    connector: TlsConnector,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("{path}: {error}")]
    Pem { path: PathBuf, error: rustls::pki_types::pem::Error },
    #[error("{path}: no certificate in it")]
    NoCertificate { path: PathBuf },
    #[error("a mode that verifies certificates needs `ca`")]
    NoCa,
    #[error("`certificate` and `key` are given together or not at all")]
    HalfAPair,
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("certificate authority: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

impl BackendTlsSetup {
    /// Reads the files named in the configuration.
    pub fn load(config: &BackendTls) -> Result<Self, TlsSetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(config, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let client = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => {
                builder.with_client_auth_cert(read_certificates(certificate)?, read_key(key)?)?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(TlsSetupError::HalfAPair),
        };
        Ok(Self { mode: config.mode, connector: TlsConnector::from(Arc::new(client)) })
    }

    pub fn mode(&self) -> BackendTlsMode {
        self.mode
    }

    /// Performs the handshake with the server called `host`.
    pub(super) async fn connect(&self, host: &str, socket: Socket) -> io::Result<TlsStream<Socket>> {
        // A host name that no certificate can carry is known by its address.
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(_) => {
                let peer = socket.peer().ok().and_then(|peer| peer.ip());
                ServerName::from(peer.unwrap_or(IpAddr::from([0; 4])))
            }
        };
        self.connector.connect(name, socket).await.map(TlsStream::from)
    }
}

/// The certificates of a PEM file, in its order.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| TlsSetupError::Pem { path: path.into(), error })?;
    if certificates.is_empty() {
        return Err(TlsSetupError::NoCertificate { path: path.into() });
    }
    Ok(certificates)
}

pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    let pem = zeroize::Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| TlsSetupError::Pem { path: path.into(), error })
}

/// The authorities in a PEM file.
pub fn read_roots(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsSetupError> {
    fs::read(path).map_err(|error| TlsSetupError::File { path: path.into(), error })
}

fn verifier(
    config: &BackendTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsSetupError> {
    let roots = || config.ca.as_deref().ok_or(TlsSetupError::NoCa).and_then(read_roots).map(Arc::new);
    Ok(match config.mode {
        BackendTlsMode::Disabled | BackendTlsMode::Preferred | BackendTlsMode::Required => {
            Arc::new(Lenient { roots: None, provider: Arc::clone(provider) })
        }
        BackendTlsMode::VerifyCa => {
            Arc::new(Lenient { roots: Some(roots()?), provider: Arc::clone(provider) })
        }
        BackendTlsMode::VerifyFull => {
            WebPkiServerVerifier::builder_with_provider(roots()?, Arc::clone(provider)).build()?
        }
    })
}

/// Asks less of a certificate than names: a chain to one of `roots`, or nothing at all. That the server has the
/// certificate's key is checked always.
#[derive(Debug)]
struct Lenient {
    roots: Option<Arc<RootCertStore>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
