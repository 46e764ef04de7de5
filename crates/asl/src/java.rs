//! Texts of values as a Java program makes them, because Step Functions is one.
//!
//! Two forms are seen in recorded histories: JSON written by Jackson, and `toString` of Java's own
//! maps and lists, which `States.Format` shows.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// Compact JSON, with floating-point numbers as `Double.toString` writes them.
pub(crate) fn json(value: &Value) -> String {
    let mut out = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut out, Jackson));
    match written.map(|()| String::from_utf8(out)) {
        Ok(Ok(text)) => text,
        // Neither can happen: a vector takes everything, and JSON is UTF-8.
        _ => value.to_string(),
    }
}

/// Adds what `States.Format` shows of a value: a text as it is, `[1, a]` for a list and
/// `{name=value, …}` for an object.
pub(crate) fn show(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                show(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(name);
                out.push('=');
                show(member, out);
            }
            out.push('}');
        }
        other => out.push_str(&json(other)),
    }
}

/// Whether Java shows two values alike.
pub(crate) fn same_text(a: &Value, b: &Value) -> bool {
    if a == b {
        // Only the order of members could tell them apart.
        return !a.is_array() && !a.is_object() || shown(a) == shown(b);
    }
    let whole = |value: &Value| value.is_array() || value.is_object();
    // A text can only show like a value of another kind.
    (a.is_string() || b.is_string() || whole(a) && whole(b)) && shown(a) == shown(b)
}

fn shown(value: &Value) -> String {
    let mut out = String::new();
    show(value, &mut out);
    out
}

/// Sorts different values as a `HashSet` made from `size` of them does.
pub(crate) fn hash_order(values: &mut [Value], size: usize) {
    let buckets = (size * 4 / 3 + 1).max(16).next_power_of_two() as u32;
    values.sort_by_cached_key(|value| {
        let hash = hash_code(value) as u32;
        (hash ^ hash >> 16) & (buckets - 1)
    });
}

/// The place of a name in a `HashMap` that grew to `size` of them.
pub(crate) fn bucket(name: &str, size: usize) -> u32 {
    let mut buckets = 16;
    while size > buckets / 4 * 3 {
        buckets *= 2;
    }
    let hash = text_hash(name) as u32;
    (hash ^ hash >> 16) & (buckets as u32 - 1)
}

/// `hashCode` of Java's own classes.
fn hash_code(value: &Value) -> i32 {
    let folded = |bits: u64| (bits ^ bits >> 32) as i32;
    match value {
        Value::Null => 0,
        Value::Bool(true) => 1231,
        Value::Bool(false) => 1237,
        Value::Number(number) => match number.as_i64() {
            Some(whole) => i32::try_from(whole).unwrap_or_else(|_| folded(whole as u64)),
            None => folded(number.as_f64().unwrap_or_default().to_bits()),
        },
        Value::String(text) => text_hash(text),
        Value::Array(items) => items.iter().fold(1i32, |hash, item| {
            hash.wrapping_mul(31).wrapping_add(hash_code(item))
        }),
        Value::Object(members) => members.iter().fold(0i32, |hash, (name, member)| {
            hash.wrapping_add(text_hash(name) ^ hash_code(member))
        }),
    }
}

fn text_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// What Jackson says of a text that is no JSON: of an unknown word, a name without quotes and an
/// end too early; of anything else only the place.
pub(crate) fn json_error(text: &str, error: &serde_json::Error) -> String {
    let place = |at: usize| {
        let before: String = text.chars().take(at).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!(
            "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, \
             column: {column}]"
        )
    };
    let (mut open, mut quoted, mut before) = (Vec::new(), false, ' ');
    let mut chars = text.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => open.push((c, at)),
            '}' | ']' => {
                open.pop();
            }
            c if c.is_alphabetic() || c == '_' || c == '$' => {
                let in_object = matches!(open.last(), Some(('{', _)));
                if in_object && matches!(before, '{' | ',') {
                    return format!(
                        "Unexpected character ('{c}' (code {})): was expecting double-quote to start \
                         field name\n at {}",
                        u32::from(c),
                        place(at)
                    );
                }
                let mut word = String::from(c);
                while let Some((_, c)) = chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                let number = before.is_ascii_digit() || before == '.';
                if !number && !matches!(word.as_str(), "null" | "true" | "false") {
                    return format!(
                        "Unrecognized token '{word}': was expecting (JSON String, Number, Array, Object \
                         or token 'null', 'true' or 'false')\n at {}",
                        place(at + word.chars().count())
                    );
                }
            }
            _ => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    let end = place(text.chars().count());
    match open.last() {
        _ if !error.is_eof() => format!("{error}"),
        _ if quoted => format!(
            "Unexpected end-of-input: was expecting closing quote for a string value\n at {end}"
        ),
        Some((mark, at)) => {
            let kind = if *mark == '{' { "Object" } else { "Array" };
            format!(
                "Unexpected end-of-input: expected close marker for {kind} (start marker at {})\n at {end}",
                place(*at)
            )
        }
        None => format!("Unexpected end-of-input\n at {end}"),
    }
}

/// Writes floating-point numbers as Java does.
struct Jackson;

impl Formatter for Jackson {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(double(value).as_bytes())
    }
}

/// `Double.toString`: plain from 10^-3 up to 10^7, otherwise with an exponent, and always with a
/// digit after the point.
fn double(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
}

/// The first `java.util.Random.nextInt(bound)` of a seed: what Step Functions is known to use for
/// the seeded numbers of its other query language. The bound is positive.
pub(crate) fn first_below(seed: i64, bound: i32) -> i32 {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = (seed as u64 ^ MULTIPLIER) & MASK;
    let mut next = || {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        (state >> 17) as i32
    };
    let mut bits = next();
    let most = bound - 1;
    if bound & most == 0 {
        return ((i64::from(bound) * i64::from(bits)) >> 31) as i32;
    }
    loop {
        let drawn = bits % bound;
        if bits.wrapping_sub(drawn).wrapping_add(most) >= 0 {
            return drawn;
        }
        bits = next();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn seeded_numbers_are_those_of_java() {
        // `new Random(42).nextInt()` is -1170105035; its upper 31 bits are 1562431130.
        assert_eq!(super::first_below(42, 10), 0);
        assert_eq!(super::first_below(42, 100), 30);
        // 0.7275636800328681 is the seed's first fraction, so this is its top ten bits.
        assert_eq!(super::first_below(42, 1024), 745);
    }

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        for (number, text) in [
            (json!(1.1), "1.1"),
            (json!(2.0), "2.0"),
            (json!(-0.0), "-0.0"),
            (json!(0.001), "0.001"),
            (json!(0.00012), "1.2E-4"),
            (json!(9_999_999.0), "9999999.0"),
            (json!(1e7), "1.0E7"),
            (json!(1.5e300), "1.5E300"),
            (
                json!(12_345_678_901_234_567_890_u64),
                "12345678901234567890",
            ),
        ] {
            assert_eq!(super::json(&number), text);
        }
        assert_eq!(
            super::json(&json!({"a": [1e10, "x"]})),
            r#"{"a":[1.0E10,"x"]}"#
        );
    }
}
