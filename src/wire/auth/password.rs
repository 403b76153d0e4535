//! What is known of a password.

use std::fmt;

use zeroize::Zeroizing;

use super::hash;

/// Enough to log in with; wiped when dropped, never shown.
#[derive(Clone)]
pub enum Password {
    Clear(Zeroizing<Vec<u8>>),
    /// SHA1(password), as learnt from a login with mysql_native_password; good for that plugin only.
    NativeHash(Zeroizing<[u8; 20]>),
}

impl Password {
    pub fn clear(bytes: impl Into<Vec<u8>>) -> Self {
        Password::Clear(Zeroizing::new(bytes.into()))
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Password::Clear(clear) if clear.is_empty())
    }

    /// Whether both are of one password. A hash and a clear password are the same when the hash is of it.
    pub fn same(&self, other: &Password) -> bool {
        match (self, other) {
            (Password::Clear(a), Password::Clear(b)) => hash::equal(a, b),
            _ => hash::equal(&*self.native_hash(), &*other.native_hash()),
        }
    }

    /// SHA1(password).
    pub(super) fn native_hash(&self) -> Zeroizing<[u8; 20]> {
        match self {
            Password::Clear(clear) => Zeroizing::new(hash::sha1(&[clear])),
            Password::NativeHash(stage1) => stage1.clone(),
        }
    }

    /// The password itself, where that is what is known.
    pub(super) fn as_clear(&self) -> Option<&[u8]> {
        match self {
            Password::Clear(clear) => Some(clear),
            Password::NativeHash(_) => None,
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Password::Clear(_) => "Clear(***)",
            Password::NativeHash(_) => "NativeHash(***)",
        })
    }
}
