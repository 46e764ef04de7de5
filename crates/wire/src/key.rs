//! An agent's secret.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use model::AgentKey;

/// An Ed25519 secret (RFC 8032 5.1.5). Never shown in `Debug` output.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new one, of the operating system's randomness.
    pub fn generate() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("every kernel this runs on has a random source");
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads the text of a key file: 64 hexadecimal digits, white space around them.
    ///
    /// # Errors
    /// Says what was expected, never what was found.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut seed = [0; 32];
        hex::decode_to_slice(text.trim(), &mut seed)
            .map_err(|_| "expected 64 hexadecimal digits")?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The text of a key file.
    pub fn to_text(&self) -> String {
        format!("{}\n", hex::encode(self.0.to_bytes()))
    }

    /// What everybody may know of it.
    pub fn public(&self) -> AgentKey {
        AgentKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// True where the key made the signature of the message. Keys and signatures of small order
/// make none (`verify_strict`).
pub fn is_signature(key: &AgentKey, message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_its_file_and_is_not_shown() {
        let key = SecretKey::generate();
        let text = key.to_text();
        assert_eq!(SecretKey::parse(&text).unwrap().public(), key.public());
        assert!(!format!("{key:?}").contains(text.trim()));
        assert!(SecretKey::parse("not hexadecimal").is_err());
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        // The neutral element as key, and as half of a signature, satisfy the lax equation
        // for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!is_signature(&AgentKey(neutral), b"any", &signature));
    }
}
