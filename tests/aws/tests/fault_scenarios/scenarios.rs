//! The stories: what each state's function says, and the way that the machine must go.

use serde_json::{Value, json};

/// What a function says, or what comes through the token that it was given.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Done(Value),
    No(&'static str, String),
    /// Nothing comes before the state's timeout.
    Never,
}

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// By state, in the order in which it is entered or retried.
    pub(crate) answers: Vec<(&'static str, Answer)>,
    /// The states that are entered, retries not counted.
    pub(crate) path: Vec<&'static str>,
    pub(crate) status: &'static str,
    pub(crate) error: Option<&'static str>,
}

fn done(state: &'static str, output: Value) -> (&'static str, Answer) {
    (state, Answer::Done(output))
}

fn no(state: &'static str, code: &'static str) -> (&'static str, Answer) {
    (state, Answer::No(code, format!("{state} said so")))
}

fn validated() -> (&'static str, Answer) {
    done("Validate", json!({ "staged": true }))
}

fn placed() -> (&'static str, Answer) {
    done("Allocate", json!({ "outcome": "placed" }))
}

fn written() -> (&'static str, Answer) {
    done("Execute", json!({ "items": 2 }))
}

fn verified() -> (&'static str, Answer) {
    done("Verify", json!({ "items": 2 }))
}

fn committed() -> (&'static str, Answer) {
    done("Commit", json!({ "leaf": 7 }))
}

fn fenced(way: &str) -> (&'static str, Answer) {
    done("Fence", json!({ "way": way }))
}

