//! How data moves: paths, templates, results, variables, the context object.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{FUNCTION, history, one, outcome, pass, run, run_with, through};

#[test]
fn input_path_parameters_result_path_and_output_path_in_turn() {
    let fields = json!({ "InputPath": "$.a", "Parameters": { "k": 1, "n.$": "$.n", "deep": [{ "m.$": "$.n" }] },
        "ResultPath": "$.made.here", "OutputPath": "$.made" });
    let input = json!({ "a": { "n": 5 }, "made": { "old": true } });
    assert_eq!(
        through(fields, input),
        r#"{"old":true,"here":{"k":1,"deep":[{"m":5}],"n":5}}"#
    );
}

#[test]
fn null_paths() {
    let input = json!({ "x": 1 });
    assert_eq!(through(json!({ "InputPath": null }), input.clone()), "{}");
    assert_eq!(through(json!({ "OutputPath": null }), input.clone()), "{}");
    assert_eq!(
        through(json!({ "ResultPath": null, "Result": 9 }), input.clone()),
        r#"{"x":1}"#
    );
    assert_eq!(
        through(json!({ "InputPath": null, "ResultPath": "$.e" }), input),
        r#"{"x":1,"e":{}}"#
    );
}

#[test]
fn a_result_is_taken_as_it_is_written() {
    let fields = json!({ "Result": { "path.$": "$.x", "call": "States.UUID()" } });
    assert_eq!(
        through(fields, json!({})),
        r#"{"path.$":"$.x","call":"States.UUID()"}"#
    );
}

#[test]
fn paths_that_lead_nowhere_are_named() {
    for (fields, expected) in [
        (
            json!({ "InputPath": "$.no" }),
            "Invalid path '$.no' : No results for path: $['no']",
        ),
        (
            json!({ "OutputPath": "$.a.b.c" }),
            "Invalid path '$.a.b.c' : Missing property in path $['a']['b']",
        ),
        (
            json!({ "InputPath": "$.t.x" }),
            "Invalid path '$.t.x' : Expected to find an object with property ['x'] in path $['t'] but found \
             'com.fasterxml.jackson.databind.node.TextNode'. This is not a json object according to the \
             JsonProvider: 'com.jayway.jsonpath.spi.json.JacksonJsonNodeJsonProvider'.",
        ),
        (
            json!({ "InputPath": "$.a[0]" }),
            "Invalid path '$.a[0]' : Filter: [0] can only be applied to arrays. Current context is: {}",
        ),
        (
            json!({ "Parameters": { "in": { "y.$": "$.no[0].z" } } }),
            "The JSONPath '$.no[0].z' specified for the field 'y.$' could not be found in the input \
             '{\"a\":{},\"t\":\"s\"}'",
        ),
    ] {
        let input = json!({ "a": {}, "t": "s" });
        assert_eq!(
            through(fields, input),
            format!("States.Runtime: {expected}")
        );
    }
}

#[test]
fn results_that_do_not_fit_their_place() {
    assert_eq!(
        through(
            json!({ "Result": 1, "ResultPath": "$.a.b" }),
            json!({ "a": "text" })
        ),
        "States.ReferencePathConflict: Unable to apply step \"b\" to input {\"a\":\"text\"}"
    );
    assert_eq!(
        through(json!({ "Result": 1, "ResultPath": "$.a.b" }), json!({})),
        r#"{"a":{"b":1}}"#
    );
    assert_eq!(
        through(
            json!({ "Result": 1, "ResultPath": "$.l[1]" }),
            json!({ "l": [0, 0] })
        ),
        r#"{"l":[0,1]}"#
    );
    assert_eq!(
        through(
            json!({ "Result": 1, "ResultPath": "$.l[2]" }),
            json!({ "l": [0, 0] })
        ),
        "States.ReferencePathConflict: Unable to apply step \"2\" to input {\"l\":[0,0]}"
    );
    let map = json!({ "Type": "Map", "ItemsPath": "$.no", "End": true,
        "ItemProcessor": { "StartAt": "I", "States": { "I": pass(json!({})) } } });
    assert_eq!(
        outcome(&run(&one(map), json!({ "x": 1 }))),
        "States.ReferencePathConflict: Unable to apply step \"no\" to input {\"x\":1}"
    );
}

