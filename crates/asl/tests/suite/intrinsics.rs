//! Intrinsic functions.

use serde_json::{Value, json};

use crate::support::through;

/// What a call gives, as JSON, or how it fails.
fn call(text: &str, input: Value) -> String {
    let result = through(json!({ "Parameters": { "r.$": text } }), input);
    match result
        .strip_prefix("{\"r\":")
        .and_then(|rest| rest.strip_suffix('}'))
    {
        Some(value) => value.to_owned(),
        None => result,
    }
}

fn table(input: Value, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(call(text, input.clone()), *expected, "{text}");
    }
}

#[test]
fn format() {
    let input = json!({ "name": "Ada", "n": 1.1, "nil": null, "l": [1, "a"], "t": "{}-\\{\\}",
        "o": { "Arg1": 1, "Arg2": [], "s": "x" } });
    table(
        input,
        &[
            ("States.Format('Hello, {}.', $.name)", r#""Hello, Ada.""#),
            ("States.Format('{}{}', 1, true)", r#""1true""#),
            (
                "States.Format('{} {} {}', $.n, $.nil, $.l)",
                r#""1.1 null [1, a]""#,
            ),
            // Lists and objects are shown as Java shows its own, numbers too.
            ("States.Format('{}', $.o)", r#""{Arg1=1, Arg2=[], s=x}""#),
            (
                "States.Format('{} {}', 1e10, 0.00012)",
                r#""1.0E10 1.2E-4""#,
            ),
            (
                "States.JsonToString($.o)",
                r#""{\"Arg1\":1,\"Arg2\":[],\"s\":\"x\"}""#,
            ),
            (r"States.Format('it\'s \{{}\} \\', 'x')", r#""it's {x} \\""#),
            ("States.Format($.t, 7)", r#""7-{}""#),
            (
                "States.Format('{}', States.Format('<{}>', $.name))",
                r#""<Ada>""#,
            ),
            ("States.Format('plain')", r#""plain""#),
            ("States.Format('{}', $$.State.Name)", r#""S""#),
        ],
    );
}

#[test]
fn json_and_text() {
    let input =
        json!({ "s": "[1, 2, \"Hi\"]", "v": { "b": 1, "a": [true, null] }, "w": "HelloWorld" });
    table(
        input,
        &[
            ("States.StringToJson($.s)", r#"[1,2,"Hi"]"#),
            ("States.StringToJson('1.1')", "1.1"),
            (
                "States.JsonToString($.v)",
                r#""{\"b\":1,\"a\":[true,null]}""#,
            ),
            ("States.JsonToString($.w)", r#""\"HelloWorld\"""#),
            (
                "States.JsonMerge($.v, States.StringToJson('{\"a\":0,\"c\":2}'), false)",
                r#"{"b":1,"a":0,"c":2}"#,
            ),
            ("States.StringSplit('1,2,,3', ',')", r#"["1","2","3"]"#),
            ("States.StringSplit('😁', '😀')", r#"["😁"]"#),
            ("States.StringSplit('', ',')", "[]"),
            (
                "States.Base64Encode('Data to encode')",
                r#""RGF0YSB0byBlbmNvZGU=""#,
            ),
            (
                "States.Base64Decode('RGF0YSB0byBlbmNvZGU=')",
                r#""Data to encode""#,
            ),
        ],
    );
}

#[test]
fn hashes() {
    table(
        json!({ "d": "input data" }),
        &[
            (
                "States.Hash($.d, 'MD5')",
                r#""812f45842bc6d66ee14572ce20db8e86""#,
            ),
            (
                "States.Hash($.d, 'SHA-1')",
                r#""aaff4a450a104cd177d28d18d74485e8cae074b7""#,
            ),
            (
                "States.Hash($.d, 'SHA-256')",
                r#""b4a697a057313163aee33cd8d40c66e9f0f177e00cac2de32475ffff6169c3e3""#,
            ),
        ],
    );
    let input = json!({ "d": "input data" });
    assert_eq!(call("States.Hash($.d, 'SHA-384')", input.clone()).len(), 98);
    assert_eq!(call("States.Hash($.d, 'SHA-512')", input).len(), 130);
}

#[test]
fn arrays() {
    let input = json!({ "l": [1, 2, 3, 2, "2", [1], [1]], "i": 2,
        "o": [{ "a": 1, "b": 2 }, { "b": 2, "a": 1 }, { "a": 1 }] });
    table(
        input,
        &[
            ("States.Array()", "[]"),
            (
                "States.Array('a', 1, null, $.i, States.Array(true))",
                r#"["a",1,null,2,[true]]"#,
            ),
            ("States.ArrayLength($.l)", "7"),
            (
                "States.ArrayPartition(States.ArrayRange(1, 5, 1), 2)",
                "[[1,2],[3,4],[5]]",
            ),
            ("States.ArrayContains($.l, 3)", "true"),
            ("States.ArrayContains($.l, '3')", "false"),
            ("States.ArrayContains($.l, States.Array(1))", "true"),
            ("States.ArrayRange(1, 9, 2)", "[1,3,5,7,9]"),
            ("States.ArrayRange(5, 1, -2)", "[5,3,1]"),
            ("States.ArrayRange(1, 0, 1)", "[]"),
            ("States.ArrayGetItem($.l, $.i)", "3"),
            ("States.ArrayUnique($.o)", r#"[{"a":1,"b":2},{"a":1}]"#),
            ("States.ArrayUnique($.l)", r#"[1,2,3,"2",[1]]"#),
        ],
    );
}

#[test]
fn numbers_are_drawn_from_the_seed() {
    let input = json!({ "from": 10, "to": 12 });
    let mut seen = std::collections::BTreeSet::new();
    let many: Vec<String> = (0..40)
        .map(|i| format!("\"r{i}.$\": \"States.MathRandom($.from, $.to)\""))
        .collect();
    let fields: Value =
        serde_json::from_str(&format!("{{\"Parameters\": {{{}}}}}", many.join(","))).expect("JSON");
    let drawn: Value = serde_json::from_str(&through(fields, input.clone())).expect("an object");
    seen.extend(
        drawn
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, v)| v.as_i64()),
    );
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [10, 11],
        "the end is not drawn"
    );
    // A seeded number is the first of Java's generator.
    assert_eq!(call("States.MathRandom(0, 1024, 42)", input.clone()), "745");
    assert_eq!(call("States.MathRandom(10, 20, 42)", input.clone()), "10");
    let uuid = call("States.UUID()", input);
    assert_eq!((uuid.len(), &uuid[15..16]), (38, "4"));
}

#[test]
fn failures_name_the_whole_expression_and_can_be_caught_by_name() {
    for (text, message) in [
        (
            "States.ArrayGetItem($.l, 3)",
            "the index 3 is outside the array of 3 items",
        ),
        (
            "States.Format('{} {}', States.ArrayGetItem($.l, 9), 1)",
            "the index 9 is outside the array of 3 items",
        ),
        (
            "States.Format('{}')",
            "there are more occurrences of {} than arguments",
        ),
        (
            "States.Format('x', 1)",
            "there are more arguments than occurrences of {}",
        ),
        (
            "States.ArrayLength($.s)",
            "the argument must be an array, but is \"s\"",
        ),
        (
            "States.MathAdd($.s, 1)",
            "the first number must be a number, but is \"s\"",
        ),
        ("States.Hash($.s, 'CRC')", "'CRC' is not a hash algorithm"),
        (
            "States.ArrayRange(1, 100000, 1)",
            "a range may hold at most 1000 items",
        ),
        (
            "States.ArrayRange(1, 2, 0)",
            "the increment must not be zero",
        ),
        (
            "States.ArrayPartition($.l, 0)",
            "the chunk size must be a positive integer",
        ),
        (
            "States.JsonMerge($.o, $.o, true)",
            "deep merging is not supported",
        ),
    ] {
        let input = json!({ "l": [1, 2, 3], "s": "s", "o": {} });
        assert_eq!(
            call(text, input),
            format!(
                "States.IntrinsicFailure: The function '{text}' had the following error: {message}"
            )
        );
    }
    let long = json!({ "s": "a".repeat(10_001) });
    assert!(call("States.Base64Encode($.s)", long).contains("at most 10000 characters"));
}
