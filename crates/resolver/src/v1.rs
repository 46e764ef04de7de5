//! Version 1 of the contract: `tapemark:resolver/policy@1.x.y`.

mod answer;
mod input;

use model::ResolverInfo;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::meter::State;
use crate::prepared::Prepared;
use crate::version::{Answer, Bound, Broken, Instance, Interface};

pub(crate) use input::{Input, input};

/// The bindings, made from the contract at build time.
mod wit {
    #![allow(missing_docs, unreachable_pub)]
    wasmtime::component::bindgen!({ path: "../../plugins/wit", world: "resolver" });

    pub(super) use tapemark::resolver::types::*;
}

/// The first integer that not every language's numbers hold exactly.
const LIMIT: u64 = 1 << 53;

pub(crate) struct V1;

impl Interface for V1 {
    fn name(&self) -> &'static str {
        "tapemark:resolver/policy@1.0.0"
    }

    fn major(&self) -> &'static str {
        "1"
    }

    fn bind(&self, component: InstancePre<State>) -> wasmtime::Result<Box<dyn Bound>> {
        Ok(Box::new(wit::ResolverPre::new(component)?))
    }
}

impl Bound for wit::ResolverPre<State> {
    fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Box<dyn Instance>> {
        Ok(Box::new(wit::ResolverPre::instantiate(self, store)?))
    }
}

impl Instance for wit::Resolver {
    fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<Result<ResolverInfo, Broken>> {
        let info = self.tapemark_resolver_policy().call_describe(store)?;
        Ok(answer::info(info))
    }

    fn resolve(&self, store: &mut Store<State>, input: &Prepared) -> wasmtime::Result<Answer> {
        let set = match input.v1() {
            Ok(set) => set,
            Err(why) => return Err(wasmtime::Error::msg(why.to_owned())),
        };
        let answer = self
            .tapemark_resolver_policy()
            .call_resolve(store, &set.set)?;
        Ok(match answer {
            Ok(decision) => match answer::decision(set, decision) {
                Ok(decision) => Answer::Decision(decision),
                Err(broken) => Answer::Broken(broken),
            },
            Err(error) => match answer::error(error) {
                Ok((code, message)) => Answer::Error { code, message },
                Err(broken) => Answer::Broken(broken),
            },
        })
    }
}
