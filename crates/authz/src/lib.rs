//! Who may do what, as [Cedar](https://www.cedarpolicy.com) policies: the schema of what
//! policies may speak of, the built-in policies, and [`Policies`], which answers
//! [`control`]'s question from them.
//!
//! The same policies decide on one machine and on AWS. It never reads a clock, the
//! catalogue or the network, never permits what no policy permits, and never starts with
//! policies that do not fit the schema.
//!
//! ```
//! use authz::Policies;
//! use control::{Principal, authority::{Action, Authority, Resource, Verdict}};
//!
//! let freeze = r#"@id("no-restores") forbid (
//!     principal, action == Tapemark::Action::"Restore", resource in Tapemark::Team::"pay");"#;
//! let policies = Policies::beside("freeze.cedar", freeze).unwrap();
//! let service = "pay/api".parse().unwrap();
//! let who = Principal::Services(vec!["pay/api".parse().unwrap()]);
//! let on = Resource::Service(&service);
//! assert_eq!(policies.allows(&who, Action::Submit, on), Verdict::Permitted);
//! let wrong = r#"@id("x") permit (principal, action == Tapemark::Action::"Erase", resource);"#;
//! assert!(Policies::instead("x.cedar", wrong).unwrap_err().to_string().contains("x.cedar:1:"));
//! ```

mod entities;
mod error;
mod setting;

use cedar_policy::{
    Authorizer, Context, Decision, PolicyId, PolicySet, Request, Schema, ValidationMode, Validator,
};
use control::Principal;
use control::authority::{Action, Authority, Resource, Verdict};

use entities::Vocabulary;
pub use error::PolicyError;
pub use setting::Setting;

/// What policies may speak of, in Cedar's schema language.
pub const SCHEMA: &str = include_str!("../../../infra/policies/tapemark.cedarschema");

/// The built-in policies. They say what [`control::authority::Native`] says.
pub const BUILT_IN: &str = include_str!("../../../infra/policies/tapemark.cedar");

/// What the built-in policies are called in an error.
const BUILT_IN_NAME: &str = "infra/policies/tapemark.cedar";

/// The longest file of policies: a thousand policies of a few lines.
pub const MAX_BYTES: usize = 256 << 10;

/// The most policies: each is looked at in each decision.
pub const MAX_POLICIES: usize = 1_000;

/// The longest id of a policy: it stands in refusals.
pub const MAX_ID_BYTES: usize = 80;

/// Policies that were checked against the schema, ready to decide.
pub struct Policies {
    set: PolicySet,
    vocabulary: Vocabulary,
    authorizer: Authorizer,
}

impl Policies {
    /// The built-in policies.
    pub fn built_in() -> Self {
        Self::of(&[(BUILT_IN_NAME, BUILT_IN)])
            .expect("a test compiles the built-in policies against the schema")
    }

    /// These policies and no others. `name` is what errors call them.
    ///
    /// # Errors
    /// Where the text is too long, is not Cedar, does not fit the schema, or has a policy
    /// that could never apply or has no id of its own; with file, line and column.
    pub fn instead(name: &str, text: &str) -> Result<Self, PolicyError> {
        Self::of(&[(name, text)])
    }

    /// These policies beside the built-in ones: what they permit is permitted too, and
    /// what they forbid is refused.
    ///
    /// # Errors
    /// As [`Policies::instead`].
    pub fn beside(name: &str, text: &str) -> Result<Self, PolicyError> {
        Self::of(&[(BUILT_IN_NAME, BUILT_IN), (name, text)])
    }

