//! The only unsafe code here: making compiled code runnable.
#![allow(
    unsafe_code,
    reason = "compiled code is native code: that it is ours cannot be checked by a type"
)]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use model::Sha256;
use sha2::Digest as _;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::HostError;

/// Maps the file at `path`, whose SHA-256 must be `expected`. It is opened once: what is
/// mapped is what was hashed, whatever the name stands for meanwhile.
pub(crate) fn map(engine: &Engine, path: &Path, expected: Sha256) -> Result<Component, HostError> {
    let io = |source| HostError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let found = digest_of(&mut file).map_err(io)?;
    if found != expected {
        return Err(HostError::Digest {
            path: path.to_owned(),
            expected,
            found,
        });
    }
    // The engine takes a path; this one leads to the open file itself.
    let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    // SAFETY: `deserialize_file` asks that the file came out of this engine's compiler
    // unchanged, and stays unchanged while it is mapped. The caller took `expected` from a
    // release record that this installation signed when it compiled the component, or
    // compiled it itself; the digest above shows that these are the same bytes, and `opened`
    // names the file that they were read from for as long as `file` is open, which is until
    // after it is mapped. Files of a store are written once, without permission to write
    // them again, under a name of their own, and replaced only by renaming another file over
    // them, which leaves a mapping as it is; who can write into the directory otherwise can
    // replace this program as well. The engine itself refuses code made by another version
    // or under other settings.
    let mapped = unsafe { Component::deserialize_file(engine, &opened) };
    drop(file);
    mapped.map_err(|error| refused(path.display(), &error))
}

/// Takes over code that this process compiled a moment ago.
#[cfg(feature = "compiler")]
pub(crate) fn adopt(engine: &Engine, compiled: &[u8]) -> Result<Component, HostError> {
    // SAFETY: the only caller hands over what `crate::compile` returned, unchanged: code
    // by the same version of the engine under the same settings, never seen by anybody
    // else.
    unsafe { Component::deserialize(engine, compiled) }
        .map_err(|error| refused("compiled code", &error))
}

fn refused(what: impl std::fmt::Display, error: &wasmtime::Error) -> HostError {
    HostError::Recompile(format!("{what}: {error:#}"))
}

/// SHA-256 of a file, read in pieces: compiled code of Python's runtime is 35 MB.
fn digest_of(file: &mut File) -> std::io::Result<Sha256> {
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256(digest.finalize().into())),
            n => digest.update(&buffer[..n]),
        }
    }
}
