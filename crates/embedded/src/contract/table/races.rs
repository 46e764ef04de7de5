//! Many writers at once.

use super::*;

pub(super) async fn one_claim_wins(table: &Arc<dyn Table>) {
    const CLAIMS: usize = 20;
    let racers = (0..8).map(|racer| {
        let table = table.clone();
        tokio::spawn(async move {
            let mut won = Vec::new();
            for claim in 0..CLAIMS {
                let writes = vec![
                    put("C", &format!("{claim:02}"), json!(racer), Condition::Absent),
                    put(
                        "W",
                        &format!("{claim:02}#{racer}"),
                        json!(racer),
                        Condition::None,
                    ),
                ];
                match table.transact(writes).await {
                    Ok(()) => won.push(claim),
                    Err(TableError::Conflict {
                        write: 0,
                        old: Some(old),
                    }) => {
                        assert_ne!(old.body, json!(racer), "lost against itself");
                    }
                    Err(other) => panic!("claim {claim}: {other:?}"),
                }
            }
            won
        })
    });
    let mut won = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        won.extend(racer.await.unwrap());
    }
    won.sort_unstable();
    assert_eq!(
        won,
        (0..CLAIMS).collect::<Vec<_>>(),
        "each claim has exactly one winner"
    );
    let traces = walk(table.as_ref(), all_of(Index::Main, "W")).await.0;
    assert_eq!(traces.len(), CLAIMS, "losers leave no trace");
}

/// Of eight that claim twenty items at once, exactly one wins each; as writes by
/// themselves, and as pairs in a transaction, as a session takes a drive and a volume. All
/// say the same, so that only the calls themselves tell whose write it was.
///
/// `open` gives another connection to one and the same table each time it is called: who
/// races through one connection alone is ordered by it.
///
/// # Panics
/// Where a claim has no winner, or several.
pub async fn claims<F, Made>(open: F)
where
    F: Fn() -> Made,
    Made: Future<Output = Arc<dyn Table>>,
{
    const RACERS: usize = 8;
    const CLAIMS: usize = 20;
    let mut tables = Vec::new();
    for _ in 0..RACERS {
        tables.push(open().await);
    }
    for kind in ["single", "pair"] {
        let start = Arc::new(tokio::sync::Barrier::new(RACERS));
        let racers = tables.iter().cloned().map(|table| {
            let start = start.clone();
            tokio::spawn(async move {
                let mut won = Vec::new();
                start.wait().await;
                for claim in 0..CLAIMS {
                    let pk = format!("{kind}#{claim:02}");
                    let drive = put(&pk, "DRIVE", json!("claimed"), Condition::Absent);
                    let mut writes = vec![drive];
                    if kind == "pair" {
                        writes.push(put(&pk, "VOLUME", json!("claimed"), Condition::Absent));
                    }
                    match table.transact(writes).await {
                        Ok(()) => won.push(claim),
                        Err(TableError::Conflict { .. }) => {}
                        Err(other) => panic!("{kind} {claim}: {other:?}"),
                    }
                }
                won
            })
        });
        let mut won = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            won.extend(racer.await.unwrap());
        }
        won.sort_unstable();
        let all: Vec<_> = (0..CLAIMS).collect();
        assert_eq!(won, all, "{kind}: each claim has exactly one winner");
        for claim in all {
            let query = all_of(Index::Main, &format!("{kind}#{claim:02}"));
            let (items, _) = walk(tables[0].as_ref(), query).await;
            let versions: Vec<_> = items.iter().map(|item| item.version).collect();
            let expected: &[u64] = if kind == "pair" { &[1, 1] } else { &[1] };
            assert_eq!(versions, expected, "{kind} {claim}: written once");
        }
    }
}

pub(super) async fn increments_are_not_lost(table: &Arc<dyn Table>) {
    let counter = Key::new("P", "counter");
    table
        .transact(vec![put("P", "counter", json!(0), Condition::Absent)])
        .await
        .unwrap();
    let racers = (0..8).map(|_| {
        let (table, counter) = (table.clone(), counter.clone());
        tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let seen = table.get(&counter).await.unwrap().unwrap();
                    let next = json!(seen.body.as_u64().unwrap() + 1);
                    let condition = Condition::Version(seen.version);
                    match table
                        .transact(vec![put("P", "counter", next, condition)])
                        .await
                    {
                        Ok(()) => break,
                        Err(TableError::Conflict { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap();
    }
    let counter = table.get(&counter).await.unwrap().unwrap();
    assert_eq!((counter.body, counter.version), (json!(200), 201));
}

/// Pairs of items, written by four at once, and what a page shows of them meanwhile.
async fn write_pairs(table: &Arc<dyn Table>, mut seen: impl FnMut(&[Item])) {
    let pair = |n: usize| {
        vec![
            put("T", "a", json!(n), Condition::None),
            put("T", "b", json!(n), Condition::None),
        ]
    };
    table.transact(pair(0)).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let table = table.clone();
            tokio::spawn(async move {
                for round in 0..25 {
                    table.transact(pair(writer * 100 + round)).await.unwrap();
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        let page = table.query(&all_of(Index::Main, "T")).await.unwrap();
        seen(&page.items);
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

pub(super) async fn writers_of_two_items_never_tear_them(table: &Arc<dyn Table>) {
    let mut versions = [0, 0];
    write_pairs(table, |items| {
        assert_eq!(items.len(), 2, "what is there is shown");
        for (before, item) in versions.iter_mut().zip(items) {
            assert!(item.version >= *before, "an item never goes back");
            *before = item.version;
        }
    })
    .await;
    let page = table.query(&all_of(Index::Main, "T")).await.unwrap();
    assert_eq!(page.items[0].body, page.items[1].body);
    assert_eq!([101, 101], [page.items[0].version, page.items[1].version]);
}

pub(super) async fn a_page_is_one_moment(table: &Arc<dyn Table>) {
    write_pairs(table, |items| {
        assert_eq!(items[0].body, items[1].body, "one page shows one moment");
        assert_eq!(items[0].version, items[1].version);
    })
    .await;
}
