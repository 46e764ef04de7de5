//! Order, filters, pages, cursors.

use super::*;

pub(super) async fn order_is_bytewise(table: &dyn Table) {
    let ordered = [
        "!", "#", "0", "10", "2", "A", "Z", "a", "a\u{0}", "aa", "z", "é", "漢", "🎞",
    ];
    for sk in ordered.iter().rev() {
        table
            .transact(vec![put("P", sk, json!({}), Condition::None)])
            .await
            .unwrap();
    }
    // Partitions whose names begin alike or lie next to it do not show.
    for pk in ["P\u{0}", "P#", "PP", "O", "Q"] {
        table
            .transact(vec![put(pk, "x", json!({}), Condition::None)])
            .await
            .unwrap();
    }
    let mut query = all_of(Index::Main, "P");
    assert_eq!(sort_keys(table, &query).await, ordered);
    query.descending = true;
    let backwards: Vec<_> = ordered.iter().rev().copied().collect();
    assert_eq!(sort_keys(table, &query).await, backwards);
}

pub(super) async fn sort_keys_are_filtered(table: &dyn Table) {
    for sk in ["A", "B#", "B#1", "B#2", "B#2x", "B$", "C"] {
        table
            .transact(vec![put("P", sk, json!({}), Condition::None)])
            .await
            .unwrap();
    }
    let between = |low: &str, high: &str| SortKeys::Between(low.to_owned(), high.to_owned());
    let cases: [(SortKeys, &[&str]); 7] = [
        (
            SortKeys::Prefix("B#".to_owned()),
            &["B#", "B#1", "B#2", "B#2x"],
        ),
        (SortKeys::Prefix("X".to_owned()), &[]),
        (between("B#1", "B#2"), &["B#1", "B#2"]),
        (between("B", "B$"), &["B#", "B#1", "B#2", "B#2x", "B$"]),
        (between("C", "C"), &["C"]),
        (between("D", "Z"), &[]),
        (SortKeys::All, &["A", "B#", "B#1", "B#2", "B#2x", "B$", "C"]),
    ];
    for (sort, expected) in cases {
        for descending in [false, true] {
            let query = Query {
                sort: sort.clone(),
                descending,
                ..all_of(Index::Main, "P")
            };
            let mut found = sort_keys(table, &query).await;
            if descending {
                found.reverse();
            }
            assert_eq!(found, expected, "{sort:?} descending={descending}");
            let small = Query { limit: 1, ..query };
            assert_eq!(
                walk(table, small).await.0.len(),
                expected.len(),
                "{sort:?} by ones"
            );
        }
    }
}

pub(super) async fn pages_join_up(table: &dyn Table) {
    for n in 0..25 {
        let mut item = item("P", &format!("{n:03}"), json!(n));
        item.gsi1 = Some(Key::new("G", format!("{:03}", n / 5))); // Five of each.
        table
            .transact(vec![Write::Put(item, Condition::None)])
            .await
            .unwrap();
    }
    for (index, pk) in [(Index::Main, "P"), (Index::Gsi1, "G")] {
        let all = all_of(index, pk);
        let whole = until(table, &all, PATIENCE, |found| found.len() == 25).await;
        assert_eq!(whole.len(), 25, "{index:?}");
        for limit in [1, 2, 7, 24, 25, 26] {
            for descending in [false, true] {
                let query = Query {
                    limit,
                    descending,
                    ..all_of(index, pk)
                };
                let (mut found, pages) = walk(table, query).await;
                if descending {
                    found.reverse();
                }
                assert_eq!(
                    found, whole,
                    "{index:?} by {limit}, descending={descending}"
                );
                assert!(pages >= 25_usize.div_ceil(limit as usize));
            }
        }
    }
    // What is written behind the cursor shows; what is written before it does not.
    let query = Query {
        limit: 10,
        ..all_of(Index::Main, "P")
    };
    let first = table.query(&query).await.unwrap();
    for sk in ["0045", "0155"] {
        table
            .transact(vec![put("P", sk, json!({}), Condition::None)])
            .await
            .unwrap();
    }
    let rest = walk(
        table,
        Query {
            after: first.next,
            limit: 1_000,
            ..query
        },
    )
    .await
    .0;
    assert_eq!(rest.len(), 16);
    assert!(rest.iter().any(|item| item.key.sk == "0155"));
}

/// Refused, or at least nothing that the query itself could not give: whatever a client
/// makes up for a cursor, it leads nowhere else.
fn is_within(result: &Result<Page, TableError>, query: &Query) -> bool {
    let is_asked_for = |item: &Item| {
        let key = match query.index {
            Index::Main => Some(&item.key),
            Index::Gsi1 => item.gsi1.as_ref(),
            Index::Gsi2 => item.gsi2.as_ref(),
        };
        key.is_some_and(|key| match &query.sort {
            SortKeys::All => key.pk == query.pk,
            SortKeys::Prefix(prefix) => key.pk == query.pk && key.sk.starts_with(prefix),
            SortKeys::Between(low, high) => key.pk == query.pk && (low..=high).contains(&&key.sk),
        })
    };
    match result {
        Ok(page) => page.items.iter().all(is_asked_for),
        result => is_limit(result),
    }
}

pub(super) async fn cursors_keep_to_their_query(table: &dyn Table) {
    for (pk, sk) in [("P", "1"), ("P", "2"), ("Q", "1"), ("Q", "2")] {
        let mut item = item(pk, sk, json!({}));
        item.gsi1 = Some(Key::new(pk, sk));
        table
            .transact(vec![Write::Put(item, Condition::None)])
            .await
            .unwrap();
    }
    let query = Query {
        limit: 1,
        ..all_of(Index::Main, "P")
    };
    let cursor = table
        .query(&query)
        .await
        .unwrap()
        .next
        .expect("one of two was given");
    for other in [
        Query {
            pk: "Q".to_owned(),
            ..query.clone()
        },
        Query {
            index: Index::Gsi1,
            ..query.clone()
        },
        Query {
            descending: true,
            ..query.clone()
        },
        Query {
            sort: SortKeys::Prefix("1".to_owned()),
            ..query.clone()
        },
    ] {
        let result = table
            .query(&Query {
                after: Some(cursor.clone()),
                ..other.clone()
            })
            .await;
        assert!(
            is_within(&result, &other),
            "a cursor of another query, {other:?}: {result:?}"
        );
    }
    for rubbish in ["", "x", "e30", "AAAA", "{}"] {
        let after = Some(Cursor(rubbish.to_owned()));
        let result = table
            .query(&Query {
                after,
                ..query.clone()
            })
            .await;
        assert!(is_within(&result, &query), "{rubbish:?}: {result:?}");
    }
}

pub(super) async fn large_pages_are_cut(table: &dyn Table) {
    let text = "x".repeat(300_000);
    for n in 0..6 {
        table
            .transact(vec![put("P", &n.to_string(), json!(text), Condition::None)])
            .await
            .unwrap();
    }
    let (items, pages) = walk(table, all_of(Index::Main, "P")).await;
    assert_eq!(items.len(), 6);
    assert!(pages >= 2, "1.8 MB do not fit into one page of 1 MB");
}
