//! The resolvers that every installation has. Built from `plugins/builtin/` by
//! `plugins/build.sh`, which also keeps them where they are taken from here.

use std::borrow::Cow;

use embedded::ResolverSetup;

use crate::compiler::ChildCompiler;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!("../../../plugins/fixtures/", $name, ".wasm")).as_slice(),
        )),*]
    };
}

/// The default first.
static BUILT_IN: [(&str, &[u8]); 6] = built_in![
    "priority-deadline",
    "last-writer",
    "lineage-guard",
    "fair-share",
    "genetic",
    "learned",
];

/// What is built in, and what compiles it.
pub(super) fn setup() -> ResolverSetup {
    let built_in = BUILT_IN
        .iter()
        .map(|(name, component)| ((*name).to_owned(), Cow::Borrowed(*component)));
    ResolverSetup {
        compiler: ChildCompiler::new(),
        built_in: built_in.collect(),
    }
}
