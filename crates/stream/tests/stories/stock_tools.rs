//! The tape is enough: what stands on it is restored by other people's programs, from a file
//! dump of its records, by the steps of the README on the tape itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stream::write_placement;
use volume::MemoryTape;

use crate::support::*;

/// False, with a line that says so, where a program is missing; a failure where none may be.
fn have(programs: &[&str]) -> bool {
    for program in programs {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        });
        if !found {
            let required = std::env::var("TAPEMARK_TEST_REQUIRE").is_ok_and(|v| v == "all");
            assert!(!required, "the program {program} is required and missing");
            println!(
                "SKIPPED: the program {program} is missing (Debian: apt install busybox-static age zstd python3)"
            );
            return false;
        }
    }
    true
}

fn dump(tape: &MemoryTape, to: &Path) -> Vec<PathBuf> {
    let files = tape.files().into_iter().enumerate();
    files
        .map(|(n, bytes)| {
            let path = to.join(format!("file{n:06}"));
            fs::write(&path, bytes).unwrap();
            path
        })
        .collect()
}

/// Runs a shell line in a directory; panics with its output where it fails.
fn shell(directory: &Path, line: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("sh")
        .args(["-ec", line])
        .current_dir(directory)
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{line}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(at: &Path, root: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, into);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                into.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut into = BTreeMap::new();
    walk(root, root, &mut into);
    into
}

/// Two checkpoints in several segments, with names and sizes of all kinds.
fn written() -> (MemoryTape, Keys, [Shelf; 2]) {
    let keys = keys();
    let first = shelf(&[
        ("bin/app", noise(1, 1_500_000)),
        ("empty", vec![]),
        ("etc/größe/漢字 mit \"Leerzeichen\".conf", prose(700)),
        ("big \"quoted\" größe.tar", prose(300_000)),
        (
            &format!("deep/{}leaf", "0123456789/".repeat(60)),
            noise(2, 513),
        ),
    ]);
    let second = shelf(&[("lib/one.so", noise(3, 200_000)), ("lib/two", noise(4, 10))]);
    let mut writer = open_on(MemoryTape::new(), &keys, small_segments());
    for (number, files) in [(1, &first), (2, &second)] {
        let order = order(number, files);
        write_placement(
            &mut writer,
            &work(number),
            &order,
            files,
            &keys.sealer,
            &small(),
            now(),
        )
        .unwrap();
    }
    writer.write_index(now()).unwrap();
    (writer.into_device(), keys, [first, second])
}

/// Follows the README with one tar program: labels, then both checkpoints.
fn follow_the_readme(tar: &str, flags: &str) {
    let (tape, keys, shelves) = written();
    let home = tempfile::tempdir().unwrap();
    let files = dump(&tape, home.path());
    fs::write(home.path().join("key.txt"), &keys.identity).unwrap();
    shell(home.path(), &format!("{tar} {flags} file000001"));
    let readme = fs::read_to_string(home.path().join("README.txt")).unwrap();
    assert!(readme.contains("sh restore.sh key.txt OUT"));
    assert!(readme.contains("tar -i"));
    // VOL1, label, then data and MANIFEST files in turn; INDEX last.
    let mut data = Vec::new();
    let mut restored = Vec::new();
    for file in &files[2..] {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let first = shell(home.path(), &format!("{tar} tf {name} | head -n 1"));
        data.push(name);
        if first.trim() == "MANIFEST.json" {
            let out = format!("OUT{}", restored.len());
            let names = data.join(" ");
            let line = format!("TAR='{tar}' sh restore.sh key.txt {out} {names}");
            assert!(shell(home.path(), &line).contains("are whole"));
            restored.push(tree(&home.path().join(out)));
            data.clear();
        }
    }
    assert_eq!(restored.len(), 2);
    for (restored, shelf) in restored.iter().zip(&shelves) {
        assert_eq!(restored, &shelf.0);
    }
    assert_eq!(data.len(), 1, "the INDEX is left");
}

#[test]
fn gnu_tar_age_and_zstd_restore_by_the_readme_on_the_tape() {
    if have(&["tar", "age", "zstd", "sha256sum"]) {
        follow_the_readme("tar", "-xif");
    }
}

#[test]
fn busybox_tar_age_and_zstd_restore_by_the_readme_on_the_tape() {
    if have(&["busybox", "age", "zstd", "sha256sum"]) {
        follow_the_readme("busybox tar", "-xf");
    }
}

#[test]
fn a_zeroed_record_costs_one_member_and_the_digests_say_which() {
    if !have(&["tar", "age", "zstd", "sha256sum"]) {
        return;
    }
    let (tape, keys, shelves) = written();
    let home = tempfile::tempdir().unwrap();
    let files = dump(&tape, home.path());
    fs::write(home.path().join("key.txt"), &keys.identity).unwrap();
    shell(home.path(), "tar -xif file000001");
    // The first file of data: its second record, in the middle of `bin/app`.
    let mut bytes = fs::read(&files[2]).unwrap();
    bytes[600_000..1_000_000].fill(0);
    fs::write(&files[2], bytes).unwrap();
    let line = "sh restore.sh key.txt OUT file000002 file000003 file000004";
    let run = Command::new("sh")
        .args(["-c", line])
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success());
    assert!(said.contains("LOST: 00001-"), "{said}");
    assert!(said.contains("LOST: bin/app (incomplete)"), "{said}");
    let restored = tree(&home.path().join("OUT"));
    for (name, content) in &shelves[0].0 {
        assert_eq!(&restored[name] == content, name != "bin/app", "{name}");
    }
}

#[test]
fn a_stranger_reads_it_from_the_format_page() {
    if !have(&["python3", "age", "zstd"]) {
        return;
    }
    let (tape, keys, shelves) = written();
    let home = tempfile::tempdir().unwrap();
    let files = dump(&tape, home.path());
    let dumped = home.path().join("dump");
    fs::create_dir(&dumped).unwrap();
    for file in &files {
        fs::rename(file, dumped.join(file.file_name().unwrap())).unwrap();
    }
    fs::write(home.path().join("key.txt"), &keys.identity).unwrap();
    let reader = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../volume/tests/tapemark_reader.py"
    );
    let said = shell(home.path(), &format!("python3 '{reader}' dump key.txt OUT"));
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["problems"], serde_json::json!([]));
    assert_eq!(report["unclaimed"], serde_json::json!([]));
    let placements = report["placements"].as_array().unwrap();
    assert_eq!(placements.len(), 2);
    let listed = report["indexes"][0]["manifests"].as_array().unwrap();
    for (placement, listed) in placements.iter().zip(listed) {
        assert_eq!(placement["problems"], serde_json::json!([]));
        assert_eq!(placement["manifest"], listed["manifest"]);
        assert_eq!(placement["service"], "payments/api");
    }
    let both: BTreeMap<_, _> = shelves.iter().flat_map(|s| s.0.clone()).collect();
    assert_eq!(tree(&home.path().join("OUT")), both);
}

#[test]
fn no_name_stands_in_clear() {
    let (tape, _, shelves) = written();
    let clear = tape.files().concat();
    let names = shelves.iter().flat_map(|s| s.0.keys());
    for secret in names
        .flat_map(|n| n.split('/'))
        .chain(["payments", "1.2.3"])
    {
        let found = secret.len() > 4 && clear.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!found, "{secret:?} stands on the tape in clear");
    }
}
