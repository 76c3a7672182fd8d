//! A text that only its owner may know: [`Secret`].

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The SHA-256 of a secret. The secret itself is not kept.
#[derive(Clone)]
pub(super) struct Secret {
    hash: [u8; 32],
    empty: bool,
}

impl Secret {
    pub(super) fn new(secret: &str) -> Self {
        Self {
            hash: Sha256::digest(secret).into(),
            empty: secret.is_empty(),
        }
    }

    /// Whether `other` is the same text, in a time that says nothing about the secret. An empty
    /// secret is equal to nothing.
    pub(super) fn is(&self, other: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(other).into();
        bool::from(self.hash.ct_eq(&other)) && !self.empty
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
