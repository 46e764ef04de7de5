//! How messages of the agent protocol look on their way: HTTP Message Signatures (RFC 9421,
//! `ed25519`), the digest of the body (RFC 9530, `sha-256`), and gzip.
//!
//! Used by the agent, which signs, and by the gateway, which checks. It does no I/O but for
//! drawing a key, reads no clock, knows nobody's keys, and decides about nobody.
//!
//! A request carries three fields:
//!
//! ```text
//! Content-Digest:  sha-256=:<base64>:
//! Signature-Input: sig1=("@method" "@path" "content-digest");created=<unix seconds>;
//!                  keyid="<agent>";nonce="<hex>";alg="ed25519"
//! Signature:       sig1=:<base64>:
//! ```
//!
//! The digest is that of the body as it is sent: compressed, where it is. So a signature
//! can be checked before anything of the body is read.
//!
//! ```
//! let key = wire::SecretKey::generate();
//! let signed = wire::sign(&key, "agent-1", "POST", "/agent/v1/inventory", b"{}", 1_800_000_000, "07");
//! let shown = wire::Presented::parse(
//!     &signed.signature_input, &signed.signature, &signed.content_digest,
//! ).unwrap();
//! assert_eq!((shown.key_id(), shown.created()), ("agent-1", 1_800_000_000));
//! assert!(shown.is_by(&key.public(), "POST", "/agent/v1/inventory") && shown.is_of(b"{}"));
//! assert!(!shown.is_by(&key.public(), "POST", "/agent/v1/sessions/close"));
//! ```

mod gzip;
mod key;
mod signature;

pub use gzip::{GunzipError, gunzip, gzip};
pub use key::{SecretKey, is_signature};
pub use signature::{Malformed, Presented, SIGNED, Signed, base, content_digest, sign};

/// True where both are the same. Takes the same time wherever they differ.
pub fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differing = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0
}
