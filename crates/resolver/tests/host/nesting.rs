//! Components that are made to end whoever looks at them: refused before anything is read by
//! recursion, on a stack of 2 MiB as every thread here has.

use model::{Code, Refusal};
use proptest::prelude::*;
use resolver::{Arch, HostError, compile, inspect};

use crate::host;

const COMPONENT: u8 = 0x41;
const INSTANCE: u8 = 0x42;

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A component with the contract's export in name, and a section of this content.
fn with_section(id: u8, content: &[u8]) -> Vec<u8> {
    let text =
        r#"(component (instance $i) (export "tapemark:resolver/policy@1.0.0" (instance $i)))"#;
    [
        &wat::parse_str(text).unwrap()[..],
        &[id],
        &leb(content.len()),
        content,
    ]
    .concat()
}

/// Component types: as many as there are.
fn with_types(types: &[Vec<u8>]) -> Vec<u8> {
    with_section(7, &[leb(types.len()), types.concat()].concat())
}

/// A type within a type and so on, the innermost first; beside each inner type stand as many
/// flat ones as the number says.
fn nested(levels: impl IntoIterator<Item = (u8, usize)>) -> Vec<u8> {
    // Written backwards, because what is inside comes last.
    let mut reversed: Vec<u8> = Vec::new();
    for (n, (kind, beside)) in levels.into_iter().enumerate() {
        let inner = usize::from(n > 0);
        if n > 0 {
            reversed.push(0x01);
        }
        // A type declaration each, of the primitive `bool`.
        reversed.extend([0x7f, 0x01].repeat(beside));
        reversed.extend(leb(beside + inner).iter().rev());
        reversed.push(kind);
    }
    reversed.reverse();
    reversed
}

fn findings(component: &[u8]) -> Vec<Refusal> {
    inspect(component).unwrap().findings
}

/// That it is refused by everything that looks at components, for this.
fn refused(component: &[u8], says: &str) {
    let found = findings(component);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, Code::ResolverInvalid);
    assert!(found[0].message.contains(says), "{}", found[0]);
    for arch in Arch::ALL {
        assert_eq!(compile(component, arch).unwrap_err(), found[0]);
    }
    let Err(HostError::Refused(refusal)) = host().load_component(component) else {
        panic!("it is not to be loaded");
    };
    assert_eq!(refusal, found[0]);
}

#[test]
fn types_may_nest_thirty_two_deep_and_no_deeper() {
    for kind in [COMPONENT, INSTANCE] {
        let levels = |n| with_types(&[nested(std::iter::repeat_n((kind, 0), n))]);
        assert_eq!(findings(&levels(32)), []);
        for n in [33, 100, 20_000, 1_000_000] {
            refused(
                &levels(n),
                "nest at most 32 deep, found a deeper one at offset 0x",
            );
        }
    }
}

#[test]
fn the_offset_is_that_of_the_type_too_deep() {
    let component = with_types(&[nested(vec![(INSTANCE, 0); 40])]);
    // The type section's content ends the component; three bytes a level, the innermost two.
    let at = component.len() - 40 * 3 + 1 + 32 * 3 - 1;
    refused(&component, &format!("at offset {at:#x}"));
}

#[test]
fn a_deep_type_is_found_wherever_it_stands() {
    let deep = with_types(&[nested(vec![(COMPONENT, 0); 5_000])]);
    // In a component within a component within one.
    let inner = with_section(4, &with_section(4, &deep));
    refused(&inner, "nest at most 32 deep");
    // After others, in a section of its own.
    let mut later = with_types(&vec![nested([(INSTANCE, 3), (COMPONENT, 2)]); 10]);
    later.extend(&deep[with_section(7, &[]).len() - 2..]);
    refused(&later, "nest at most 32 deep");
}

#[test]
fn too_many_types_are_refused_before_the_validator_keeps_them() {
    let empty = vec![INSTANCE, 0];
    assert_eq!(findings(&with_types(&vec![empty.clone(); 20_000])), []);
    refused(&with_types(&vec![empty; 20_001]), "at most 20000 types");
    // However they are spread.
    let spread = vec![nested([(COMPONENT, 2_000)]); 10];
    refused(&with_types(&spread), "at most 20000 types");
}

#[test]
fn types_that_hold_each_other_by_reference_do_not_end_whoever_looks_at_them() {
    let types: String = (1..200)
        .map(|n| {
            let before = n - 1;
            format!(
                "(type $t{n} (instance (alias outer $c $t{before} (type $x)) \
                 (export \"a\" (instance (type $x)))))"
            )
        })
        .collect();
    let text = format!(
        r#"(component $c (type $t0 (instance)) {types}
            (instance $i) (export "tapemark:resolver/policy@1.0.0" (instance $i)))"#
    );
    refused(&wat::parse_str(text).unwrap(), "expected a valid component");
    let lists: String = (1..2_000)
        .map(|n| format!("(type $t{n} (list $t{}))", n - 1))
        .collect();
    let text = format!(
        r#"(component (type $t0 (list u8)) {lists}
            (instance $i) (export "tapemark:resolver/policy@1.0.0" (instance $i)))"#
    );
    refused(&wat::parse_str(text).unwrap(), "type nesting is too deep");
}

#[test]
fn exports_and_imports_are_counted_and_not_kept_beyond_a_thousand() {
    let many = 300_000;
    // A name, an instance, without a type; and a name, a function of type 0.
    for (id, one, what) in [
        (11, &b"\0\x05a-nam\x05\0\0"[..], "exports"),
        (10, &b"\0\x05a-nam\x01\0"[..], "imports"),
    ] {
        let component = with_section(id, &[leb(many), one.repeat(many)].concat());
        let inspection = inspect(&component).unwrap();
        assert!(inspection.exports.len() <= 1_000 && inspection.imports.len() <= 1_000);
        let found = many + usize::from(what == "exports");
        let says = format!("expected at most 1000 {what}, found {found}");
        let messages: Vec<_> = inspection.findings.iter().map(|f| &f.message).collect();
        assert!(messages.contains(&&says), "{:?}", messages.last());
        assert!(compile(&component, Arch::X86_64).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn however_types_nest_they_are_refused_where_they_nest_too_deep(
        types in prop::collection::vec(
            prop::collection::vec((prop::sample::select(&[COMPONENT, INSTANCE]), 0usize..4), 1..60),
            1..6,
        ),
    ) {
        let deepest = types.iter().map(Vec::len).max().unwrap();
        let types: Vec<_> = types.into_iter().map(nested).collect();
        let found = findings(&with_types(&types));
        prop_assert_eq!(found.is_empty(), deepest <= 32, "{}: {:?}", deepest, found);
    }

    #[test]
    fn types_of_changed_bytes_are_looked_at_safely(
        levels in prop::collection::vec((prop::sample::select(&[COMPONENT, INSTANCE]), 0usize..4), 1..3_000),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let deep = levels.len() > 32 && changes.is_empty();
        let mut types = nested(levels);
        for (at, byte) in changes {
            let at = at.index(types.len());
            types[at] = byte;
        }
        match inspect(&with_types(&[types])) {
            Ok(inspection) => prop_assert!(!deep || !inspection.findings.is_empty()),
            Err(refusal) => prop_assert_eq!(refusal.code, Code::ResolverInvalid),
        }
    }
}
