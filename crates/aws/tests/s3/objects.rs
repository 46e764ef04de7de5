//! The objects port on S3.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use aws::{Place, S3Objects};
use aws_sdk_s3::types::ChecksumAlgorithm;
use control::ports::{ObjectError, ObjectInfo, Objects};
use embedded::contract::ObjectsUnderTest;
use model::{ArtifactSource, Bytes, CheckpointId, RestoreId, Sha256};
use sha2::Digest;

use crate::home::{Home, client};

fn place(bucket: &str, restore_root: &Path) -> Place {
    Place {
        bucket: bucket.to_owned(),
        sources: BTreeSet::from(["releases".to_owned()]),
        restore_root: restore_root.to_str().unwrap().to_owned(),
    }
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn checkpoint(n: u8) -> CheckpointId {
    CheckpointId::from_parts(u64::from(n), &[n; 10])
}

/// Waits, where only a plain function may be called.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// The bytes at a presigned URL.
async fn get(url: &str) -> Option<Vec<u8>> {
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap();
    if !answer.status().is_success() {
        return None;
    }
    Some(answer.bytes().await.unwrap().to_vec())
}

async fn offer(
    client: &aws_sdk_s3::Client,
    key: &str,
    bytes: &[u8],
    checksum: ChecksumAlgorithm,
) -> ArtifactSource {
    let put = client
        .put_object()
        .bucket("releases")
        .key(key)
        .checksum_algorithm(checksum)
        .body(bytes.to_vec().into())
        .send()
        .await
        .unwrap();
    ArtifactSource::S3 {
        bucket: "releases".to_owned(),
        key: key.to_owned(),
        version: put.version_id().unwrap().to_owned(),
    }
}

/// With an agent that makes the directory it delivers to, as the real one does: the suite
/// wants to see it, and S3 has none.
struct WithAgent(S3Objects);

#[async_trait]
impl Objects for WithAgent {
    async fn head(&self, source: &ArtifactSource) -> Result<ObjectInfo, ObjectError> {
        self.0.head(source).await
    }
    async fn pin(
        &self,
        checkpoint: CheckpointId,
        index: u32,
        source: &ArtifactSource,
        size: Bytes,
        sha256: Sha256,
    ) -> Result<(), ObjectError> {
        self.0.pin(checkpoint, index, source, size, sha256).await
    }
    async fn fetch_url(&self, checkpoint: CheckpointId, index: u32) -> Result<String, ObjectError> {
        self.0.fetch_url(checkpoint, index).await
    }
    async fn unpin(&self, checkpoint: CheckpointId) -> Result<(), ObjectError> {
        self.0.unpin(checkpoint).await
    }
    async fn put_document(&self, name: &str, body: Vec<u8>) -> Result<(), ObjectError> {
        self.0.put_document(name, body).await
    }
    async fn document(&self, name: &str) -> Result<Vec<u8>, ObjectError> {
        self.0.document(name).await
    }
    async fn delivery_url(&self, restore: RestoreId) -> Result<String, ObjectError> {
        let url = self.0.delivery_url(restore).await?;
        std::fs::create_dir_all(PathBuf::from(url.strip_prefix("file://").unwrap())).unwrap();
        Ok(url)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_on_seaweedfs_keep_the_contract() {
    let Some(weed) = Home::weed() else { return };
    keep_the_contract(&weed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_on_the_endpoints_keep_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let on_disk = endpoints::Home::Directory(directory.path().to_owned());
    for home in [endpoints::Home::Memory, on_disk] {
        keep_the_contract(&Home::endpoints(home).await).await;
    }
}

async fn keep_the_contract(home: &Home) {
    let client = home.client.clone();
    let restores = tempfile::tempdir().unwrap();
    home.bucket("releases", true).await;
    let made = AtomicU32::new(0);
    embedded::contract::objects(|| async {
        let bucket = format!("tapemark-{}", made.fetch_add(1, Ordering::Relaxed));
        home.bucket(&bucket, false).await;
        let objects = S3Objects::with_client(client.clone(), place(&bucket, restores.path()));
        let source = client.clone();
        ObjectsUnderTest {
            objects: Arc::new(WithAgent(objects)),
            offer: Box::new(move |name, bytes| {
                wait(offer(&source, name, bytes, ChecksumAlgorithm::Sha256))
            }),
            fetch: Box::new(|url| wait(get(url))),
        }
    })
    .await;

    large_pins(home).await;
    only_named_buckets_are_sources(home).await;
}

/// Larger than two parts, and without a SHA-256 that S3 knows: what a common upload is.
async fn large_pins(home: &Home) {
    let client = &home.client;
    home.bucket("large", false).await;
    let objects = S3Objects::with_client(client.clone(), place("large", Path::new("/restore")));
    let content: Vec<u8> = (0..(33_u32 << 20) / 4 + 1)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let size = Bytes(content.len() as u64);
    let key = "dir/größe + 1%.tar";
    let source = offer(client, key, &content, ChecksumAlgorithm::Crc32).await;
    assert_eq!(objects.head(&source).await.unwrap().sha256, None);

    let wrong = objects
        .pin(checkpoint(1), 0, &source, size, digest(b"other"))
        .await;
    assert!(
        matches!(&wrong, Err(ObjectError::Mismatch { what: "sha256", found, .. })
            if *found == digest(&content).to_string()),
        "{wrong:?}"
    );
    let none = objects.fetch_url(checkpoint(1), 0).await;
    assert!(matches!(none, Err(ObjectError::Missing(_))), "{none:?}");
    let unfinished = client
        .list_multipart_uploads()
        .bucket("large")
        .send()
        .await
        .unwrap();
    assert_eq!(unfinished.uploads().len(), 0, "what failed was ended");

    for _ in 0..2 {
        objects
            .pin(checkpoint(1), 0, &source, size, digest(&content))
            .await
            .unwrap();
    }
    let url = objects.fetch_url(checkpoint(1), 0).await.unwrap();
    assert!(url.contains("X-Amz-Expires=21600"), "{url}");
    assert!(get(&url).await.unwrap() == content, "33 MiB in three parts");
    let unsigned = url.split('?').next().unwrap();
    assert_eq!(get(unsigned).await, None, "nothing is public");

    objects.unpin(checkpoint(1)).await.unwrap();
    assert_eq!(get(&url).await, None, "a URL of what was let go");
}

/// Whoever submits cannot have us read our own pins, or another team's bucket, for him.
async fn only_named_buckets_are_sources(home: &Home) {
    let client = &home.client;
    home.bucket("secrets", true).await;
    let put = client
        .put_object()
        .bucket("secrets")
        .key("salaries")
        .body(b"x".to_vec().into())
        .send()
        .await
        .unwrap();
    let version = put.version_id().unwrap().to_owned();
    let mut place = place("large", Path::new("/restore"));
    place.sources.insert("large".to_owned());
    let objects = S3Objects::with_client(client.clone(), place);
    for source in [
        ArtifactSource::S3 {
            bucket: "secrets".to_owned(),
            key: "salaries".to_owned(),
            version,
        },
        ArtifactSource::S3 {
            bucket: "large".to_owned(),
            key: "probe".to_owned(),
            version: "null".to_owned(),
        },
        ArtifactSource::File {
            path: "/etc/passwd".to_owned(),
        },
    ] {
        let head = objects.head(&source).await;
        assert!(matches!(head, Err(ObjectError::NotAllowed(_))), "{head:?}");
        let pin = objects
            .pin(checkpoint(2), 0, &source, Bytes(1), digest(b"x"))
            .await;
        assert!(matches!(pin, Err(ObjectError::NotAllowed(_))), "{pin:?}");
    }
}

#[tokio::test]
async fn restores_go_to_a_directory_of_the_agent() {
    let nowhere = client("http://127.0.0.1:1", "test", "test");
    let of = |root: &str| {
        let place = Place {
            restore_root: root.to_owned(),
            ..place("b", Path::new("/"))
        };
        S3Objects::with_client(nowhere.clone(), place)
    };
    let restore = RestoreId::from_parts(1, &[1; 10]);
    let url = of("/srv/restore/").delivery_url(restore).await.unwrap();
    assert_eq!(url, format!("file:///srv/restore/{restore}"));
    for bad in ["", "restore", "/srv/../etc"] {
        let url = of(bad).delivery_url(restore).await;
        assert!(matches!(url, Err(ObjectError::NotAllowed(_))), "{url:?}");
    }
}
