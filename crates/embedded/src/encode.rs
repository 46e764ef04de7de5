//! How an item lies in the file: version, keys in the indexes, expiry, body.
//!
//! ```text
//! u64 version, little endian | u32 length of the head | head, JSON | body, JSON
//! ```
//!
//! The head is apart from the body so that the writer can move an item's index entries
//! without reading the body, and set its version without writing it anew.

use control::ports::{Item, Key, TableError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// The longest partition key in bytes (DynamoDB).
pub(crate) const MAX_PK_BYTES: usize = 2048;
/// The longest sort key in bytes (DynamoDB).
pub(crate) const MAX_SK_BYTES: usize = 1024;
/// The largest item in bytes, keys included (DynamoDB: 400 KB).
pub(crate) const MAX_ITEM_BYTES: usize = 400 * 1024;

const VERSION_BYTES: usize = 8;
const HEAD_AT: usize = VERSION_BYTES + 4;

/// What the writer needs of an item without its body.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Head {
    #[serde(default, rename = "1", skip_serializing_if = "Option::is_none")]
    pub(crate) gsi1: Option<Key>,
    #[serde(default, rename = "2", skip_serializing_if = "Option::is_none")]
    pub(crate) gsi2: Option<Key>,
    #[serde(default, rename = "x", skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// An item's bytes with version 0, after every limit was checked.
pub(crate) fn item(item: &Item) -> Result<Vec<u8>, TableError> {
    key(&item.key)?;
    for index_key in [&item.gsi1, &item.gsi2].into_iter().flatten() {
        key(index_key)?;
    }
    let limit = |error: serde_json::Error| TableError::Limit(format!("item is not JSON: {error}"));
    let mut bytes = vec![0; HEAD_AT];
    let head = Head {
        gsi1: item.gsi1.clone(),
        gsi2: item.gsi2.clone(),
        expires_at: item.expires_at,
    };
    serde_json::to_writer(&mut bytes, &head).map_err(limit)?;
    let head_length = u32::try_from(bytes.len() - HEAD_AT)
        .map_err(|_| TableError::Limit("index keys are too long".to_owned()))?;
    bytes[VERSION_BYTES..HEAD_AT].copy_from_slice(&head_length.to_le_bytes());
    serde_json::to_writer(&mut bytes, &item.body).map_err(limit)?;
    let size = bytes.len() + item.key.pk.len() + item.key.sk.len();
    if size > MAX_ITEM_BYTES {
        return Err(TableError::Limit(format!(
            "item {}/{}: expected at most {MAX_ITEM_BYTES} bytes, found {size}",
            item.key.pk, item.key.sk
        )));
    }
    Ok(bytes)
}

/// Checks a key's two lengths.
pub(crate) fn key(key: &Key) -> Result<(), TableError> {
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

/// Writes the version into an item's bytes.
pub(crate) fn set_version(bytes: &mut [u8], version: u64) {
    bytes[..VERSION_BYTES].copy_from_slice(&version.to_le_bytes());
}

/// The version of an item's bytes.
pub(crate) fn version(bytes: &[u8]) -> Result<u64, StoreError> {
    let version = bytes.first_chunk::<VERSION_BYTES>().ok_or_else(damaged)?;
    Ok(u64::from_le_bytes(*version))
}

/// The head of an item's bytes.
pub(crate) fn head(bytes: &[u8]) -> Result<Head, StoreError> {
    serde_json::from_slice(parts(bytes)?.0).map_err(|_| damaged())
}

/// The item that these bytes are.
pub(crate) fn decode(key: Key, bytes: &[u8]) -> Result<Item, StoreError> {
    let (head, body) = parts(bytes)?;
    let head: Head = serde_json::from_slice(head).map_err(|_| damaged())?;
    Ok(Item {
        key,
        version: version(bytes)?,
        gsi1: head.gsi1,
        gsi2: head.gsi2,
        expires_at: head.expires_at,
        body: serde_json::from_slice(body).map_err(|_| damaged())?,
    })
}

fn parts(bytes: &[u8]) -> Result<(&[u8], &[u8]), StoreError> {
    let rest = bytes.get(VERSION_BYTES..).ok_or_else(damaged)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let length = u32::from_le_bytes(*length) as usize;
    rest.split_at_checked(length).ok_or_else(damaged)
}

fn damaged() -> StoreError {
    StoreError("an item of the catalogue file is damaged".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn an_item_comes_back_as_it_went(
            pk in ".{1,40}", sk in ".{1,40}", g in proptest::option::of((".{1,9}", ".{1,9}")),
            expires in proptest::option::of(0i64..4_000_000_000), text in ".*", v in any::<u64>(),
        ) {
            let sent = Item {
                key: Key::new(pk, sk),
                version: v,
                gsi1: g.clone().map(|(a, b)| Key::new(a, b)),
                gsi2: g.map(|(a, b)| Key::new(b, a)),
                expires_at: expires.map(|s| Timestamp::from_second(s).unwrap()),
                body: json!({ "text": text, "n": v }),
            };
            let mut bytes = item(&sent).unwrap();
            set_version(&mut bytes, v);
            prop_assert_eq!(decode(sent.key.clone(), &bytes).unwrap(), sent);
        }

        #[test]
        fn damaged_bytes_are_an_error_and_never_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(Key::new("p", "s"), &bytes);
            let _ = head(&bytes);
        }
    }
}
