//! Relay connections over the control plane's pages.
//!
//! The control plane hands out a cursor a page; Relay wants one an item. So an item's
//! cursor is the cursor of the page it came from together with the item's key, and going
//! on behind it means reading that page again up to the item. What was added in the
//! meantime shifts items, never keys.

use async_graphql::Error;
use async_graphql::connection::{Connection, DefaultConnectionName, Edge, EmptyFields};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::ports::Cursor;
use model::{Code, Refusal};
use serde::{Deserialize, Serialize};

use crate::error::{OrRefused, refused};
use crate::limits;

/// How many pages are read to find the item of a cursor, before the cursor is refused.
const MAX_PAGES: u32 = 50;

/// Where a list goes on.
#[derive(Serialize, Deserialize)]
struct Place {
    /// The control plane's cursor of the page; none for the first page.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    /// The last item seen on that page.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Place {
    fn encode(&self) -> String {
        // Two optional texts always have a JSON form.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<Self, Error> {
        let stale = || {
            refused(
                Refusal::new(
                    Code::InvalidRequest,
                    "after: expected a cursor from this list, found something else",
                )
                .at("after"),
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| stale())?;
        serde_json::from_slice(&bytes).map_err(|_| stale())
    }
}

/// The size of the page, from the argument.
pub(crate) fn size(first: Option<i32>, max: u32) -> Result<u32, Error> {
    match first {
        None => Ok(limits::DEFAULT_PAGE),
        Some(n) => u32::try_from(n)
            .ok()
            .filter(|n| (1..=max).contains(n))
            .ok_or_else(|| {
                refused(
                    Refusal::new(
                        Code::InvalidRequest,
                        format!("first: expected 1 to {max}, found {n}"),
                    )
                    .at("first"),
                )
            }),
    }
}

pub(crate) type Page<T> = Connection<String, T, EmptyFields, EmptyFields, DefaultConnectionName>;

/// One page of a list that the control plane pages.
pub(crate) async fn connection<T, N, F, Fut>(
    first: Option<i32>,
    after: Option<String>,
    key: impl Fn(&T) -> String,
    node: impl Fn(T) -> N,
    fetch: F,
) -> Result<Page<N>, Error>
where
    N: async_graphql::OutputType,
    F: Fn(u32, Option<Cursor>) -> Fut,
    Fut: Future<Output = Result<(Vec<T>, Option<Cursor>), Refusal>>,
{
    let wanted = size(first, limits::MAX_PAGE)? as usize;
    let start = after.as_deref().map(Place::decode).transpose()?;
    let has_previous = start.is_some();
    let (mut page, mut seen) = start.map_or((None, None), |place| (place.page, place.key));
    let mut edges: Vec<(Place, T)> = Vec::with_capacity(wanted);
    let mut more = false;
    for _ in 0..MAX_PAGES {
        // One beyond what is wanted tells whether there is more.
        let ask = (wanted + 1 - edges.len())
            .max(2)
            .min(limits::MAX_PAGE as usize);
        let limit = if seen.is_some() {
            limits::MAX_PAGE
        } else {
            ask as u32
        };
        let (items, next) = fetch(limit, page.clone().map(Cursor)).await.or_refused()?;
        for item in items {
            let key = key(&item);
            if let Some(last) = &seen {
                if *last == key {
                    seen = None;
                }
                continue;
            }
            if edges.len() == wanted {
                more = true;
                break;
            }
            edges.push((
                Place {
                    page: page.clone(),
                    key: Some(key),
                },
                item,
            ));
        }
        match next {
            Some(next) if !more => page = Some(next.0),
            _ => break,
        }
    }
    if seen.is_some() {
        return Err(refused(
            Refusal::new(
                Code::InvalidRequest,
                "after: expected a cursor whose item is still in the list, found one that is not",
            )
            .at("after"),
        ));
    }
    let mut answer = Connection::new(has_previous, more);
    answer.edges.extend(
        edges
            .into_iter()
            .map(|(place, item)| Edge::new(place.encode(), node(item))),
    );
    Ok(answer)
}

/// One page of a list that is there as a whole. The cursor is the index.
pub(crate) fn slice<T, N: async_graphql::OutputType>(
    first: Option<i32>,
    after: Option<String>,
    max: u32,
    items: Vec<T>,
    node: impl Fn(T) -> N,
) -> Result<Page<N>, Error> {
    let wanted = size(first, max)? as usize;
    let start = match after {
        None => 0,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .and_then(|n| n.checked_add(1))
            .ok_or_else(|| {
                refused(
                    Refusal::new(
                        Code::InvalidRequest,
                        format!(
                            "after: expected a cursor from this list, found {:?}",
                            text.chars().take(80).collect::<String>()
                        ),
                    )
                    .at("after"),
                )
            })?,
    };
    let more = items.len() > start.saturating_add(wanted);
    let mut answer = Connection::new(start > 0, more);
    answer.edges.extend(
        items
            .into_iter()
            .enumerate()
            .skip(start)
            .take(wanted)
            .map(|(index, item)| Edge::new(index.to_string(), node(item))),
    );
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of the numbers below `n`, newest (highest) first, with the control plane's way
    /// of cursors: "the next item is this one".
    async fn page(
        n: u32,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<u32>, Option<Cursor>), Refusal> {
        let from = after.map_or(n, |cursor| cursor.0.parse().unwrap());
        let items: Vec<u32> = (0..from).rev().take(limit as usize).collect();
        let next = from.saturating_sub(limit);
        Ok((items, (next > 0).then(|| Cursor(next.to_string()))))
    }

    async fn walk(n: u32, first: i32) -> Vec<i32> {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let answer = connection(
                Some(first),
                after,
                |item: &u32| item.to_string(),
                |item| item as i32,
                |limit, after| page(n, limit, after),
            )
            .await
            .unwrap();
            seen.extend(answer.edges.iter().map(|edge| edge.node));
            after = answer.edges.last().map(|edge| edge.cursor.clone());
            if !answer.has_next_page {
                return seen;
            }
        }
    }

    #[tokio::test]
    async fn walking_shows_every_item_once_in_order() {
        for (n, first) in [
            (0, 5),
            (1, 1),
            (5, 5),
            (6, 5),
            (450, 200),
            (450, 7),
            (401, 200),
        ] {
            let expected: Vec<i32> = (0..n as i32).rev().collect();
            assert_eq!(walk(n, first).await, expected, "{n} by {first}");
        }
    }

    #[tokio::test]
    async fn what_is_added_meanwhile_is_not_shown_twice() {
        let fetch = |n: u32, after| {
            connection(
                Some(3),
                after,
                |item: &u32| item.to_string(),
                |item| item as i32,
                move |limit, after| page(n, limit, after),
            )
        };
        let one = fetch(10, None).await.unwrap();
        let after = one.edges.last().map(|edge| edge.cursor.clone());
        let two = fetch(13, after).await.unwrap();
        let nodes: Vec<i32> = two.edges.iter().map(|edge| edge.node).collect();
        assert_eq!(nodes, [6, 5, 4]);
    }

    #[tokio::test]
    async fn a_made_up_cursor_or_size_is_refused() {
        for (first, after) in [(Some(0), None), (Some(201), None), (Some(1), Some("x"))] {
            let answer = connection(
                first,
                after.map(str::to_owned),
                |item: &u32| item.to_string(),
                |item| item as i32,
                |limit, after| page(9, limit, after),
            )
            .await;
            assert!(answer.is_err(), "{first:?} {after:?}");
        }
    }
}
