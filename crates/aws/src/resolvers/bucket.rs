//! The bucket of an installation's resolvers.
//!
//! ```text
//! components/<sha256>.wasm            as it was handed in; its name is its identity
//! compiled/<sha256>.cwasm             native code; its name is its own digest
//! records/<component>/<engine>.json   what belongs together, signed
//! ```
//!
//! Components and code never change under their names and are put only where there is none
//! (`If-None-Match: *`). A record is put again whenever the component is compiled again. It
//! stands under the engine that compiled it, so that while a new engine is rolled out each
//! function finds its own.

use std::path::Path;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::types::ChecksumMode;
use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use model::{Code, EngineId, MAX_COMPONENT_BYTES, Refusal, ResolverInfo, Sha256};
use resolver::{Compiled, HostError, MAX_RECORD_BYTES, Record};
use sha2::Digest as _;

use super::RecordSigner;
use crate::Connection;
use crate::s3::digest_text;

/// The largest native code: Python's runtime, the largest by far, has 35 MB.
const MAX_CODE_BYTES: u64 = 256 << 20;

/// Components, native code and signed records in a bucket.
///
/// Whoever calls needs `s3:GetObject` on it and `s3:ListBucket` (without which S3 says of
/// what is missing that it is forbidden), whoever publishes also `s3:PutObject`.
#[derive(Clone, Debug)]
pub struct ResolverBucket {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl ResolverBucket {
    /// The bucket of that name, through a client built from the environment.
    pub async fn connect(connection: &Connection, bucket: impl Into<String>) -> Self {
        Self::with_client(connection.s3().await, bucket)
    }

    /// The bucket of that name, through a client that somebody else set up.
    pub fn with_client(client: aws_sdk_s3::Client, bucket: impl Into<String>) -> Self {
        Self {
            client,
            bucket: bucket.into(),
        }
    }

    /// Keeps a component as it was handed in, under its digest, which it returns.
    ///
    /// # Errors
    /// `Transient`.
    pub async fn put_component(&self, component: &[u8]) -> Result<Sha256, Refusal> {
        let digest = digest(component);
        self.put_once(&component_key(digest), component, digest)
            .await?;
        Ok(digest)
    }

    /// A component as it was handed in.
    ///
    /// # Errors
    /// `NotFound`; `Internal` where it is not what its name says; `Transient`.
    pub async fn component(&self, component: Sha256) -> Result<Vec<u8>, Refusal> {
        let key = component_key(component);
        let bytes = self.get(&key, MAX_COMPONENT_BYTES as u64).await;
        let bytes = bytes.map_err(HostError::refusal)?.ok_or_else(|| {
            Refusal::new(Code::NotFound, format!("no component {component}")).at("component")
        })?;
        self.check(&key, &bytes, component)
            .map_err(HostError::refusal)?;
        Ok(bytes)
    }

    /// Keeps the native code of a component, and then a signed record of both. What a record
    /// names is there when it is.
    ///
    /// # Errors
    /// `Transient`, and those of the signer.
    pub async fn keep(
        &self,
        component: &[u8],
        compiled: &[Compiled],
        info: &ResolverInfo,
        at: Timestamp,
        signer: &dyn RecordSigner,
    ) -> Result<Record, Refusal> {
        self.put_component(component).await?;
        for compiled in compiled {
            let digest = digest(&compiled.code);
            self.put_once(&code_key(digest), &compiled.code, digest)
                .await?;
        }
        let record = Record::new(component, compiled, info, at);
        let signature = signer.sign(&record.message()).await?;
        let text = record.sealed(signature);
        let key = record_key(record.component, &record.engine);
        let sha256 = digest_text(digest(&text));
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .checksum_sha256(sha256)
            .content_type("application/json")
            .body(text.into())
            .send()
            .await
            .map_err(|error| self.transient(&key, &error))?;
        Ok(record)
    }

