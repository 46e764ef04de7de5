//! A source is a regular file below an allowed root, and nothing leads out of the roots.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use control::ports::{ObjectError, ObjectInfo, Objects};
use embedded::{LocalObjects, S3Source};
use model::{ArtifactSource, Bytes, CheckpointId, Sha256};
use sha2::Digest;

struct Place {
    directory: tempfile::TempDir,
    objects: LocalObjects,
}

impl Place {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(s3: Option<Arc<dyn S3Source>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["data", "root", "second", "outside"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("outside/secret"), "secret").unwrap();
        let roots = ["root", "second"].map(|name| directory.path().join(name));
        let objects = LocalObjects::open(&directory.path().join("data"), &roots, s3).unwrap();
        Self { directory, objects }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn head(&self, path: &Path) -> Result<ObjectInfo, ObjectError> {
        self.objects.head(&file(path)).await
    }
}

fn file(path: &Path) -> ArtifactSource {
    ArtifactSource::File {
        path: path.to_str().unwrap().to_owned(),
    }
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn checkpoint() -> CheckpointId {
    CheckpointId::from_parts(1, &[1; 10])
}

#[tokio::test]
async fn nothing_leads_out_of_the_roots() {
    let place = Place::new();
    let root = place.path("root");
    symlink(place.path("outside/secret"), root.join("link")).unwrap();
    symlink(place.path("outside"), root.join("directory-link")).unwrap();
    symlink("../outside/secret", root.join("relative-link")).unwrap();
    symlink("/etc/passwd", root.join("absolute-link")).unwrap();
    symlink(root.join("link"), root.join("link-to-link")).unwrap();
    let outside = [
        place.path("outside/secret"),
        place.path("outside/not-there"),
        place.path("rootling"),
        root.join("link"),
        root.join("directory-link/secret"),
        root.join("relative-link"),
        root.join("absolute-link"),
        root.join("link-to-link"),
        root.join("../outside/secret"),
        PathBuf::from("/etc/passwd"),
        PathBuf::from("/proc/self/environ"),
    ];
    for path in outside {
        let head = place.head(&path).await;
        assert!(
            matches!(head, Err(ObjectError::NotAllowed(_))),
            "{}: {head:?}",
            path.display()
        );
        let source = file(&path);
        let pin = place
            .objects
            .pin(checkpoint(), 0, &source, Bytes(6), digest(b"secret"))
            .await;
        assert!(
            matches!(pin, Err(ObjectError::NotAllowed(_))),
            "{}: {pin:?}",
            path.display()
        );
    }
}

/// `up --data .tapemark --allow-root .`: who may submit must not read the keys, neither by
/// having them checkpointed nor by what a refusal tells about their size and digest.
#[tokio::test]
async fn the_data_directory_is_no_source_even_below_a_root() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("root/.tapemark/keys")).unwrap();
    fs::create_dir_all(path("root/.tapemarket")).unwrap();
    fs::write(path("root/.tapemark/keys/operator.token"), "secret").unwrap();
    fs::write(path("root/.tapemarket/app"), "12345").unwrap();
    symlink(path("root/.tapemark"), path("elsewhere")).unwrap();
    let data = path("elsewhere");
    let roots = [path("root"), path("root/.tapemark/keys")];
    let objects = LocalObjects::open(&data, &roots, None).unwrap();

    let root = path("root");
    symlink("keys/operator.token", root.join(".tapemark/inner-link")).unwrap();
    symlink(root.join(".tapemark"), root.join("whole")).unwrap();
    symlink(".tapemark/keys", root.join("keys")).unwrap();
    symlink("keys/operator.token", root.join("token")).unwrap();
    symlink("token", root.join("link-to-link")).unwrap();
    symlink(&data, root.join("by-its-other-name")).unwrap();
    let name = directory.path().display();
    let own = [
        root.join(".tapemark/keys/operator.token"),
        root.join(".tapemark/inner-link"),
        root.join("whole/keys/operator.token"),
        root.join("keys/operator.token"),
        root.join("token"),
        root.join("link-to-link"),
        root.join("by-its-other-name/keys/operator.token"),
        root.join(".tapemark/lock"),
        root.join(".tapemark/keys/not-there"),
        root.join("keys/not-there"),
        root.join(".tapemark"),
        PathBuf::from(format!("{name}/root//.tapemark/./keys//operator.token")),
        PathBuf::from(format!(
            "/proc/self/root{name}/root/whole/keys/operator.token"
        )),
    ];
    for path in own {
        let head = objects.head(&file(&path)).await;
        assert!(
            matches!(head, Err(ObjectError::NotAllowed(_))),
            "{}: {head:?}",
            path.display()
        );
        // Neither with the right declaration nor with a wrong one.
        for (size, content) in [(6, "secret"), (6, "guess!"), (1, "s")] {
            let pin = objects
                .pin(
                    checkpoint(),
                    0,
                    &file(&path),
                    Bytes(size),
                    digest(content.as_bytes()),
                )
                .await;
            assert!(
                matches!(pin, Err(ObjectError::NotAllowed(_))),
                "{}: {pin:?}",
                path.display()
            );
        }
    }
    let refused = objects
        .head(&file(&root.join("token")))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("never a source"), "{refused}");

    let neighbour = objects.head(&file(&root.join(".tapemarket/app"))).await;
    assert_eq!(neighbour.unwrap().size, Bytes(5));
}

