//! A question in Cedar's words.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema,
};
use control::Principal;
use control::authority::{Action, Kind, Resource};
use model::ServiceName;

/// The name of the caller without a name that is an operator. No token and no subject has
/// a space in its name.
const INSTALLATION: &str = "the installation";
/// The name of any other caller without a name.
const NAMELESS: &str = "a caller without a name";

/// The names of types, and the actions with the groups they are in.
pub(crate) struct Vocabulary {
    user: EntityTypeName,
    role: EntityTypeName,
    team: EntityTypeName,
    kinds: HashMap<Kind, EntityTypeName>,
    actions: HashMap<Action, Vec<Entity>>,
}

/// Principal, action, resource, and all entities that policies may look at.
type Question = (EntityUid, EntityUid, EntityUid, Entities);

fn type_name(name: &str) -> EntityTypeName {
    format!("Tapemark::{name}")
        .parse()
        .expect("the names of the schema's types are identifiers")
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Installation => "Installation",
        Kind::Service => "Service",
        Kind::Checkpoint => "Checkpoint",
        Kind::Pool => "Pool",
        Kind::Library => "Library",
        Kind::Volume => "Volume",
        Kind::Resolver => "Resolver",
        Kind::Agent => "Agent",
        Kind::Token => "Token",
    }
}

fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

impl Vocabulary {
    pub(crate) fn new(schema: &Schema) -> Self {
        let kinds = [
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
        let all = schema
            .action_entities()
            .expect("a test reads the actions of the schema, which is part of this program");
        let action_type = type_name("Action");
        let actions = Action::ALL.iter().map(|action| {
            let id = uid(&action_type, action.name());
            let groups = all.ancestors(&id).into_iter().flatten();
            let entities = std::iter::once(&id)
                .chain(groups)
                .filter_map(|id| all.get(id).cloned());
            (*action, entities.collect())
        });
        Self {
            user: type_name("User"),
            role: type_name("Role"),
            team: type_name("Team"),
            kinds: kinds
                .into_iter()
                .map(|kind| (kind, type_name(kind_name(kind))))
                .collect(),
            actions: actions.collect(),
        }
    }

    /// The question as Cedar takes it; none where it cannot be put.
    pub(crate) fn request(
        &self,
        who: &Principal,
        action: Action,
        on: Resource<'_>,
    ) -> Option<Question> {
        let user = self.user(who)?;
        let principal = user.uid();
        let action = self.actions.get(&action)?;
        let asked = action.first()?.uid();
        let mut entities: Vec<Entity> = action.clone();
        entities.push(user);
        let resource = self.resource(on, &mut entities)?;
        let entities = Entities::from_entities(entities, None).ok()?;
        Some((principal, asked, resource, entities))
    }

    fn user(&self, who: &Principal) -> Option<Entity> {
        let nameless = if who.is_operator() {
            INSTALLATION
        } else {
            NAMELESS
        };
        let id = uid(&self.user, who.id().unwrap_or(nameless));
        let service = self.kinds.get(&Kind::Service)?;
        let services = who
            .services()
            .iter()
            .map(|name| RestrictedExpression::new_entity_uid(uid(service, name.as_str())));
        let attributes = HashMap::from([(
            "services".to_owned(),
            RestrictedExpression::new_set(services),
        )]);
        let role = HashSet::from([uid(&self.role, who.role())]);
        Entity::new(id, attributes, role).ok()
    }

    fn resource(&self, on: Resource<'_>, entities: &mut Vec<Entity>) -> Option<EntityUid> {
        let kind = self.kinds.get(&on.kind())?;
        let plain = |id: &str| uid(kind, id);
        let (id, parents) = match on {
            Resource::Installation => (plain("tapemark"), HashSet::new()),
            Resource::Service(name) => return self.service(name, entities),
            Resource::Checkpoint { id, service } => {
                let service = self.service(service, entities)?;
                (plain(&id.to_string()), HashSet::from([service]))
            }
            Resource::Pool(name) => (plain(name.as_str()), HashSet::new()),
            Resource::Library(id) => (plain(id.as_str()), HashSet::new()),
            Resource::Volume(barcode) => (plain(barcode.as_str()), HashSet::new()),
            Resource::Agent(id) => (plain(id.as_str()), HashSet::new()),
            Resource::Resolver(name) | Resource::Token(name) => (plain(name), HashSet::new()),
        };
        entities.push(Entity::new_no_attrs(id.clone(), parents));
        Some(id)
    }

    /// A service in its team, that in the next wider one.
    fn service(&self, name: &ServiceName, entities: &mut Vec<Entity>) -> Option<EntityUid> {
        let kind = self.kinds.get(&Kind::Service)?;
        let team = |path: &str| {
            path.rsplit_once('/')
                .map(|(team, _)| uid(&self.team, team))
                .into_iter()
                .collect()
        };
        let mut path = name.as_str();
        let id = uid(kind, path);
        entities.push(Entity::new_no_attrs(id.clone(), team(path)));
        while let Some((wider, _)) = path.rsplit_once('/') {
            entities.push(Entity::new_no_attrs(uid(&self.team, wider), team(wider)));
            path = wider;
        }
        Some(id)
    }
}
