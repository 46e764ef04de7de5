//! The versions of the contract that this host serves, side by side.
//!
//! A version is a row of [`INTERFACES`] and a module with its bindings and conversions.
//! Which one a component speaks, its exports say. Nothing else in this crate knows of
//! versions.

use model::{Decision, ResolverInfo};
use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::meter::State;
use crate::prepared::Prepared;
use crate::v1;

/// The export that makes a component a resolver, without its version.
const POLICY: &str = "tapemark:resolver/policy@";

/// The import that stands for the contract's own types, without its version: it asks for
/// nothing that a component could call.
const TYPES: &str = "tapemark:resolver/types@";

/// The oldest first; a component that exports several is served by the newest.
static INTERFACES: &[&dyn Interface] = &[&v1::V1];

/// One version of the contract.
pub(crate) trait Interface: Sync {
    /// Its export, as in `tapemark:resolver/policy@1.0.0`.
    fn name(&self) -> &'static str;

    /// Its major version: the minor ones have the same shape.
    fn major(&self) -> &'static str;

    /// Binds a component to this version.
    ///
    /// # Errors
    /// Where the component's functions have another shape.
    fn bind(&self, component: InstancePre<State>) -> wasmtime::Result<Box<dyn Bound>>;
}

/// A component, bound to a version of the contract.
pub(crate) trait Bound: Send + Sync {
    /// A fresh instance.
    fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Box<dyn Instance>>;
}

/// An instance, good for one call.
pub(crate) trait Instance {
    /// Asks what the resolver is.
    fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<Result<ResolverInfo, Broken>>;

    /// Has it decide.
    fn resolve(&self, store: &mut Store<State>, input: &Prepared) -> wasmtime::Result<Answer>;
}

/// What a resolver answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A decision within the contract's limits. The invariants are not checked yet.
    Decision(Decision),
    /// "I cannot decide this."
    Error { code: String, message: String },
    /// Something that the contract does not allow.
    Broken(Broken),
}

/// What an answer breaks, in words: what was expected and what was found.
pub(crate) type Broken = String;

/// The version of the contract that one of these exports belongs to.
pub(crate) fn choose<'a>(
    exports: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'static dyn Interface> {
    INTERFACES
        .iter()
        .rev()
        .copied()
        .find(|interface| exports.clone().any(|name| serves(*interface, name)))
}

fn serves(interface: &dyn Interface, export: &str) -> bool {
    major_of(export, POLICY).is_some_and(|major| major == interface.major())
}

/// The major version of a name such as `tapemark:resolver/policy@1.0.0`. None for a
/// pre-release: nobody promised anything about it.
fn major_of<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let version = name.strip_prefix(prefix)?;
    let mut parts = version.split('.');
    let numbers = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let major = parts.next().filter(numbers)?;
    let rest: Vec<_> = parts.collect();
    (rest.len() == 2 && rest.iter().all(numbers)).then_some(major)
}

/// True for the import that a component may have.
pub(crate) fn is_types(import: &str) -> bool {
    major_of(import, TYPES).is_some()
}

/// The exports that look like a resolver's, of whatever version.
pub(crate) fn is_policy(export: &str) -> bool {
    export.starts_with(POLICY)
}

/// The names of what this host serves.
pub(crate) fn served() -> String {
    let names: Vec<_> = INTERFACES.iter().map(|i| i.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(exports: &[&str]) -> Option<&'static str> {
        choose(exports.iter().copied()).map(Interface::name)
    }

    #[test]
    fn a_component_is_served_by_the_version_it_exports() {
        let v1 = Some("tapemark:resolver/policy@1.0.0");
        assert_eq!(chosen(&["tapemark:resolver/policy@1.0.0"]), v1);
        assert_eq!(chosen(&["init", "tapemark:resolver/policy@1.0.7"]), v1);
        assert_eq!(chosen(&["tapemark:resolver/policy@1.3.0"]), v1);
        for foreign in [
            "tapemark:resolver/policy@2.0.0",
            "tapemark:resolver/policy@0.1.0",
            "tapemark:resolver/policy@1.0.0-rc.1",
            "tapemark:resolver/policy@1",
            "tapemark:resolver/policy@",
            "tapemark:resolver/policy@11.0.0",
            "tapemark:resolver/types@1.0.0",
            "acme:resolver/policy@1.0.0",
        ] {
            assert_eq!(chosen(&[foreign]), None, "{foreign}");
        }
    }

    #[test]
    fn a_component_that_exports_a_version_to_come_as_well_is_served() {
        let both = [
            "tapemark:resolver/policy@2.0.0",
            "tapemark:resolver/policy@1.0.0",
        ];
        assert!(chosen(&both).is_some());
    }
}
