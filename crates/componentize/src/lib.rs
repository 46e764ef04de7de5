//! What turns an author's project into a component: the project's files ([`project`]), and
//! the last step for compilers that know no components.
//!
//! Compilers of C, and others that know no components, write a core module that carries
//! the interface it was compiled for in a custom section. This wraps such a module into a
//! component that imports nothing: what its C library asks of WASI preview 1 is answered
//! by a stub inside ([`STUB_ADAPTER`]) that can do nothing. It never runs or compiles
//! what it is given, and never reads or writes a file.
//!
//! ```
//! use componentize::{ComponentizeError, Kind, componentize, kind};
//!
//! // An empty core module names no interface: nobody could call it.
//! let core = b"\0asm\x01\0\0\0";
//! assert_eq!(kind(core), Some(Kind::Module));
//! assert!(matches!(
//!     componentize(core),
//!     Err(ComponentizeError::NoInterface)
//! ));
//! ```

pub mod project;

use wasmparser::{Encoding, Parser, Payload, Validator};
use wit_component::ComponentEncoder;

/// The largest core module taken, in bytes: no resolver may be larger.
pub const MAX_CORE_BYTES: usize = 24 * 1024 * 1024;

/// What answers the C library's calls of WASI preview 1: each with ENOSYS, but `proc_exit`
/// with a trap. Made of `stub-adapter.wat`.
pub const STUB_ADAPTER: &[u8] = include_bytes!("stub-adapter.wasm");

/// The WASI module whose functions [`STUB_ADAPTER`] has.
const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// What the names of the custom sections start with that hold an interface.
const INTERFACE_SECTION: &str = "component-type";

/// What a WebAssembly binary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A core module.
    Module,
    /// A component.
    Component,
}

/// Why no component can be made of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentizeError {
    /// It is too large.
    #[error("expected a core module of at most {MAX_CORE_BYTES} bytes, found {0}")]
    TooLarge(usize),
    /// It is a component already.
    #[error("expected a core module, found a component: it needs no further step")]
    Component,
    /// It is no valid core module.
    #[error("expected a valid core module: {0}")]
    Invalid(String),
    /// It does not say for which interface it was compiled.
    #[error(
        "expected a custom section {INTERFACE_SECTION}..., found none: link \
         resolver_component_type.o into the module"
    )]
    NoInterface,
    /// It does not keep the interface it names, or imports what the stub does not have.
    #[error("expected a module that keeps its interface: {0}")]
    Mismatch(String),
}

/// What a WebAssembly binary is, by its first eight bytes; none where it is neither.
pub fn kind(binary: &[u8]) -> Option<Kind> {
    if Parser::is_component(binary) {
        Some(Kind::Component)
    } else if Parser::is_core_wasm(binary) {
        Some(Kind::Module)
    } else {
        None
    }
}

/// Makes a component of a core module. The same module gives the same bytes.
///
/// # Errors
/// [`ComponentizeError`], which says what to do.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, ComponentizeError> {
    if core.len() > MAX_CORE_BYTES {
        return Err(ComponentizeError::TooLarge(core.len()));
    }
    if kind(core) == Some(Kind::Component) {
        return Err(ComponentizeError::Component);
    }
    Validator::new()
        .validate_all(core)
        .map_err(|e| ComponentizeError::Invalid(e.to_string()))?;
    if !names_interface(core)? {
        return Err(ComponentizeError::NoInterface);
    }
    let encode = || {
        ComponentEncoder::default()
            .validate(true)
            .module(core)?
            .adapter(PREVIEW_1, STUB_ADAPTER)?
            .encode()
    };
    // The alternate form has the whole chain of causes.
    encode().map_err(|e| ComponentizeError::Mismatch(format!("{e:#}")))
}

fn names_interface(core: &[u8]) -> Result<bool, ComponentizeError> {
    for payload in Parser::new(0).parse_all(core) {
        match payload.map_err(|e| ComponentizeError::Invalid(e.to_string()))? {
            Payload::Version {
                encoding: Encoding::Component,
                ..
            } => return Err(ComponentizeError::Component),
            Payload::CustomSection(section) if section.name().starts_with(INTERFACE_SECTION) => {
                return Ok(true);
            }
            _ => {}
        }
    }
    Ok(false)
}
