//! One record of the stream.

use aws::schema;
use control::News;
use control::ports::Key;
use model::Refusal;
use serde_json::Value;

use crate::damaged;

/// Its number in the shard.
pub(crate) fn sequence(record: &Value) -> Option<&str> {
    record.pointer("/dynamodb/SequenceNumber")?.as_str()
}

/// What it says. Only new items say anything: effects and leaves are written once.
pub(crate) fn news(record: &Value) -> Result<News, Refusal> {
    let name = record.get("eventName").and_then(Value::as_str);
    match name {
        Some("INSERT") => {}
        Some("MODIFY" | "REMOVE") => return Ok(News::Other),
        _ => return Err(damaged("an eventName of INSERT, MODIFY or REMOVE")),
    }
    let image = record
        .pointer("/dynamodb/NewImage")
        .ok_or_else(|| damaged("a NewImage: the stream's view is NEW_AND_OLD_IMAGES"))?;
    let text = |name: &str| {
        let attribute = image.get(name).and_then(|attribute| attribute.get("S"));
        attribute.and_then(Value::as_str)
    };
    let key = match (text(schema::PK), text(schema::SK)) {
        (Some(pk), Some(sk)) => Key::new(pk, sk),
        _ => return Err(damaged("a key of two texts")),
    };
    let body = text(schema::BODY)
        .and_then(|body| serde_json::from_str(body).ok())
        .ok_or_else(|| damaged("a body of JSON"))?;
    News::of(&key, body)
}
