//! From the contract to the model. Everything here was written by somebody else's code:
//! nothing is taken over unchecked, and nothing in it can make us fail.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    Action, CheckpointId, Code, Decision, MAX_REASON_BYTES, Refusal, ReleaseRef, ResolverInfo,
    Verdict,
};

use super::input::Input;
use super::{LIMIT, wit};
use crate::version::Broken;

/// The longest code of a resolver's own, in bytes: as long as a name.
const MAX_CODE_BYTES: usize = 64;

/// The most labels that a resolver may give itself, and the longest of their names and
/// values in bytes.
const MAX_LABELS: usize = 64;

/// A decision within the contract's limits, verdicts sorted by id.
pub(super) fn decision(input: &Input, decision: wit::Decision) -> Result<Decision, Broken> {
    let expected = input.ids.len();
    let found = decision.verdicts.len();
    // Before anything is made of them: a hundred thousand verdicts are still cheap to
    // refuse. Which one is missing or there twice, the invariants say.
    if found > expected.saturating_mul(2) {
        return Err(format!(
            "verdicts: expected {expected}, one for each request, found {found}"
        ));
    }
    let mut verdicts = decision
        .verdicts
        .into_iter()
        .enumerate()
        .map(|(n, v)| verdict(input, v).map_err(|why| format!("verdicts[{n}].{why}")))
        .collect::<Result<Vec<_>, _>>()?;
    verdicts.sort_by_key(|verdict| verdict.id);
    Ok(Decision {
        verdicts,
        reason: text("reason", decision.reason)?,
    })
}

fn verdict(input: &Input, verdict: wit::Verdict) -> Result<Verdict, Broken> {
    let id = known(input, "id", &verdict.id)?;
    let reason = text("reason", verdict.reason)?;
    let action = match verdict.action {
        // That it is below 2^53, the invariants check.
        wit::Action::Proceed(order) => Action::Proceed { order },
        wit::Action::Supersede(by) => Action::Supersede {
            by: known(input, "action.supersede", &by)?,
        },
        wit::Action::Merge(into) => Action::Merge {
            into: known(input, "action.merge", &into)?,
        },
        wit::Action::Defer(until) => Action::Defer {
            until: instant("action.defer", until)?,
        },
        wit::Action::Reject(code) => Action::Reject {
            refusal: refusal(code, &reason)?,
        },
    };
    Ok(Verdict { id, action, reason })
}

/// An id of the set, by its text: ids sort as their texts do.
fn known(input: &Input, field: &str, id: &str) -> Result<CheckpointId, Broken> {
    let found = input
        .set
        .requests
        .binary_search_by(|request| request.id.as_str().cmp(id));
    let id_of = found.ok().and_then(|n| input.ids.get(n)).copied();
    id_of.ok_or_else(|| format!("{field}: expected an id of the set, found {}", quote(id)))
}

/// Two codes of ours may be used; all others say that the policy refused.
fn refusal(code: String, reason: &str) -> Result<Refusal, Broken> {
    let code = own_code("action.reject", code)?;
    let ours = [Code::LineageFork, Code::DeadlineMissed];
    Ok(match ours.into_iter().find(|ours| ours.as_str() == code) {
        Some(ours) => Refusal::new(ours, reason),
        None => Refusal::new(Code::PolicyRefused, format!("{code}: {reason}")),
    })
}

/// What a resolver says that it cannot do.
pub(super) fn error(error: wit::ResolverError) -> Result<(String, String), Broken> {
    let code = own_code("error.code", error.code)?;
    Ok((code, text("error.message", error.message)?))
}

/// What a resolver says it is.
pub(super) fn info(info: wit::ResolverInfo) -> Result<ResolverInfo, Broken> {
    let name = info.name;
    if !ReleaseRef::is_name(&name) {
        return Err(format!(
            "name: expected 1 to 64 lower-case letters, digits and hyphens, found {}",
            quote(&name)
        ));
    }
    let version = info.version;
    if !ReleaseRef::is_version(&version) {
        return Err(format!(
            "version: expected a version of Semantic Versioning 2.0 with at most 64 bytes, found {}",
            quote(&version)
        ));
    }
    let summary = text("summary", info.summary)?;
    if summary.contains('\n') {
        return Err("summary: expected one line, found several".to_owned());
    }
    let count = info.labels.len();
    let long = |(name, value): &(String, String)| name.len().max(value.len()) > MAX_REASON_BYTES;
    if count > MAX_LABELS || info.labels.iter().any(long) {
        return Err(format!(
            "labels: expected at most {MAX_LABELS} of at most {MAX_REASON_BYTES} bytes, found {count}"
        ));
    }
    let labels: BTreeMap<_, _> = info.labels.into_iter().collect();
    if labels.len() < count {
        return Err("labels: expected each name once".to_owned());
    }
    Ok(ResolverInfo {
        name,
        version,
        summary,
        labels,
    })
}

fn own_code(field: &str, code: String) -> Result<String, Broken> {
    if code.is_empty() || code.len() > MAX_CODE_BYTES || !code.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(format!(
            "{field}: expected a code of 1 to {MAX_CODE_BYTES} printable ASCII characters \
             without spaces, found {}",
            quote(&code)
        ));
    }
    Ok(code)
}

/// A text for humans, of bounded length. Control characters but line ends and tabs become
/// `?`: it will stand in terminals and logs.
fn text(field: &str, text: String) -> Result<String, Broken> {
    if text.len() > MAX_REASON_BYTES {
        return Err(format!(
            "{field}: expected at most {MAX_REASON_BYTES} bytes, found {}",
            text.len()
        ));
    }
    let harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(harmful) {
        return Ok(text.replace(harmful, "?"));
    }
    Ok(text)
}

fn instant(field: &str, ms: u64) -> Result<Timestamp, Broken> {
    let at = Some(ms).filter(|ms| *ms < LIMIT);
    let at = at.and_then(|ms| i64::try_from(ms).ok());
    at.and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .ok_or_else(|| format!("{field}: expected milliseconds since 1970, found {ms}"))
}

/// At most 80 characters of a text, quoted and escaped.
fn quote(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}
