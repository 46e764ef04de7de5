//! Looking at a component without compiling or running it.

use model::{Bytes, Code, MAX_COMPONENT_BYTES, Refusal, Sha256};
use wasmparser::{ComponentExternalKind, KnownCustom, Parser, Payload, Validator, WasmFeatures};

use crate::nesting::Nesting;
use crate::version;

/// The most core modules in a component, at any depth: Python's runtime takes 38.
const MAX_MODULES: usize = 100;

/// The most components in a component, at any depth: QuickJS comes with 24.
const MAX_COMPONENTS: usize = 100;

/// The most imports or exports, each, and the most that are listed: the contract needs one
/// of each. Those beyond are counted and not kept, because 18 MB of names took 224 MB.
const MAX_NAMES: usize = 1_000;

/// What a component is, without running it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Inspection {
    /// SHA-256 of the component: its identity.
    pub component: Sha256,
    /// Its size.
    pub bytes: Bytes,
    /// The interface it exports that this host serves, as in
    /// `tapemark:resolver/policy@1.0.0`.
    pub interface: Option<String>,
    /// Everything it imports.
    pub imports: Vec<String>,
    /// Everything it exports.
    pub exports: Vec<String>,
    /// What made it, as its producers section has it: `language Rust`, `processed-by
    /// wit-component 0.254.0` and so on.
    pub producers: Vec<String>,
    /// What breaks the contract, each with what to do. Empty: it may be published.
    pub findings: Vec<Refusal>,
}

/// Looks at a component without compiling or running it.
///
/// # Errors
/// `ResolverInvalid` where it is no component at all.
pub fn inspect(component: &[u8]) -> Result<Inspection, Refusal> {
    if component.len() > MAX_COMPONENT_BYTES {
        return Err(invalid(format!(
            "expected at most {MAX_COMPONENT_BYTES} bytes, found {}: build without debug \
             information, and strip it",
            component.len()
        )));
    }
    let mut outline = Outline::read(component)?;
    let served = version::choose(outline.exports.names.iter().map(String::as_str));
    let mut findings: Vec<Refusal> = outline.nesting.take().into_iter().collect();
    if served.is_none() {
        findings.push(not_served(outline.exports.names.iter().map(String::as_str)));
    }
    for (n, import) in outline.imports.names.iter().enumerate() {
        if !version::is_types(import) {
            findings.push(foreign_import(import, &outline).at(format!("imports[{n}]")));
        }
    }
    for (what, found, most) in [
        ("core modules", outline.modules, MAX_MODULES),
        ("nested components", outline.components, MAX_COMPONENTS),
        ("imports", outline.imports.found, MAX_NAMES),
        ("exports", outline.exports.found, MAX_NAMES),
    ] {
        if found > most {
            findings.push(invalid(format!(
                "expected at most {most} {what}, found {found}"
            )));
        }
    }
    // Never before the findings above are none: it reads types by recursion.
    if findings.is_empty()
        && let Err(error) = validate(component)
    {
        findings.push(invalid(format!(
            "expected a valid component that uses no GC, threads, exceptions, relaxed SIMD or \
             64-bit memory, found: {error}"
        )));
    }
    Ok(Inspection {
        component: policy::digest(component),
        bytes: Bytes(component.len() as u64),
        interface: served.map(|interface| interface.name().to_owned()),
        imports: outline.imports.names,
        exports: outline.exports.names,
        producers: outline.producers,
        findings,
    })
}

/// What is wrong with a component, in the validator's words.
fn validate(component: &[u8]) -> Result<(), String> {
    let validate = || Validator::new_with_features(features()).validate_all(component);
    // It asserts where it should refuse: types of instances that hold each other by
    // reference, 128 deep, are such a case.
    match std::panic::catch_unwind(validate) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("one that ends the validator".to_owned()),
    }
}

/// As in `engine`: what the compiler would refuse, said before it is started.
fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::CALL_INDIRECT_OVERLONG
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::COMPONENT_MODEL
}

/// Names, of which no more than [`MAX_NAMES`] are kept.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    found: usize,
}

impl Names {
    fn add(&mut self, name: &str) {
        self.found += 1;
        if self.names.len() < MAX_NAMES {
            self.names.push(name.to_owned());
        }
    }
}

/// What stands where in a component.
#[derive(Default)]
struct Outline {
    imports: Names,
    exports: Names,
    producers: Vec<String>,
    /// What is wrong with how its types nest.
    nesting: Option<Refusal>,
    modules: usize,
    components: usize,
}

