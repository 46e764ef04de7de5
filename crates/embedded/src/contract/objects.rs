use std::path::PathBuf;
use std::sync::Arc;

use control::ports::{ObjectError, Objects};
use model::{ArtifactSource, Bytes, CheckpointId, RestoreId, Sha256};
use sha2::Digest;

/// Puts bytes under a name; a second time replaces them.
pub type Offer = dyn Fn(&str, &[u8]) -> ArtifactSource + Send + Sync;
/// Gets the bytes at a URL, where there are some.
pub type Fetch = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

/// What the objects suite needs of an implementation.
pub struct ObjectsUnderTest {
    /// The implementation, with nothing in it.
    pub objects: Arc<dyn Objects>,
    /// Puts bytes where the implementation may take them from.
    pub offer: Box<Offer>,
    /// Fetches what [`Objects::fetch_url`] names.
    pub fetch: Box<Fetch>,
}

/// The contract of objects: pins hold what was declared and nothing else, whatever
/// happens to the source afterwards; documents are whole; everything can be said twice.
///
/// # Panics
/// Where the implementation breaks the contract.
pub async fn objects<F, Made>(make: F)
where
    F: Fn() -> Made,
    Made: Future<Output = ObjectsUnderTest>,
{
    a_pin_outlives_its_source(make().await).await;
    a_pin_is_as_declared_or_not_there(make().await).await;
    pinning_and_unpinning_repeat(make().await).await;
    many_pins_at_once(make().await).await;
    what_is_missing_is_named(make().await).await;
    documents_are_kept_whole(make().await).await;
    deliveries_have_their_own_place(make().await).await;
}

