//! Resolvers in S3: only what the installation signed runs, and whatever is missing is an
//! outcome of the call.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws::{RecordSigner, ResolverBucket, S3Resolvers};
use control::ports::Resolvers as _;
use ed25519_dalek::{Signer as _, SigningKey};
use endpoints::{ANY_PORT, Endpoints, Home, Running};
use model::{Call, CallOutcome, Code, Limits, Refusal, ResolverInfo, Sha256};
use resolver::{Arch, Compiled, compile};
use serde_json::json;
use sha2::Digest as _;

use crate::script::{Answer, Server, client};

const COMPONENT: &[u8] = include_bytes!("../../../../plugins/fixtures/hostile.wasm");

struct Key(SigningKey);

#[async_trait]
impl RecordSigner for Key {
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], Refusal> {
        assert!(message.len() <= 4_096, "what KMS signs");
        Ok(self.0.sign(message).to_bytes())
    }

    async fn public_key(&self) -> Result<[u8; 32], Refusal> {
        Ok(self.0.verifying_key().to_bytes())
    }
}

fn key(n: u8) -> Arc<dyn RecordSigner> {
    Arc::new(Key(SigningKey::from_bytes(&[n; 32])))
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn info() -> ResolverInfo {
    ResolverInfo {
        name: "hostile".to_owned(),
        version: "1.0.0".to_owned(),
        summary: "for tests".to_owned(),
        // More than KMS signs at once.
        labels: (0..64).map(|n| (n.to_string(), "x".repeat(200))).collect(),
    }
}

fn compiled() -> &'static [Compiled] {
    static COMPILED: OnceLock<Vec<Compiled>> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let of = |arch| Compiled {
            arch,
            code: compile(COMPONENT, arch).unwrap(),
        };
        Arch::ALL.map(of).into()
    })
}

struct Installation {
    _running: Running,
    s3: aws_sdk_s3::Client,
    bucket: ResolverBucket,
    tmp: tempfile::TempDir,
}

impl Installation {
    async fn start() -> Self {
        let running = Endpoints::start(Home::Memory, ANY_PORT).await.unwrap();
        let credentials = running.credentials;
        let config = aws_sdk_s3::config::Builder::new()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_s3::config::Credentials::new(
                credentials.access_key_id,
                credentials.secret_access_key,
                None,
                None,
                "test",
            ))
            .endpoint_url(&running.s3_url)
            .force_path_style(true);
        let s3 = aws_sdk_s3::Client::from_conf(config.build());
        s3.create_bucket().bucket("resolvers").send().await.unwrap();
        Self {
            _running: running,
            bucket: ResolverBucket::with_client(s3.clone(), "resolvers"),
            s3,
            tmp: tempfile::tempdir().unwrap(),
        }
    }

    fn resolvers(&self, key: Arc<dyn RecordSigner>) -> S3Resolvers {
        S3Resolvers::new(self.bucket.clone(), key, self.tmp.path()).unwrap()
    }

    async fn keep(&self, key: &dyn RecordSigner) {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let (code, info) = (compiled(), info());
        let kept = self.bucket.keep(COMPONENT, code, &info, at, key);
        assert_eq!(kept.await.unwrap().component, sha256(COMPONENT));
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let list = self.s3.list_objects_v2().bucket("resolvers").prefix(prefix);
        let found = list.send().await.unwrap();
        found
            .contents()
            .iter()
            .map(|object| object.key().unwrap().to_owned())
            .collect()
    }

    async fn replace(&self, key: &str, body: &[u8]) {
        let put = self.s3.put_object().bucket("resolvers").key(key);
        put.body(body.to_vec().into()).send().await.unwrap();
    }
}

async fn call(resolvers: &S3Resolvers, component: Sha256) -> Call {
    let set = Arc::new(policy::sample(1, 4));
    resolvers.call(component, set, Limits::DEFAULT).await
}

