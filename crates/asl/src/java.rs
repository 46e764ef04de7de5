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
