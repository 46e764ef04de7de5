//! Effects are told once, however often they are told.

use std::sync::Arc;

use aws::{MAX_PAYLOAD_BYTES, StepFunctions, Told};
use control::Effect;
use model::{Code, RunId};
use serde_json::{Value, json};

use crate::script::{Answer, Server, client};

const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:tm-checkpoint";
const STARTED: &str = "arn:aws:states:eu-central-1:123456789012:execution:tm-checkpoint:run-1";
const TOKEN: &str = "AQCEAAAAKgAAAAMAAAAAAAAAAsecret";

async fn start() -> (Arc<Server>, StepFunctions) {
    let server = Server::start().await;
    let client = client!(aws_sdk_sfn, &server.endpoint);
    (server, StepFunctions::with_client(client, MACHINE))
}

fn run() -> RunId {
    "run-1".parse().unwrap()
}

fn begin() -> Effect {
    Effect::StartRun {
        run: run(),
        input: json!({ "run": "run-1", "group": "g" }),
    }
}

fn succeeded(output: Value) -> Effect {
    Effect::TaskSucceeded {
        token: TOKEN.to_owned(),
        output,
    }
}

fn failed(error: &str, cause: &str) -> Effect {
    Effect::TaskFailed {
        token: TOKEN.to_owned(),
        error: error.to_owned(),
        cause: cause.to_owned(),
    }
}

fn started() -> Answer {
    Answer::Ok(json!({ "executionArn": STARTED, "startDate": 1.5 }))
}

fn described(input: &str) -> Answer {
    Answer::Ok(json!({
        "executionArn": STARTED, "stateMachineArn": MACHINE, "name": "run-1",
        "status": "FAILED", "startDate": 1_700_000_000.25, "stopDate": 1_700_000_001,
        "input": input, "error": "Tapemark.PoolFull", "cause": "no room",
    }))
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_starts_one_execution() {
    let (server, machine) = start().await;
    server.next("StartExecution", Answer::Lost);
    server.next("StartExecution", started());
    assert_eq!(machine.tell(begin()).await, Ok(Told::Taken));
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1], "the name is the same");
    let question = &asked[0].1;
    assert_eq!(question["name"], "run-1");
    assert_eq!(question["stateMachineArn"], MACHINE);
    assert_eq!(question["input"], r#"{"run":"run-1","group":"g"}"#);
}