fn succeeds(
    name: &'static str,
    answers: Vec<(&'static str, Answer)>,
    path: &[&'static str],
) -> Scenario {
    Scenario {
        name,
        answers,
        path: path.to_vec(),
        status: "SUCCEEDED",
        error: None,
    }
}

fn fails(
    name: &'static str,
    error: &'static str,
    answers: Vec<(&'static str, Answer)>,
    path: &[&'static str],
) -> Scenario {
    Scenario {
        status: "FAILED",
        error: Some(error),
        ..succeeds(name, answers, path)
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = on_the_way_to_tape();
    all.extend(decisions());
    all.extend(faults());
    all.extend(ends());
    all
}

fn on_the_way_to_tape() -> Vec<Scenario> {
    vec![
        succeeds(
            "all goes well",
            vec![validated(), placed(), written(), verified(), committed()],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Committed",
            ],
        ),
        succeeds(
            "there is no room yet, and others are quicker, and a call fails, and then it goes well",
            vec![
                validated(),
                no("Allocate", "Tapemark.NoCapacity"),
                no("Allocate", "Tapemark.NoCapacity"),
                no("Allocate", "Tapemark.Conflict"),
                no("Allocate", "Tapemark.Transient"),
                no("Allocate", "Tapemark.NoCapacity"),
                placed(),
                written(),
                verified(),
                no("Commit", "Tapemark.Conflict"),
                committed(),
            ],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Committed",
            ],
        ),
    ]
}

fn decisions() -> Vec<Scenario> {
    // Past for MiniStack's clock, ahead of where our engine's begins.
    let until = "2024-01-02T00:00:00Z";
    vec![
        succeeds(
            "decided: another checkpoint stands for it",
            vec![
                validated(),
                done("Allocate", json!({ "outcome": "merged" })),
            ],
            &["Begin", "Validate", "Allocate", "Decided", "Merged"],
        ),
        succeeds(
            "decided: not before an instant, and then it has its place",
            vec![
                validated(),
                done("Allocate", json!({ "outcome": "deferred", "until": until })),
                placed(),
                written(),
                verified(),
                committed(),
            ],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Deferred",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Committed",
            ],
        ),
        succeeds(
            "decided: it waits for its duplicate, which is committed",
            vec![
                validated(),
                done("Allocate", json!({ "outcome": "wait" })),
                done("Follow", json!({ "committed": true })),
                done("Allocate", json!({ "outcome": "merged" })),
            ],
            &[
                "Begin", "Validate", "Allocate", "Decided", "Follow", "Allocate", "Decided",
                "Merged",
            ],
        ),
        succeeds(
            "decided: a newer checkpoint takes its place",
            vec![validated(), no("Allocate", "Tapemark.Superseded")],
            &["Begin", "Validate", "Allocate", "Superseded"],
        ),
        fails(
            "decided: refused",
            "Tapemark.PolicyRefused",
            vec![
                validated(),
                no("Allocate", "Tapemark.PolicyRefused"),
                done("Reject", json!({})),
            ],
            &["Begin", "Validate", "Allocate", "Reject", "Rejected"],
        ),
        fails(
            "refused before anything was decided",
            "Tapemark.ChecksumMismatch",
            vec![
                no("Validate", "Tapemark.ChecksumMismatch"),
                done("Reject", json!({})),
            ],
            &["Begin", "Validate", "Reject", "Rejected"],
        ),
    ]
}

fn faults() -> Vec<Scenario> {
    vec![
        succeeds(
            "the agent dies, and resumes",
            vec![
                validated(),
                placed(),
                no("Execute", "Tapemark.AgentLost"),
                fenced("attempt"),
                written(),
                verified(),
                committed(),
            ],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Fence",
                "CanResume",
                "NextAttempt",
                "Execute",
                "Verify",
                "Commit",
                "Committed",
            ],
        ),
        fails(
            "the agent dies for ever",
            "Tapemark.AgentLost",
            [validated(), placed()]
                .into_iter()
                .chain(
                    (0..5).flat_map(|_| [no("Execute", "Tapemark.AgentLost"), fenced("attempt")]),
                )
                .chain([done("Abandon", json!({}))])
                .collect(),
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Fence",
                "CanResume",
                "NextAttempt",
                "Execute",
                "Fence",
                "CanResume",
                "NextAttempt",
                "Execute",
                "Fence",
                "CanResume",
                "NextAttempt",
                "Execute",
                "Fence",
                "CanResume",
                "NextAttempt",
                "Execute",
                "Fence",
                "CanResume",
                "Abandon",
                "Failed",
            ],
        ),
        succeeds(
            "what is read back differs, and it is placed anew",
            vec![
                validated(),
                placed(),
                written(),
                no("Verify", "Tapemark.VerifyMismatch"),
                fenced("placement"),
                placed(),
                written(),
                verified(),
                committed(),
            ],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Fence",
                "CanResume",
                "NextPlacement",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Committed",
            ],
        ),
        fails(
            "three volumes in turn cannot be read back",
            "Tapemark.MediaError",
            [validated()]
                .into_iter()
                .chain((0..3).flat_map(|_| {
                    [
                        placed(),
                        written(),
                        no("Verify", "Tapemark.MediaError"),
                        fenced("placement"),
                    ]
                }))
                .chain([done("Abandon", json!({}))])
                .collect(),
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Fence",
                "CanResume",
                "NextPlacement",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Fence",
                "CanResume",
                "NextPlacement",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Fence",
                "CanResume",
                "Abandon",
                "Failed",
            ],
        ),
        succeeds(
            "the fence is lost when it would be committed",
            vec![
                validated(),
                placed(),
                written(),
                verified(),
                no("Commit", "Tapemark.FenceLost"),
                fenced("attempt"),
                written(),
                verified(),
                committed(),
            ],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Fence",
                "CanResume",
                "NextAttempt",
                "Execute",
                "Verify",
                "Commit",
                "Committed",
            ],
        ),
        succeeds(
            "the commit breaks, an operator has it done again",
            vec![
                validated(),
                placed(),
                written(),
                verified(),
                no("Commit", "Tapemark.Internal"),
                done("Park", json!({ "decision": "resume" })),
                placed(),
                written(),
                verified(),
                committed(),
            ],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Park",
                "ParkOutcome",
                "NextPlacement",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Committed",
            ],
        ),
    ]
}

fn ends() -> Vec<Scenario> {
    vec![
        fails(
            "it is called off while it is written",
            "Tapemark.Cancelled",
            vec![
                validated(),
                placed(),
                no("Execute", "Tapemark.Cancelled"),
                done("Abandon", json!({})),
            ],
            &[
                "Begin", "Validate", "Allocate", "Decided", "Execute", "Abandon", "Failed",
            ],
        ),
        fails(
            "the commit breaks, and an operator gives it up",
            "Tapemark.Internal",
            vec![
                validated(),
                placed(),
                written(),
                verified(),
                no("Commit", "Tapemark.Internal"),
                done("Park", json!({ "decision": "abandon" })),
                done("Abandon", json!({})),
            ],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Park",
                "ParkOutcome",
                "Abandon",
                "Failed",
            ],
        ),
        fails(
            "the commit breaks, and nobody ever decides",
            "States.Timeout",
            vec![
                validated(),
                placed(),
                written(),
                verified(),
                no("Commit", "Tapemark.Internal"),
                ("Park", Answer::Never),
                done("MarkFailed", json!({})),
            ],
            &[
                "Begin",
                "Validate",
                "Allocate",
                "Decided",
                "Execute",
                "Verify",
                "Commit",
                "Park",
                "MarkFailed",
                "Failed",
            ],
        ),
    ]
}
