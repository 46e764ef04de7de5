//! Publishing: the component goes into the bucket, the function that compiles is asked, and
//! what it signed is read.

use aws_sdk_lambda::error::{DisplayErrorContext, ProvideErrorMetadata as _};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use control::ports::Published;
use model::{Code, Refusal, Sha256};
use resolver::{Arch, HostError, Record, inspect};
use serde::Deserialize;

use super::{Inner, S3Resolvers};

/// The function that compiles.
#[derive(Clone, Debug)]
pub(super) struct CompileFunction {
    client: aws_sdk_lambda::Client,
    name: String,
}

/// How a function of Lambda fails.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FunctionError {
    error_type: String,
    error_message: String,
}

impl S3Resolvers {
    /// The same, publishing by way of the function of that name or ARN, which is given
    /// `{"component": "<sha256>"}`, compiles what lies in the bucket under that digest, and
    /// keeps code and record there ([`super::ResolverBucket::keep`]).
    #[must_use]
    pub fn with_compiler(
        mut self,
        client: aws_sdk_lambda::Client,
        function: impl Into<String>,
    ) -> Self {
        self.compiler = Some(CompileFunction {
            client,
            name: function.into(),
        });
        self
    }
}

pub(super) async fn publish(
    resolvers: &S3Resolvers,
    component: Vec<u8>,
) -> Result<Published, Refusal> {
    let inner = &resolvers.inner;
    let Some(compiler) = &resolvers.compiler else {
        return Err(Refusal::new(
            Code::Internal,
            "expected a function that compiles, found none set up",
        ));
    };
    let inspected = tokio::task::spawn_blocking(move || (inspect(&component), component)).await;
    let (inspection, component) =
        inspected.map_err(|_| Refusal::new(Code::Internal, "the inspection did not come back"))?;
    let inspection = inspection.map_err(about_component)?;
    if let Some(finding) = inspection.findings.into_iter().next() {
        return Err(about_component(finding));
    }
    let digest = inspection.component;
    if let Some(record) = kept(inner, digest).await? {
        return Ok(published(record));
    }
    inner.bucket.put_component(&component).await?;
    drop(component);
    compiler.compile(digest).await?;
    let key = inner.signer.public_key().await?;
    let record = inner.bucket.record(digest, &key).await;
    Ok(published(record.map_err(HostError::refusal)?))
}

/// What is kept of a component, where code for both architectures is there.
async fn kept(inner: &Inner, component: Sha256) -> Result<Option<Record>, Refusal> {
    let key = inner.signer.public_key().await?;
    let record = match inner.bucket.record(component, &key).await {
        Ok(record) => record,
        Err(HostError::Refused(refusal)) => return Err(refusal),
        // None yet, or none of ours: compiling makes one.
        Err(_) => return Ok(None),
    };
    let whole = Arch::ALL
        .iter()
        .all(|arch| record.compiled.contains_key(arch));
    Ok((whole && inner.bucket.is_whole(&record).await?).then_some(record))
}

impl CompileFunction {
    async fn compile(&self, component: Sha256) -> Result<(), Refusal> {
        let question = serde_json::json!({ "component": component });
        let answer = self
            .client
            .invoke()
            .function_name(&self.name)
            .invocation_type(InvocationType::RequestResponse)
            .payload(Blob::new(question.to_string()))
            .send()
            .await;
        let answer = answer.map_err(|error| {
            let code = match error.code() {
                Some("ResourceNotFoundException" | "AccessDeniedException") => Code::Internal,
                _ => Code::Transient,
            };
            let why = DisplayErrorContext(&error);
            Refusal::new(code, format!("the function that compiles: {why}"))
        })?;
        if answer.function_error().is_none() {
            return Ok(());
        }
        let payload = answer.payload.unwrap_or_else(|| Blob::new([]));
        Err(refusal(payload.as_ref()))
    }
}

/// What a function error says: the function's own refusal; or the function ended, which is
/// the component's doing: too much memory, too much time, a crash of the compiler.
fn refusal(payload: &[u8]) -> Refusal {
    let error: FunctionError = serde_json::from_slice(payload).unwrap_or_default();
    if let Ok(code) = error.error_type.parse::<Code>() {
        return about_component(Refusal::new(code, error.error_message));
    }
    let why = format!(
        "expected a component that compiles within the limits of its function, found {}: {}",
        error.error_type, error.error_message
    );
    about_component(Refusal::new(Code::ResolverInvalid, why))
}

/// Says which argument a refusal is about, where it does not yet.
fn about_component(refusal: Refusal) -> Refusal {
    if refusal.code == Code::ResolverInvalid && refusal.field.is_none() {
        refusal.at("component")
    } else {
        refusal
    }
}

fn published(record: Record) -> Published {
    Published {
        component: record.component,
        bytes: record.bytes,
        info: record.info,
        engine: record.engine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_ended_is_the_components_doing_and_a_refusal_stays_itself() {
        let ended = br#"{"errorType":"Runtime.ExitError","errorMessage":"signal: killed"}"#;
        let ended = refusal(ended);
        assert_eq!(ended.code, Code::ResolverInvalid);
        assert!(ended.message.contains("signal: killed"), "{ended}");
        let busy = br#"{"errorType":"Tapemark.Transient","errorMessage":"KMS: throttled"}"#;
        assert_eq!(refusal(busy).code, Code::Transient);
        assert_eq!(refusal(b"no JSON").code, Code::ResolverInvalid);
    }
}
