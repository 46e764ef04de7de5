//! The store: what was published is what is loaded, or nothing is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ed25519_dalek::{Signer as _, SigningKey};
use jiff::{SignedDuration, Timestamp};
use model::{CallOutcome, Limits, ResolverInfo, Sha256, canonical_json};
use resolver::{Arch, Compiled, HostError, Record, Store, compile};
use sha2::Digest as _;
use tempfile::TempDir;

use crate::{HOSTILE, host, patient, set, sets};

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn info() -> ResolverInfo {
    ResolverInfo {
        name: "hostile".to_owned(),
        version: "1.0.0".to_owned(),
        summary: "for tests".to_owned(),
        labels: Default::default(),
    }
}

/// The hostile component for both architectures, compiled once.
fn compiled() -> &'static [Compiled] {
    static COMPILED: OnceLock<Vec<Compiled>> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let of = |arch| Compiled {
            arch,
            code: compile(HOSTILE, arch).unwrap(),
        };
        Arch::ALL.map(of).into()
    })
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// Puts another file in the place of one that nobody may write.
fn replace(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    fs::remove_file(&path)?;
    fs::write(path, bytes)
}

struct Published {
    dir: TempDir,
    store: Store,
    record: Record,
}

fn published() -> Published {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), key(1)).unwrap();
    let record = store
        .add(HOSTILE, compiled(), &info(), sets::now())
        .unwrap();
    Published { dir, store, record }
}

impl Published {
    fn path(&self, part: &str, end: &str) -> PathBuf {
        self.dir
            .path()
            .join(part)
            .join(format!("{}.{end}", self.record.component))
    }

    fn native(&self) -> PathBuf {
        self.path("compiled", &format!("{}.cwasm", Arch::native().unwrap()))
    }

    fn load(&self) -> Result<(), HostError> {
        self.store.load(host(), self.record.component).map(drop)
    }

    /// Changes the record and signs it, as the installation would.
    fn sign(&self, key: &SigningKey, change: impl FnOnce(&mut Record)) {
        let mut record = self.record.clone();
        change(&mut record);
        let text = canonical_json(&serde_json::to_value(&record).unwrap());
        let message = format!("tapemark resolver record 1\n{text}");
        let signature = hex::encode(key.sign(message.as_bytes()).to_bytes());
        let signed = serde_json::json!({ "record": record, "signature": signature });
        replace(self.path("records", "json"), signed.to_string()).unwrap();
    }
}

#[test]
fn what_was_published_is_loaded_after_a_restart() {
    let published = published();
    assert_eq!(published.record.compiled.len(), 2);
    let reopened = Store::open(published.dir.path(), key(1)).unwrap();
    let component = published.record.component;
    assert_eq!(reopened.record(component).unwrap(), published.record);
    assert_eq!(reopened.component(component).unwrap(), HOSTILE);
    let loaded = reopened.load(host(), component).unwrap();
    let call = host().call(&loaded, &set("main"), &Limits::DEFAULT);
    assert_eq!(call.outcome, CallOutcome::Decided);
}

#[test]
fn the_same_component_compiles_to_the_same_code() {
    let again = compile(HOSTILE, Arch::Aarch64).unwrap();
    let before = compiled().iter().find(|c| c.arch == Arch::Aarch64);
    assert!(before.unwrap().code == again);
}

#[test]
fn publishing_the_same_again_changes_nothing() {
    let published = published();
    let later = sets::now() + SignedDuration::from_hours(1);
    let again = published.store.add(HOSTILE, compiled(), &info(), later);
    assert_eq!(again.unwrap(), published.record);
}

#[test]
fn publishing_again_repairs_what_was_lost() {
    let published = published();
    fs::remove_file(published.native()).unwrap();
    assert!(matches!(published.load(), Err(HostError::Io { .. })));
    published
        .store
        .add(HOSTILE, compiled(), &info(), sets::now())
        .unwrap();
    published.load().unwrap();
}

#[test]
fn those_who_publish_at_once_do_not_harm_each_other() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), key(1)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let record = store
                    .add(HOSTILE, compiled(), &info(), sets::now())
                    .unwrap();
                store.load(host(), record.component).unwrap();
            });
        }
    });
    let left = fs::read_dir(dir.path().join("compiled")).unwrap().count();
    assert_eq!(left, 2, "no temporary file stays");
}

#[test]
fn a_record_never_names_the_code_of_somebody_who_published_at_once() {
    let dir = TempDir::new().unwrap();
    let component = std::thread::scope(|scope| {
        let publish = |n: u8| {
            // Each with other code for the other architecture, as other engines would make.
            let store = Store::open(dir.path(), key(1)).unwrap();
            let mut compiled = compiled().to_vec();
            let other = compiled.iter_mut().find(|c| Some(c.arch) != Arch::native());
            other.unwrap().code.push(n);
            move || {
                for _ in 0..3 {
                    let added = store.add(HOSTILE, &compiled, &info(), sets::now());
                    store.load(host(), added.unwrap().component).unwrap();
                }
                store.record(sha256(HOSTILE)).unwrap().component
            }
        };
        let threads: Vec<_> = (0..3).map(|n| scope.spawn(publish(n))).collect();
        let components = threads.into_iter().map(|thread| thread.join().unwrap());
        components.last().unwrap()
    });
    let record = Store::open(dir.path(), key(1)).unwrap().record(component);
    for (arch, expected) in record.unwrap().compiled {
        let path = dir
            .path()
            .join(format!("compiled/{component}.{arch}.cwasm"));
        assert_eq!(sha256(&fs::read(path).unwrap()), expected, "{arch}");
    }
}

