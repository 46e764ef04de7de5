//! Whatever the definition, the input and the outcomes: an answer, never a panic.

use asl::harness::{batch_line, run_case, validate_text};
use asl::{CountingSource, Env, Execution, Identity, Input, Machine, TaskKey};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON, with texts that look like paths and calls.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6f64).prop_map(Value::from),
        expression().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c]{1,2}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Paths, calls and nonsense that resembles them.
fn expression() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("$".to_owned()),
        "\\$(\\.[a-c]|\\[[0-9]\\]|\\[\\*\\]|\\.\\.[a-c]|\\['a'\\]|\\[-?[0-2]?:[0-2]?\\]|\\[\\?\\(@\\.[a-c] (<|==|=~) (1|'x'|/x/)\\)\\]|\\.length\\(\\)){0,4}",
        "\\$\\$(\\.(State|Execution|Map|Task|Item|Name|Input|Value)){0,3}",
        "\\$[a-c]{1}(\\.[a-c])?",
        "\\$[.\\[\\]a-c'0-9*?@()]{0,8}",
    ];
    let call = ("(Format|StringToJson|JsonToString|Array|ArrayPartition|ArrayContains|ArrayRange|ArrayGetItem|ArrayLength|ArrayUnique|Base64Encode|Base64Decode|Hash|JsonMerge|MathRandom|MathAdd|StringSplit|UUID|Nope)",
        prop::collection::vec(prop_oneof![path.clone(), "'[a-c{}\\\\]{0,4}'", "-?[0-9]{1,3}(\\.5)?", Just("true".to_owned()), Just("null".to_owned())], 0..4))
        .prop_map(|(name, arguments)| format!("States.{name}({})", arguments.join(", ")));
    prop_oneof![3 => path, 2 => call, 1 => "[a-zA-Z$.(){}\\[\\]' ]{0,12}"]
}

fn template() -> impl Strategy<Value = Value> {
    prop::collection::vec(
        (
            "[a-c]",
            prop_oneof![
                2 => expression().prop_map(|text| (true, Value::from(text))),
                1 => any_json().prop_map(|value| (false, value)),
            ],
        ),
        0..3,
    )
    .prop_map(|members| {
        let named = members.into_iter().map(|(name, (dynamic, value))| {
            (if dynamic { format!("{name}.$") } else { name }, value)
        });
        Value::Object(named.collect())
    })
}

/// A field that is there or not.
fn maybe(
    name: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Option<(&'static str, Value)>> {
    prop_oneof![2 => Just(None), 1 => value.prop_map(move |value| Some((name, value)))].boxed()
}

fn path() -> impl Strategy<Value = Value> {
    prop_oneof![2 => expression().prop_map(Value::from), 1 => Just(json!(null))]
}

fn state_name() -> impl Strategy<Value = Value> {
    prop_oneof![12 => "[A-D]".prop_map(Value::from), 1 => Just(json!("Nowhere"))]
}

fn errors() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(["States.ALL"])),
        Just(json!(["E"])),
        Just(json!(["States.Timeout", "F"]))
    ]
}

