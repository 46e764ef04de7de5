//! Who asks, where somebody else has checked the token: the claims of a JSON Web Token.
//!
//! On AWS the JWT authorizer of the HTTP API checks signature, issuer, audience and times
//! before a function is called (RFC 7519). What is left is to read who it is and what it
//! may do. Claims are read strictly: what is not understood is refused, never guessed.

use std::collections::BTreeSet;

use control::Principal;
use model::{Code, Refusal, ServiceName};

/// The claim that names the caller (RFC 7519 4.1.2).
pub const CLAIM_SUBJECT: &str = "sub";
/// The claim that says what the caller is: `operator` or `service`.
pub const CLAIM_ROLE: &str = "tapemark_role";
/// The claim that names the services a caller of the role `service` acts for, separated
/// by spaces.
pub const CLAIM_SERVICES: &str = "tapemark_services";

/// The longest subject. Identity providers use up to 255 ASCII characters (OpenID Connect
/// Core 1.0, section 2).
pub const MAX_SUBJECT_BYTES: usize = 255;
/// The most services of one caller. An HTTP API takes 10,240 bytes of headers in all: a
/// token with more does not get here.
pub const MAX_CALLER_SERVICES: usize = 256;
/// The longest list of services, for the same reason.
pub const MAX_SERVICES_BYTES: usize = 10_240;

/// Who asks, already proven. Put into a request's extensions in process it stands for a
/// bearer token; no header can do that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name, for policies, refusals and logs.
    pub id: String,
    /// What it may do.
    pub principal: Principal,
}

impl Caller {
    /// The caller of claims that were verified. Other claims are not looked at.
    ///
    /// An identity provider may issue the services as a JSON array; the HTTP API hands it
    /// on as `[a b]`, which is taken too.
    ///
    /// ```
    /// let claims = [("sub", "ci"), ("tapemark_role", "service"), ("tapemark_services", "a b/c")];
    /// let caller = api::Caller::from_claims(claims).unwrap();
    /// assert_eq!(caller.principal.services().len(), 2);
    /// assert!(api::Caller::from_claims([("sub", "ci")]).is_err());
    /// ```
    ///
    /// # Errors
    /// `Forbidden`, naming the claim: the token is good, and says nothing that gives
    /// rights here.
    pub fn from_claims<K, V>(claims: impl IntoIterator<Item = (K, V)>) -> Result<Self, Refusal>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let (mut subject, mut role, mut services) = (None, None, None);
        for (name, value) in claims {
            let place = match name.as_ref() {
                CLAIM_SUBJECT => &mut subject,
                CLAIM_ROLE => &mut role,
                CLAIM_SERVICES => &mut services,
                _ => continue,
            };
            if place.replace(value.as_ref().to_owned()).is_some() {
                return Err(claim(name.as_ref(), "one value", "several"));
            }
        }
        let id = check_subject(subject.as_deref())?;
        let principal = match (role.as_deref(), services.as_deref()) {
            (Some("operator"), None) => Principal::Operator,
            (Some("operator"), Some(_)) => {
                return Err(claim(
                    CLAIM_SERVICES,
                    "no services beside the role operator",
                    "some",
                ));
            }
            (Some("service"), list) => Principal::Services(parse_services(list)?),
            (found, _) => {
                return Err(claim(
                    CLAIM_ROLE,
                    "operator or service",
                    &found.map_or_else(|| "no such claim".to_owned(), quoted),
                ));
            }
        };
        Ok(Self { id, principal })
    }
}

fn check_subject(found: Option<&str>) -> Result<String, Refusal> {
    let expected = "1 to 255 printable ASCII characters without spaces";
    match found {
        None => Err(claim(CLAIM_SUBJECT, expected, "no such claim")),
        Some(text)
            if text.is_empty()
                || text.len() > MAX_SUBJECT_BYTES
                || !text.chars().all(|c| c.is_ascii_graphic()) =>
        {
            Err(claim(CLAIM_SUBJECT, expected, &quoted(text)))
        }
        Some(text) => Ok(text.to_owned()),
    }
}

fn parse_services(found: Option<&str>) -> Result<Vec<ServiceName>, Refusal> {
    let expected = "1 to 256 service names separated by spaces";
    let refused = |found: &str| claim(CLAIM_SERVICES, expected, found);
    let text = found.ok_or_else(|| refused("no such claim"))?;
    if text.len() > MAX_SERVICES_BYTES {
        return Err(refused(&format!("{} bytes", text.len())));
    }
    let list = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let mut services = BTreeSet::new();
    for word in list.split(' ').filter(|word| !word.is_empty()) {
        let service = word
            .parse::<ServiceName>()
            .map_err(|error| refused(&error.to_string()))?;
        services.insert(service);
    }
    match services.len() {
        0 => Err(refused("none")),
        1..=MAX_CALLER_SERVICES => Ok(services.into_iter().collect()),
        n => Err(refused(&n.to_string())),
    }
}