#[test]
fn nobody_writes_a_file_of_the_store_again() {
    let published = published();
    for part in ["components", "compiled", "records"] {
        for entry in fs::read_dir(published.dir.path().join(part)).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o222, 0, "{:?}", entry.path());
        }
    }
}

#[test]
fn code_that_was_mapped_stays_when_its_file_is_replaced() {
    let published = published();
    let loaded = published.store.load(host(), published.record.component);
    replace(published.native(), b"something else").unwrap();
    assert!(published.load().is_err());
    let call = host().call(&loaded.unwrap(), &set("main"), &patient());
    assert_eq!(call.outcome, CallOutcome::Decided);
}

#[test]
fn native_code_that_was_tampered_with_is_not_loaded() {
    let published = published();
    let mut code = fs::read(published.native()).unwrap();
    for at in [0, code.len() / 2, code.len() - 1] {
        code[at] ^= 1;
        replace(published.native(), &code).unwrap();
        assert!(matches!(published.load(), Err(HostError::Digest { .. })));
        code[at] ^= 1;
    }
    replace(published.native(), &code[..code.len() - 1]).unwrap();
    assert!(matches!(published.load(), Err(HostError::Digest { .. })));
    replace(published.native(), &code).unwrap();
    published.load().unwrap();
}

#[test]
fn a_component_that_was_tampered_with_is_not_handed_out() {
    let published = published();
    let component = published.record.component;
    let mut wasm = HOSTILE.to_vec();
    wasm[100] ^= 1;
    replace(published.path("components", "wasm"), &wasm).unwrap();
    let refused = published.store.component(component);
    assert!(matches!(refused, Err(HostError::Digest { .. })));
}

#[test]
fn a_record_that_somebody_else_signed_is_not_believed() {
    let published = published();
    published.sign(&key(2), |_| {});
    assert!(matches!(published.load(), Err(HostError::Signature { .. })));
    let stranger = Store::open(published.dir.path(), key(2)).unwrap();
    assert!(stranger.record(published.record.component).is_ok());
    published.sign(&key(1), |_| {});
    published.load().unwrap();
}

#[test]
fn a_record_that_was_changed_is_not_believed() {
    let published = published();
    let path = published.path("records", "json");
    let text = fs::read_to_string(&path).unwrap();
    for broken in [
        text.replace("for tests", "for sale!"),
        text.replace("\"signature\": \"", "\"signature\": \"00"),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        replace(&path, broken).unwrap();
        assert!(matches!(published.load(), Err(HostError::Signature { .. })));
    }
}

#[test]
fn a_record_of_another_component_does_not_stand_for_this_one() {
    let published = published();
    published.sign(&key(1), |record| record.component = Sha256::EMPTY);
    assert!(matches!(published.load(), Err(HostError::Signature { .. })));
}

#[test]
fn what_was_never_published_is_not_loaded() {
    let published = published();
    fs::remove_file(published.path("records", "json")).unwrap();
    // Its code is still there, and counts for nothing.
    assert!(published.native().exists());
    assert!(matches!(published.load(), Err(HostError::Unpublished(_))));
}

#[test]
fn code_of_another_engine_is_to_be_compiled_anew() {
    let published = published();
    published.sign(&key(1), |record| {
        record.engine.version = "wasmtime 47.0.0".to_owned()
    });
    let error = published.load().unwrap_err();
    assert!(matches!(error, HostError::Recompile(_)));
    assert!(error.to_string().contains("wasmtime 47.0.0"), "{error}");
    published.sign(&key(1), |record| record.engine.compatibility.clear());
    assert!(matches!(published.load(), Err(HostError::Recompile(_))));
}

#[test]
fn code_for_other_machines_only_is_to_be_compiled_anew() {
    let published = published();
    published.sign(&key(1), |record| {
        record.compiled.remove(&Arch::native().unwrap());
    });
    let error = published.load().unwrap_err();
    assert!(matches!(error, HostError::Recompile(_)), "{error}");
}

#[test]
fn the_engine_itself_refuses_code_that_it_cannot_run() {
    let dir = TempDir::new().unwrap();
    let foreign = Arch::ALL.into_iter().find(|a| Some(*a) != Arch::native());
    let foreign = compiled().iter().find(|c| Some(c.arch) == foreign).unwrap();
    for (bytes, says) in [
        (&foreign.code[..], "architecture"),
        (HOSTILE, "ELF"),
        (&compiled()[0].code[..2_000], ""),
        (&b""[..], ""),
    ] {
        let path = dir.path().join("code");
        fs::write(&path, bytes).unwrap();
        let digest = policy::digest("x");
        let wrong = host().load(&path, digest);
        let Err(HostError::Digest { found, .. }) = wrong else {
            panic!("a digest of something else");
        };
        let Err(HostError::Recompile(why)) = host().load(&path, found) else {
            panic!("{says}");
        };
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn records_name_the_engine_that_is_built_in() {
    let version = host().engine_id().version;
    let number = version.strip_prefix("wasmtime ").unwrap();
    let lock = include_str!("../../../../Cargo.lock");
    assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{number}\"\n")));
}

#[test]
fn times_of_records_survive() {
    let published = published();
    let record = published.store.record(published.record.component).unwrap();
    assert_eq!(
        record.at,
        Timestamp::from_millisecond(sets::NOW_MS).unwrap()
    );
}