fn checkpoint(n: u8) -> CheckpointId {
    CheckpointId::from_parts(u64::from(n), &[n; 10])
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn size(bytes: &[u8]) -> Bytes {
    Bytes(bytes.len() as u64)
}

/// Bytes that do not repeat within a buffer.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

async fn fetched(t: &ObjectsUnderTest, checkpoint: CheckpointId, index: u32) -> Option<Vec<u8>> {
    let url = t.objects.fetch_url(checkpoint, index).await.ok()?;
    (t.fetch)(&url)
}

async fn a_pin_outlives_its_source(t: ObjectsUnderTest) {
    for (index, length) in [0, 1, 255, 256 << 10, (1 << 20) + 1]
        .into_iter()
        .enumerate()
    {
        let (index, content) = (index as u32, bytes(length));
        let source = (t.offer)("app", &content);
        assert_eq!(t.objects.head(&source).await.unwrap().size, size(&content));
        t.objects
            .pin(
                checkpoint(1),
                index,
                &source,
                size(&content),
                digest(&content),
            )
            .await
            .unwrap();
        (t.offer)("app", b"changed afterwards");
        assert_eq!(
            fetched(&t, checkpoint(1), index).await,
            Some(content),
            "{length} bytes"
        );
    }
}

async fn a_pin_is_as_declared_or_not_there(t: ObjectsUnderTest) {
    let content = bytes(1000);
    let source = (t.offer)("app", &content);
    for (declared, what) in [(999, "size"), (1001, "size"), (0, "size")] {
        let result = t
            .objects
            .pin(checkpoint(1), 0, &source, Bytes(declared), digest(&content))
            .await;
        let is_mismatch =
            matches!(&result, Err(ObjectError::Mismatch { what: w, .. }) if *w == what);
        assert!(is_mismatch, "declared {declared}: {result:?}");
    }
    let result = t
        .objects
        .pin(checkpoint(1), 0, &source, Bytes(1000), digest(b"other"))
        .await;
    match result {
        Err(ObjectError::Mismatch {
            what: "sha256",
            expected,
            found,
        }) => {
            assert_eq!(expected, digest(b"other").to_string());
            assert_eq!(found, digest(&content).to_string());
        }
        other => panic!("{other:?}"),
    }
    let url = t.objects.fetch_url(checkpoint(1), 0).await;
    assert!(
        matches!(url, Err(ObjectError::Missing(_))),
        "nothing was pinned: {url:?}"
    );
}

async fn pinning_and_unpinning_repeat(t: ObjectsUnderTest) {
    let content = bytes(5000);
    let source = (t.offer)("app", &content);
    for _ in 0..2 {
        t.objects
            .pin(checkpoint(1), 7, &source, size(&content), digest(&content))
            .await
            .unwrap();
        assert_eq!(fetched(&t, checkpoint(1), 7).await.as_ref(), Some(&content));
    }
    t.objects
        .pin(checkpoint(2), 7, &source, size(&content), digest(&content))
        .await
        .unwrap();
    for _ in 0..2 {
        t.objects.unpin(checkpoint(1)).await.unwrap();
        assert_eq!(fetched(&t, checkpoint(1), 7).await, None);
    }
    assert_eq!(
        fetched(&t, checkpoint(2), 7).await,
        Some(content),
        "another checkpoint's stays"
    );
}

async fn many_pins_at_once(t: ObjectsUnderTest) {
    let content = bytes(10_000);
    let source = (t.offer)("app", &content);
    let pins = (0..50).map(|index| {
        let (objects, source) = (t.objects.clone(), source.clone());
        let (size, sha256) = (size(&content), digest(&content));
        // Every pin is asked for twice at the same time, as after a retry.
        tokio::spawn(async move {
            objects
                .pin(checkpoint(1), index / 2, &source, size, sha256)
                .await
        })
    });
    for pin in pins.collect::<Vec<_>>() {
        pin.await.unwrap().unwrap();
    }
    for index in 0..25 {
        assert_eq!(
            fetched(&t, checkpoint(1), index).await.as_ref(),
            Some(&content)
        );
    }
}

async fn what_is_missing_is_named(t: ObjectsUnderTest) {
    let source = match (t.offer)("app", b"x") {
        ArtifactSource::File { path } => ArtifactSource::File {
            path: path + "-not-there",
        },
        ArtifactSource::S3 {
            bucket,
            key,
            version,
        } => ArtifactSource::S3 {
            bucket,
            key: key + "-not-there",
            version,
        },
    };
    let head = t.objects.head(&source).await;
    assert!(matches!(head, Err(ObjectError::Missing(_))), "{head:?}");
    let pin = t
        .objects
        .pin(checkpoint(1), 0, &source, Bytes(1), digest(b"x"))
        .await;
    assert!(matches!(pin, Err(ObjectError::Missing(_))), "{pin:?}");
    let document = t.objects.document("manifests/none.json").await;
    assert!(
        matches!(document, Err(ObjectError::Missing(_))),
        "{document:?}"
    );
}

async fn documents_are_kept_whole(t: ObjectsUnderTest) {
    for body in [bytes(100), bytes(0), bytes(3 << 20)] {
        t.objects
            .put_document("manifests/a.json", body.clone())
            .await
            .unwrap();
        assert_eq!(t.objects.document("manifests/a.json").await.unwrap(), body);
    }
    for bad in ["../x", "/etc/x", "", "a/../../x", "a\0"] {
        let result = t.objects.put_document(bad, b"x".to_vec()).await;
        assert!(result.is_err(), "{bad:?}");
        assert!(t.objects.document(bad).await.is_err(), "{bad:?}");
    }
    let large = t
        .objects
        .put_document("large", vec![0; (16 << 20) + 1])
        .await;
    assert!(large.is_err(), "a document of more than 16 MiB");
}

async fn deliveries_have_their_own_place(t: ObjectsUnderTest) {
    let restore = |n: u8| RestoreId::from_parts(u64::from(n), &[n; 10]);
    let first = t.objects.delivery_url(restore(1)).await.unwrap();
    assert_eq!(
        t.objects.delivery_url(restore(1)).await.unwrap(),
        first,
        "said twice"
    );
    assert_ne!(t.objects.delivery_url(restore(2)).await.unwrap(), first);
    let directory = PathBuf::from(first.strip_prefix("file://").expect("a file URL"));
    assert!(directory.is_dir(), "{first}");
}
