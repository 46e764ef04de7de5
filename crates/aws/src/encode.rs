//! How an item lies in DynamoDB.
//!
//! The record is one attribute of JSON text, not a native map: it comes back byte for byte
//! (order of members, 64-bit integers, fractions that DynamoDB's decimals would round), its
//! size is its length, so that the 400 KB limit is known before sending, it has no limit of
//! 32 levels, and no expression ever looks inside: what is asked for stands in keys.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use control::ports::{Item, Key, TableError};
use jiff::Timestamp;

use crate::schema::{
    BODY, EXPIRES, EXPIRES_EXACT, GSI1, GSI2, IndexSchema, PK, SK, VERSION, WRITER,
};

/// An item as the SDK has it.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// The longest partition key in bytes (developer guide, *Quotas*).
pub(crate) const MAX_PK_BYTES: usize = 2048;
/// The longest sort key in bytes (the same).
pub(crate) const MAX_SK_BYTES: usize = 1024;
/// The largest item in bytes, names of attributes included (the same: 400 KB).
pub(crate) const MAX_ITEM_BYTES: usize = 400 * 1024;
/// What a number takes at most: two digits a byte, sign and exponent (developer guide,
/// *Item sizes and formats*).
const NUMBER_BYTES: usize = 21;

/// Checks a key's two lengths.
pub(crate) fn check_key(key: &Key) -> Result<(), TableError> {
    for (name, text, most) in [
        ("partition key", &key.pk, MAX_PK_BYTES),
        ("sort key", &key.sk, MAX_SK_BYTES),
    ] {
        if text.is_empty() || text.len() > most {
            return Err(TableError::Limit(format!(
                "{name}: expected 1 to {most} bytes, found {}",
                text.len()
            )));
        }
    }
    Ok(())
}

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A primary key.
pub(crate) fn key(key: &Key) -> Attributes {
    HashMap::from([
        (PK.to_owned(), text(&key.pk)),
        (SK.to_owned(), text(&key.sk)),
    ])
}

/// Everything of an item but its primary key and its version, after all limits were
/// checked, and how many bytes the whole takes at most.
pub(crate) fn rest(item: &Item, writer: &str) -> Result<(Attributes, usize), TableError> {
    check_key(&item.key)?;
    let mut attributes = HashMap::from([
        (BODY.to_owned(), text(&item.body.to_string())),
        (WRITER.to_owned(), text(writer)),
    ]);
    for (schema, key) in [(&GSI1, &item.gsi1), (&GSI2, &item.gsi2)] {
        if let Some(key) = key {
            check_key(key)?;
            attributes.insert(schema.pk.to_owned(), text(&key.pk));
            attributes.insert(schema.sk.to_owned(), text(&key.sk));
        }
    }
    if let Some(expires) = item.expires_at {
        // Rounded up: DynamoDB must never delete what still means something.
        let has_fraction = expires.subsec_nanosecond() != 0;
        let seconds = expires.as_second() + i64::from(has_fraction && expires.as_second() >= 0);
        attributes.insert(EXPIRES.to_owned(), number(seconds));
        if has_fraction {
            attributes.insert(EXPIRES_EXACT.to_owned(), text(&expires.to_string()));
        }
    }
    let size = size(&attributes)
        + [PK, SK, VERSION]
            .iter()
            .map(|name| name.len())
            .sum::<usize>()
        + item.key.pk.len()
        + item.key.sk.len()
        + NUMBER_BYTES;
    if size > MAX_ITEM_BYTES {
        return Err(TableError::Limit(format!(
            "item {}/{}: expected at most {MAX_ITEM_BYTES} bytes, found {size}",
            item.key.pk, item.key.sk
        )));
    }
    Ok((attributes, size))
}

fn size(attributes: &Attributes) -> usize {
    attributes
        .iter()
        .map(|(name, value)| {
            name.len()
                + match value {
                    AttributeValue::S(text) => text.len(),
                    _ => NUMBER_BYTES,
                }
        })
        .sum()
}

