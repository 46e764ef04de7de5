//! A key of KMS that signs.

use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use model::{Code, Refusal};
use tokio::sync::OnceCell;

use crate::Connection;

/// The most bytes that KMS signs (API reference, Sign, `MessageType` `RAW`).
const MAX_MESSAGE_BYTES: usize = 4_096;
/// What a public key of Ed25519 begins with, as KMS gives it: a SubjectPublicKeyInfo in DER
/// (RFC 8410, section 4), followed by the 32 bytes of the key.
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// An Ed25519 key (`ECC_NIST_EDWARDS25519`, usage `SIGN_VERIFY`) that never leaves KMS.
///
/// Needs `kms:Sign` to sign and `kms:GetPublicKey` to check; checking itself is local.
#[derive(Clone, Debug)]
pub struct KmsSigner {
    client: aws_sdk_kms::Client,
    key: String,
    public: OnceCell<[u8; 32]>,
}

impl KmsSigner {
    /// The key of that id, ARN or alias, through a client built from the environment.
    pub async fn connect(connection: &Connection, key: impl Into<String>) -> Self {
        Self::with_client(connection.kms().await, key)
    }

    /// The key of that id, ARN or alias, through a client that somebody else set up.
    pub fn with_client(client: aws_sdk_kms::Client, key: impl Into<String>) -> Self {
        Self {
            client,
            key: key.into(),
            public: OnceCell::new(),
        }
    }

    /// Ed25519 over `message` (at most 4,096 bytes), as RFC 8032 has it: KMS is given the
    /// message itself, not a digest of it.
    ///
    /// # Errors
    /// `Transient` where KMS cannot be asked; `Internal` where it refuses or the message is
    /// too long.
    pub async fn sign(&self, message: &[u8]) -> Result<[u8; 64], Refusal> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(Refusal::new(
                Code::Internal,
                format!(
                    "expected at most {MAX_MESSAGE_BYTES} bytes to sign, found {}",
                    message.len()
                ),
            ));
        }
        let request = self.client.sign();
        let answer = request
            .key_id(&self.key)
            .message(Blob::new(message))
            .message_type(MessageType::Raw)
            .signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512)
            .send()
            .await
            .map_err(|error| explain(&error))?;
        let signature = answer.signature.unwrap_or_else(|| Blob::new([]));
        signature.as_ref().try_into().map_err(|_| {
            Refusal::new(
                Code::Internal,
                format!(
                    "KMS: expected a signature of 64 bytes, found {}",
                    signature.as_ref().len()
                ),
            )
        })
    }

    /// The public half, asked for once.
    ///
    /// # Errors
    /// `Transient` where KMS cannot be asked; `Internal` where it refuses or the key is not
    /// of Ed25519.
    pub async fn public_key(&self) -> Result<[u8; 32], Refusal> {
        let asked = self.public.get_or_try_init(|| async {
            let request = self.client.get_public_key();
            let answer = request.key_id(&self.key).send().await;
            let answer = answer.map_err(|error| explain(&error))?;
            let der = answer.public_key().map(Blob::as_ref).unwrap_or_default();
            let key = der.strip_prefix(&SPKI).and_then(|key| key.try_into().ok());
            key.ok_or_else(|| {
                let spec = answer.key_spec().map_or("none", |spec| spec.as_str());
                Refusal::new(
                    Code::Internal,
                    format!(
                        "KMS: expected a key of ECC_NIST_EDWARDS25519, found one of {spec} \
                         with {} bytes",
                        der.len()
                    ),
                )
            })
        });
        asked.await.copied()
    }
}

fn explain<E>(error: &SdkError<E>) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let refused = matches!(error, SdkError::ServiceError(context)
        if !context.raw().status().is_server_error());
    let code = match error.code() {
        Some(
            "ThrottlingException"
            | "KMSInternalException"
            | "DependencyTimeoutException"
            | "KeyUnavailableException"
            | "RequestTimeout",
        ) => Code::Transient,
        _ if refused => Code::Internal,
        _ => Code::Transient,
    };
    Refusal::new(code, format!("KMS: {}", DisplayErrorContext(error)))
}