    /// The record of a component for this engine, where `key` signed it.
    ///
    /// # Errors
    /// [`HostError::Unpublished`], [`HostError::Signature`]; [`HostError::Refused`] with
    /// `Transient`.
    pub async fn record(&self, component: Sha256, key: &[u8; 32]) -> Result<Record, HostError> {
        let at = record_key(component, &resolver::engine_id());
        let text = self.get(&at, MAX_RECORD_BYTES).await?;
        let text = text.ok_or(HostError::Unpublished(component))?;
        let key = VerifyingKey::from_bytes(key).map_err(|error| {
            let why = format!("the key that checks records of resolvers: {error}");
            Refusal::new(Code::Internal, why)
        })?;
        let url = format!("s3://{}/{at}", self.bucket);
        Record::open(&text, &key, component, Path::new(&url))
    }

    /// Native code of that digest. Whoever maps it checks the digest.
    pub(super) async fn code(&self, code: Sha256) -> Result<Vec<u8>, HostError> {
        let key = code_key(code);
        self.get(&key, MAX_CODE_BYTES).await?.ok_or_else(|| {
            let why = format!(
                "s3://{}/{key}: expected native code, found none",
                self.bucket
            );
            HostError::Recompile(why)
        })
    }

    /// Whether everything that a record names is there.
    #[cfg(feature = "publish")]
    pub(super) async fn is_whole(&self, record: &Record) -> Result<bool, Refusal> {
        let code = record.compiled.values().map(|code| code_key(*code));
        for key in std::iter::once(component_key(record.component)).chain(code) {
            let head = self.client.head_object().bucket(&self.bucket).key(&key);
            match head.send().await {
                Ok(_) => {}
                Err(error) if is_missing(&error) => return Ok(false),
                Err(error) => return Err(self.transient(&key, &error)),
            }
        }
        Ok(true)
    }

    /// Puts what is named by its digest; S3 refuses other bytes. One that is there is it.
    async fn put_once(&self, key: &str, bytes: &[u8], digest: Sha256) -> Result<(), Refusal> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .if_none_match("*")
            .checksum_sha256(digest_text(digest))
            .body(bytes.to_vec().into())
            .send()
            .await;
        match put {
            Ok(_) => Ok(()),
            // There already, or put by somebody else this moment (409).
            Err(error) if error.code() == Some("PreconditionFailed") => Ok(()),
            Err(error) => Err(self.transient(key, &error)),
        }
    }

    /// An object of at most so many bytes.
    async fn get(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, HostError> {
        let object = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        let object = match object {
            Ok(object) => object,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.transient(key, &error).into()),
        };
        let mut body = object.body;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.try_next().await.map_err(|error| {
            let why = format!(
                "s3://{}/{key}: {}",
                self.bucket,
                DisplayErrorContext(&error)
            );
            Refusal::new(Code::Transient, why)
        })? {
            if bytes.len() as u64 + chunk.len() as u64 > most {
                let why = format!(
                    "s3://{}/{key}: expected at most {most} bytes, found more",
                    self.bucket
                );
                return Err(Refusal::new(Code::Internal, why).into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    fn check(&self, key: &str, bytes: &[u8], expected: Sha256) -> Result<(), HostError> {
        let found = digest(bytes);
        if found == expected {
            return Ok(());
        }
        Err(HostError::Digest {
            path: format!("s3://{}/{key}", self.bucket).into(),
            expected,
            found,
        })
    }

    fn transient(&self, key: &str, error: &(dyn std::error::Error + 'static)) -> Refusal {
        let why = DisplayErrorContext(error);
        Refusal::new(
            Code::Transient,
            format!("s3://{}/{key}: {why}", self.bucket),
        )
    }
}

fn is_missing<E>(error: &SdkError<E>) -> bool {
    error
        .raw_response()
        .is_some_and(|answer| answer.status().as_u16() == 404)
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn component_key(component: Sha256) -> String {
    format!("components/{}.wasm", component.to_hex())
}

fn code_key(code: Sha256) -> String {
    format!("compiled/{}.cwasm", code.to_hex())
}

fn record_key(component: Sha256, engine: &EngineId) -> String {
    let engine = format!("{}\n{}", engine.version, engine.compatibility);
    let engine = digest(engine.as_bytes()).to_hex();
    format!("records/{}/{}.json", component.to_hex(), &engine[..16])
}
