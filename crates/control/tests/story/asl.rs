//! The state machine's file names only what there is.

use std::collections::BTreeSet;

use control::{Phase, testing::World};
use model::Code;
use serde_json::{Value, json};

use crate::Test;

const FILE: &str = include_str!("../../../../infra/state-machine/checkpoint.asl.json");

/// Every value under `name`, at any depth.
fn values<'a>(json: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match json {
        Value::Object(members) => {
            for (key, value) in members {
                if key == name {
                    found.push(value);
                }
                values(value, name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| values(item, name, found)),
        _ => {}
    }
}

#[tokio::test]
async fn states_operations_and_errors_exist() -> Test {
    let machine: Value = serde_json::from_str(FILE)?;
    let states = machine["States"].as_object().unwrap();
    assert!(states.len() <= 25);
    let mut targets = vec![&machine["StartAt"]];
    for name in ["Next", "Default"] {
        values(&machine["States"], name, &mut targets);
    }
    let targets: BTreeSet<_> = targets.into_iter().filter_map(Value::as_str).collect();
    let names: BTreeSet<_> = states.keys().map(String::as_str).collect();
    assert_eq!(
        targets, names,
        "every state is reached and every target exists"
    );

    let mut errors = Vec::new();
    values(&machine, "ErrorEquals", &mut errors);
    for error in errors.into_iter().flat_map(|list| list.as_array().unwrap()) {
        let error = error.as_str().unwrap();
        if error.starts_with("Tapemark.") {
            error.parse::<Code>()?;
        }
    }

    let control = World::new(1).control();
    for (name, state) in states {
        let parameters = &state["Parameters"];
        let phase = match parameters["FunctionName"].as_str() {
            Some("${ValidateFunctionArn}") => Phase::Validate,
            Some("${AllocateFunctionArn}") => Phase::Allocate,
            Some("${ExecuteFunctionArn}") => Phase::Execute,
            Some("${VerifyFunctionArn}") => Phase::Verify,
            Some(other) => panic!("{name}: {other}"),
            None => continue,
        };
        let payload = json!({
            "op": parameters["Payload"]["op"],
            "run": "run",
            "group": "019b76da-a800-7000-8000-000000000000",
            "taskToken": "token",
        });
        // The operation exists, the group does not.
        let refusal = control.run_phase(phase, payload).await.unwrap_err();
        assert_eq!(refusal.code, Code::NotFound, "{name}: {refusal}");
        let waits = state["Resource"]
            .as_str()
            .unwrap()
            .ends_with("waitForTaskToken");
        let token = &parameters["Payload"]["taskToken.$"];
        assert_eq!(waits, token == "$$.Task.Token", "{name}");
    }
    Ok(())
}
