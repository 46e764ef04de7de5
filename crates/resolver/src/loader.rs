//! The only unsafe code here: making compiled code runnable.
#![allow(
    unsafe_code,
    reason = "compiled code is native code: that it is ours cannot be checked by a type"
)]

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use model::Sha256;
use sha2::Digest as _;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::HostError;

/// Maps the file at `path`, whose SHA-256 must be `expected`.
pub(crate) fn map(engine: &Engine, path: &Path, expected: Sha256) -> Result<Component, HostError> {
    let found = digest_of(path).map_err(|source| HostError::Io {
        path: path.to_owned(),
        source,
    })?;
    if found != expected {
        return Err(HostError::Digest {
            path: path.to_owned(),
            expected,
            found,
        });
    }
    // SAFETY: `deserialize_file` asks that the file came out of this engine's compiler
    // unchanged, and stays unchanged while it is mapped. The caller took `expected` from a
    // release record that this installation signed when it compiled the component, or
    // compiled it itself; the digest above shows that these are the same bytes. Files of
    // a store are written once, under a name of their own, and replaced only by renaming
    // another file over them, which leaves a mapping as it is; who can write into the
    // directory otherwise can replace this program as well. The engine itself refuses
    // code made by another version or under other settings.
    unsafe { Component::deserialize_file(engine, path) }.map_err(refused)
}

/// Takes over code that this process compiled a moment ago.
#[cfg(feature = "compiler")]
pub(crate) fn adopt(engine: &Engine, compiled: &[u8]) -> Result<Component, HostError> {
    // SAFETY: the only caller hands over what `crate::compile` returned, unchanged: code
    // by the same version of the engine under the same settings, never seen by anybody
    // else.
    unsafe { Component::deserialize(engine, compiled) }.map_err(refused)
}

fn refused(error: wasmtime::Error) -> HostError {
    HostError::Recompile(format!("{error:#}"))
}

/// SHA-256 of a file, read in pieces: compiled code of Python's runtime is 35 MB.
fn digest_of(path: &Path) -> std::io::Result<Sha256> {
    let mut file = File::open(path)?;
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256(digest.finalize().into())),
            n => digest.update(&buffer[..n]),
        }
    }
}