/// The item that these attributes are.
pub(crate) fn item(mut attributes: Attributes) -> Result<Item, TableError> {
    let key = take_key(&mut attributes, PK, SK)?.ok_or_else(|| damaged("no key"))?;
    let at = |what: &str| damaged(&format!("{}/{}: {what}", key.pk, key.sk));
    let version = match attributes.get(VERSION) {
        Some(AttributeValue::N(version)) => version.parse().ok(),
        _ => None,
    };
    let body = match attributes.get(BODY) {
        Some(AttributeValue::S(body)) => serde_json::from_str(body).ok(),
        _ => None,
    };
    let expires_at = match (attributes.get(EXPIRES_EXACT), attributes.get(EXPIRES)) {
        (Some(AttributeValue::S(exact)), _) => Some(exact.parse().ok()),
        (None, Some(AttributeValue::N(seconds))) => Some(
            seconds
                .parse()
                .ok()
                .and_then(|seconds| Timestamp::from_second(seconds).ok()),
        ),
        (None, None) => None,
        _ => Some(None),
    };
    let expires_at = match expires_at {
        Some(None) => return Err(at("expected a time, found another text")),
        Some(time) => time,
        None => None,
    };
    let index = |attributes: &mut Attributes, schema: &IndexSchema| {
        take_key(attributes, schema.pk, schema.sk)
    };
    Ok(Item {
        version: version.ok_or_else(|| at("expected a version"))?,
        gsi1: index(&mut attributes, &GSI1)?,
        gsi2: index(&mut attributes, &GSI2)?,
        expires_at,
        body: body.ok_or_else(|| at("expected a record as JSON"))?,
        key,
    })
}

fn take_key(attributes: &mut Attributes, pk: &str, sk: &str) -> Result<Option<Key>, TableError> {
    match (attributes.remove(pk), attributes.remove(sk)) {
        (Some(AttributeValue::S(pk)), Some(AttributeValue::S(sk))) => Ok(Some(Key { pk, sk })),
        (None, None) => Ok(None),
        _ => Err(damaged(&format!("expected {pk} and {sk} as text"))),
    }
}

/// Which call wrote the item.
pub(crate) fn writer(attributes: &Attributes) -> Option<&str> {
    attributes.get(WRITER)?.as_s().ok().map(String::as_str)
}

fn damaged(what: &str) -> TableError {
    TableError::Unavailable(format!("an item of the table is not ours: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stored(sent: &Item) -> Result<Item, TableError> {
        let (mut attributes, _) = rest(sent, "w")?;
        attributes.extend(key(&sent.key));
        attributes.insert(VERSION.to_owned(), number(sent.version));
        item(attributes)
    }

    proptest! {
        #[test]
        fn an_item_comes_back_as_it_went(
            pk in ".{1,40}", sk in ".{1,40}", g in proptest::option::of((".{1,9}", ".{1,9}")),
            expires in proptest::option::of((-4_000_000_000_i64..4_000_000_000, 0_i32..1_000_000_000)),
            text in ".*", v in any::<u64>(), f in any::<f64>(),
        ) {
            let sent = Item {
                key: Key::new(pk, sk),
                version: v,
                gsi1: g.clone().map(|(a, b)| Key::new(a, b)),
                gsi2: g.map(|(a, b)| Key::new(b, a)),
                expires_at: expires.and_then(|(s, n)| Timestamp::new(s, n).ok()),
                body: json!({ "text": text, "n": v, "f": f, "a": 1 }),
            };
            prop_assert_eq!(stored(&sent).unwrap(), sent);
        }

        #[test]
        fn an_item_never_expires_early(second in 0_i64..4_000_000_000, nano in 0_i32..1_000_000_000) {
            let time = Timestamp::new(second, nano).unwrap();
            let sent = Item {
                key: Key::new("p", "s"), version: 1, gsi1: None, gsi2: None,
                expires_at: Some(time), body: json!(1),
            };
            let (attributes, _) = rest(&sent, "w").unwrap();
            let AttributeValue::N(seconds) = &attributes[EXPIRES] else { panic!("a number") };
            let deleted = Timestamp::from_second(seconds.parse().unwrap()).unwrap();
            prop_assert!(deleted >= time && deleted.as_second() <= second + 1);
        }
    }

    #[test]
    fn what_is_not_ours_is_an_error_and_never_a_panic() {
        let sent = Item {
            key: Key::new("p", "s"),
            version: 1,
            gsi1: Some(Key::new("g", "h")),
            gsi2: None,
            expires_at: Some(Timestamp::UNIX_EPOCH),
            body: json!({}),
        };
        let (mut whole, _) = rest(&sent, "w").unwrap();
        whole.extend(key(&sent.key));
        whole.insert(VERSION.to_owned(), number(1));
        for name in [PK, SK, VERSION, BODY, GSI1.pk, GSI1.sk] {
            let mut less = whole.clone();
            less.remove(name);
            assert!(item(less).is_err(), "without {name}");
        }
        for name in [PK, SK, VERSION, BODY, GSI1.pk, EXPIRES] {
            let mut other = whole.clone();
            other.insert(name.to_owned(), AttributeValue::Bool(true));
            assert!(item(other).is_err(), "{name} of another type");
        }
        assert_eq!(item(whole).unwrap(), sent);
    }
}
