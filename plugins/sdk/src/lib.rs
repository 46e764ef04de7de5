//! Write a conflict resolver for Tapemark: one function, and a test.
//!
//! A resolver is a WebAssembly component without imports. It gets a [`ConflictSet`]
//! (requests that cannot all be honoured as asked, the volumes, the drives, what was
//! decided before) and says what becomes of each request. This crate holds the types of
//! the contract (`plugins/wit/resolver.wit`), the [`resolver!`] macro that exports your
//! function, [`Groups`] and [`Plan`] that keep groups whole, the steps that the built-in
//! resolvers are made of, and [`testing`], which checks a resolver on this machine without
//! a WebAssembly toolchain.
//!
//! It never reads a clock, a file or a random number: a decision is a pure function of
//! the set, so that it can be made again.
//!
//! ```
//! use tapemark_resolver::{ConflictSet, Decision, Groups, Plan, ResolverError, testing};
//!
//! /// Small ones first; else as the default does.
//! fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
//!     let groups = Groups::of(set);
//!     let mut plan = Plan::new(&groups);
//!     plan.proceed_settled(|group| group.bytes().min(1 << 52), "it is under way");
//!     plan.reject_late();
//!     plan.reject_forks_of_settled();
//!     plan.supersede_older();
//!     plan.merge_duplicates();
//!     plan.fit(|group| group.bytes().min(1 << 52), "small ones first");
//!     plan.finish("small ones first")
//! }
//!
//! tapemark_resolver::resolver! {
//!     name: "small-first",
//!     version: "1.0.0",
//!     summary: "Small requests first",
//!     resolve: decide,
//! }
//!
//! # fn main() {
//! let set = testing::set(1000, "1@10 payments/api x bytes=90\n2@20 search/index y bytes=5");
//! assert_eq!(testing::text(&decide(&set)), "1 proceeds as 2\n2 proceeds as 1\n");
//! testing::check(decide); // 300 random sets: invariants, order of requests, repetition
//! # }
//! ```

#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    reason = "generated from the contract, where it is documented"
)]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "resolver",
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "tapemark_resolver::bindings",
    });
}

mod groups;
mod intern;
mod invariants;
mod plan;
mod steps;
pub mod testing;
mod time;
mod verdicts;

pub use bindings::tapemark::resolver::types::{
    Action, Conflict, ConflictSet, Decision, Drive, Label, PastOutcome, Request, ResolverError,
    ResolverInfo, Verdict, Volume,
};
pub use groups::{Group, Groups};
pub use invariants::{LONGEST_DEFER_MS, check_decision};
pub use plan::Plan;
pub use time::rfc3339;
pub use verdicts::{LATEST, MAX_REASON_BYTES, codes, standard_order};

/// How long the steps of [`Plan`] defer what does not fit, in milliseconds.
pub const RETRY_AFTER_MS: u64 = 15_000;

impl ResolverError {
    /// "I cannot decide this": `code` is one of your own, as in `acme.no-quota`. The
    /// pool's fallback decides then.
    pub fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: verdicts::shorten(message.to_owned()),
        }
    }
}

/// Exports a function as a resolver component.
///
/// `resolve` names a `fn(&ConflictSet) -> Result<Decision, ResolverError>`; `name` is
/// lower-case letters, digits and hyphens, at most 64 (checked when it compiles);
/// `version` follows Semantic Versioning 2.0: `env!("CARGO_PKG_VERSION")` will do. The
/// macro also makes a function `info()`, which is what the component says of itself.
///
/// Natively it exports nothing, so that `cargo test` needs no WebAssembly.
///
/// ```
/// # use tapemark_resolver::{ConflictSet, Decision, ResolverError};
/// fn decide(_: &ConflictSet) -> Result<Decision, ResolverError> {
///     Err(ResolverError::new("acme.not-today", "ask me tomorrow"))
/// }
/// tapemark_resolver::resolver! {
///     name: "not-today",
///     version: "0.1.0",
///     summary: "Leaves everything to the fallback",
///     resolve: decide,
/// }
/// # fn main() { assert_eq!(info().name, "not-today"); }
/// ```
#[macro_export]
macro_rules! resolver {
    (
        name: $name:expr,
        version: $version:expr,
        summary: $summary:expr,
        resolve: $resolve:path $(,)?
    ) => {
        const _: () = assert!(
            $crate::is_name($name),
            "expected a name of 1 to 64 lower-case letters, digits and hyphens"
        );
        const _: fn(&$crate::ConflictSet) -> Result<$crate::Decision, $crate::ResolverError> =
            $resolve;

        /// What this resolver says of itself.
        #[must_use]
        pub fn info() -> $crate::ResolverInfo {
            $crate::ResolverInfo {
                name: ::std::string::String::from($name),
                version: ::std::string::String::from($version),
                summary: ::std::string::String::from($summary),
                labels: ::std::vec::Vec::new(),
            }
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the canonical ABI passes pointers")]
        const _: () = {
            struct Component;

            impl $crate::bindings::exports::tapemark::resolver::policy::Guest for Component {
                fn describe() -> $crate::ResolverInfo {
                    info()
                }

                fn resolve(
                    input: $crate::ConflictSet,
                ) -> Result<$crate::Decision, $crate::ResolverError> {
                    // The instance ends with this call: taking the set apart, text by
                    // text, would be a third of the fuel of a small decision.
                    $resolve(&::std::mem::ManuallyDrop::new(input))
                }
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

/// Whether a resolver may have this name.
#[doc(hidden)]
pub const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut n = 0;
    while n < bytes.len() {
        if !matches!(bytes[n], b'a'..=b'z' | b'0'..=b'9' | b'-') {
            return false;
        }
        n += 1;
    }
    !bytes.is_empty() && bytes.len() <= 64
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_is_checked_when_it_compiles() {
        assert!(is_name("fair-share-2"));
        for bad in ["", "Fair", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