impl Outline {
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        if !Parser::is_component(bytes) {
            return Err(invalid(if Parser::is_core_wasm(bytes) {
                "expected a component, found a core module: link it with \
                 `linker = \"wasm-component-ld\"`, or run `wasm-tools component new` on it"
            } else {
                "expected a WebAssembly component, found something else"
            }));
        }
        let mut outline = Self::default();
        let mut depth = 0usize;
        let mut nesting = Nesting::default();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| {
                invalid(format!(
                    "expected a component, found a damaged one: {error}"
                ))
            })?;
            match payload {
                Payload::ModuleSection { .. } => {
                    outline.modules += 1;
                    depth += 1;
                }
                Payload::ComponentSection { .. } => {
                    outline.components += 1;
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let import = import.map_err(|error| invalid(error.to_string()))?;
                        outline.imports.add(import.name.name);
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(|error| invalid(error.to_string()))?;
                        if export.kind != ComponentExternalKind::Type {
                            outline.exports.add(export.name.name);
                        }
                    }
                }
                Payload::ComponentTypeSection(section) if outline.nesting.is_none() => {
                    let range = section.range();
                    // The parser made the range out of these bytes.
                    let content = bytes.get(range.clone()).unwrap_or_default();
                    outline.nesting = nesting.look_at(content, range.start).err();
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Producers(section) = section.as_known() {
                        outline.note(section);
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    /// What cannot be read of a producers section is left out: it only helps to say what
    /// to do.
    fn note(&mut self, section: wasmparser::ProducersSectionReader<'_>) {
        for field in section.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let text = format!("{} {} {}", field.name, value.name, value.version);
                let text = text.trim_end().to_owned();
                if self.producers.len() < 32 && text.len() <= 128 && !self.producers.contains(&text)
                {
                    self.producers.push(text);
                }
            }
        }
    }

    /// True where a producer's line has one of these words.
    fn is_made_by(&self, words: &[&str]) -> bool {
        let has = |line: &String| words.iter().any(|word| line.contains(word));
        self.producers.iter().any(has)
    }

    /// True where a toolchain's own export is there.
    fn exports_plain(&self, name: &str) -> bool {
        self.exports.names.iter().any(|export| export == name)
    }
}

/// An import that asks for something: with the fix for the language, where it is known.
fn foreign_import(import: &str, outline: &Outline) -> Refusal {
    const PYTHON: &str = "Python: componentize-py ... componentize --stub-wasi";
    const JAVASCRIPT: &str = "JavaScript: componentize-qjs ... --stub-wasi --sync";
    const RUST: &str = "Rust: build for wasm32-unknown-unknown, not for wasm32-wasip2";
    const C: &str =
        "C: wasm-tools component new ... --adapt wasi_snapshot_preview1=stub.wasm of the C SDK";
    let fix = if !import.starts_with("wasi:") {
        "remove it: a resolver is a function of its input, and has nothing to call".to_owned()
    } else if outline.is_made_by(&["componentize-py"]) || outline.exports_plain("exports") {
        PYTHON.to_owned()
    } else if outline.is_made_by(&["JavaScript", "componentize-js"])
        // QuickJS itself is wrapped in Rust, and says only that.
        || outline.exports_plain("init")
    {
        JAVASCRIPT.to_owned()
    } else if outline.is_made_by(&["language Rust"]) {
        RUST.to_owned()
    } else if outline.is_made_by(&["language C", "clang"]) {
        C.to_owned()
    } else {
        [RUST, JAVASCRIPT, PYTHON, C].join("; ")
    };
    invalid(format!(
        "expected no import but tapemark:resolver/types, found {import}; {fix}"
    ))
}

/// That none of these exports is one that this host serves.
pub(crate) fn not_served<'a>(exports: impl Iterator<Item = &'a str>) -> Refusal {
    let served = version::served();
    let mut exports = exports.peekable();
    let none = exports.peek().is_none();
    let like: Vec<_> = exports.filter(|name| version::is_policy(name)).collect();
    let found = if !like.is_empty() {
        format!(
            "{}: build it against a version of the contract that this host serves",
            like.join(", ")
        )
    } else if none {
        "no export at all: is the world `tapemark:resolver/resolver` implemented and \
         exported?"
            .to_owned()
    } else {
        "other exports only: implement the world `tapemark:resolver/resolver`".to_owned()
    };
    invalid(format!(
        "expected an export of {served} (or a later minor version), found {found}"
    ))
    .at("exports")
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::ResolverInvalid, message)
}
