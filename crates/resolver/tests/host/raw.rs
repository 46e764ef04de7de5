//! Components written by hand: what no toolchain emits, and somebody will send.

use model::{CallOutcome, Code, ConflictSet, Limits};
use resolver::{HostError, Loaded, inspect};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::{host, kind, patient, set};

/// The contract, to be changed by tests of versions.
pub(crate) const WIT: &str = include_str!("../../../../plugins/wit/resolver.wit");

/// A core module with the contract's functions. `describe` answers with `raw`, `1.0.0`;
/// `$nothing` is the address of a decision without verdicts.
fn module(version: &str, resolve: &str, more: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 32)
            (global $top (mut i32) (i32.const 131072))
            (global $nothing i32 (i32.const 4096))
            (data (i32.const 2048) "raw1.0.0")
            (data (i32.const 2064)
                "\00\08\00\00\03\00\00\00" "\03\08\00\00\05\00\00\00"
                "\00\08\00\00\03\00\00\00" "\00\00\00\00\00\00\00\00")
            (func (export "cabi_realloc") (param i32 i32 $align i32) (param $size i32)
                (result i32)
                (global.set $top (i32.and
                    (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
                global.get $top
                (global.set $top (i32.add (global.get $top) (local.get $size))))
            (func (export "tapemark:resolver/policy@{version}#describe") (result i32)
                i32.const 2064)
            (func (export "tapemark:resolver/policy@{version}#resolve") (param i32) (result i32)
                {resolve})
            {more})"#
    )
    .replace("(param i32 i32 $align i32)", "(param i32 i32 i32)")
}

/// The module as a component, under a contract of this text.
pub(crate) fn component_of(wit: &str, module: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_source("resolver.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("resolver")).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().module(&module).unwrap();
    encoder.validate(false).encode().unwrap()
}

/// A component of version 1.0.0 whose `resolve` is this code.
pub(crate) fn component(resolve: &str, more: &str) -> Vec<u8> {
    component_of(WIT, &module("1.0.0", resolve, more))
}

fn load(resolve: &str, more: &str) -> Loaded {
    host().load_component(&component(resolve, more)).unwrap()
}

/// A set that nobody contends in: no verdict is a decision.
fn nobody() -> ConflictSet {
    let mut set = set("main");
    set.contenders.clear();
    set.conflicts.clear();
    set
}

fn outcome(resolve: &str, more: &str) -> CallOutcome {
    let loaded = load(resolve, more);
    host().call(&loaded, &nobody(), &patient()).outcome
}

const DECIDE: &str = "global.get $nothing";

#[test]
fn a_resolver_written_by_hand_decides() {
    let loaded = load(DECIDE, "");
    let call = host().call(&loaded, &nobody(), &Limits::DEFAULT);
    assert_eq!(call.outcome, CallOutcome::Decided);
    assert!(call.decision.unwrap().verdicts.is_empty());
    let info = host().describe(&loaded, &Limits::DEFAULT).unwrap();
    assert_eq!((&*info.name, &*info.version), ("raw", "1.0.0"));
}

#[test]
fn growing_a_table_traps_at_the_limit_and_not_before() {
    let grow = |n: u32| {
        let code =
            format!("(drop (table.grow $t (ref.null func) (i32.const {n}))) global.get $nothing");
        outcome(&code, "(table $t 1 funcref)")
    };
    // The encoder's own table and this one have one element each.
    assert_eq!(kind(&grow(19_990)), "decided");
    assert_eq!(kind(&grow(21_000)), "table_limit");
    assert_eq!(kind(&grow(10_000_000)), "table_limit");
    // Elements cost fuel, which may be short before.
    assert_eq!(kind(&grow(u32::MAX)), "out_of_fuel");
}

#[test]
fn a_table_of_host_references_is_refused_before_it_is_compiled() {
    let component = component(DECIDE, "(table 1 externref)");
    let findings = inspect(&component).unwrap().findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, Code::ResolverInvalid);
    assert!(findings[0].message.contains("gc types"), "{}", findings[0]);
    assert!(matches!(
        host().load_component(&component),
        Err(HostError::Refused(refusal)) if refusal == findings[0]
    ));
}

#[test]
fn instructions_that_differ_between_processors_are_refused() {
    let relaxed = "(drop (f32x4.relaxed_madd (v128.const i64x2 0 0) (v128.const i64x2 0 0) \
                   (v128.const i64x2 0 0))) global.get $nothing";
    let findings = inspect(&component(relaxed, "")).unwrap().findings;
    assert!(findings[0].message.contains("relaxed SIMD"), "{findings:?}");
    // Those that do not differ are welcome.
    let plain = "(drop (i32x4.add (v128.const i64x2 0 0) (v128.const i64x2 0 0))) \
                 global.get $nothing";
    assert_eq!(kind(&outcome(plain, "")), "decided");
}