    fn of(files: &[(&str, &str)]) -> Result<Self, PolicyError> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA)
            .expect("a test compiles the schema, which is part of this program");
        let mut set = PolicySet::new();
        for (name, text) in files {
            add(&mut set, name, text)?;
        }
        // One file at a time, so that an error is about the file it names.
        let validator = Validator::new(schema.clone());
        for (name, text) in files {
            let mut one = PolicySet::new();
            add(&mut one, name, text)?;
            let result = validator.validate(&one, ValidationMode::Strict);
            if let Some(error) = result.validation_errors().next() {
                return Err(PolicyError::of(name, text, error));
            }
            // A policy that can never apply protects nothing: its author meant another.
            if let Some(warning) = result.validation_warnings().next() {
                return Err(PolicyError::of(name, text, warning));
            }
        }
        Ok(Self {
            set,
            vocabulary: Vocabulary::new(&schema),
            authorizer: Authorizer::new(),
        })
    }

    fn decide(&self, who: &Principal, action: Action, on: Resource<'_>) -> Option<Verdict> {
        let (principal, action, resource, entities) = self.vocabulary.request(who, action, on)?;
        let request = Request::new(principal, action, resource, Context::empty(), None).ok()?;
        let response = self
            .authorizer
            .is_authorized(&request, &self.set, &entities);
        let diagnostics = response.diagnostics();
        let sorted = |ids: &mut dyn Iterator<Item = &PolicyId>| {
            let mut ids: Vec<String> = ids.map(ToString::to_string).collect();
            ids.sort();
            ids
        };
        // Cedar skips a policy that it cannot evaluate. One that would have forbidden
        // must not be skipped.
        let broken = sorted(&mut diagnostics.errors().map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
        }));
        if !broken.is_empty() {
            return Some(Verdict::Undecided { policies: broken });
        }
        Some(match response.decision() {
            Decision::Allow => Verdict::Permitted,
            Decision::Deny => {
                let policies = sorted(&mut diagnostics.reason());
                if policies.is_empty() {
                    Verdict::NotPermitted
                } else {
                    Verdict::Forbidden { policies }
                }
            }
        })
    }
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies")
            .field("policies", &self.set.num_of_policies())
            .finish_non_exhaustive()
    }
}

impl Authority for Policies {
    fn allows(&self, who: &Principal, action: Action, on: Resource<'_>) -> Verdict {
        // A question that cannot be put is answered with no.
        self.decide(who, action, on)
            .unwrap_or_else(|| Verdict::Undecided {
                policies: Vec::new(),
            })
    }
}

/// Adds the policies of a file under the ids of their own.
fn add(set: &mut PolicySet, name: &str, text: &str) -> Result<(), PolicyError> {
    let refused = |message: String| PolicyError::whole(name, message);
    if text.len() > MAX_BYTES {
        return Err(refused(format!(
            "expected at most {MAX_BYTES} bytes of policies, found {}",
            text.len()
        )));
    }
    let parsed: PolicySet = text
        .parse()
        .map_err(|errors| PolicyError::parse(name, text, &errors))?;
    if parsed.num_of_templates() > 0 {
        return Err(refused(
            "expected policies without ?principal and ?resource, found a template".to_owned(),
        ));
    }
    let mut policies: Vec<_> = parsed.policies().collect();
    if policies.is_empty() {
        return Err(refused(
            "expected at least one policy, found none".to_owned(),
        ));
    }
    if set.num_of_policies() + policies.len() > MAX_POLICIES {
        return Err(refused(format!(
            "expected at most {MAX_POLICIES} policies, found more"
        )));
    }
    // Parsed policies are called policy0, policy1, … in the order of the file.
    policies.sort_by_key(|policy| {
        let id = policy.id().to_string();
        id.trim_start_matches("policy").parse::<usize>().ok()
    });
    for (n, policy) in policies.into_iter().enumerate() {
        let id = policy.annotation("id").unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if id.is_empty() || id.len() > MAX_ID_BYTES || !id.chars().all(plain) {
            return Err(refused(format!(
                "expected @id(\"…\") of 1 to {MAX_ID_BYTES} of A-Z a-z 0-9 - _ . on every policy, \
                 found {:?} on policy {} of the file",
                id.chars().take(80).collect::<String>(),
                n + 1
            )));
        }
        set.add(policy.new_id(PolicyId::new(id)))
            .map_err(|_| refused(format!("expected ids that are used once, found {id} again")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
