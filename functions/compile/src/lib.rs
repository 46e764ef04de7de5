//! Compiles a component for both architectures, asks it what it is, and keeps all of it with
//! a signed record.
//!
//! The function is the sandbox: a compiler that runs out of memory or time takes nobody with
//! it but this invocation. Nobody hands in machine code.

use std::path::Path;

use aws::{RecordSigner, ResolverBucket};
use control::ports::Clock as _;
use control::ports::system::SystemClock;
use lambda::{Failure, Function};
use lambda_runtime::LambdaEvent;
use model::{Code, Refusal, ResolverInfo, Sha256};
use resolver::{Allocation, Arch, Compiled, Host, HostError, compile as native, inspect};
use serde_json::{Value, json};

/// One invocation: `{"component": "<sha256>"}` of a component in the bucket.
///
/// # Errors
/// `InvalidRequest` for another payload, `NotFound`, `ResolverInvalid` with what is wrong
/// with the component, `Busy` or `Transient`.
pub async fn compile(
    function: &Function,
    bucket: &ResolverBucket,
    signer: &dyn RecordSigner,
    event: LambdaEvent<Value>,
) -> Result<Value, Failure> {
    let (payload, context) = event.into_parts();
    function
        .invoke(&context, "compile", async |_| {
            let digest = component(&payload)?;
            let bytes = bucket.component(digest).await?;
            let made = tokio::task::spawn_blocking(move || {
                let (compiled, info) = make(&bytes, Path::new("/tmp"))?;
                Ok::<_, Refusal>((bytes, compiled, info))
            });
            let (bytes, compiled, info) = made
                .await
                .map_err(|_| Refusal::new(Code::Internal, "the compiler did not come back"))??;
            let at = SystemClock.now();
            let record = bucket.keep(&bytes, &compiled, &info, at, signer).await?;
            Ok(json!({ "component": record.component, "engine": record.engine }))
        })
        .await
}

/// Which component is asked for.
fn component(payload: &Value) -> Result<Sha256, Refusal> {
    let digest = payload.get("component").cloned().unwrap_or_default();
    serde_json::from_value(digest).map_err(|error| {
        Refusal::new(
            Code::InvalidRequest,
            format!("expected the SHA-256 of a component: {error}"),
        )
        .at("component")
    })
}

/// Native code for every architecture, and what the component says of itself when it is
/// asked on this one.
fn make(component: &[u8], tmp: &Path) -> Result<(Vec<Compiled>, ResolverInfo), Refusal> {
    if let Some(finding) = inspect(component)?.findings.into_iter().next() {
        return Err(finding);
    }
    let compiled = Arch::ALL
        .into_iter()
        .map(|arch| {
            let code = native(component, arch)?;
            Ok(Compiled { arch, code })
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let info = ask(&compiled, tmp)?;
    Ok((compiled, info))
}

fn ask(compiled: &[Compiled], tmp: &Path) -> Result<ResolverInfo, Refusal> {
    let here = Arch::native();
    let native = compiled
        .iter()
        .find(|compiled| Some(compiled.arch) == here)
        .ok_or_else(|| Refusal::new(Code::Internal, "expected x86_64 or aarch64"))?;
    let host = Host::new(Allocation::OnDemand).map_err(HostError::refusal)?;
    host.describe_code(&native.code, tmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_without_a_digest_names_the_field() {
        let example = include_str!("../../../events/compile/malformed.json");
        let example = serde_json::from_str(example).unwrap_or_default();
        for payload in [json!({}), example, json!([]), json!(null)] {
            let refusal = component(&payload).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidRequest);
            assert_eq!(refusal.field.as_deref(), Some("component"));
        }
    }

    #[test]
    fn what_is_no_component_is_refused_before_it_is_compiled() {
        let refusal = make(b"\0asm\x01\0\0\0", Path::new("/tmp")).unwrap_err();
        assert_eq!(refusal.code, Code::ResolverInvalid);
    }
}