/// A value as it may stand in a message: escaped, at most 40 characters.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

fn claim(name: &str, expected: &str, found: &str) -> Refusal {
    Refusal::new(
        Code::Forbidden,
        format!("token claim {name}: expected {expected}, found {found}"),
    )
    .at(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(claims: &[(&str, &str)]) -> Result<Caller, Refusal> {
        Caller::from_claims(claims.iter().copied())
    }

    #[test]
    fn an_operator_may_do_everything_and_a_service_acts_for_its_services() {
        let operator = read(&[("sub", "alice"), ("tapemark_role", "operator")]).unwrap();
        assert_eq!(operator.principal, Principal::Operator);
        assert_eq!(operator.id, "alice");
        for list in ["b a", "[b a]", " a  b a "] {
            let service = read(&[
                ("iss", "https://issuer.example"),
                ("sub", "ci"),
                ("tapemark_role", "service"),
                ("tapemark_services", list),
            ]);
            let both = vec!["a".parse().unwrap(), "b".parse().unwrap()];
            assert_eq!(service.unwrap().principal, Principal::Services(both));
        }
    }

    #[test]
    fn claims_that_are_not_understood_give_no_rights_and_the_refusal_names_them() {
        let long = "s".repeat(256);
        let many: String = (0..257).map(|n| format!("s{n} ")).collect();
        let huge = "a ".repeat(6_000);
        for (claims, field) in [
            (&[][..], CLAIM_SUBJECT),
            (&[("tapemark_role", "operator")], CLAIM_SUBJECT),
            (&[("sub", ""), ("tapemark_role", "operator")], CLAIM_SUBJECT),
            (
                &[("sub", "a\nb"), ("tapemark_role", "operator")],
                CLAIM_SUBJECT,
            ),
            (
                &[("sub", &long), ("tapemark_role", "operator")],
                CLAIM_SUBJECT,
            ),
            (&[("sub", "x")], CLAIM_ROLE),
            (&[("sub", "x"), ("tapemark_role", "Operator")], CLAIM_ROLE),
            (&[("sub", "x"), ("tapemark_role", "operator ")], CLAIM_ROLE),
            (&[("sub", "x"), ("tapemark_role", "[operator]")], CLAIM_ROLE),
            (
                &[
                    ("sub", "x"),
                    ("tapemark_role", "service"),
                    ("tapemark_role", "operator"),
                ],
                CLAIM_ROLE,
            ),
            (
                &[
                    ("sub", "x"),
                    ("tapemark_role", "operator"),
                    ("tapemark_services", "a"),
                ],
                CLAIM_SERVICES,
            ),
            (
                &[("sub", "x"), ("tapemark_role", "service")],
                CLAIM_SERVICES,
            ),
            (
                &[
                    ("sub", "x"),
                    ("tapemark_role", "service"),
                    ("tapemark_services", ""),
                ],
                CLAIM_SERVICES,
            ),
            (
                &[
                    ("sub", "x"),
                    ("tapemark_role", "service"),
                    ("tapemark_services", "a ../b"),
                ],
                CLAIM_SERVICES,
            ),
            (
                &[
                    ("sub", "x"),
                    ("tapemark_role", "service"),
                    ("tapemark_services", "a,b"),
                ],
                CLAIM_SERVICES,
            ),
            (
                &[
                    ("sub", "x"),
                    ("tapemark_role", "service"),
                    ("tapemark_services", &many),
                ],
                CLAIM_SERVICES,
            ),
            (
                &[
                    ("sub", "x"),
                    ("tapemark_role", "service"),
                    ("tapemark_services", &huge),
                ],
                CLAIM_SERVICES,
            ),
        ] {
            let refusal = read(claims).unwrap_err();
            assert_eq!(refusal.code, Code::Forbidden);
            assert_eq!(refusal.field.as_deref(), Some(field), "{claims:?}");
            assert!(
                refusal.message.chars().all(|c| !c.is_control()),
                "{refusal}"
            );
            assert!(refusal.message.len() < 400, "{refusal}");
        }
    }

    proptest! {
        /// Only the exact word makes an operator, whatever else stands in the token.
        #[test]
        fn no_other_text_makes_an_operator(role in ".{0,24}", services in ".{0,64}", sub in ".{0,64}") {
            let claims = [("sub", &*sub), ("tapemark_role", &*role), ("tapemark_services", &*services)];
            if let Ok(caller) = Caller::from_claims(claims) {
                prop_assert_ne!(caller.principal, Principal::Operator);
            }
        }
    }
}
