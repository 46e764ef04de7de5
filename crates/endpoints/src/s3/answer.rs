//! Conditions, ranges, tokens and times, from requests and for answers.

use std::ops::Range as Bytes;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};

use crate::store::Only;
use crate::sums::Hashed;

/// The most names on a page (API reference).
const MAX_PAGE: i32 = 1_000;

/// The condition of a write.
pub(super) fn only(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Only> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Only::Always),
        (None, Some(ETagCondition::Any)) => Ok(Only::IfAbsent),
        (Some(ETagCondition::Any), None) => Ok(Only::IfPresent),
        (Some(ETagCondition::ETag(tag)), None) => Ok(Only::IfTag(tag.value().to_owned())),
        _ => Err(s3_error!(
            NotImplemented,
            "expected If-Match, or If-None-Match with *"
        )),
    }
}

fn matches(condition: &ETagCondition, tag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == tag,
    }
}

/// The condition of a read.
pub(super) fn read_condition(
    tag: &str,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<()> {
    if if_match.is_some_and(|condition| !matches(&condition, tag)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(|condition| matches(&condition, tag)) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

/// The condition on the source of a copy.
pub(super) fn source_condition(
    tag: &str,
    (if_match, if_none_match): &(Option<ETagCondition>, Option<ETagCondition>),
) -> S3Result<()> {
    let is_other = if_match
        .as_ref()
        .is_some_and(|wanted| !matches(wanted, tag));
    let is_same = if_none_match
        .as_ref()
        .is_some_and(|other| matches(other, tag));
    if is_other || is_same {
        return Err(s3_error!(PreconditionFailed));
    }
    Ok(())
}

/// The range of a part that is copied: all, or `bytes=from-to` within the source.
pub(super) fn copied_range(range: Option<&str>, size: u64) -> S3Result<Bytes<u64>> {
    let Some(range) = range else {
        return Ok(0..size);
    };
    let bounds = range
        .strip_prefix("bytes=")
        .and_then(|bounds| bounds.split_once('-'))
        .and_then(|(from, to)| Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?)));
    match bounds {
        Some((from, to)) if from <= to && to < size => Ok(from..to + 1),
        _ => Err(s3_error!(
            InvalidRange,
            "expected bytes=FROM-TO within {size} bytes, found {range}"
        )),
    }
}

/// What the client says of a body besides checksums.
pub(super) fn check_body(
    content_md5: Option<&str>,
    content_length: Option<i64>,
    found: &Hashed,
) -> S3Result<()> {
    if let Some(declared) = content_md5 {
        let declared = STANDARD
            .decode(declared)
            .map_err(|_| s3_error!(InvalidDigest))?;
        if declared != found.md5 {
            return Err(s3_error!(BadDigest, "Content-MD5 did not match"));
        }
    }
    let declared = content_length.and_then(|length| u64::try_from(length).ok());
    if declared.is_some_and(|declared| declared != found.bytes) {
        return Err(s3_error!(
            IncompleteBody,
            "expected {declared:?} bytes, found {}",
            found.bytes
        ));
    }
    Ok(())
}

pub(super) fn page_size(asked: Option<i32>) -> S3Result<usize> {
    usize::try_from(asked.unwrap_or(MAX_PAGE).min(MAX_PAGE))
        .map_err(|_| s3_error!(InvalidArgument, "expected a page of 0 to {MAX_PAGE}"))
}

/// Opaque to clients, and safe in a URL.
pub(super) fn encode_token(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

pub(super) fn decode_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "The continuation token provided is incorrect"
            )
        })
}

/// A name for a listing: as it is, or for a URL where the client asked so (boto3 does).
pub(super) fn encoded(name: String, is_url: bool) -> String {
    if !is_url {
        return name;
    }
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

pub(super) fn tag(text: &str) -> ETag {
    ETag::Strong(text.to_owned())
}

pub(super) fn time(time: jiff::Timestamp) -> Timestamp {
    Timestamp::from(SystemTime::from(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_copies_lie_within_their_source() {
        assert_eq!(copied_range(None, 10).unwrap(), 0..10);
        assert_eq!(copied_range(Some("bytes=2-9"), 10).unwrap(), 2..10);
        let full = format!("bytes=0-{}", u64::MAX);
        for bad in [
            "bytes=2-10",
            "bytes=3-2",
            "bytes=-2",
            "2-3",
            &full,
            "bytes=a-b",
        ] {
            assert!(copied_range(Some(bad), 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_come_back_and_guesses_are_refused() {
        let last = "größe/a b\u{1}";
        assert_eq!(decode_token(&encode_token(last)).unwrap(), last);
        for bad in ["%", "größe", "_w"] {
            assert!(decode_token(bad).is_err(), "{bad}");
        }
    }
}