fn state(depth: u32) -> BoxedStrategy<Value> {
    let common = vec![
        maybe("InputPath", path()),
        maybe("OutputPath", path()),
        maybe(
            "ResultPath",
            prop_oneof![
                Just(json!("$.a")),
                Just(json!(null)),
                Just(json!("$.a.b[0]"))
            ],
        ),
        maybe("Assign", template()),
        maybe("Comment", Just(json!("c"))),
    ];
    let work = vec![
        maybe("ResultSelector", template()),
        maybe(
            "Retry",
            (errors(), 0..3u64, 0..3u64).prop_map(
                |(e, n, s)| json!([{ "ErrorEquals": e, "MaxAttempts": n, "IntervalSeconds": s }]),
            ),
        ),
        maybe(
            "Catch",
            (errors(), state_name(), path())
                .prop_map(|(e, n, r)| json!([{ "ErrorEquals": e, "Next": n, "ResultPath": r }])),
        ),
    ];
    let pass = [
        common.clone(),
        vec![maybe("Parameters", template()), maybe("Result", any_json())],
    ]
    .concat();
    let task = [
        common.clone(),
        work.clone(),
        vec![
            maybe("Parameters", template()),
            maybe("TimeoutSeconds", Just(json!(9))),
            maybe("HeartbeatSecondsPath", Just(json!("$.a"))),
        ],
    ]
    .concat();
    let rule = (expression(), prop_oneof![
        (Just("StringEquals"), any_json()), (Just("NumericLessThanPath"), expression().prop_map(Value::from)),
        (Just("IsPresent"), any::<bool>().prop_map(Value::from)), (Just("StringMatches"), "[a*\\\\]{0,4}".prop_map(Value::from)),
    ], state_name()).prop_map(|(variable, (operator, operand), next)| json!({ "Variable": variable, operator: operand, "Next": next }));
    let mut kinds = vec![
        typed("Pass", pass),
        typed(
            "Task",
            [
                task,
                vec![always(
                    "Resource",
                    prop_oneof![
                        Just(json!("arn:aws:lambda:us-east-1:0:function:f")),
                        Just(json!("arn:aws:states:::sqs:sendMessage.waitForTaskToken")),
                        Just(json!("arn:aws:states:us-east-1:0:activity:a")),
                        Just(json!("arn:aws:states:::"))
                    ],
                )],
            ]
            .concat(),
        ),
        typed(
            "Choice",
            [
                common[..2].to_vec(),
                vec![
                    always(
                        "Choices",
                        prop::collection::vec(rule, 1..3).prop_map(Value::from),
                    ),
                    maybe("Default", state_name()),
                ],
            ]
            .concat(),
        ),
        typed(
            "Wait",
            [
                common[..2].to_vec(),
                vec![always("SecondsPath", expression().prop_map(Value::from))],
            ]
            .concat(),
        ),
        typed(
            "Wait",
            vec![always("Seconds", (0..99u64).prop_map(Value::from))],
        ),
        typed("Succeed", common[..2].to_vec()),
        typed(
            "Fail",
            vec![
                maybe("ErrorPath", expression().prop_map(Value::from)),
                maybe("Cause", Just(json!("c"))),
            ],
        ),
    ];
    if depth > 0 {
        kinds.push(typed(
            "Parallel",
            [
                common.clone(),
                work.clone(),
                vec![always(
                    "Branches",
                    prop::collection::vec(scope(depth - 1), 1..3).prop_map(Value::from),
                )],
            ]
            .concat(),
        ));
        kinds.push(typed(
            "Map",
            [
                common,
                work,
                vec![
                    always("ItemProcessor", scope(depth - 1)),
                    maybe("ItemsPath", expression().prop_map(Value::from)),
                    maybe("ItemSelector", template()),
                    maybe("MaxConcurrency", (0..3u64).prop_map(Value::from)),
                ],
            ]
            .concat(),
        ));
    }
    let next = prop_oneof![3 => state_name().prop_map(|name| ("Next", name)), 2 => Just(("End", json!(true)))];
    (prop::strategy::Union::new(kinds), next)
        .prop_map(|(mut state, (field, value))| {
            if !matches!(state["Type"].as_str(), Some("Choice" | "Succeed" | "Fail")) {
                state[field] = value;
            }
            state
        })
        .boxed()
}

