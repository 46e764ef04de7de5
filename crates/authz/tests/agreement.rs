//! The built-in policies decide exactly as the native rule, for everybody, everything and
//! every action; and the schema knows exactly the actions there are.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::str::FromStr;

use authz::Policies;
use cedar_policy::{Context, EntityTypeName, EntityUid, Request, Schema};
use control::Principal;
use control::authority::{Action, Authority, Kind, Native, Resource};
use model::{AgentId, Barcode, CheckpointId, LibraryId, PoolName, ServiceName};
use proptest::prelude::*;

/// Names of which some are parts of others, differ in a letter, or are written like other
/// things.
const SERVICES: [&str; 8] = ["a", "a/b", "a/b/c", "ab", "A", "b", "operator", "tapemark"];

fn service(n: usize) -> ServiceName {
    SERVICES[n % SERVICES.len()].parse().unwrap()
}

fn principals() -> impl Strategy<Value = Principal> {
    let services = proptest::collection::vec(0..SERVICES.len(), 0..4)
        .prop_map(|list| list.into_iter().map(service).collect::<Vec<_>>());
    let plain = prop_oneof![
        Just(Principal::Operator),
        services.prop_map(Principal::Services)
    ];
    let name = prop_oneof![
        Just(None),
        "[!-~]{1,12}".prop_map(Some),
        Just(Some("operator".to_owned())),
        Just(Some("Tapemark::Role::\"operator\"".to_owned())),
    ];
    (plain, name).prop_map(|(who, name)| match name {
        Some(name) => who.named(name),
        None => who,
    })
}

/// A resource with names of its own, so that it can be borrowed.
#[derive(Clone, Debug)]
struct Owned {
    kind: Kind,
    service: ServiceName,
    pool: PoolName,
    library: LibraryId,
    barcode: Barcode,
    agent: AgentId,
    text: String,
    id: CheckpointId,
}

const KINDS: [Kind; 9] = [
    Kind::Installation,
    Kind::Service,
    Kind::Checkpoint,
    Kind::Pool,
    Kind::Library,
    Kind::Volume,
    Kind::Resolver,
    Kind::Agent,
    Kind::Token,
];

fn resources() -> impl Strategy<Value = Owned> {
    (
        0..KINDS.len(),
        0..SERVICES.len(),
        "[a-z]{1,3}",
        ".{0,8}",
        any::<[u8; 10]>(),
    )
        .prop_map(|(kind, n, name, text, random)| Owned {
            kind: KINDS[kind],
            service: service(n),
            pool: name.parse().unwrap(),
            library: name.parse().unwrap(),
            barcode: name.to_ascii_uppercase().parse().unwrap(),
            agent: name.parse().unwrap(),
            text,
            id: CheckpointId::from_parts(7, &random),
        })
}

impl Owned {
    fn get(&self) -> Resource<'_> {
        match self.kind {
            Kind::Installation => Resource::Installation,
            Kind::Service => Resource::Service(&self.service),
            Kind::Checkpoint => Resource::Checkpoint {
                id: self.id,
                service: &self.service,
            },
            Kind::Pool => Resource::Pool(&self.pool),
            Kind::Library => Resource::Library(&self.library),
            Kind::Volume => Resource::Volume(&self.barcode),
            Kind::Resolver => Resource::Resolver(&self.text),
            Kind::Agent => Resource::Agent(&self.agent),
            Kind::Token => Resource::Token(&self.text),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Every action for each sampled pair: also on kinds that it does not apply to, where
    /// both must refuse everybody but operators.
    #[test]
    fn the_built_in_policies_decide_as_the_native_rule(who in principals(), on in resources()) {
        thread_local! {
            static POLICIES: Policies = Policies::built_in();
        }
        for action in Action::ALL {
            let native = Native.allows(&who, *action, on.get());
            let cedar = POLICIES.with(|policies| policies.allows(&who, *action, on.get()));
            prop_assert_eq!(cedar, native, "{} {} {}", who, action, on.get());
        }
    }
}

#[test]
fn every_action_and_every_service_for_every_caller_without_sampling() {
    let policies = Policies::built_in();
    let mut permitted = 0;
    for own in 0..SERVICES.len() {
        for asked in 0..SERVICES.len() {
            let (mine, service) = (service(own), service(asked));
            let id = CheckpointId::from_parts(7, &[7; 10]);
            for action in Action::ALL {
                for on in [
                    Resource::Service(&service),
                    Resource::Checkpoint {
                        id,
                        service: &service,
                    },
                    Resource::Installation,
                ] {
                    let who = Principal::Services(vec![mine.clone()]);
                    let native = Native.allows(&who, *action, on);
                    assert_eq!(policies.allows(&who, *action, on), native, "{action} {on}");
                    permitted += usize::from(native == control::authority::Verdict::Permitted);
                }
            }
        }
    }
    // It compared something: own services' actions were permitted.
    assert!(permitted > 8 * 8, "{permitted}");
}

#[test]
fn the_schema_knows_exactly_the_actions_there_are_and_what_they_apply_to() {
    let (schema, _) = Schema::from_cedarschema_str(authz::SCHEMA).unwrap();
    let groups = ["ActForService", "View", "Operate"];
    let found: BTreeSet<String> = schema
        .action_entities()
        .unwrap()
        .iter()
        .map(|entity| entity.uid().id().unescaped().to_owned())
        .filter(|id| !groups.contains(&id.as_str()))
        .collect();
    let expected: BTreeSet<String> = Action::ALL
        .iter()
        .map(|action| action.name().to_owned())
        .collect();
    assert_eq!(found, expected);
    let uid = |kind: &str, id: &str| {
        let kind = EntityTypeName::from_str(&format!("Tapemark::{kind}")).unwrap();
        EntityUid::from_type_name_and_id(kind, cedar_policy::EntityId::new(id))
    };
    for action in Action::ALL {
        for kind in KINDS {
            let request = Request::new(
                uid("User", "x"),
                uid("Action", action.name()),
                uid(&format!("{kind:?}"), "y"),
                Context::empty(),
                Some(&schema),
            );
            assert_eq!(
                request.is_ok(),
                action.kinds().contains(&kind),
                "{action} on {kind:?}"
            );
        }
    }
}
