//! Who may do what: the question, the port that answers it, and the rule where nothing
//! else does.
//!
//! Every function of [`Control`] that takes a [`Principal`] asks here, and only here, with
//! the name of the action and what it is done to. `authz` answers with Cedar policies; its
//! built-in ones say the same as [`Native`].

mod action;

use std::fmt;
use std::sync::Arc;

use model::{
    AgentId, Barcode, CheckpointId, Code, LibraryId, PoolName, Refusal, Scope, ServiceName,
};

pub use action::{Action, Kind, Rule};

use crate::catalogue::Answer;
use crate::{Control, Principal};

/// The most bytes of a name of the caller's choice in a message.
const MAX_SHOWN: usize = 80;

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The installation as a whole: lists, the ledger, decisions.
    Installation,
    /// A service, whether it is registered or not.
    Service(&'a ServiceName),
    /// A checkpoint and the service that it is of.
    Checkpoint {
        /// Which one.
        id: CheckpointId,
        /// Whose.
        service: &'a ServiceName,
    },
    /// A pool.
    Pool(&'a PoolName),
    /// A library.
    Library(&'a LibraryId),
    /// A volume.
    Volume(&'a Barcode),
    /// A resolver, by its name without a version. Not yet checked to be one.
    Resolver(&'a str),
    /// An agent.
    Agent(&'a AgentId),
    /// A bearer token, by its name. Not yet checked to be one.
    Token(&'a str),
}

impl Resource<'_> {
    /// Of what kind it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Installation => Kind::Installation,
            Self::Service(_) => Kind::Service,
            Self::Checkpoint { .. } => Kind::Checkpoint,
            Self::Pool(_) => Kind::Pool,
            Self::Library(_) => Kind::Library,
            Self::Volume(_) => Kind::Volume,
            Self::Resolver(_) => Kind::Resolver,
            Self::Agent(_) => Kind::Agent,
            Self::Token(_) => Kind::Token,
        }
    }
}

impl<'a> From<&'a Scope> for Resource<'a> {
    fn from(scope: &'a Scope) -> Self {
        match scope {
            Scope::Service(name) => Self::Service(name),
            Scope::Pool(name) => Self::Pool(name),
            Scope::Library(id) => Self::Library(id),
        }
    }
}

/// As it stands in a refusal. A checkpoint is named by its id alone: whose it is, is not
/// told to who may not see it.
impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installation => f.write_str("the installation"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Checkpoint { id, .. } => write!(f, "checkpoint {id}"),
            Self::Pool(name) => write!(f, "pool {name}"),
            Self::Library(id) => write!(f, "library {id}"),
            Self::Volume(barcode) => write!(f, "volume {barcode}"),
            Self::Resolver(name) => write!(f, "resolver {:?}", shown(name)),
            Self::Agent(id) => write!(f, "agent {id}"),
            Self::Token(name) => write!(f, "token {:?}", shown(name)),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// What an authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Permitted,
    /// Nothing permits it.
    NotPermitted,
    /// These policies forbid it, whatever permits it.
    Forbidden {
        /// Their ids.
        policies: Vec<String>,
    },
    /// These policies could not be evaluated; what they would have said is not known, so
    /// the answer is no.
    Undecided {
        /// Their ids.
        policies: Vec<String>,
    },
}

/// Decides who may do what. Asked for every request, and again for every item of a list:
/// an answer must come from memory.
pub trait Authority: Send + Sync {
    /// Whether somebody may do something to something.
    fn allows(&self, who: &Principal, action: Action, on: Resource<'_>) -> Verdict;
}

/// The rule without policies: operators do everything, services act for themselves, and
/// everybody sees what decides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl Authority for Native {
    fn allows(&self, who: &Principal, action: Action, on: Resource<'_>) -> Verdict {
        let own = || match on {
            Resource::Service(service) | Resource::Checkpoint { service, .. } => {
                who.services().contains(service)
            }
            _ => false,
        };
        let permitted = who.is_operator()
            || match action.rule() {
                Rule::Operators => false,
                Rule::Own => own(),
                Rule::Everybody => true,
            };
        if permitted {
            Verdict::Permitted
        } else {
            Verdict::NotPermitted
        }
    }
}

impl Control {
    /// The same control plane under another authority.
    #[must_use]
    pub fn with_authority(mut self, authority: Arc<dyn Authority>) -> Self {
        self.authority = authority;
        self
    }

    /// Whether somebody may do something. Functions of the control plane ask by
    /// themselves; this is for what the API does without them.
    ///
    /// # Errors
    /// `Forbidden`, with the action, what it was to be done to, who asked, and which policy
    /// forbade it or that none permits it.
    pub fn authorize(&self, who: &Principal, action: Action, on: Resource<'_>) -> Answer<()> {
        let found = match self.authority.allows(who, action, on) {
            Verdict::Permitted => return Ok(()),
            Verdict::NotPermitted => "none".to_owned(),
            Verdict::Forbidden { policies } => {
                format!("it forbidden by policy {}", policies.join(", "))
            }
            Verdict::Undecided { policies } => {
                tracing::error!(?policies, %action, "policies could not be evaluated");
                format!("policy {} that cannot be evaluated", policies.join(", "))
            }
        };
        tracing::info!(caller = %who, %action, resource = %on, %found, "not authorized");
        Err(Refusal::new(
            Code::Forbidden,
            format!("{action} on {on}: expected a policy that permits it to {who}, found {found}"),
        ))
    }

    /// Whether it is so, where a no is no refusal but a shorter list.
    pub(crate) fn permits(&self, who: &Principal, action: Action, on: Resource<'_>) -> bool {
        self.authority.allows(who, action, on) == Verdict::Permitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_who_was_refused_what_on_what_and_not_whose_it_is() {
        struct Friday;
        impl Authority for Friday {
            fn allows(&self, _: &Principal, _: Action, _: Resource<'_>) -> Verdict {
                Verdict::Forbidden {
                    policies: vec!["no-restores-on-friday".to_owned()],
                }
            }
        }
        let service: ServiceName = "secret-project".parse().unwrap();
        let on = Resource::Checkpoint {
            id: CheckpointId::from_parts(0, &[0; 10]),
            service: &service,
        };
        let who = Principal::Services(vec!["web".parse().unwrap()]).named("ci");
        let control = crate::testing::World::new(1).control();
        let none = control.authorize(&who, Action::Restore, on).unwrap_err();
        let friday = control
            .with_authority(Arc::new(Friday))
            .authorize(&who, Action::Restore, on)
            .unwrap_err();
        assert_eq!(none.code, Code::Forbidden);
        expect_test::expect![[r#"
            Restore on checkpoint 00000000-0000-7000-8000-000000000000: expected a policy that permits it to ci (service), found none
            Restore on checkpoint 00000000-0000-7000-8000-000000000000: expected a policy that permits it to ci (service), found it forbidden by policy no-restores-on-friday"#]]
        .assert_eq(&format!("{}\n{}", none.message, friday.message));
    }

    #[test]
    fn names_that_nobody_checked_are_cut_and_escaped_in_a_refusal() {
        let long = "\u{1b}[31m".repeat(100);
        for on in [Resource::Resolver(&long), Resource::Token(&long)] {
            let text = on.to_string();
            assert!(text.len() < 1_000 && !text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn every_action_has_a_name_of_its_own_and_something_to_act_on() {
        let names: std::collections::BTreeSet<_> =
            Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(names.len(), Action::ALL.len());
        assert!(Action::ALL.iter().all(|action| !action.kinds().is_empty()));
    }
}
