//! From what the engine says to what is recorded.

use model::CallOutcome;
use wasmtime::{Error, Trap};

use crate::meter::Reached;

/// What the engine says once more than the hostcall fuel was to be copied. It has no type
/// of its own; a test of the attack suite holds this against the engine.
const HOSTCALL: &str = "too much data is being copied between the host and the guest";

/// What the engine says of a component with too many instances, memories or tables.
const INSTANCES: &str = "resource limit exceeded";

/// True for what no code of the component's brought about: where it fails to be
/// instantiated so, its functions have another shape than the contract's.
pub(crate) fn is_no_trap(error: &Error) -> bool {
    error.downcast_ref::<Reached>().is_none()
        && error.downcast_ref::<Trap>().is_none()
        && !message(error).contains(INSTANCES)
}

/// How a call that the engine ended is recorded.
pub(crate) fn classify(error: &Error) -> CallOutcome {
    if let Some(reached) = error.downcast_ref::<Reached>() {
        let kind = match reached {
            Reached::Memory { .. } => "memory_limit",
            Reached::Table { .. } => "table_limit",
        };
        return trap(kind, reached.to_string());
    }
    let Some(cause) = error.downcast_ref::<Trap>() else {
        let message = message(error);
        let kind = if message.contains(HOSTCALL) {
            "hostcall_limit"
        } else if message.contains(INSTANCES) {
            "instance_limit"
        } else {
            // Not a trap of the code but of what passes between it and us: text that is
            // no UTF-8, a list beyond the end of memory, an unknown variant.
            "invalid_value"
        };
        return trap(kind, message);
    };
    let kind = match cause {
        Trap::OutOfFuel => return CallOutcome::OutOfFuel,
        Trap::Interrupt => return CallOutcome::TimedOut,
        Trap::UnreachableCodeReached => "unreachable".to_owned(),
        Trap::StackOverflow => "stack_overflow".to_owned(),
        Trap::MemoryOutOfBounds => "memory_out_of_bounds".to_owned(),
        other => snake(&format!("{other:?}")),
    };
    trap(&kind, cause.to_string())
}

fn trap(kind: &str, message: String) -> CallOutcome {
    CallOutcome::Trap {
        kind: kind.to_owned(),
        message,
    }
}

/// The whole story, on one line of at most 300 characters: it may quote what the
/// component says.
pub(crate) fn message(error: &Error) -> String {
    format!("{error:#}").chars().take(300).collect()
}

/// `TableOutOfBounds` as `table_out_of_bounds`.
fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (n, c) in name.char_indices() {
        if c.is_ascii_uppercase() && n > 0 {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_has_the_kind_that_the_record_names() {
        for (cause, kind) in [
            (Trap::UnreachableCodeReached, "unreachable"),
            (Trap::StackOverflow, "stack_overflow"),
            (Trap::MemoryOutOfBounds, "memory_out_of_bounds"),
            (Trap::IntegerDivisionByZero, "integer_division_by_zero"),
            (Trap::TableOutOfBounds, "table_out_of_bounds"),
        ] {
            let CallOutcome::Trap { kind: found, .. } = classify(&cause.into()) else {
                panic!("{cause} is a trap");
            };
            assert_eq!(found, kind);
        }
        assert_eq!(classify(&Trap::OutOfFuel.into()), CallOutcome::OutOfFuel);
        assert_eq!(classify(&Trap::Interrupt.into()), CallOutcome::TimedOut);
    }

    #[test]
    fn a_limit_keeps_its_kind_under_whatever_was_said_about_it() {
        let reached = Reached::Memory { asked: 2, limit: 1 };
        let error = Error::msg("no").context(reached).context("while growing");
        let outcome = classify(&error);
        assert!(
            matches!(&outcome, CallOutcome::Trap { kind, .. } if kind == "memory_limit"),
            "{outcome:?}"
        );
    }
}
