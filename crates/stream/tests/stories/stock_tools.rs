//! The tape is enough: what stands on it is restored by other people's programs, from a file
//! dump of its records, by the steps of the README on the tape itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
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

/// The commands of the README's first step: the lines set apart below it.
fn first_step(readme: &str) -> String {
    let step = readme.split("STEP 1.").nth(1).unwrap();
    let step = step.split("  To copy one file only").next().unwrap();
    let lines = step.lines().filter(|line| line.starts_with("  "));
    lines.collect::<Vec<_>>().join("\n")
}

/// A drive made of a directory of tape files: programs `mt` and `dd` that know just what the
/// README uses, in front of the real ones.
fn pretend_drive(home: &Path, tape: &MemoryTape) {
    let (drive, bin) = (home.join("drive"), home.join("bin"));
    fs::create_dir(&drive).unwrap();
    fs::create_dir(&bin).unwrap();
    dump(tape, &drive);
    let mt = "#!/bin/sh\n[ $1 = -f ] && [ $2 = /dev/nst0 ] || exit 2\ncase $3 in\n\
              setblk) [ $4 = 0 ] ;;\nrewind) echo 0 >at ;;\n*) exit 2 ;;\nesac\n";
    let dd = "#!/bin/sh\n[ $1 = if=/dev/nst0 ] && [ $3 = bs=524288 ] || exit 2\n\
              at=$(cat at)\nfile=drive/$(printf 'file%06d' $at)\necho $((at + 1)) >at\n\
              if [ -e $file ]; then cat $file; fi >${2#of=}\n";
    for (name, text) in [("mt", mt), ("dd", dd)] {
        let path = bin.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Follows the README with one tar and one shell: copy the tape, then restore both checkpoints.
fn follow_the_readme(tar: &str, flags: &str, sh: &str) {
    let (tape, keys, shelves) = written();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    pretend_drive(home, &tape);
    fs::write(home.join("key.txt"), &keys.identity).unwrap();
    // The README stands in file 1: whoever has the tape begins with the first two files.
    shell(home, &format!("{tar} {flags} drive/file000001"));
    let readme = fs::read_to_string(home.join("README.txt")).unwrap();
    assert!(readme.contains("sh restore.sh key.txt OUT file000002 file000003"));
    let copy = first_step(&readme);
    assert!(copy.contains("bs=524288"), "{copy}");
    shell(
        home,
        &format!("PATH=\"$PWD/bin:$PATH\"\nset +e\n{copy}\nset -e"),
    );
    for (n, bytes) in tape.files().iter().enumerate() {
        assert_eq!(&fs::read(home.join(format!("file{n:06}"))).unwrap(), bytes);
    }
    // VOL1, label, then data and MANIFEST files in turn; INDEX last.
    let mut data = Vec::new();
    let mut restored = Vec::new();
    for number in 2..tape.files().len() {
        let name = format!("file{number:06}");
        let first = shell(home, &format!("{tar} tf {name} | head -n 1"));
        data.push(name);
        if first.trim() == "MANIFEST.json" {
            let out = format!("OUT{}", restored.len());
            let names = data.join(" ");
            let line = format!("TAR='{tar}' {sh} restore.sh key.txt {out} {names}");
            assert!(shell(home, &line).contains("are whole"));
            restored.push(tree(&home.join(out)));
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
        follow_the_readme("tar", "-xif", "sh");
    }
}

#[test]
fn busybox_tar_age_and_zstd_restore_by_the_readme_on_the_tape() {
    if have(&["busybox", "age", "zstd", "sha256sum"]) {
        follow_the_readme("busybox tar", "-xf", "busybox sh");
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