#[tokio::test]
async fn an_execution_that_is_over_is_known_by_its_input_and_never_started_for_another() {
    let (server, machine) = start().await;
    for (before, told) in [
        (r#"{"group": "g", "run": "run-1"}"#, Some(Told::Known)),
        (r#"{"run": "run-1", "group": "other"}"#, None),
    ] {
        server.next("StartExecution", Answer::No(400, "ExecutionAlreadyExists"));
        server.next("DescribeExecution", described(before));
        let found = machine.tell(begin()).await.unwrap();
        match told {
            Some(told) => assert_eq!(found, told),
            None => assert!(
                matches!(&found, Told::Never(refusal) if refusal.code == Code::Conflict),
                "{found:?}"
            ),
        }
        let asked = server.asked();
        assert_eq!(asked[1].1["executionArn"], STARTED);
    }
}

#[tokio::test]
async fn a_used_or_unknown_token_is_told_and_a_lost_answer_is_no_failure() {
    let (server, machine) = start().await;
    server.next("SendTaskSuccess", Answer::Ok(json!({})));
    let output = json!({ "verdict": "written" });
    assert_eq!(machine.tell(succeeded(output)).await, Ok(Told::Taken));
    let question = server.asked().remove(0).1;
    assert_eq!(question["taskToken"], TOKEN);
    assert_eq!(question["output"], r#"{"verdict":"written"}"#);

    for code in ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"] {
        for effect in [succeeded(json!({})), failed("Tapemark.MediaError", "x")] {
            server.next("SendTask", Answer::No(400, code));
            assert_eq!(machine.tell(effect).await, Ok(Told::Over), "{code}");
        }
    }

    server.next("SendTaskFailure", Answer::Lost);
    server.next("SendTaskFailure", Answer::No(400, "TaskTimedOut"));
    let told = machine.tell(failed("Tapemark.MediaError", "x")).await;
    assert_eq!(told, Ok(Told::Over), "the first one was taken");
    assert!(server.is_done());
}

#[tokio::test]
async fn throttling_is_waited_out_and_then_put_off_without_saying_the_token() {
    let (server, machine) = start().await;
    server.next("StartExecution", Answer::No(400, "ThrottlingException"));
    server.next("StartExecution", Answer::No(500, "InternalFailure"));
    server.next("StartExecution", started());
    assert_eq!(machine.tell(begin()).await, Ok(Told::Taken));
    assert_eq!(server.operations().len(), 3);

    for (status, code) in [
        (400, "ThrottlingException"),
        (503, "ServiceUnavailable"),
        (400, "KmsThrottlingException"),
        (400, "ExecutionLimitExceeded"),
    ] {
        for _ in 0..3 {
            server.next("SendTaskSuccess", Answer::No(status, code));
        }
        let refusal = machine.tell(succeeded(json!({}))).await.unwrap_err();
        assert_eq!(refusal.code, Code::Transient, "{refusal}");
        assert!(!refusal.to_string().contains("secret"), "{refusal}");
        while !server.is_done() {
            // What the SDK does not repeat.
            let _ = machine.tell(succeeded(json!({}))).await;
        }
    }

    server.next(
        "StartExecution",
        Answer::No(400, "StateMachineDoesNotExist"),
    );
    let refusal = machine.tell(begin()).await.unwrap_err();
    assert_eq!(refusal.code, Code::Internal, "kept until it is put right");
}

#[tokio::test]
async fn what_is_too_large_is_cut_failed_or_never_sent() {
    let (server, machine) = start().await;
    let long = "ü".repeat(40_000);
    server.next("SendTaskFailure", Answer::Ok(json!({})));
    assert_eq!(machine.tell(failed(&long, &long)).await, Ok(Told::Taken));
    let question = server.asked().remove(0).1;
    let chars = |name: &str| question[name].as_str().unwrap().chars().count();
    assert_eq!((chars("error"), chars("cause")), (256, 32_768));

    server.next("SendTaskFailure", Answer::Ok(json!({})));
    let output = Value::from("x".repeat(MAX_PAYLOAD_BYTES));
    assert_eq!(machine.tell(succeeded(output)).await, Ok(Told::Taken));
    let question = server.asked().remove(0).1;
    assert_eq!(question["error"], "States.DataLimitExceeded");

    let large = Effect::StartRun {
        run: run(),
        input: Value::from("x".repeat(MAX_PAYLOAD_BYTES)),
    };
    let told = machine.tell(large).await.unwrap();
    assert!(matches!(told, Told::Never(_)), "{told:?}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_history_comes_whole_with_every_kind_of_event() {
    let (server, machine) = start().await;
    let event = |id: u64, more: Value| {
        let mut event =
            json!({ "id": id, "previousEventId": id - 1, "timestamp": 1_700_000_000.125 });
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        event
    };
    let entered = json!({ "type": "TaskStateEntered",
        "stateEnteredEventDetails": { "name": "Validate", "input": "{}" } });
    // A kind that the SDK does not know.
    let newer = json!({ "type": "TaskDreamt", "taskDreamtEventDetails": { "of": ["tapes"] } });
    server.next(
        "GetExecutionHistory",
        Answer::Ok(json!({ "events": [event(1, entered)], "nextToken": "more" })),
    );
    server.next(
        "GetExecutionHistory",
        Answer::Ok(json!({ "events": [event(2, newer)] })),
    );
    let events = machine.history(&run()).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["timestamp"], "2023-11-14T22:13:20.125Z");
    assert_eq!(events[0]["stateEnteredEventDetails"]["name"], "Validate");
    assert_eq!(events[1]["type"], "TaskDreamt");
    assert_eq!(events[1]["taskDreamtEventDetails"]["of"][0], "tapes");
    let asked = server.asked();
    assert_eq!(asked[0].1["executionArn"], STARTED);
    assert_eq!(asked[1].1["nextToken"], "more");

    server.next("DescribeExecution", described("{}"));
    let view = machine.describe(&run()).await.unwrap();
    assert_eq!(view.status, "FAILED");
    assert_eq!(view.started_at.to_string(), "2023-11-14T22:13:20.25Z");
    assert_eq!(view.error.as_deref(), Some("Tapemark.PoolFull"));

    for operation in ["GetExecutionHistory", "DescribeExecution"] {
        server.next(operation, Answer::No(400, "ExecutionDoesNotExist"));
    }
    let none = machine.history(&run()).await.unwrap_err();
    assert_eq!(none.code, Code::NotFound);
    let none = machine.describe(&run()).await.unwrap_err();
    assert_eq!(none.code, Code::NotFound);
}
