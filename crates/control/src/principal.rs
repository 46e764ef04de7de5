//! Who asks.

use std::fmt;

use model::ServiceName;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// An operator without a name: the installation itself.
    Operator,
    /// Acts for these services, without a name.
    Services(Vec<ServiceName>),
    /// Somebody with a name.
    Named(Named),
}

/// Somebody with a name: of a bearer token, or the subject of a JSON Web Token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name, without spaces, fit for a log line.
    pub id: String,
    /// The services it acts for; of no meaning for an operator.
    pub services: Vec<ServiceName>,
    /// True for an operator.
    pub operator: bool,
}

impl Principal {
    /// The same rights under a name.
    #[must_use]
    pub fn named(self, id: impl Into<String>) -> Self {
        let operator = self.is_operator();
        let services = match self {
            Self::Operator => Vec::new(),
            Self::Services(services) | Self::Named(Named { services, .. }) => services,
        };
        Self::Named(Named {
            id: id.into(),
            services,
            operator,
        })
    }

    /// The name, where there is one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Named(named) => Some(&named.id),
            _ => None,
        }
    }

    /// True for the role of operators.
    pub const fn is_operator(&self) -> bool {
        match self {
            Self::Operator => true,
            Self::Services(_) => false,
            Self::Named(named) => named.operator,
        }
    }

    /// The services that the caller acts for; none for operators, whose role says more.
    pub fn services(&self) -> &[ServiceName] {
        match self {
            Self::Named(named) if !named.operator => &named.services,
            Self::Services(services) => services,
            _ => &[],
        }
    }

    /// The role, as policies name it.
    pub const fn role(&self) -> &'static str {
        if self.is_operator() {
            "operator"
        } else {
            "service"
        }
    }
}

/// As it stands in refusals and logs.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(named) => write!(f, "{} ({})", named.id, self.role()),
            Self::Operator => f.write_str("the installation (operator)"),
            Self::Services(_) => f.write_str("a caller without a name (service)"),
        }
    }
}
