//! Where a query goes on: DynamoDB's last key, tied to the query it came from.
//!
//! Not a secret and not signed: whatever a client makes up, it leads nowhere outside the
//! partition and the sort keys that the query itself names.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::ports::{Cursor, Index, Key, Query, SortKeys, TableError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::encode::{self, Attributes, text};
use crate::schema::{GSI1, GSI2, IndexSchema, PK, SK};

/// What a cursor says.
#[derive(Serialize, Deserialize)]
struct Place {
    query: String,
    /// The sort key in the index queried.
    sk: String,
    /// The item's primary key, in a query on an index.
    key: Option<Key>,
}

/// The schema of a global index; none for the table itself.
pub(crate) fn schema(index: Index) -> Option<&'static IndexSchema> {
    match index {
        Index::Main => None,
        Index::Gsi1 => Some(&GSI1),
        Index::Gsi2 => Some(&GSI2),
    }
}

/// The names of the partition and sort key of an index.
pub(crate) fn key_names(index: Index) -> (&'static str, &'static str) {
    schema(index).map_or((PK, SK), |schema| (schema.pk, schema.sk))
}

/// The key to start behind.
///
/// # Errors
/// [`TableError::Limit`] where the cursor is of another query, or no cursor.
pub(crate) fn start(query: &Query, cursor: &Cursor) -> Result<Attributes, TableError> {
    let foreign = || TableError::Limit("query: the cursor belongs to another query".to_owned());
    let place = URL_SAFE_NO_PAD
        .decode(&cursor.0)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Place>(&bytes).ok())
        .ok_or_else(foreign)?;
    let within = match &query.sort {
        SortKeys::All => true,
        SortKeys::Prefix(prefix) => place.sk.starts_with(prefix.as_str()),
        SortKeys::Between(low, high) => *low <= place.sk && place.sk <= *high,
    };
    let is_index = query.index != Index::Main;
    if place.query != fingerprint(query) || place.key.is_some() != is_index || !within {
        return Err(foreign());
    }
    let own = Key::new(query.pk.clone(), place.sk);
    encode::check_key(&own).map_err(|_| foreign())?;
    let (pk, sk) = key_names(query.index);
    let mut start = HashMap::from([
        (pk.to_owned(), text(&own.pk)),
        (sk.to_owned(), text(&own.sk)),
    ]);
    if let Some(key) = place.key {
        encode::check_key(&key).map_err(|_| foreign())?;
        start.extend(encode::key(&key));
    }
    Ok(start)
}

/// The cursor behind DynamoDB's last key.
///
/// # Errors
/// [`TableError::Unavailable`] where the key is none of this table.
pub(crate) fn after(query: &Query, last: &Attributes) -> Result<Cursor, TableError> {
    let part = |name: &str| {
        last.get(name)
            .and_then(|value| value.as_s().ok())
            .cloned()
            .ok_or_else(|| TableError::Unavailable(format!("a last key without {name}")))
    };
    let is_index = query.index != Index::Main;
    let place = Place {
        query: fingerprint(query),
        sk: part(key_names(query.index).1)?,
        key: if is_index {
            Some(Key::new(part(PK)?, part(SK)?))
        } else {
            None
        },
    };
    Ok(Cursor(
        URL_SAFE_NO_PAD.encode(serde_json::json!(place).to_string()),
    ))
}

/// Ties a cursor to its query.
fn fingerprint(query: &Query) -> String {
    let parts = (query.index, &query.pk, query.descending);
    hex::encode(&Sha256::digest(format!("{parts:?}{:?}", query.sort))[..8])
}
