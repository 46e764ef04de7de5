//! Artifacts are read from a real S3 server, at exactly the version that was named, and
//! pinned there.
//!
//! Runs against SeaweedFS (`weed`), which `.ci/setup` installs, and against the endpoints of
//! `crates/endpoints`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod copy;
mod home;
#[path = "../launch/launch.rs"]
mod launch;
mod objects;

use std::io::Read;
use std::net::TcpListener;

use aws::ArtifactStore;
use aws_sdk_s3::types::ChecksumAlgorithm;
use control::ports::ObjectError;
use model::{Bytes, Sha256};
use sha2::Digest;

use home::{Home, client};

async fn put(client: &aws_sdk_s3::Client, body: &[u8]) -> Option<String> {
    let put = client
        .put_object()
        .bucket("releases")
        .key("payments/größe.tar")
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .body(body.to_vec().into())
        .send()
        .await
        .ok()?;
    put.version_id().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_read_at_its_version_and_never_at_another() {
    an_artifact_is_read_at_its_version(&Home::endpoints(endpoints::Home::Memory).await).await;
    let Some(weed) = Home::weed() else { return };
    an_artifact_is_read_at_its_version(&weed).await;
}

async fn an_artifact_is_read_at_its_version(home: &Home) {
    let client = home.client.clone();
    let old = b"first release".repeat(100_000);
    let new = b"second release".to_vec();
    home.bucket("releases", true).await;
    let first = put(&client, &old).await.unwrap();
    let second = put(&client, &new).await.unwrap();
    assert_ne!(first, second);

    let store = ArtifactStore::with_client(client);
    for (version, body) in [(&first, &old), (&second, &new)] {
        let info = store
            .head("releases", "payments/größe.tar", version)
            .await
            .unwrap();
        assert_eq!(info.size, Bytes(body.len() as u64));
        let digest = Sha256(sha2::Sha256::digest(body).into());
        assert_eq!(info.sha256, Some(digest));
        let mut reader = store
            .open("releases", "payments/größe.tar", version)
            .await
            .unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| read)
        });
        assert_eq!(&read.await.unwrap().unwrap(), body);
    }

    for (bucket, key, version) in [
        (
            "releases",
            "payments/größe.tar",
            "00000000000000000000000000000000",
        ),
        ("releases", "no-such-key", first.as_str()),
        ("no-such-bucket", "x", first.as_str()),
    ] {
        let missing = store.head(bucket, key, version).await.unwrap_err();
        assert!(matches!(missing, ObjectError::Missing(_)), "{missing}");
        let missing = store.open(bucket, key, version).await.err().unwrap();
        assert!(matches!(missing, ObjectError::Missing(_)), "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_unavailable_not_missing() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let store = ArtifactStore::with_client(client(&format!("http://{nobody}"), "test", "test"));
    let error = store.head("releases", "app", "1").await.unwrap_err();
    assert!(matches!(error, ObjectError::Unavailable(_)), "{error}");
}
