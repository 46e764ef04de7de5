//! Modules become components that import nothing, or it is said why not.

#![allow(clippy::unwrap_used, clippy::panic)]

use componentize::{ComponentizeError, Kind, STUB_ADAPTER, componentize, kind};
use wasmparser::{Parser, Payload, Validator};

/// What names the interface in a module written in C: an object file with one custom
/// section, linked into each.
const INTERFACE_OBJECT: &[u8] = include_bytes!("../../../plugins/sdk-c/resolver_component_type.o");

/// A module with these imports and this body, which names the resolver interface.
fn module(imports: &str, exports: &str) -> Vec<u8> {
    let text = format!(
        r#"(module {imports}
             (memory (export "memory") 1)
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
             {exports})"#
    );
    let mut module = wat::parse_str(text).unwrap();
    module.extend(interface_section());
    module
}

/// The custom section of [`INTERFACE_OBJECT`] as it stands in a module.
fn interface_section() -> Vec<u8> {
    for payload in Parser::new(0).parse_all(INTERFACE_OBJECT) {
        if let Payload::CustomSection(section) = payload.unwrap()
            && section.name().starts_with("component-type")
        {
            let name = section.name().as_bytes();
            let mut body = leb128(name.len());
            body.extend(name);
            body.extend(section.data());
            let mut whole = vec![0];
            whole.extend(leb128(body.len()));
            whole.extend(body);
            return whole;
        }
    }
    panic!("no custom section component-type");
}

fn leb128(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(n & 0x7f).unwrap();
        n >>= 7;
        if n == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

const DESCRIBE: &str =
    r#"(func (export "tapemark:resolver/policy@1.0.0#describe") (result i32) i32.const 0)"#;
const RESOLVE: &str = r#"(func (export "tapemark:resolver/policy@1.0.0#resolve") (param i32) (result i32) i32.const 0)"#;
const WASI_WRITE: &str =
    r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#;

/// Names of what a component imports and exports.
fn surface(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().map(|i| i.unwrap().name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                exports.extend(section.into_iter().map(|e| e.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    (imports, exports)
}

#[test]
fn a_module_becomes_a_component_that_imports_only_types() {
    let component = componentize(&module("", &format!("{DESCRIBE}{RESOLVE}"))).unwrap();
    Validator::new().validate_all(&component).unwrap();
    assert_eq!(kind(&component), Some(Kind::Component));
    let (imports, exports) = surface(&component);
    assert_eq!(imports, ["tapemark:resolver/types@1.0.0"]);
    assert_eq!(exports, ["tapemark:resolver/policy@1.0.0"]);
}

#[test]
fn what_the_c_library_asks_of_wasi_is_answered_inside() {
    let core = module(WASI_WRITE, &format!("{DESCRIBE}{RESOLVE}"));
    let component = componentize(&core).unwrap();
    let (imports, _) = surface(&component);
    assert_eq!(imports, ["tapemark:resolver/types@1.0.0"]);
    assert_eq!(componentize(&core).unwrap(), component);
}

#[test]
fn a_component_needs_no_further_step() {
    let component = componentize(&module("", &format!("{DESCRIBE}{RESOLVE}"))).unwrap();
    assert_eq!(componentize(&component), Err(ComponentizeError::Component));
}

#[test]
fn a_module_that_names_no_interface_is_refused() {
    let core = wat::parse_str("(module)").unwrap();
    assert_eq!(componentize(&core), Err(ComponentizeError::NoInterface));
}

#[test]
fn a_module_that_lacks_a_function_of_the_interface_is_refused_by_its_name() {
    let Err(ComponentizeError::Mismatch(why)) = componentize(&module("", DESCRIBE)) else {
        panic!("made a component without `resolve`");
    };
    assert!(why.contains("resolve"), "{why}");
}

#[test]
fn an_import_that_the_stub_does_not_have_is_refused_by_its_name() {
    let socket = r#"(import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32)))"#;
    let core = module(socket, &format!("{DESCRIBE}{RESOLVE}"));
    let Err(ComponentizeError::Mismatch(why)) = componentize(&core) else {
        panic!("made a component that accepts connections");
    };
    assert!(why.contains("sock_accept"), "{why}");
}

#[test]
fn what_is_no_module_is_refused() {
    for bytes in [&b""[..], b"hello", b"\0asm\x01\0\0\0\xff\xff"] {
        assert!(matches!(
            componentize(bytes),
            Err(ComponentizeError::Invalid(_))
        ));
    }
    let core = module("", &format!("{DESCRIBE}{RESOLVE}"));
    for end in 0..core.len() {
        // Whatever is left of it: an answer, not a panic.
        let _ = componentize(&core[..end]);
    }
}

#[test]
fn a_module_that_is_too_large_is_refused_before_it_is_read() {
    let large = vec![0; componentize::MAX_CORE_BYTES + 1];
    assert_eq!(
        componentize(&large),
        Err(ComponentizeError::TooLarge(large.len()))
    );
}

/// The adapter that is checked in is the one its source describes.
#[test]
fn the_stub_adapter_is_made_of_its_source() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/stub-adapter.wat");
    let made = wat::parse_file(source).unwrap();
    if std::env::var_os("TAPEMARK_BLESS").is_some() {
        std::fs::write(source.replace(".wat", ".wasm"), &made).unwrap();
    }
    assert_eq!(
        STUB_ADAPTER, made,
        "TAPEMARK_BLESS=1 cargo test -p componentize stub_adapter makes it anew"
    );
    let functions = Parser::new(0)
        .parse_all(&made)
        .filter_map(|payload| match payload.unwrap() {
            Payload::ExportSection(exports) => Some(exports.count()),
            Payload::ImportSection(_) => panic!("the stub must import nothing"),
            _ => None,
        })
        .sum::<u32>();
    assert_eq!(functions, 17);
}