async fn why(resolvers: &S3Resolvers, component: Sha256) -> String {
    match call(resolvers, component).await.outcome {
        CallOutcome::Unavailable { why } => why,
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_is_fetched_once_and_called() {
    let installation = Installation::start().await;
    installation.keep(key(1).as_ref()).await;
    // Again is well: what is there is not put a second time.
    installation.keep(key(1).as_ref()).await;
    assert_eq!(installation.keys("components/").await.len(), 1);
    assert_eq!(installation.keys("compiled/").await.len(), 2);
    assert_eq!(installation.keys("records/").await.len(), 1);
    let resolvers = installation.resolvers(key(1));
    let component = sha256(COMPONENT);
    let calls = futures::future::join_all((0..4).map(|_| call(&resolvers, component))).await;
    for call in calls {
        let ran = !matches!(call.outcome, CallOutcome::Unavailable { .. });
        assert!(ran && call.fuel.is_some(), "{:?}", call.outcome);
    }
    // It needs the bucket no more, and leaves nothing behind.
    for prefix in ["components/", "compiled/", "records/"] {
        for key in installation.keys(prefix).await {
            installation.replace(&key, b"gone").await;
        }
    }
    assert!(call(&resolvers, component).await.fuel.is_some());
    let left = || std::fs::read_dir(installation.tmp.path()).unwrap().count();
    let directory = std::fs::read_dir(installation.tmp.path()).unwrap().next();
    let directory = directory.unwrap().unwrap().path();
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    drop(resolvers);
    assert_eq!(left(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_that_the_installation_did_not_sign() {
    let installation = Installation::start().await;
    let component = sha256(COMPONENT);
    let unknown = why(&installation.resolvers(key(1)), component).await;
    assert!(unknown.contains("expected a release record"), "{unknown}");

    installation.keep(key(2).as_ref()).await;
    let strange = why(&installation.resolvers(key(1)), component).await;
    assert!(
        strange.contains("a signature that its key did not make"),
        "{strange}"
    );

    // Signed, and then somebody changes the code.
    installation.keep(key(1).as_ref()).await;
    for code in installation.keys("compiled/").await {
        installation
            .replace(&code, b"\x7fELF somebody else's")
            .await;
    }
    let changed = why(&installation.resolvers(key(1)), component).await;
    assert!(changed.contains("expected SHA-256"), "{changed}");

    // Or the record, or its place.
    let record = installation.keys("records/").await.remove(0);
    let other = record.replace(&component.to_hex(), &Sha256::EMPTY.to_hex());
    let object = installation
        .s3
        .get_object()
        .bucket("resolvers")
        .key(&record);
    let text = object.send().await.unwrap().body.collect().await.unwrap();
    installation.replace(&other, &text.to_vec()).await;
    let moved = why(&installation.resolvers(key(1)), Sha256::EMPTY).await;
    assert!(moved.contains("found the record of"), "{moved}");
    installation.replace(&record, b"{}").await;
    let broken = why(&installation.resolvers(key(1)), component).await;
    assert!(broken.contains("no record"), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_an_outcome() {
    let server = Server::start().await;
    let bucket = ResolverBucket::with_client(
        {
            let config = client!(aws_sdk_s3, &server.endpoint);
            let config = config.config().to_builder().force_path_style(true);
            aws_sdk_s3::Client::from_conf(config.build())
        },
        "resolvers",
    );
    let tmp = tempfile::tempdir().unwrap();
    let resolvers = S3Resolvers::new(bucket, key(1), tmp.path()).unwrap();
    for _ in 0..3 {
        server.next("records", Answer::No(503, "SlowDown"));
    }
    let gone = why(&resolvers, sha256(COMPONENT)).await;
    assert!(gone.contains("Tapemark.Transient"), "{gone}");
    assert!(server.is_done(), "three tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_asks_the_function_that_compiles_once() {
    let installation = Installation::start().await;
    let server = Server::start().await;
    let lambda = client!(aws_sdk_lambda, &server.endpoint);
    let resolvers = installation
        .resolvers(key(1))
        .with_compiler(lambda, "tm-compile");

    let refused = json!({ "errorType": "Tapemark.ResolverInvalid", "errorMessage": "too odd" });
    server.next("/functions/tm-compile/", Answer::FunctionError(refused));
    let refusal = resolvers.publish(COMPONENT.to_vec()).await.unwrap_err();
    assert_eq!(refusal.code, Code::ResolverInvalid);
    assert_eq!(refusal.message, "too odd");
    assert_eq!(refusal.field.as_deref(), Some("component"));
    let asked = server.asked();
    assert_eq!(asked[0].1["component"], json!(sha256(COMPONENT)));

    // What the function does.
    let component = installation.bucket.component(sha256(COMPONENT)).await;
    assert_eq!(component.unwrap(), COMPONENT);
    installation.keep(key(1).as_ref()).await;
    installation
        .s3
        .delete_object()
        .bucket("resolvers")
        .key(installation.keys("compiled/").await.remove(0))
        .send()
        .await
        .unwrap();
    server.next("/functions/tm-compile/", Answer::Ok(json!({})));
    let published = resolvers.publish(COMPONENT.to_vec()).await.unwrap();
    assert_eq!(published.info, info());
    assert_eq!(
        server.operations().len(),
        1,
        "code was lost: compiled again"
    );

    installation.keep(key(1).as_ref()).await;
    let again = resolvers.publish(COMPONENT.to_vec()).await.unwrap();
    assert_eq!(again, published);
    assert!(server.asked().is_empty(), "all is there");

    let none = resolvers.publish(b"\0asm\x01\0\0\0".to_vec()).await;
    assert_eq!(none.unwrap_err().code, Code::ResolverInvalid);
    assert!(server.asked().is_empty());
}
