//! Every port of this crate passes the suite of its contract.

use std::path::PathBuf;
use std::sync::Arc;

use embedded::contract::{self, ObjectsUnderTest};
use embedded::{LocalObjects, LocalTable};
use model::ArtifactSource;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_table_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let counter = std::sync::atomic::AtomicU32::new(0);
    contract::table(async || {
        let number = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let table = LocalTable::open(&directory.path().join(format!("{number}.redb"))).unwrap();
        Arc::new(table) as Arc<dyn control::ports::Table>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_objects_keep_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let counter = std::sync::atomic::AtomicU32::new(0);
    contract::objects(async || {
        let number = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let data = directory.path().join(format!("{number}"));
        let root = directory.path().join(format!("{number}-root"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::create_dir_all(&root).unwrap();
        let objects = LocalObjects::open(&data, std::slice::from_ref(&root), None).unwrap();
        ObjectsUnderTest {
            objects: Arc::new(objects),
            offer: Box::new(move |name, bytes| {
                let path: PathBuf = root.join(name);
                std::fs::write(&path, bytes).unwrap();
                ArtifactSource::File {
                    path: path.to_str().unwrap().to_owned(),
                }
            }),
            fetch: Box::new(|url| std::fs::read(url.strip_prefix("file://").unwrap()).ok()),
        }
    })
    .await;
}