fn always(
    name: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Option<(&'static str, Value)>> {
    value.prop_map(move |value| Some((name, value))).boxed()
}

fn typed(
    name: &'static str,
    fields: Vec<BoxedStrategy<Option<(&'static str, Value)>>>,
) -> BoxedStrategy<Value> {
    fields
        .prop_map(move |fields| {
            let mut state = json!({ "Type": name });
            for (field, value) in fields.into_iter().flatten() {
                state[field] = value;
            }
            state
        })
        .boxed()
}

/// Four states; names inside are made unique by where they are.
fn scope(depth: u32) -> BoxedStrategy<Value> {
    prop::collection::vec(state(depth), 4)
        .prop_map(|states| {
            let names = ["A", "B", "C", "D"];
            let states: serde_json::Map<String, Value> =
                names.iter().map(|n| (*n).to_owned()).zip(states).collect();
            json!({ "StartAt": "A", "States": states })
        })
        .boxed()
}

/// Renames states so that each name is used once, and drops what cannot be reached, so that most
/// definitions pass the checks.
fn tidy(scope: &mut Value, prefix: &str) {
    let Some(states) = scope["States"].as_object_mut() else {
        return;
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut left = vec!["A".to_owned()];
    while let Some(name) = left.pop() {
        let Some(state) = states.get(&name) else {
            continue;
        };
        if seen.insert(name) {
            for place in [
                "/Next",
                "/Default",
                "/Choices/0/Next",
                "/Choices/1/Next",
                "/Catch/0/Next",
            ] {
                left.extend(
                    state
                        .pointer(place)
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                );
            }
        }
    }
    let kept: Vec<(String, Value)> = std::mem::take(states)
        .into_iter()
        .filter(|(n, _)| seen.contains(n))
        .collect();
    for (name, mut state) in kept {
        for place in [
            "/Next",
            "/Default",
            "/Choices/0/Next",
            "/Choices/1/Next",
            "/Catch/0/Next",
        ] {
            if let Some(target) = state.pointer_mut(place) {
                *target = json!(format!("{prefix}{}", target.as_str().unwrap_or_default()));
            }
        }
        let inner = format!("{prefix}{name}");
        if let Some(branches) = state.get_mut("Branches").and_then(Value::as_array_mut) {
            for (index, branch) in branches.iter_mut().enumerate() {
                tidy(branch, &format!("{inner}{index}"));
            }
        }
        if let Some(processor) = state.get_mut("ItemProcessor") {
            tidy(processor, &inner);
        }
        states.insert(inner, state);
    }
    scope["StartAt"] = json!(format!("{prefix}A"));
}

fn outcomes() -> impl Strategy<Value = Vec<Value>> {
    let one = prop_oneof![
        3 => any_json().prop_map(|output| json!({ "output": output })),
        1 => Just(json!({ "error": "E", "cause": "c" })),
        1 => Just(json!({ "timeout": true })),
    ];
    prop::collection::vec(one, 0..6)
}

/// Scripts every task with the same outcomes.
fn script(definition: &Value, outcomes: &[Value]) -> Value {
    let machine = Machine::parse(&definition.to_string());
    let names: Vec<String> = machine
        .iter()
        .flat_map(|m| m.state_names())
        .map(str::to_owned)
        .collect();
    let entries = names.iter().flat_map(|name| {
        outcomes
            .iter()
            .map(move |o| json!({ "state": name, "outcome": o }))
    });
    entries.collect()
}

/// Runs a machine with outcomes in turn and checks at each step that the log alone leads to the
/// same place.
fn live_and_replayed(machine: &Machine, input: Value, outcomes: &[Value]) {
    let mut random = CountingSource::new(5);
    let mut now = jiff::Timestamp::UNIX_EPOCH;
    let mut live = Execution::new();
    let mut log = Vec::new();
    let mut next = Some(Input::Start {
        identity: Identity::local("m", "r"),
        input,
    });
    for turn in 0..60 {
        let Some(input) = next.take() else { break };
        let mut env = Env {
            now,
            random: &mut random,
        };
        let Ok(step) = live.step(machine, input, &mut env) else {
            break;
        };
        let text = serde_json::to_string(&step.record).expect("a record is JSON");
        log.push(serde_json::from_str(&text).expect("a record comes back"));
        let again = Execution::replay(machine, log.clone()).expect("its own log");
        assert_eq!(again.history(), live.history());
        assert_eq!(again.pending(), live.pending());
        assert_eq!(again.outcome(), live.outcome());
        let task = live.tasks().last().map(|task| TaskKey::Scheduled(task.id));
        next = match (task, outcomes.get(turn % outcomes.len().max(1))) {
            (Some(task), Some(outcome)) if outcome.get("timeout").is_none() => {
                Some(match outcome.get("output") {
                    Some(output) => Input::TaskSucceeded {
                        task,
                        output: output.clone(),
                    },
                    None => Input::TaskFailed {
                        task,
                        error: Some("E".to_owned()),
                        cause: None,
                    },
                })
            }
            (Some(task), Some(_)) => Some(Input::TaskTimedOut { task }),
            _ => live.next_timer().map(|(timer, at)| {
                now = now.max(at);
                Input::TimerFired { timer }
            }),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn definitions_run_to_an_answer(mut definition in scope(2), input in any_json(), outcomes in outcomes()) {
        tidy(&mut definition, "");
        let tasks = script(&definition, &outcomes);
        let answer = run_case(&definition.to_string(), input.clone(), Some(tasks.clone()));
        let status = answer["status"].as_str().unwrap_or("none");
        prop_assert!(["SUCCEEDED", "FAILED", "INVALID_DEFINITION", "ERROR"].contains(&status), "{}", answer);
        if validate_text(&definition.to_string())["result"] == "OK" {
            prop_assert_ne!(status, "INVALID_DEFINITION");
            // The only fault a checked case can have is that its table runs out.
            if status == "ERROR" {
                prop_assert_eq!(&answer["error"], "UnscriptedTask", "{}", answer);
            }
        } else {
            prop_assert_eq!(status, "INVALID_DEFINITION");
        }
        if let Ok(machine) = Machine::parse(&definition.to_string()) {
            live_and_replayed(&machine, input.clone(), &outcomes);
        }
        let again = run_case(&definition.to_string(), input, Some(tasks));
        prop_assert_eq!(answer, again, "the same case gives the same answer");
    }

    #[test]
    fn any_text_gets_an_answer(text in ".{0,60}", json in any_json()) {
        validate_text(&text);
        validate_text(&json.to_string());
        batch_line(&text);
        batch_line(&json!({ "id": 1, "definition": json, "input": json, "tasks": json }).to_string());
    }
}

#[test]
fn most_random_definitions_run() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut valid, mut ended) = (0, 0);
    for _ in 0..200 {
        let mut definition = scope(2)
            .new_tree(&mut runner)
            .expect("a definition")
            .current();
        tidy(&mut definition, "");
        let text = definition.to_string();
        if validate_text(&text)["result"] == "OK" {
            valid += 1;
            let script = script(&definition, &[json!({ "output": { "a": 1 } })]);
            let answer = run_case(&text, json!({ "a": [1, 2] }), Some(script));
            ended += usize::from(answer["status"] == "SUCCEEDED");
        }
    }
    assert!(
        valid > 20 && ended > 5,
        "the generator must not test refusals only: {valid}, {ended}"
    );
}

#[test]
fn nesting_to_the_limit_of_the_parser_is_no_danger() {
    let mut inner = json!({ "StartAt": "L", "States": { "L": { "Type": "Pass", "End": true } } });
    for level in 0..30 {
        let name = format!("P{level}");
        let state = json!({ "Type": "Parallel", "End": true, "Branches": [inner] });
        inner = json!({ "StartAt": name, "States": { name.clone(): state } });
    }
    let answer = run_case(&inner.to_string(), json!(1), None);
    assert_eq!(answer["status"], "SUCCEEDED");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(batch_line(&format!(r#"{{"id": 1, "definition": {deep}}}"#)).contains("InvalidCase"));
}
