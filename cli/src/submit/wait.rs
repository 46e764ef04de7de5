//! Waiting for a group, with its phases shown live.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use tokio::time::Instant;

use crate::client::Client;
use crate::client::types::{Deferred, GROUP, Group};
use crate::failure::Failure;
use crate::out::{Out, Style, bytes, table};

/// The first and the longest wait between two questions.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// For how long a stack that does not answer is waited for: it may be starting again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until `ready` gives an answer. Waits out a stack that is starting again.
///
/// # Errors
/// What `ask` fails with, [`Failure::TimedOut`] after `timeout`.
pub(crate) async fn poll<T, Fut>(
    what: &str,
    timeout: SignedDuration,
    mut ask: impl FnMut() -> Fut,
    mut ready: impl FnMut(&T) -> bool,
) -> Result<T, Failure>
where
    Fut: Future<Output = Result<T, Failure>>,
{
    let timeout = Duration::try_from(timeout).unwrap_or_default();
    let begun = Instant::now();
    let mut heard = begun;
    let mut pause = POLL.0;
    loop {
        match ask().await {
            Ok(value) if ready(&value) => return Ok(value),
            Ok(_) => heard = Instant::now(),
            Err(Failure::Unreachable(_)) if heard.elapsed() < PATIENCE => {}
            Err(failure) => return Err(failure),
        }
        if begun.elapsed() >= timeout {
            return Err(Failure::TimedOut(format!(
                "{what}: expected it to be done within {timeout:?}, found it still under way"
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(POLL.1);
    }
}

/// One group as it stands.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn group(client: &Client, id: &str) -> Result<Group, Failure> {
    let query = format!("query($id: UUID!) {{ group(target: {{ group: $id }}) {{ {GROUP} }} }}");
    client.ask("group", &query, json!({ "id": id })).await
}

/// Waits until nothing will change any more, or an operator is needed.
///
/// # Errors
/// As [`poll`].
pub(crate) async fn wait_for_group(
    out: &Out,
    client: &Client,
    id: &str,
    timeout: SignedDuration,
) -> Result<Group, Failure> {
    let line = out.spinner(&format!("group {id}"));
    let group = poll(
        &format!("group {id}"),
        timeout,
        || group(client, id),
        |group: &Group| {
            line.set_message(phases(&group.state));
            group.is_final || group.state == "parked"
        },
    )
    .await;
    line.finish_and_clear();
    group
}

/// The way of a checkpoint, up to where it is.
fn phases(state: &str) -> String {
    const WAY: [(&str, &str); 5] = [
        ("submitted", "validate"),
        ("staged", "allocate"),
        ("executing", "execute"),
        ("written", "verify"),
        ("verified", "commit"),
    ];
    let state = if state == "allocated" {
        "executing"
    } else {
        state
    };
    let Some(here) = WAY.iter().position(|(at, _)| *at == state) else {
        return state.to_owned();
    };
    let mut text = String::new();
    for (index, (_, phase)) in WAY.iter().enumerate() {
        let mark = match index.cmp(&here) {
            std::cmp::Ordering::Less => "✓",
            std::cmp::Ordering::Equal => "…",
            std::cmp::Ordering::Greater => "·",
        };
        // Writing into a String cannot fail.
        let _ = write!(text, "{phase} {mark}  ");
    }
    text.trim_end().to_owned()
}

/// A state in its colour.
pub(crate) fn state(style: Style, state: &str) -> String {
    match state {
        "committed" => style.green(state),
        "rejected" | "failed" | "parked" => style.red(state),
        _ => state.to_owned(),
    }
}

/// Why something waits, and until when; nothing where it does not.
pub(crate) fn waits(deferred: Option<&Deferred>) -> String {
    deferred.map_or_else(String::new, |deferred| {
        format!(
            "  waits until {} (asked {} times): {}\n",
            deferred.until, deferred.times, deferred.reason
        )
    })
}

/// A group for people.
pub(crate) fn show_group(style: Style, group: &Group) -> String {
    let mut text = format!(
        "{}  {}  {}\n",
        style.bold(&group.id),
        state(style, &group.state),
        bytes(group.bytes)
    );
    text.push_str(&waits(group.deferred.as_ref()));
    let rows: Vec<Vec<String>> = group
        .checkpoints
        .iter()
        .map(|member| {
            let instead = member
                .merged_into
                .as_ref()
                .or(member.superseded_by.as_ref());
            vec![
                member.id.clone(),
                member.service.clone(),
                member.version.clone(),
                format!("{} artifacts", member.artifact_count),
                bytes(member.bytes),
                instead.map_or_else(String::new, |id| format!("see {id}")),
            ]
        })
        .collect();
    text.push_str(&table(
        style,
        &["CHECKPOINT", "SERVICE", "VERSION", "HAS", "SIZE", ""],
        &rows,
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_are_shown_in_their_order() {
        assert_eq!(
            phases("executing"),
            "validate ✓  allocate ✓  execute …  verify ·  commit ·"
        );
        assert_eq!(phases("committed"), "committed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stack_that_starts_again_is_waited_for() {
        let mut asked = 0;
        let answer = poll(
            "it",
            SignedDuration::from_secs(600),
            || {
                asked += 1;
                let n = asked;
                async move {
                    if n < 20 {
                        Err(Failure::Unreachable("gone".into()))
                    } else {
                        Ok(n)
                    }
                }
            },
            |_| true,
        )
        .await
        .unwrap();
        assert_eq!(answer, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends() {
        let ask = || async { Ok::<_, Failure>(1) };
        let answer = poll("it", SignedDuration::from_secs(2), ask, |_| false).await;
        assert!(matches!(answer, Err(Failure::TimedOut(_))));
        let ask = || async { Err::<u8, _>(Failure::Unreachable("gone".into())) };
        let answer = poll("it", SignedDuration::from_secs(600), ask, |_| true).await;
        assert!(matches!(answer, Err(Failure::Unreachable(_))));
    }
}
