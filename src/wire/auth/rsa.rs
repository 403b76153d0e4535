//! The password under RSA-OAEP, which caching_sha2_password sends where there is no TLS.

use std::fmt;

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::NONCE_LEN;
use crate::wire::Malformed;

/// The key pair that a server shows to clients.
pub struct RsaKey {
    private: OaepPrivateDecryptingKey,
    public_pem: String,
}

impl RsaKey {
    /// `pkcs8` is the private key in DER; `public_pem` what clients are given on their request.
    pub fn new(pkcs8: &[u8], public_pem: String) -> Result<Self, Malformed> {
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| Malformed("RSA private key"))?;
        let private = OaepPrivateDecryptingKey::new(key).map_err(|_| Malformed("RSA private key"))?;
        Ok(Self { private, public_pem })
    }

    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// The password, without the NUL that ends it.
    pub(super) fn decrypt(
        &self,
        encrypted: &[u8],
        nonce: &[u8; NONCE_LEN],
    ) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        let mut room = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let clear = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, encrypted, &mut room, None)
            .map_err(|_| Malformed("password encrypted with another key"))?;
        mix(clear, nonce);
        match clear.split_last() {
            Some((0, password)) => Ok(Zeroizing::new(password.to_vec())),
            _ => Err(Malformed("password without its NUL")),
        }
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaKey")
    }
}

/// The password as sent to a server that showed `pem`.
pub(super) fn encrypt(password: &[u8], nonce: &[u8; NONCE_LEN], pem: &[u8]) -> Result<Vec<u8>, Malformed> {
    let bad_key = |_| Malformed("public key of the server");
    let der =
        SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| Malformed("public key of the server"))?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| Malformed("public key of the server"))?;
    let key = OaepPublicEncryptingKey::new(key).map_err(bad_key)?;
    let mut clear = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    clear.extend_from_slice(password);
    clear.push(0);
    mix(&mut clear, nonce);
    let mut room = vec![0; key.ciphertext_size()];
    let encrypted = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, &clear, &mut room, None)
        .map_err(|_| Malformed("password longer than the server's key can hold"))?;
    Ok(encrypted.to_vec())
}

fn mix(password: &mut [u8], nonce: &[u8; NONCE_LEN]) {
    for (byte, mask) in password.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
}
