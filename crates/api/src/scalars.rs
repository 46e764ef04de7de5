//! Scalars: values with their form checked where they enter. `is_valid` makes a wrong form
//! a fault of the request, found before anything is executed.

use async_graphql::{
    InputType, InputValueError, InputValueResult, Number, Scalar, ScalarType, Value,
};

/// The largest integer that every JSON reader keeps exactly (RFC 8259 §6): 2^53 - 1.
const MAX_EXACT: u64 = (1 << 53) - 1;

fn integer(number: u64) -> Value {
    if number <= MAX_EXACT {
        Value::Number(Number::from(number))
    } else {
        Value::String(number.to_string())
    }
}

fn parse_integer(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn unexpected<T: InputType>(expected: &str, value: &Value) -> InputValueError<T> {
    let mut found = value.to_string();
    if let Some((cut, _)) = found.char_indices().nth(80) {
        found.truncate(cut);
        found.push('…');
    }
    InputValueError::custom(format!("expected {expected}, found {found}"))
}

/// An id: a UUID as RFC 9562 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uuid(pub(crate) uuid::Uuid);

#[Scalar(
    name = "UUID",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc9562"
)]
impl ScalarType for Uuid {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => uuid::Uuid::try_parse(text)
                .map(Self)
                .map_err(|_| unexpected("a UUID", &value)),
            _ => Err(unexpected("a UUID", &value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.hyphenated().to_string())
    }
}

/// A SHA-256 digest as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sha256(pub(crate) model::Sha256);

#[Scalar(name = "Sha256")]
impl ScalarType for Sha256 {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text
                .parse()
                .map(Self)
                .map_err(|_| unexpected("64 hexadecimal digits", &value)),
            _ => Err(unexpected("64 hexadecimal digits", &value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_hex())
    }
}

/// A count of bytes: a JSON integer up to 2^53 - 1, a string of decimal digits above.
/// Both forms are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) model::Bytes);

#[Scalar(name = "Bytes")]
impl ScalarType for Bytes {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        parse_integer(&value)
            .map(|number| Self(model::Bytes(number)))
            .ok_or_else(|| unexpected("a whole number of bytes", &value))
    }

    fn to_value(&self) -> Value {
        integer(self.0.0)
    }
}

/// A number that may pass the 32 bits of `Int`: a JSON integer up to 2^53 - 1, a string of
/// decimal digits above. Both forms are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Long(pub(crate) u64);

#[Scalar(name = "Long")]
impl ScalarType for Long {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        parse_integer(&value)
            .map(Self)
            .ok_or_else(|| unexpected("a whole number from 0", &value))
    }

    fn to_value(&self) -> Value {
        integer(self.0)
    }
}

/// A time in UTC as RFC 3339 writes it: `2026-11-22T15:31:00.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp(pub(crate) jiff::Timestamp);

#[Scalar(
    name = "Timestamp",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339"
)]
impl ScalarType for Timestamp {
    fn is_valid(value: &Value) -> bool {
        <Self as ScalarType>::parse(value.clone()).is_ok()
    }

    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text
                .parse()
                .map(Self)
                .map_err(|_| unexpected("a time such as 2026-11-22T15:31:00Z", &value)),
            _ => Err(unexpected("a time such as 2026-11-22T15:31:00Z", &value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_above_2_to_the_53_travel_as_text_and_come_back() {
        for (number, text) in [
            (0, "0"),
            (MAX_EXACT, "9007199254740991"),
            (MAX_EXACT + 1, "\"9007199254740992\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            let value = ScalarType::to_value(&Bytes(model::Bytes(number)));
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
            assert_eq!(
                <Bytes as ScalarType>::parse(value).ok(),
                Some(Bytes(model::Bytes(number)))
            );
        }
    }

    #[test]
    fn what_is_no_count_is_refused() {
        for bad in [
            Value::from(-1),
            Value::from(1.5),
            Value::from("x"),
            Value::Null,
        ] {
            assert!(<Bytes as ScalarType>::parse(bad.clone()).is_err(), "{bad}");
            assert!(<Long as ScalarType>::parse(bad.clone()).is_err(), "{bad}");
        }
    }
}