#[test]
fn code_that_runs_at_instantiation_has_limits_of_its_own() {
    for (code, ends) in [
        ("(loop $l (br $l))", "out_of_fuel"),
        ("unreachable", "unreachable"),
        ("(drop (memory.grow (i32.const 2000)))", "memory_limit"),
        ("(call $start)", "stack_overflow"),
    ] {
        let loaded = load(DECIDE, &format!("(func $start {code}) (start $start)"));
        let call = host().call(&loaded, &nobody(), &patient());
        assert_eq!(kind(&call.outcome), ends, "{code}");
        // It never came to the call, so that no fuel of the call's was used.
        assert_eq!(call.fuel, None, "{code}");
    }
}

#[test]
fn what_instantiation_takes_does_not_count_against_the_call() {
    let busy = "(func $start (local i32) (loop $l
        (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get 0) (i32.const 10000)))))
        (start $start)";
    let limits = Limits {
        fuel: 30_000,
        ..patient()
    };
    let quiet = host().call(&load(DECIDE, ""), &nobody(), &limits);
    let busy = host().call(&load(DECIDE, busy), &nobody(), &limits);
    assert_eq!(busy.outcome, CallOutcome::Decided);
    assert_eq!(busy.fuel, quiet.fuel);
}

#[test]
fn two_memories_share_one_limit() {
    let one = "(memory $other 1) (func $start (drop (memory.grow $other (i32.const 900))))
        (start $start)";
    assert_eq!(kind(&outcome(DECIDE, one)), "decided");
    // 32 pages are there, 64 MiB are 1,024.
    let both = one.replace("900", "1000");
    assert_eq!(kind(&outcome(DECIDE, &both)), "memory_limit");
}

#[test]
fn strings_that_share_one_buffer_are_not_copied_again_and_again() {
    // A decision whose labels are a hundred pairs of strings, all of them the same 64 KiB.
    let code = |pairs: u32| {
        format!(
            "(local $at i32)
            (local.set $at (i32.const 262144))
            (loop $l
                (i32.store offset=0 (local.get $at) (i32.const 65536))
                (i32.store offset=4 (local.get $at) (i32.const 65536))
                (i32.store offset=8 (local.get $at) (i32.const 65536))
                (i32.store offset=12 (local.get $at) (i32.const 65536))
                (local.set $at (i32.add (local.get $at) (i32.const 16)))
                (br_if $l (i32.lt_u (local.get $at) (i32.const {}))))
            (i32.store (i32.const 4116) (i32.const 262144))
            (i32.store (i32.const 4120) (i32.const {pairs}))
            global.get $nothing",
            262_144 + 16 * pairs
        )
    };
    assert_eq!(kind(&outcome(&code(4), "")), "decided");
    assert_eq!(kind(&outcome(&code(100), "")), "hostcall_limit");
}

#[test]
fn values_that_are_none_trap() {
    for (what, code) in [
        (
            "text that is no UTF-8",
            "(i32.store8 (i32.const 8192) (i32.const 255))
            (i32.store (i32.const 4108) (i32.const 8192))
            (i32.store (i32.const 4112) (i32.const 1)) global.get $nothing",
        ),
        (
            "text beyond the end of memory",
            "(i32.store (i32.const 4108) (i32.const -16))
            (i32.store (i32.const 4112) (i32.const 64)) global.get $nothing",
        ),
        (
            "a list beyond the end of memory",
            "(i32.store (i32.const 4100) (i32.const -16))
            (i32.store (i32.const 4104) (i32.const 64)) global.get $nothing",
        ),
        (
            "a case that is not in the contract",
            "(i32.store8 (i32.const 4096) (i32.const 7))
            global.get $nothing",
        ),
        ("an answer beyond the end of memory", "i32.const -4"),
        ("an answer that is not aligned", "i32.const 4097"),
    ] {
        assert_eq!(kind(&outcome(code, "")), "invalid_value", "{what}");
    }
}

#[test]
fn a_resolver_of_a_version_to_come_is_refused_with_what_to_do() {
    let wit = WIT.replace("tapemark:resolver@1.0.0", "tapemark:resolver@2.0.0");
    let component = component_of(&wit, &module("2.0.0", DECIDE, ""));
    let inspection = inspect(&component).unwrap();
    assert_eq!(inspection.interface, None);
    assert_eq!(inspection.findings.len(), 1, "{:?}", inspection.findings);
    let message = &inspection.findings[0].message;
    assert!(
        message.contains("tapemark:resolver/policy@1.0.0")
            && message.contains("tapemark:resolver/policy@2.0.0"),
        "{message}"
    );
    assert!(host().load_component(&component).is_err());
}

#[test]
fn resolvers_of_later_minor_versions_are_served() {
    for version in ["1.0.7", "1.1.0"] {
        let wit = WIT.replace("resolver@1.0.0", &format!("resolver@{version}"));
        let component = component_of(&wit, &module(version, DECIDE, ""));
        let loaded = host().load_component(&component).unwrap();
        assert_eq!(loaded.interface(), "tapemark:resolver/policy@1.0.0");
        let call = host().call(&loaded, &nobody(), &patient());
        assert_eq!(call.outcome, CallOutcome::Decided, "{version}");
    }
}