#[tokio::test]
async fn links_within_the_roots_are_followed() {
    let place = Place::new();
    fs::create_dir_all(place.path("second/deep/er")).unwrap();
    fs::write(place.path("second/deep/er/app"), "12345").unwrap();
    symlink(place.path("second/deep"), place.path("root/deep")).unwrap();
    for path in ["second/deep/er/app", "root/deep/er/app"] {
        assert_eq!(
            place.head(&place.path(path)).await.unwrap().size,
            Bytes(5),
            "{path}"
        );
    }
    assert!(matches!(
        place.head(&place.path("root/deep/none")).await,
        Err(ObjectError::Missing(_))
    ));
}

#[tokio::test]
async fn only_regular_files_are_sources() {
    let place = Place::new();
    let fifo = place.path("root/fifo");
    let made = std::process::Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(place.path("root/socket")).unwrap();
    fs::create_dir(place.path("root/directory")).unwrap();
    for name in ["root/fifo", "root/directory", "root"] {
        let head = place.head(&place.path(name)).await;
        assert!(
            matches!(head, Err(ObjectError::NotAllowed(_))),
            "{name}: {head:?}"
        );
    }
    let socket = place.head(&place.path("root/socket")).await;
    assert!(
        socket.is_err(),
        "a socket cannot be opened at all: {socket:?}"
    );
}

#[tokio::test]
async fn a_file_that_changes_before_it_is_copied_is_caught() {
    let place = Place::new();
    let path = place.path("root/app");
    fs::write(&path, "declared").unwrap();
    assert_eq!(place.head(&path).await.unwrap().size, Bytes(8));
    fs::write(&path, "modified").unwrap(); // The same size.
    let pin = place
        .objects
        .pin(checkpoint(), 0, &file(&path), Bytes(8), digest(b"declared"))
        .await;
    assert!(
        matches!(pin, Err(ObjectError::Mismatch { what: "sha256", .. })),
        "{pin:?}"
    );
    assert!(!place.path(&format!("data/pins/{}", checkpoint())).exists());
    let left = fs::read_dir(place.path("data/tmp")).unwrap().count();
    assert_eq!(left, 0, "a refused copy leaves nothing behind");
}

#[tokio::test]
async fn a_pin_damaged_on_disk_is_made_anew() {
    let place = Place::new();
    let path = place.path("root/app");
    fs::write(&path, "content").unwrap();
    let source = file(&path);
    let pin = || {
        place
            .objects
            .pin(checkpoint(), 0, &source, Bytes(7), digest(b"content"))
    };
    pin().await.unwrap();
    let pinned = place.path(&format!("data/pins/{}/0", checkpoint()));
    fs::write(&pinned, "cantent").unwrap();
    pin().await.unwrap();
    assert_eq!(fs::read(&pinned).unwrap(), b"content");
}

#[tokio::test]
async fn what_was_not_finished_is_removed_at_the_next_start() {
    let place = Place::new();
    fs::write(place.path("data/tmp/17"), "half a pin").unwrap();
    LocalObjects::open(&place.path("data"), &[], None).unwrap();
    assert_eq!(fs::read_dir(place.path("data/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn without_roots_no_file_is_a_source_and_a_missing_root_is_named() {
    let place = Place::new();
    let objects = LocalObjects::open(&place.path("data"), &[], None).unwrap();
    fs::write(place.path("root/app"), "x").unwrap();
    let head = objects.head(&file(&place.path("root/app"))).await;
    assert!(matches!(head, Err(ObjectError::NotAllowed(_))), "{head:?}");

    let missing = LocalObjects::open(&place.path("data"), &[place.path("none")], None);
    assert!(missing.err().unwrap().to_string().contains("none"));
}

const S3: &str = "s3://bucket/key?versionId=v1";

#[tokio::test]
async fn s3_sources_need_a_port_of_their_own() {
    let place = Place::new();
    let source: ArtifactSource = S3.parse().unwrap();
    let head = place.objects.head(&source).await;
    let text = head.as_ref().err().unwrap().to_string();
    assert!(matches!(head, Err(ObjectError::NotAllowed(_))));
    assert!(
        text.contains(S3) && text.contains("no S3 source is configured"),
        "{text}"
    );

    let place = Place::with(Some(Arc::new(OneObject(b"content"))));
    assert_eq!(place.objects.head(&source).await.unwrap().size, Bytes(7));
    place
        .objects
        .pin(checkpoint(), 0, &source, Bytes(7), digest(b"content"))
        .await
        .unwrap();
    let url = place.objects.fetch_url(checkpoint(), 0).await.unwrap();
    assert_eq!(
        fs::read(url.strip_prefix("file://").unwrap()).unwrap(),
        b"content"
    );
    let longer = place
        .objects
        .pin(checkpoint(), 1, &source, Bytes(6), digest(b"conten"))
        .await;
    assert!(
        matches!(longer, Err(ObjectError::Mismatch { what: "size", .. })),
        "{longer:?}"
    );
}

struct OneObject(&'static [u8]);

#[async_trait]
impl S3Source for OneObject {
    async fn head(&self, _: &str, _: &str, _: &str) -> Result<ObjectInfo, ObjectError> {
        Ok(ObjectInfo {
            size: Bytes(self.0.len() as u64),
            sha256: None,
        })
    }

    async fn open(
        &self,
        _: &str,
        _: &str,
        _: &str,
    ) -> Result<Box<dyn std::io::Read + Send>, ObjectError> {
        Ok(Box::new(self.0))
    }
}
