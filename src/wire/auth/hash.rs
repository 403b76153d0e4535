//! What the two password plugins compute, and its inverse.
//!
//! Both send `H(password) XOR H(nonce and H(H(password)))`, so whoever knows `H(H(password))` can check it and
//! learns `H(password)` by doing so.

use aws_lc_rs::{constant_time, digest};
use zeroize::Zeroizing;

pub(super) fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, parts)
}

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    hash(&digest::SHA256, parts)
}

/// mysql_native_password's proof, of `stage1` = SHA1(password).
pub(super) fn native_proof(nonce: &[u8], stage1: &[u8; 20]) -> [u8; 20] {
    xor(*stage1, &sha1(&[nonce, &sha1(&[stage1])]))
}

/// SHA1(password), if `proof` is that of a password whose SHA1(SHA1()) is `stage2`.
pub(super) fn native_check(nonce: &[u8], proof: &[u8], stage2: &[u8; 20]) -> Option<Zeroizing<[u8; 20]>> {
    let proof: [u8; 20] = proof.try_into().ok()?;
    let stage1 = Zeroizing::new(xor(proof, &sha1(&[nonce, stage2])));
    equal(&sha1(&[&*stage1]), stage2).then_some(stage1)
}

/// caching_sha2_password's proof.
pub(super) fn caching_sha2_proof(nonce: &[u8], password: &[u8]) -> [u8; 32] {
    let stage1 = Zeroizing::new(sha256(&[password]));
    xor(*stage1, &sha256(&[&sha256(&[&*stage1]), nonce]))
}

pub(super) fn caching_sha2_check(nonce: &[u8], proof: &[u8], password: &[u8]) -> bool {
    equal(&caching_sha2_proof(nonce, password), proof)
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn hash<const N: usize>(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> [u8; N] {
    let mut context = digest::Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; N];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn xor<const N: usize>(mut a: [u8; N], b: &[u8; N]) -> [u8; N] {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
    a
}