#[test]
fn the_dialect() {
    let store = json!({ "book": [
        { "t": "A", "p": 8, "tags": ["x", "y"] }, { "t": "B", "p": 12 }, { "t": "C", "p": 9, "isbn": "1" }],
        "bike": { "p": 20, "a b": 1 }, "odd": { "Test\"\"Name\"": 5 } });
    for (path, expected) in [
        ("$.book[0].t", r#""A""#),
        ("$['book'][-1]['t']", r#""C""#),
        ("$.book[*].t", r#"["A","B","C"]"#),
        ("$.book[0,2].t", r#"["A","C"]"#),
        ("$.book[1:].t", r#"["B","C"]"#),
        ("$.book[:-1].t", r#"["A","B"]"#),
        ("$..p", "[8,12,9,20]"),
        ("$.bike['a b']", "1"),
        ("$.['bike'].['p']", "20"),
        ("$.book.[?(@.p <= 8)].t", r#"["A"]"#),
        (r#"$.odd['Test\""Name"']"#, "5"),
        ("$.bike['p','a b','no']", r#"{"p":20,"a b":1}"#),
        (
            "$.book[*]['t','p']",
            r#"[{"t":"A","p":8},{"t":"B","p":12},{"t":"C","p":9}]"#,
        ),
        ("$.book[0,1]['t','tags'][0]", r#"["x"]"#),
        // An end counted from the back is only taken where the other end is left out.
        ("$.book[0:-1].t", "[]"),
        ("$.book[-2:2].p", "[12,9,8,12]"),
        ("$.bike.*", "[20,1]"),
        ("$.book[?(@.p < 10)].t", r#"["A","C"]"#),
        ("$.book[?(@.isbn)].t", r#"["C"]"#),
        ("$.book[?(!@.isbn && @.p >= 12)].t", r#"["B"]"#),
        ("$.book[?(@.t == 'A' || @.t == \"B\")].p", "[8,12]"),
        ("$.book[?(@.t =~ /[ab]/i)].t", r#"["A","B"]"#),
        ("$.book[?(@.t in ['C'])].p", "[9]"),
        ("$.book[?(@.p < $.bike.p)].p", "[8,12,9]"),
        ("$..[?(@.p == 20)].p", "[20]"),
        ("$..[?(@.p < 10)].t", r#"["A","C"]"#),
        ("$..[?(@ == 'x')]", "[]"),
        ("$..book[0].t", r#"["A"]"#),
        ("$.book.length()", "3"),
        ("$.book[0].tags.length()", "2"),
        ("$", &store.to_string()),
    ] {
        let result = through(json!({ "Parameters": { "r.$": path } }), store.clone());
        assert_eq!(result, format!("{{\"r\":{expected}}}"), "{path}");
    }
}

#[test]
fn a_path_cannot_be_applied_to_null() {
    let cause = "States.Runtime: Unable to apply Path transformation to null or empty input.";
    for fields in [
        json!({ "Parameters": { "r.$": "$" } }),
        json!({ "Parameters": { "r.$": "$.a" } }),
        json!({ "InputPath": "$.a" }),
        json!({ "Result": null, "OutputPath": "$.a" }),
    ] {
        assert_eq!(through(fields.clone(), json!(null)), cause, "{fields}");
    }
    for fields in [
        json!({}),
        json!({ "Parameters": { "r": 1 }, "ResultPath": null }),
    ] {
        assert_eq!(through(fields, json!(null)), "null");
    }
    let fields = json!({ "Parameters": { "r.$": "States.Format('{}', $)" } });
    assert_eq!(through(fields, json!(null)), r#"{"r":"null"}"#);
}

#[test]
fn a_path_that_visits_too_much_fails_instead_of_hanging() {
    let mut nested = json!(1);
    for _ in 0..60 {
        nested = json!([nested, [1, 2], [3]]);
    }
    let fields = json!({ "Parameters": { "r.$": "$..*..*..*..*..*" } });
    assert!(through(fields, nested).starts_with("States.Runtime: "));
    let many: Vec<u32> = (0..20_000).collect();
    for path in [
        "$.l[?($..x == 1)]",
        "$.l[?(@ in $.l)]",
        "$..[?($.l subsetof $.l)]",
    ] {
        let fields = json!({ "Parameters": { "r.$": path } });
        assert!(
            through(fields, json!({ "l": many })).starts_with("States.Runtime: "),
            "{path}"
        );
    }
    let fields = json!({ "Parameters": { "r.$": "$.l[?($ == 1)]" } });
    assert_eq!(
        through(fields, json!({ "l": many })),
        r#"{"r":[]}"#,
        "nothing is copied to compare it"
    );
}

#[test]
fn map_items_and_their_selector() {
    let map = json!({ "Type": "Map", "InputPath": "$.scoped", "ItemsPath": "$$.Execution.Input.ids", "End": true,
        "ItemSelector": { "id.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index", "k.$": "$.k" },
        "ItemProcessor": { "StartAt": "I", "States": {
            "I": pass(json!({ "Parameters": { "item.$": "$" } })) } } });
    let input = json!({ "ids": ["a", "b"], "scoped": { "k": 7 } });
    assert_eq!(
        outcome(&run(&one(map), input)),
        r#"[{"item":{"at":0,"id":"a","k":7}},{"item":{"at":1,"id":"b","k":7}}]"#
    );
}

#[test]
fn the_states_of_an_iteration_do_not_see_its_item_in_the_context() {
    let map = |state: Value| {
        one(
            json!({ "Type": "Map", "End": true, "ItemProcessor": { "StartAt": "I", "States": { "I": state } } }),
        )
    };
    let inner = pass(json!({ "Parameters": { "v.$": "$$.Map.Item.Value" } }));
    let result = run(&map(inner), json!([1]));
    assert_eq!(result["error"], "States.Runtime");
    let cause = result["cause"].as_str().expect("a cause");
    assert!(
        cause.contains(
            "The JSONPath '$$.Map.Item.Value' specified for the field 'v.$' could not be found in \
             the input '{\"Execution\":{\"Id\":"
        ),
        "{cause}"
    );
    assert!(!cause.contains(r#""Map""#), "{cause}");
    let nested = json!({ "Type": "Map", "End": true,
        "ItemSelector": { "v.$": "$$.Map.Item.Value", "outer.$": "$" },
        "ItemProcessor": { "StartAt": "J", "States": { "J": pass(json!({})) } } });
    assert_eq!(
        outcome(&run(&map(nested), json!([[1], [2]]))),
        r#"[[{"v":1,"outer":[1]}],[{"v":2,"outer":[2]}]]"#
    );
}

#[test]
fn a_map_runs_as_many_iterations_as_allowed() {
    for (fields, started) in [
        (json!({ "MaxConcurrency": 2 }), 2),
        (json!({ "MaxConcurrencyPath": "$.n" }), 3),
        (json!({ "MaxConcurrency": 0 }), 4),
    ] {
        let mut map = json!({ "Type": "Map", "ItemsPath": "$.l", "End": true,
            "ItemProcessor": { "StartAt": "I", "States": { "I": { "Type": "Wait", "Seconds": 1, "End": true } } } });
        for (name, value) in fields.as_object().expect("fields") {
            map[name] = value.clone();
        }
        let result = run(&one(map), json!({ "l": [1, 2, 3, 4], "n": 3 }));
        let events = result["events"].as_array().expect("events");
        let first_end = events
            .iter()
            .position(|e| e["type"] == "WaitStateExited")
            .expect("an end");
        let count = events[..first_end]
            .iter()
            .filter(|e| e["type"] == "MapIterationStarted")
            .count();
        assert_eq!(count, started, "{fields}");
        assert_eq!(result["output"], json!([1, 2, 3, 4]));
    }
}

#[test]
fn forty_iterations_at_once_are_the_most() {
    let map = json!({ "Type": "Map", "End": true, "ItemProcessor": { "StartAt": "I",
        "States": { "I": { "Type": "Wait", "Seconds": 1, "End": true } } } });
    let items: Vec<u32> = (0..100).collect();
    let result = run(&one(map), json!(items));
    let events = result["events"].as_array().expect("events");
    let first_end = events
        .iter()
        .position(|e| e["type"] == "WaitStateExited")
        .expect("an end");
    let started = events[..first_end]
        .iter()
        .filter(|e| e["type"] == "MapIterationStarted");
    assert_eq!(started.count(), 40);
    assert_eq!(result["output"], json!(items));
}

#[test]
fn concurrency_that_is_no_number() {
    let map = json!({ "Type": "Map", "ItemsPath": "$.l", "MaxConcurrencyPath": "$.n", "End": true,
        "ItemProcessor": { "StartAt": "I", "States": { "I": pass(json!({})) } } });
    let with = |n: serde_json::Value| outcome(&run(&one(map.clone()), json!({ "l": [1], "n": n })));
    assert_eq!(with(json!("2")), "[1]");
    assert_eq!(
        with(json!("many")),
        "States.Runtime: The MaxConcurrencyPath field refers to value \"many\" which is not a valid integer: $.n"
    );
    assert_eq!(
        with(json!(-1)),
        "States.Runtime: Expected non-negative integer for MaxConcurrency, got '-1' instead."
    );
    assert_eq!(
        outcome(&run(&one(map.clone()), json!({ "l": {}, "n": 1 }))),
        "States.Runtime: Reference path \"$.l\" must point to array."
    );
}

#[test]
fn variables_are_assigned_at_the_end_of_a_state() {
    let machine = json!({ "StartAt": "A", "States": {
        "A": { "Type": "Pass", "Assign": { "x": 1, "in.$": "$.v" }, "Next": "B" },
        "B": { "Type": "Pass", "Assign": { "x": 2, "old.$": "$x" }, "Parameters": { "now.$": "$x" }, "Next": "C" },
        "C": pass(json!({ "Parameters": { "x.$": "$x", "old.$": "$old", "in.$": "$in.k[0]", "b.$": "$.now" } })) } });
    let result = run(&machine, json!({ "v": { "k": ["deep"] } }));
    assert_eq!(outcome(&result), r#"{"b":1,"in":"deep","old":1,"x":2}"#);
    expect![[r#"{"name":"A","output":"{\"v\":{\"k\":[\"deep\"]}}","outputDetails":{"truncated":false},"assignedVariables":{"in":"{\"k\":[\"deep\"]}","x":"1"},"assignedVariablesDetails":{"truncated":false}}"#]].assert_eq(&result["events"][2]["stateExitedEventDetails"].to_string());
}

#[test]
fn a_task_assigns_from_its_whole_result_and_a_catcher_from_the_error() {
    let task = json!({ "Type": "Task", "Resource": FUNCTION, "ResultSelector": { "a.$": "$.a" },
        "Assign": { "all.$": "$" }, "Next": "Z",
        "Catch": [{ "ErrorEquals": ["Oops"], "Assign": { "all.$": "$.Cause" }, "ResultPath": "$.e", "Next": "Z" }] });
    let machine = json!({ "StartAt": "T", "States": { "T": task,
        "Z": pass(json!({ "Parameters": { "all.$": "$all", "rest.$": "$" } })) } });
    let good = json!([{ "state": "T", "outcome": { "output": { "a": 1, "b": 2 } } }]);
    assert_eq!(
        outcome(&run_with(&machine, json!({}), good)),
        r#"{"all":{"a":1,"b":2},"rest":{"a":1}}"#
    );
    let bad = json!([{ "state": "T", "outcome": { "error": "Oops", "cause": "why" } }]);
    assert_eq!(
        outcome(&run_with(&machine, json!({ "k": 1 }), bad)),
        r#"{"all":"why","rest":{"k":1,"e":{"Error":"Oops","Cause":"why"}}}"#
    );
}

#[test]
fn inner_scopes_read_outer_variables_and_keep_their_own() {
    let inner = json!({ "StartAt": "I", "States": {
        "I": { "Type": "Pass", "Assign": { "own.$": "$" }, "Next": "J" },
        "J": pass(json!({ "Parameters": { "sum.$": "States.MathAdd($own, $bias)" } })) } });
    let machine = json!({ "StartAt": "A", "States": {
        "A": { "Type": "Pass", "Assign": { "bias": 10 }, "Next": "M" },
        "M": { "Type": "Map", "ItemProcessor": inner, "Next": "Z" },
        "Z": pass(json!({ "Parameters": { "leak.$": "$own" } })) } });
    let result = run(&machine, json!([1, 2]));
    assert!(history(&result).contains(r#""output":"[{\"sum\":11},{\"sum\":12}]""#));
    assert_eq!(
        result["error"], "States.Runtime",
        "an iteration's variable ends with it"
    );
}

#[test]
fn the_rule_that_matches_assigns() {
    let machine = json!({ "StartAt": "C", "States": {
        "C": { "Type": "Choice", "Default": "Z", "Assign": { "by": "default" },
            "Choices": [{ "Variable": "$.n", "IsPresent": true, "Assign": { "by.$": "$.n" }, "Next": "Z" }] },
        "Z": pass(json!({ "Parameters": { "by.$": "$by" } })) } });
    assert_eq!(
        outcome(&run(&machine, json!({ "n": "rule" }))),
        r#"{"by":"rule"}"#
    );
    assert_eq!(outcome(&run(&machine, json!({}))), r#"{"by":"default"}"#);
}

#[test]
fn the_context_of_a_task() {
    let state = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
        "Parameters": { "FunctionName": "f", "Payload": { "name.$": "$$.State.Name", "tries.$": "$$.State.RetryCount",
            "entered.$": "$$.State.EnteredTime", "machine.$": "$$.StateMachine.Name", "run.$": "$$.Execution.Name",
            "redrives.$": "$$.Execution.RedriveCount" } },
        "Retry": [{ "ErrorEquals": ["Again"] }] });
    let tasks = json!([{ "state": "S", "outcome": { "error": "Again" } }, { "state": "S", "outcome": { "output": 1 } }]);
    let result = run_with(&one(state), json!({}), tasks);
    let second = &result["events"][5]["taskScheduledEventDetails"]["parameters"];
    expect![[r#"{"FunctionName":"f","Payload":{"tries":1,"machine":"StateMachine","name":"S","run":"execution","entered":"2024-01-01T00:00:00.000Z","redrives":0}}"#]].assert_eq(second.as_str().expect("parameters"));
}

#[test]
fn waiting() {
    let wait = |fields: serde_json::Value, input: serde_json::Value| {
        let mut state = json!({ "Type": "Wait", "Next": "Z" });
        for (name, value) in fields.as_object().expect("fields") {
            state[name] = value.clone();
        }
        let machine =
            json!({ "StartAt": "W", "States": { "W": state, "Z": { "Type": "Succeed" } } });
        let result = run(&machine, input);
        match result["events"][2]["timestamp"].as_str() {
            Some(at) if result["status"] == "SUCCEEDED" => at.to_owned(),
            _ => outcome(&result),
        }
    };
    let start = "2024-01-01T00:00:00.000Z";
    assert_eq!(
        wait(json!({ "Seconds": 90 }), json!({})),
        "2024-01-01T00:01:30.000Z"
    );
    assert_eq!(wait(json!({ "Seconds": 0 }), json!({})), start);
    assert_eq!(
        wait(
            json!({ "SecondsPath": "$.a.s", "InputPath": "$.b" }),
            json!({ "b": { "a": { "s": 60 } } })
        ),
        "2024-01-01T00:01:00.000Z"
    );
    assert_eq!(
        wait(json!({ "Timestamp": "2024-01-02T00:00:00Z" }), json!({})),
        "2024-01-02T00:00:00.000Z"
    );
    assert_eq!(
        wait(json!({ "Timestamp": "2020-01-02T00:00:00Z" }), json!({})),
        start,
        "the past has come"
    );
    for (text, works) in [
        ("2024-01-01T02:00:00.0000000Z", true),
        ("2024-01-01T02:00:00.00Z", true),
        ("2024-01-01T04:00:00+02:00", true),
        ("2024-01-01T02:00:00", false),
        ("2024-01-01 02:00:00Z", false),
        ("2024-13-01T02:00:00Z", false),
        ("2024-01-01T25:00:00Z", false),
        ("01-01-2024T02:00:00Z", false),
        ("", false),
    ] {
        let expected = if works {
            "2024-01-01T02:00:00.000Z".to_owned()
        } else {
            format!(
                "States.Runtime: The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: $.t == {text}"
            )
        };
        assert_eq!(
            wait(json!({ "TimestampPath": "$.t" }), json!({ "t": text })),
            expected
        );
    }
}

#[test]
fn a_fail_state_reads_its_words() {
    let fail = |fields: serde_json::Value, input| {
        let mut state = json!({ "Type": "Fail" });
        for (name, value) in fields.as_object().expect("fields") {
            state[name] = value.clone();
        }
        outcome(&run(&one(state), input))
    };
    let input = json!({ "e": "Broken", "c": "bolt" });
    assert_eq!(
        fail(
            json!({ "ErrorPath": "$.e", "CausePath": "$.c" }),
            input.clone()
        ),
        "Broken: bolt"
    );
    assert_eq!(
        fail(
            json!({ "Error": "422", "CausePath": "States.Format('a {}', $.c)" }),
            input.clone()
        ),
        "422: a bolt"
    );
    assert_eq!(
        fail(json!({ "ErrorPath": "$.no", "Cause": "c" }), input),
        "States.Runtime: The JSONPath '$.no' specified for the field 'ErrorPath' could not be found in the input '{\"e\":\"Broken\",\"c\":\"bolt\"}'"
    );
}

#[test]
fn documents_nest_only_so_deep() {
    let machine = json!({ "StartAt": "A", "States": {
        "A": { "Type": "Pass", "Parameters": { "d.$": "$" }, "Next": "B" },
        "B": { "Type": "Choice", "Default": "A", "Choices": [{ "Variable": "$.stop", "IsPresent": true, "Next": "C" }] },
        "C": { "Type": "Succeed" } } });
    assert_eq!(
        outcome(&run(&machine, json!(1))),
        "States.Runtime: The document nests deeper than 256 levels."
    );
}
