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
            ("States.ArrayContains($.l, '3')", "true"),
            ("States.ArrayContains($.l, States.Array(1))", "true"),
            ("States.ArrayRange(1, 9, 2)", "[1,3,5,7,9]"),
            ("States.ArrayRange(5, 1, -2)", "[5,3,1]"),
            ("States.ArrayRange(1, 0, 1)", "[]"),
            ("States.ArrayGetItem($.l, $.i)", "3"),
            ("States.ArrayUnique($.o)", r#"[{"a":1,"b":2},{"a":1}]"#),
            ("States.ArrayUnique($.l)", r#"[[1],1,2,"2",3]"#),
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
    let uuid = call("States.UUID($.from, 'x')", input);
    assert_eq!((uuid.len(), &uuid[15..16]), (38, "4"));
}

#[test]
fn a_failing_call_is_a_runtime_error_that_names_the_whole_expression() {
    for (text, message) in [
        (
            "States.ArrayGetItem($.l, 3)",
            "Invalid arguments in States.ArrayGetItem",
        ),
        (
            "States.ArrayGetItem($.l)",
            "Invalid arguments in States.ArrayGetItem",
        ),
        (
            "States.ArrayContains($.l, 1, 2)",
            "Invalid arguments in States.ArrayContains",
        ),
        (
            "States.StringToJson()",
            "Invalid arguments in States.StringToJson",
        ),
        (
            "States.JsonToString($.l, $.s)",
            "Invalid arguments in States.JsonToString: only a single argument is allowed.",
        ),
        (
            "States.ArrayLength($.s)",
            "Invalid arguments in States.ArrayLength",
        ),
        (
            "States.MathAdd($.s, 1)",
            "Invalid arguments in States.MathAdd",
        ),
        (
            "States.MathAdd(2147483647, 1)",
            "Invalid arguments in States.MathAdd",
        ),
        (
            "States.Hash($.s, 'CRC')",
            "Invalid arguments in States.Hash",
        ),
        (
            "States.ArrayRange(1, 1001, 1)",
            "Invalid arguments in States.ArrayRange",
        ),
        (
            "States.ArrayRange(1, 2, 0.9)",
            "Invalid arguments in States.ArrayRange",
        ),
        (
            "States.ArrayPartition($.l, 0.6)",
            "Invalid arguments in States.ArrayPartition",
        ),
        (
            "States.MathRandom(1.4, 1.6)",
            "Invalid arguments in States.MathRandom",
        ),
        (
            "States.Format('{')",
            "Invalid template in States.Format: matching '}' not found for '{'.",
        ),
        (
            "States.Format('{{}}', 1)",
            "Invalid template in States.Format: matching '}' not found for '{'.",
        ),
        (
            "States.Format('}')",
            "Invalid template in States.Format: matching '{' not found for '}'.",
        ),
        (
            "States.StringToJson('nil')",
            "Cannot convert String to Json in States.StringToJson, caused by: Unrecognized token 'nil': \
             was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at \
             [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 4]",
        ),
        (
            "States.StringToJson($.open)",
            "Cannot convert String to Json in States.StringToJson, caused by: Unexpected end-of-input: \
             expected close marker for Array (start marker at [Source: REDACTED \
             (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 1])\n at [Source: \
             REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 3]",
        ),
        (
            "States.StringToJson($.bare)",
            "Cannot convert String to Json in States.StringToJson, caused by: Unexpected character ('x' \
             (code 120)): was expecting double-quote to start field name\n at [Source: REDACTED \
             (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 2]",
        ),
    ] {
        let input = json!({ "l": [1, 2, 3], "s": "s", "o": {}, "open": "[1", "bare": "{x" });
        assert_eq!(
            call(text, input),
            format!(
                "States.Runtime: There was an error while evaluating the intrinsic function: {text}. \
                 {message}"
            )
        );
    }
    let long = json!({ "s": "a".repeat(10_001) });
    assert!(call("States.Base64Encode($.s)", long).starts_with("States.Runtime: "));
}

#[test]
fn calls_work_on_values_of_java() {
    let input = json!({ "b": [true, false, true], "n": [[1, 2], [1, 2], [2, 1]], "s": ["true", "7"],
        "o": [{ "a": 1, "b": 2 }], "swapped": { "b": 2, "a": 1 }, "l": [1, 2, 3, 4, 5], "none": [] });
    for (text, value) in [
        ("States.ArrayUnique($.b)", "[false,true]"),
        ("States.ArrayUnique($.n)", "[[2,1],[1,2]]"),
        ("States.ArrayContains($.s, true)", "true"),
        ("States.ArrayContains($.s, 7)", "true"),
        ("States.ArrayContains($.o, $.swapped)", "false"),
        ("States.ArrayPartition($.l, 2.6)", "[[1,2],[3,4],[5]]"),
        ("States.ArrayRange(5.4, -0.6, -2.4)", "[5,3,1]"),
        ("States.ArrayGetItem($.l, 1.9)", "2"),
        ("States.ArrayGetItem($.none, 9)", "null"),
        ("States.MathAdd(1.6, 2.7)", "5"),
        ("States.MathRandom(1, 100, 42)", "63"),
        ("States.MathRandom(1, 10, -10)", "1"),
        ("States.MathRandom(1, 5, 42)", "3"),
        (
            "States.JsonMerge($.swapped, $.swapped, 'x')",
            r#"{"b":2,"a":1}"#,
        ),
        (
            "States.Hash(123, 'MD5')",
            r#""202cb962ac59075b964b07152d234b70""#,
        ),
        ("States.Base64Decode('!aGV sbG8')", r#""hello""#),
        ("States.Base64Decode('aG==cd')", r#""h""#),
        (
            "States.Format('{}', States.StringToJson('[\"x\"]'))",
            r#""[\"x\"]""#,
        ),
    ] {
        assert_eq!(call(text, input.clone()), value, "{text}");
    }
}
