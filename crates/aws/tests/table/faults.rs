//! Lost answers, throttling, cancelled transactions.

use control::ports::{Condition, Item, Key, Table, TableError, Write};
use serde_json::{Value, json};

use crate::server::{Fault, QUICK, behind_proxy, wire};

fn item(sk: &str, body: Value) -> Item {
    Item {
        key: Key::new("P", sk),
        version: 0,
        gsi1: None,
        gsi2: None,
        expires_at: None,
        body,
    }
}

fn put(sk: &str, body: &str, condition: Condition) -> Write {
    Write::Put(item(sk, json!(body)), condition)
}

async fn found(table: &dyn Table, sk: &str) -> Option<(Value, u64)> {
    let item = table.get(&Key::new("P", sk)).await.unwrap();
    item.map(|item| (item.body, item.version))
}

fn throttled() -> Fault {
    Fault::Refuse(400, "ProvisionedThroughputExceededException", json!({}))
}

fn cancelled(reasons: &Value) -> Fault {
    Fault::Refuse(
        400,
        "TransactionCanceledException",
        json!({ "CancellationReasons": reasons }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_happens_once_and_is_known_to_have_happened() {
    let (table, script, direct) = behind_proxy().await;
    for (n, condition) in [Condition::Absent, Condition::Version(1), Condition::None]
        .into_iter()
        .enumerate()
    {
        let operation = match condition {
            Condition::None => "UpdateItem",
            _ => "PutItem",
        };
        script.seen();
        script.next(operation, Fault::Lose);
        let body = n.to_string();
        table
            .transact(vec![put("1", &body, condition)])
            .await
            .unwrap();
        assert_eq!(script.operations(), [operation, operation], "{condition:?}");
        let version = n as u64 + 1;
        assert_eq!(
            found(&direct, "1").await,
            Some((json!(body), version)),
            "{condition:?}"
        );
    }

    script.next("DeleteItem", Fault::Lose);
    table
        .transact(vec![Write::Delete(Key::new("P", "1"), Condition::None)])
        .await
        .unwrap();
    assert_eq!(found(&direct, "1").await, None);
    assert_eq!(table.requests().repeats, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_answer_is_lost_happens_once_and_is_known_to_have_happened() {
    let (table, script, direct) = behind_proxy().await;
    let claim = vec![
        put("claim", "mine", Condition::Absent),
        put("count", "1", Condition::None),
    ];
    script.next("TransactWriteItems", Fault::Lose);
    script.next("TransactWriteItems", Fault::Lose);
    table.transact(claim.clone()).await.unwrap();
    let seen = script.seen();
    assert_eq!(seen.len(), 3);
    let tokens: Vec<_> = seen
        .iter()
        .map(|seen| &seen.body["ClientRequestToken"])
        .collect();
    assert!(tokens[0].is_string() && tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(found(&direct, "claim").await, Some((json!("mine"), 1)));
    assert_eq!(
        found(&direct, "count").await,
        Some((json!("1"), 1)),
        "done once"
    );

    // The next claim is another call, and loses.
    let lost = table.transact(claim).await;
    assert!(
        matches!(
            &lost,
            Err(TableError::Conflict {
                write: 0,
                old: Some(_)
            })
        ),
        "{lost:?}"
    );

    // A conditional delete is a transaction too: nothing else would tell who deleted.
    script.seen();
    script.next("TransactWriteItems", Fault::Lose);
    let delete = Write::Delete(Key::new("P", "claim"), Condition::Version(1));
    table.transact(vec![delete]).await.unwrap();
    assert_eq!(found(&direct, "claim").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_not_mistaken_for_a_lost_race_or_the_other_way_round() {
    // Ours was not done, another's was: a lost race.
    let (table, script, direct) = behind_proxy().await;
    let other = vec![put("1", "theirs", Condition::Absent)];
    script.next("PutItem", Fault::After(other));
    let lost = table
        .transact(vec![put("1", "mine", Condition::Absent)])
        .await;
    match lost {
        Err(TableError::Conflict {
            write: 0,
            old: Some(old),
        }) => assert_eq!((old.body, old.version), (json!("theirs"), 1)),
        other => panic!("{other:?}"),
    }

    // Ours was done, its answer lost, and another wrote over it before we asked again: the
    // item no longer tells, so nothing is claimed.
    let over = vec![put("2", "theirs", Condition::Version(1))];
    script.next("PutItem", Fault::Lose);
    script.next("PutItem", Fault::After(over));
    let unsure = table
        .transact(vec![put("2", "mine", Condition::Absent)])
        .await;
    assert!(
        matches!(unsure, Err(TableError::Unavailable(_))),
        "{unsure:?}"
    );
    assert_eq!(found(&direct, "2").await, Some((json!("theirs"), 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_requests_are_made_again_and_given_up_in_the_end() {
    let (table, script, direct) = behind_proxy().await;
    for _ in 0..3 {
        script.next("PutItem", throttled());
    }
    table
        .transact(vec![put("1", "x", Condition::Absent)])
        .await
        .unwrap();
    assert_eq!(script.seen().len(), 4);

    // Reads and transactions: the SDK's three tries are behind each of ours.
    script.next("GetItem", throttled());
    script.next("Query", throttled());
    assert!(table.get(&Key::new("P", "1")).await.unwrap().is_some());

    script.seen();
    for _ in 0..QUICK.attempts {
        script.next("PutItem", throttled());
    }
    let given_up = table.transact(vec![put("3", "x", Condition::Absent)]).await;
    assert!(
        matches!(given_up, Err(TableError::Unavailable(_))),
        "{given_up:?}"
    );
    assert_eq!(found(&direct, "3").await, None);
    let puts = script.operations();
    let puts = puts.iter().filter(|operation| *operation == "PutItem");
    assert_eq!(
        puts.count(),
        QUICK.attempts as usize,
        "no more tries than that"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reasons_of_a_cancelled_transaction_are_told_apart() {
    let (table, script, direct) = behind_proxy().await;
    let writes = || {
        vec![
            // Asks nothing, and is not sent; the others keep their numbers.
            Write::Check(Key::new("P", "0"), Condition::None),
            put("1", "x", Condition::Absent),
            put("2", "x", Condition::Absent),
        ]
    };
    let none = json!({ "Code": "None" });
    let reason = |code: &str| json!({ "Code": code, "Message": format!("a {code}") });

    // Both reasons are worth another try.
    for code in [
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    ] {
        script.next(
            "TransactWriteItems",
            cancelled(&json!([none, reason(code)])),
        );
        table.transact(writes()).await.unwrap();
        assert_eq!(script.seen().len(), 2, "{code}");
        for sk in ["1", "2"] {
            let delete = Write::Delete(Key::new("P", sk), Condition::None);
            direct.transact(vec![delete]).await.unwrap();
        }
    }

    // In the way each time: a race that was lost, and the item as it stands.
    direct
        .transact(vec![put("2", "theirs", Condition::Absent)])
        .await
        .unwrap();
    for _ in 0..QUICK.attempts {
        let reasons = json!([none, reason("TransactionConflict")]);
        script.next("TransactWriteItems", cancelled(&reasons));
    }
    match table.transact(writes()).await {
        Err(TableError::Conflict {
            write: 2,
            old: Some(old),
        }) => assert_eq!(old.body, json!("theirs")),
        other => panic!("{other:?}"),
    }

    // Throttled each time: nobody is to blame.
    for _ in 0..QUICK.attempts {
        let reasons = json!([reason("ThrottlingError"), none]);
        script.next("TransactWriteItems", cancelled(&reasons));
    }
    let given_up = table.transact(writes()).await;
    assert!(
        matches!(given_up, Err(TableError::Unavailable(_))),
        "{given_up:?}"
    );

    // A condition that failed outranks what stands before it.
    let old = wire(
        &[("pk", "P"), ("sk", "2"), ("body", "\"seen\"")]
            .into_iter()
            .map(|(name, text)| {
                let text = aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
                (name.to_owned(), text)
            })
            .chain([(
                "version".to_owned(),
                aws_sdk_dynamodb::types::AttributeValue::N("7".to_owned()),
            )])
            .collect(),
    );
    let failed = json!({ "Code": "ConditionalCheckFailed", "Item": old });
    let reasons = json!([reason("TransactionConflict"), failed]);
    script.next("TransactWriteItems", cancelled(&reasons));
    match table.transact(writes()).await {
        Err(TableError::Conflict {
            write: 2,
            old: Some(old),
        }) => assert_eq!((old.body, old.version), (json!("seen"), 7)),
        other => panic!("{other:?}"),
    }

    for code in ["ValidationError", "ItemCollectionSizeLimitExceeded"] {
        script.next(
            "TransactWriteItems",
            cancelled(&json!([none, reason(code)])),
        );
        let limit = table.transact(writes()).await;
        let expected = format!("write 1: a {code}");
        assert_eq!(limit, Err(TableError::Limit(expected)), "{code}");
    }
    script.next(
        "TransactWriteItems",
        cancelled(&json!([none, reason("Novelty")])),
    );
    let unknown = table.transact(writes()).await;
    assert!(
        matches!(&unknown, Err(TableError::Unavailable(text)) if text.contains("Novelty")),
        "{unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_write_in_a_transactions_way_waits_for_it() {
    let (table, script, direct) = behind_proxy().await;
    let conflict = || Fault::Refuse(400, "TransactionConflictException", json!({}));
    script.next("PutItem", conflict());
    script.next("PutItem", conflict());
    table
        .transact(vec![put("1", "x", Condition::Absent)])
        .await
        .unwrap();
    assert_eq!(script.seen().len(), 3);
    for _ in 0..QUICK.attempts {
        script.next("PutItem", conflict());
    }
    let lost = table
        .transact(vec![put("1", "y", Condition::Version(1))])
        .await;
    assert!(
        matches!(&lost, Err(TableError::Conflict { write: 0, old: Some(old) }) if old.version == 1),
        "{lost:?}"
    );
    assert_eq!(found(&direct, "1").await, Some((json!("x"), 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_unavailable_and_not_asked_for_again() {
    let (table, script, _) = behind_proxy().await;
    for name in ["ResourceNotFoundException", "AccessDeniedException"] {
        for operation in ["GetItem", "PutItem", "TransactWriteItems"] {
            script.next(operation, Fault::Refuse(400, name, json!({})));
        }
        let get = table.get(&Key::new("P", "1")).await;
        assert!(matches!(get, Err(TableError::Unavailable(_))), "{get:?}");
        let one = table.transact(vec![put("1", "x", Condition::Absent)]).await;
        assert!(matches!(one, Err(TableError::Unavailable(_))), "{one:?}");
        let two = vec![
            put("1", "x", Condition::Absent),
            put("2", "x", Condition::Absent),
        ];
        let two = table.transact(two).await;
        assert!(matches!(two, Err(TableError::Unavailable(_))), "{two:?}");
        assert_eq!(script.seen().len(), 3, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_asked_three_times_and_then_nobody_knows() {
    let (table, script, direct) = behind_proxy().await;
    let silent = || Fault::Refuse(500, "InternalServerError", json!({}));
    let two = || {
        vec![
            put("1", "x", Condition::Absent),
            put("2", "x", Condition::Absent),
        ]
    };
    for (operation, writes) in [
        ("PutItem", two()[..1].to_vec()),
        ("TransactWriteItems", two()),
    ] {
        for _ in 0..3 {
            script.next(operation, silent());
        }
        let unknown = table.transact(writes).await;
        assert!(
            matches!(unknown, Err(TableError::Unavailable(_))),
            "{operation}: {unknown:?}"
        );
        assert_eq!(script.seen().len(), 3, "{operation}");
    }
    assert_eq!(found(&direct, "1").await, None);
}

/// What it costs is what the bill is made of.
#[tokio::test(flavor = "multi_thread")]
async fn writes_by_themselves_are_no_transactions() {
    let (table, script, _) = behind_proxy().await;
    let key = Key::new("P", "1");
    let calls: [(Write, &[&str]); 6] = [
        (put("1", "x", Condition::Absent), &["PutItem"]),
        (put("1", "x", Condition::Version(1)), &["PutItem"]),
        (put("1", "x", Condition::None), &["UpdateItem"]),
        (
            Write::Check(key.clone(), Condition::Version(3)),
            &["GetItem"],
        ),
        (Write::Check(key.clone(), Condition::None), &[]),
        (Write::Delete(key, Condition::None), &["DeleteItem"]),
    ];
    for (write, operations) in calls {
        table.transact(vec![write.clone()]).await.unwrap();
        assert_eq!(script.operations(), operations, "{write:?}");
    }
    let requests = table.requests();
    assert_eq!(requests.single_writes, 4);
    assert_eq!((requests.gets, requests.items_read), (1, 1));
    assert_eq!((requests.transactions, requests.repeats), (0, 0));
    assert_eq!(requests.writes, 4, "one unit each");
    assert_eq!(requests.half_reads, 2);
}
