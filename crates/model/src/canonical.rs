//! One text for one JSON value: what digests are taken over.

use serde_json::Value;

/// The value as JSON without spaces and with the members of every object sorted by name
/// (by Unicode code point). Equal values have equal texts.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.iter().collect();
            names.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (n, (name, value)) in names.into_iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_members_does_not_matter() {
        let one = json!({"b": [1, {"y": null, "x": "\n"}], "a": 1.5});
        let other = json!({"a": 1.5, "b": [1, {"x": "\n", "y": null}]});
        assert_eq!(canonical_json(&one), canonical_json(&other));
        assert_eq!(
            canonical_json(&one),
            r#"{"a":1.5,"b":[1,{"x":"\n","y":null}]}"#
        );
    }
}