#[test]
fn a_resolver_with_functions_beyond_the_contract_is_served() {
    let wit = WIT.replace(
        "export policy;",
        "export policy; export init: func(); export explain: func() -> u32;",
    );
    let more = "(func (export \"init\")) (func (export \"explain\") (result i32) i32.const 1)";
    let component = component_of(&wit, &module("1.0.0", DECIDE, more));
    let inspection = inspect(&component).unwrap();
    assert_eq!(inspection.findings, []);
    assert_eq!(inspection.exports.len(), 3, "{:?}", inspection.exports);
    let loaded = host().load_component(&component).unwrap();
    let call = host().call(&loaded, &nobody(), &patient());
    assert_eq!(call.outcome, CallOutcome::Decided);
}

#[test]
fn a_resolver_of_another_shape_is_refused_when_it_is_loaded() {
    let wit = WIT.replace("attempt: u32,", "");
    let component = component_of(&wit, &module("1.0.0", DECIDE, ""));
    let Err(HostError::Refused(refusal)) = host().load_component(&component) else {
        panic!("a record of another shape is no resolver's");
    };
    assert_eq!(refusal.code, Code::ResolverInvalid);
    assert!(refusal.message.contains("resolver.wit"), "{refusal}");
    assert!(refusal.message.contains("15 fields"), "{refusal}");
}

#[test]
fn an_import_is_refused_with_the_fix() {
    let wit = WIT.replace(
        "export policy;",
        "import probe: func() -> u64; export policy;",
    );
    let text = module("1.0.0", "(drop (call $probe)) global.get $nothing", "");
    let text = text.replacen(
        "(module",
        "(module (import \"$root\" \"probe\" (func $probe (result i64)))",
        1,
    );
    let inspection = inspect(&component_of(&wit, &text)).unwrap();
    let found: Vec<_> = inspection
        .findings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("found probe; remove it"), "{found:?}");
    assert!(
        inspection.findings[0]
            .field
            .as_deref()
            .unwrap()
            .starts_with("imports[")
    );
}

#[test]
fn a_wasi_import_is_refused_with_the_fix_of_its_language() {
    let says = |text: &str| {
        let import = r#"(import "wasi:cli/environment@0.2.0" (instance))"#;
        let text = format!("(component {import} {text})");
        let findings = inspect(&wat::parse_str(text).unwrap()).unwrap().findings;
        findings
            .into_iter()
            .map(|f| f.message)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let export = |name: &str| format!(r#"(core module $m) (export "{name}" (core module $m))"#);
    // Without a trace of its language: all of them.
    for toolchain in [
        "wasm32-unknown-unknown",
        "componentize-qjs",
        "componentize-py",
        "--adapt",
    ] {
        assert!(says("").contains(toolchain), "{}", says(""));
    }
    let python = says(&export("exports"));
    assert!(
        python.contains("componentize-py") && !python.contains("Rust:"),
        "{python}"
    );
    let javascript = says(&export("init"));
    assert!(javascript.contains("componentize-qjs") && !javascript.contains("Rust:"));
}

#[test]
fn what_is_no_component_is_refused_with_what_to_do() {
    let core = wat::parse_str("(module)").unwrap();
    let empty = wat::parse_str("(component)").unwrap();
    for (bytes, says) in [
        (&core[..], "wasm-component-ld"),
        (&b"#!/bin/sh"[..], "found something else"),
        (&b""[..], "found something else"),
        (&crate::HOSTILE[..20_000], "damaged"),
    ] {
        let refusal = inspect(bytes).unwrap_err();
        assert_eq!(refusal.code, Code::ResolverInvalid);
        assert!(refusal.message.contains(says), "{refusal}");
    }
    let finding = inspect(&empty).unwrap().findings.remove(0);
    assert!(finding.message.contains("no export at all"), "{finding}");
    let large = vec![0; model::MAX_COMPONENT_BYTES + 1];
    let refusal = inspect(&large).unwrap_err();
    assert!(refusal.message.contains("25165824"), "{refusal}");
}

#[test]
fn a_component_of_too_many_parts_is_refused() {
    let parts = "(core module)".repeat(101);
    let nested = format!("(component {parts} {})", "(component)".repeat(101));
    let findings = inspect(&wat::parse_str(nested).unwrap()).unwrap().findings;
    let messages: Vec<_> = findings.iter().map(|f| f.message.as_str()).collect();
    assert!(messages.contains(&"expected at most 100 core modules, found 101"));
    assert!(messages.contains(&"expected at most 100 nested components, found 101"));
}

#[test]
fn a_component_of_too_many_instances_is_not_instantiated() {
    let contract = component(DECIDE, "");
    assert!(inspect(&contract).unwrap().findings.is_empty());
    let tables = "(table 1 funcref)".repeat(20);
    let loaded = host().load_component(&component(DECIDE, &tables)).unwrap();
    let call = host().call(&loaded, &nobody(), &patient());
    assert_eq!(kind(&call.outcome), "instance_limit");
    assert_eq!(call.fuel, None);
}
