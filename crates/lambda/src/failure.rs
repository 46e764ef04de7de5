//! A refusal on its way out of a function.

use lambda_runtime::Diagnostic;
use model::Refusal;
use telemetry::redact;

/// A refusal as Lambda reports it: `errorType` is the code, such as `Tapemark.PoolFull`,
/// which retriers and catchers of the state machine name; `errorMessage` its message, and
/// the field where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub Refusal);

impl From<Failure> for Diagnostic {
    fn from(Failure(refusal): Failure) -> Self {
        let message = match &refusal.field {
            Some(field) => format!("{field}: {}", refusal.message),
            None => refusal.message,
        };
        Self {
            error_type: refusal.code.to_string(),
            error_message: redact(&message).into_owned(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

#[cfg(test)]
mod tests {
    use model::Code;

    use super::*;

    #[test]
    fn every_code_is_an_error_that_the_state_machine_can_name() {
        for code in Code::ALL {
            let diagnostic = Diagnostic::from(Failure(Refusal::new(*code, "m").at("f")));
            assert!(diagnostic.error_type.starts_with("Tapemark."));
            assert_eq!(diagnostic.error_message, "f: m");
        }
    }
}
