//! Resolvers for tests: plain functions under the digests of made-up components.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use model::{
    Binding, Bytes, Call, CallOutcome, Code, ConflictSet, Decision, EngineId, Limits, Refusal,
    Release, ResolverInfo, Scope, Sha256,
};

use super::{World, lock};
use crate::Principal;
use crate::ports::{Published, Resolvers};

type Decide = dyn Fn(&ConflictSet) -> Result<Decision, CallOutcome> + Send + Sync;

/// What a component does.
#[derive(Clone)]
struct Script {
    decide: Arc<Decide>,
    /// How long it takes.
    takes: Duration,
}

/// Decides with functions. A component is any bytes that were registered before they are
/// published.
#[derive(Default)]
pub struct ScriptedResolvers {
    scripts: Mutex<BTreeMap<Sha256, Script>>,
    calls: Mutex<Vec<(Sha256, Arc<ConflictSet>)>>,
}

impl ScriptedResolvers {
    /// What the component of these bytes decides, or how its calls end. What it says to
    /// have decided is passed on unchecked: it may lie.
    pub fn script(
        &self,
        component: &[u8],
        decide: impl Fn(&ConflictSet) -> Result<Decision, CallOutcome> + Send + Sync + 'static,
    ) {
        let script = Script {
            decide: Arc::new(decide),
            takes: Duration::ZERO,
        };
        lock(&self.scripts).insert(crate::digest(component), script);
    }

    /// The component's calls take so long from now on.
    pub fn slow(&self, component: &[u8], takes: Duration) {
        if let Some(script) = lock(&self.scripts).get_mut(&crate::digest(component)) {
            script.takes = takes;
        }
    }

    /// The component cannot be loaded any more.
    pub fn lose(&self, component: &[u8]) {
        lock(&self.scripts).remove(&crate::digest(component));
    }

    /// What the component was asked.
    pub fn asked(&self, component: &[u8]) -> Vec<Arc<ConflictSet>> {
        let component = crate::digest(component);
        lock(&self.calls)
            .iter()
            .filter(|(of, _)| *of == component)
            .map(|(_, set)| Arc::clone(set))
            .collect()
    }
}

fn engine() -> EngineId {
    EngineId {
        version: "scripted 1".to_owned(),
        compatibility: "scripts".to_owned(),
    }
}

#[async_trait]
impl Resolvers for ScriptedResolvers {
    async fn publish(&self, component: Vec<u8>) -> Result<Published, Refusal> {
        tokio::task::yield_now().await;
        let digest = crate::digest(&component);
        if !lock(&self.scripts).contains_key(&digest) {
            return Err(Refusal::new(
                Code::ResolverInvalid,
                "expected a component with a script, found one without",
            ));
        }
        Ok(Published {
            component: digest,
            bytes: Bytes(component.len() as u64),
            info: ResolverInfo {
                name: "scripted".to_owned(),
                version: "1.0.0".to_owned(),
                summary: "a function of a test".to_owned(),
                labels: BTreeMap::new(),
            },
            engine: engine(),
        })
    }

    async fn call(&self, component: Sha256, set: Arc<ConflictSet>, limits: Limits) -> Call {
        tokio::task::yield_now().await;
        lock(&self.calls).push((component, Arc::clone(&set)));
        let script = lock(&self.scripts).get(&component).cloned();
        let answer = match script {
            Some(script) => {
                if script.takes > Duration::ZERO {
                    tokio::time::sleep(script.takes).await;
                }
                (script.decide)(&set)
            }
            None => Err(CallOutcome::Unavailable {
                why: format!("no component {component}"),
            }),
        };
        let (outcome, decision) = match answer {
            Ok(decision) => (CallOutcome::Decided, Some(decision)),
            Err(outcome) => (outcome, None),
        };
        Call {
            engine: engine(),
            limits,
            outcome,
            fuel: Some(1),
            wall_us: 1,
            output: decision
                .as_ref()
                .map(|decision| policy::digest(policy::canonical_decision(decision))),
            decision,
        }
    }
}

impl World {
    /// Publishes version 1.0.0 of a resolver that decides so, and binds it.
    ///
    /// # Errors
    /// What the control plane refuses with.
    pub async fn bind(
        &self,
        scope: &str,
        name: &str,
        decide: impl Fn(&ConflictSet) -> Result<Decision, CallOutcome> + Send + Sync + 'static,
    ) -> Result<Binding, Box<dyn std::error::Error>> {
        let control = self.control();
        self.publish(name, decide).await?;
        let scope = scope.parse::<Scope>()?;
        Ok(control
            .bind_resolver(&Principal::Operator, scope, name, None)
            .await?)
    }

    /// Publishes version 1.0.0 of a resolver that decides so; its component is its name.
    ///
    /// # Errors
    /// What the control plane refuses with.
    pub async fn publish(
        &self,
        name: &str,
        decide: impl Fn(&ConflictSet) -> Result<Decision, CallOutcome> + Send + Sync + 'static,
    ) -> Result<Release, Refusal> {
        self.resolvers.script(name.as_bytes(), decide);
        let (component, limits) = (name.as_bytes().to_vec(), Limits::DEFAULT);
        self.control()
            .publish_resolver(&Principal::Operator, name, "1.0.0", component, limits)
            .await
    }
}
