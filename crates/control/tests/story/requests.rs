//! Bad requests: each fault has its code and its field, and all faults are reported.

use base64::Engine as _;
use control::{Principal, parse_submission};
use ed25519_dalek::Signer as _;
use expect_test::{Expect, expect};
use model::{Artifact, Bytes, Code, Refusal, RetentionClass, Service, State};
use serde_json::{Value, json};

use crate::{OPERATOR, Stage, Test};

fn text(refusals: &[Refusal]) -> String {
    refusals
        .iter()
        .map(|r| {
            let field = r.field.as_deref().unwrap_or("-");
            format!("{} {field}: {}\n", r.code, r.message)
        })
        .collect()
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_every_fault_named() -> Test {
    let stage = Stage::new(1, 1, Bytes::gib(1), &["a"]).await?;
    let good = stage.world.sample("a", "1");
    let check = |change: &dyn Fn(&mut Value), expected: Expect| {
        let mut json = good.clone();
        change(&mut json);
        expected.assert_eq(&text(&parse_submission(json).unwrap_err()));
    };
    fn artifact(json: &mut Value) -> &mut Value {
        &mut json["members"][0]["artifacts"][0]
    }
    for (name, found) in [
        ("../x", "no empty, `.` or `..` part"),
        ("/etc/passwd", "a relative path"),
        ("a\0b", "no control character"),
        (&"x/".repeat(2048), "1 to 1,024 bytes"),
        ("", "1 to 1,024 bytes"),
    ] {
        let mut json = good.clone();
        artifact(&mut json)["name"] = name.into();
        let refusals = parse_submission(json).unwrap_err();
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0].code, Code::InvalidArtifactName);
        assert!(refusals[0].message.contains(found), "{}", refusals[0]);
        assert_eq!(
            refusals[0].field.as_deref(),
            Some("members[0].artifacts[0].name")
        );
    }
    check(
        &|json| json["members"][0]["artifacts"] = json!([]),
        expect![[r#"
            Tapemark.InvalidRequest members[0].artifacts: expected 1 to 10000 artifacts, found 0
        "#]],
    );
    check(
        &|json| {
            let one = artifact(json).clone();
            json["members"][0]["artifacts"] = json!(vec![one; 10_001]);
        },
        expect![[r#"
            Tapemark.InvalidRequest members[0].artifacts: expected 1 to 10000 artifacts, found 10001
        "#]],
    );
    check(
        &|json| {
            let one = json["members"][0].clone();
            json["members"] = json!(vec![one; 25]);
        },
        expect![[r#"
            Tapemark.InvalidRequest members: expected 1 to 24 members, found 25
        "#]],
    );
    check(
        &|json| {
            json["colour"] = "red".into();
            json["priority"] = 10.into();
            json["members"][0]["service"] = "no spaces".into();
            artifact(json)["size"] = (-1).into();
            artifact(json)["sha256"] = "abc".into();
            artifact(json)["source"] = "http://example.org/x".into();
            artifact(json)["name"] = "a/../b".into();
        },
        expect![[r#"
            Tapemark.InvalidRequest colour: expected one of idempotency_key, members, priority, deadline, retention, labels, expected_members, found "colour"
            Tapemark.InvalidRequest priority: expected a whole number from 0 to 9, found 10
            Tapemark.InvalidRequest members[0].service: ServiceName: expected 1 to 128 of A-Z a-z 0-9 - _ . /, found "no spaces"
            Tapemark.InvalidArtifactName members[0].artifacts[0].name: artifact name: expected no empty, `.` or `..` part, found "a/../b"
            Tapemark.InvalidRequest members[0].artifacts[0].source: artifact source: expected s3://bucket/key?versionId=… or file:///path, found "http://example.org/x"
            Tapemark.InvalidRequest members[0].artifacts[0].size: expected a whole number from 0 to 70368744177664, found -1
            Tapemark.InvalidRequest members[0].artifacts[0].sha256: expected 64 hexadecimal digits, found "abc"
        "#]],
    );
    check(
        &|json| *json = json!([1]),
        expect![[r#"
            Tapemark.InvalidRequest : expected an object, found a list
        "#]],
    );
    check(
        &|json| json["labels"] = (0..33).map(|n| (n.to_string(), json!("x"))).collect(),
        expect![[r#"
            Tapemark.InvalidRequest labels: expected at most 32 labels, found 33
        "#]],
    );
    Ok(())
}

#[tokio::test]
async fn hundreds_of_faults_are_counted_not_listed() -> Test {
    let stage = Stage::new(1, 1, Bytes::gib(1), &["a"]).await?;
    let mut json = stage.world.sample("a", "1");
    let mut one = json["members"][0]["artifacts"][0].clone();
    one["name"] = "../x".into();
    json["members"][0]["artifacts"] = json!(vec![one; 5000]);
    let refusals = parse_submission(json).unwrap_err();
    assert_eq!(refusals.len(), 201);
    assert_eq!(refusals[200].message, "and 4800 more of the same kind");
    Ok(())
}

/// Submits and validates; gives the refusals that stand in the group.
async fn refusals(stage: &mut Stage, json: Value) -> Vec<Refusal> {
    let outcome = stage.submit(json).await;
    stage.settle().await.unwrap();
    let (group, _) = stage.control.group(&OPERATOR, outcome.group).await.unwrap();
    assert!(matches!(group.lifecycle.state(), State::Rejected { .. }));
    let pinned = stage.world.objects.pinned();
    assert!(outcome.checkpoints.iter().all(|id| !pinned.contains(id)));
    group.refusals
}

#[tokio::test]
async fn every_check_has_its_own_code() -> Test {
    let mut stage = Stage::new(2, 1, Bytes::mib(64), &["a", "b"]).await?;
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let base64 = &base64::engine::general_purpose::STANDARD;
    let service = |name: &str| Service {
        name: name.parse().unwrap(),
        pool: "main".parse().unwrap(),
        retention: vec![RetentionClass("standard".into())],
        frozen: name == "frozen",
        provenance_key: (name == "signed").then(|| base64.encode(key.verifying_key().as_bytes())),
    };
    let services = vec![service("frozen"), service("signed")];
    stage.control.register_services(&OPERATOR, services).await?;

    let sample = |stage: &Stage, name: &str| stage.world.sample(name, "1");
    let change = |mut json: Value, change: &dyn Fn(&mut Value)| {
        change(&mut json);
        json
    };
    let unsettled = stage.submit(stage.world.sample("b", "parent")).await;
    let other_parent = json!(unsettled.checkpoints[0]);
    let member = |json: &mut Value, field: &str, value: Value| json["members"][0][field] = value;
    let artifact = |json: &mut Value, field: &str, value: Value| {
        json["members"][0]["artifacts"][0][field] = value
    };
    let twice = |json: &mut Value, name: &str| {
        let mut one = json["members"][0]["artifacts"][0].clone();
        one["name"] = name.into();
        let artifacts = json["members"][0]["artifacts"].as_array_mut().unwrap();
        artifacts.push(one);
    };
    let big = stage.world.member("a", "big", &vec![0; 65 << 20]);
    let cases: Vec<(Code, Value)> = vec![
        (Code::UnknownService, sample(&stage, "nobody")),
        (Code::ServiceFrozen, sample(&stage, "frozen")),
        (
            Code::UnknownParent,
            change(sample(&stage, "a"), &|json| {
                member(
                    json,
                    "parent",
                    json!("019b76da-a800-7000-8000-000000000000"),
                );
            }),
        ),
        (
            Code::UnknownParent,
            change(stage.world.sample("a", "2"), &|json| {
                member(json, "parent", other_parent.clone())
            }),
        ),
        (
            Code::ParentNotCommitted,
            change(stage.world.sample("b", "2"), &|json| {
                member(json, "parent", other_parent.clone())
            }),
        ),
        (
            Code::DuplicateArtifactName,
            change(stage.world.sample("a", "3"), &|json| twice(json, "bin/app")),
        ),
        (
            Code::InvalidArtifactName,
            change(stage.world.sample("a", "4"), &|json| twice(json, "bin")),
        ),
        (
            Code::ArtifactMissing,
            change(stage.world.sample("a", "5"), &|json| {
                artifact(json, "source", json!("file:///sources/gone"))
            }),
        ),
        (
            Code::SourceNotAllowed,
            change(stage.world.sample("a", "6"), &|json| {
                artifact(json, "source", json!("file:///etc/passwd"))
            }),
        ),
        (
            Code::SizeMismatch,
            change(stage.world.sample("a", "7"), &|json| {
                artifact(json, "size", json!(1))
            }),
        ),
        (
            Code::ChecksumMismatch,
            change(stage.world.sample("a", "8"), &|json| {
                artifact(json, "sha256", json!("ab".repeat(32)))
            }),
        ),
        (
            Code::UnknownRetention,
            change(stage.world.sample("a", "9"), &|json| {
                json["retention"] = json!("forever")
            }),
        ),
        (
            Code::IncompleteGroup,
            change(stage.world.sample("a", "10"), &|json| {
                json["expected_members"] = json!(3)
            }),
        ),
        (
            Code::IncompleteGroup,
            stage.world.submission(
                "two epochs",
                &["11", "12"].map(|v| stage.world.member("a", v, v.as_bytes())),
            ),
        ),
        (Code::PoolFull, stage.world.submission("big", &[big])),
        (Code::ProvenanceInvalid, sample(&stage, "signed")),
        (
            Code::ProvenanceInvalid,
            change(stage.world.sample("signed", "2"), &|json| {
                member(json, "provenance", json!(base64.encode([1; 64])));
            }),
        ),
    ];
    for (n, (code, mut json)) in cases.into_iter().enumerate() {
        json["idempotency_key"] = format!("case-{n}").into();
        let found = refusals(&mut stage, json).await;
        let codes: Vec<_> = found.iter().map(|refusal| refusal.code).collect();
        assert_eq!(codes, [code], "{found:?}");
    }

    // And a signature that is right is taken.
    let mut json = stage.world.sample("signed", "3");
    let submission = parse_submission(json.clone()).unwrap();
    let content = Artifact::content_text(&submission.members[0].artifacts);
    let signature = key.sign(content.as_bytes());
    json["members"][0]["provenance"] = base64.encode(signature.to_bytes()).into();
    let outcome = stage.submit(json).await;
    stage.finish().await?;
    assert_eq!(stage.state(outcome.checkpoints[0]).await, State::Committed);
    Ok(())
}

#[tokio::test]
async fn all_failures_are_reported_in_the_order_of_the_checks() -> Test {
    let mut stage = Stage::new(3, 1, Bytes::gib(1), &["a"]).await?;
    let mut json = stage.world.sample("a", "1");
    json["retention"] = "forever".into();
    json["expected_members"] = 2.into();
    json["members"][0]["parent"] = "019b76da-a800-7000-8000-000000000000".into();
    let mut artifacts = Vec::new();
    for (n, (field, value)) in [
        ("sha256", json!("ab".repeat(32))),
        ("size", json!(4)),
        ("source", json!("file:///sources/gone")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut artifact = json["members"][0]["artifacts"][0].clone();
        artifact["name"] = format!("f{n}").into();
        artifact[field] = value;
        artifacts.push(artifact);
    }
    json["members"][0]["artifacts"] = artifacts.into();
    let found = refusals(&mut stage, json).await;
    let codes: Vec<_> = found.iter().map(|refusal| refusal.code).collect();
    assert_eq!(
        codes,
        [
            Code::UnknownParent,
            Code::ArtifactMissing,
            Code::SizeMismatch,
            Code::ChecksumMismatch,
            Code::UnknownRetention,
            Code::IncompleteGroup,
        ]
    );
    assert_eq!(
        found[3].field.as_deref(),
        Some("members[0].artifacts[0].sha256")
    );
    Ok(())
}

#[tokio::test]
async fn a_group_with_one_bad_member_is_refused_whole_and_others_are_untouched() -> Test {
    let mut stage = Stage::new(4, 1, Bytes::gib(1), &["a", "b", "c", "d"]).await?;
    let mut members = ["a", "b", "c"].map(|s| stage.world.member(s, "1", s.as_bytes()));
    members[1]["artifacts"][0]["sha256"] = "ab".repeat(32).into();
    let group = stage.submit(stage.world.submission("k", &members)).await;
    let alone = stage.submit(stage.world.sample("d", "1")).await;
    stage.finish().await?;
    for id in group.checkpoints {
        assert_eq!(stage.code(id).await, Some(Code::ChecksumMismatch));
    }
    assert_eq!(stage.state(alone.checkpoints[0]).await, State::Committed);
    assert!(stage.world.objects.pinned().is_empty());
    Ok(())
}

#[tokio::test]
async fn an_empty_artifact_and_ten_thousand_artifacts_are_fine() -> Test {
    let mut stage = Stage::new(5, 1, Bytes::gib(1), &["a", "b"]).await?;
    let empty = stage.world.member("a", "1", b"");
    let empty = stage
        .submit(stage.world.submission("empty", &[empty]))
        .await;
    let mut many = stage.world.member("b", "1", b"x");
    let one = many["artifacts"][0].clone();
    many["artifacts"] = (0..10_000)
        .map(|n| {
            let mut artifact = one.clone();
            artifact["name"] = format!("dir/{n}").into();
            artifact
        })
        .collect();
    let many = stage.submit(stage.world.submission("many", &[many])).await;
    stage.finish().await?;
    for id in [empty.checkpoints[0], many.checkpoints[0]] {
        assert_eq!(stage.state(id).await, State::Committed);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_stands_for_one_payload() -> Test {
    let stage = Stage::new(6, 1, Bytes::gib(1), &["a", "b"]).await?;
    let json = stage.world.sample("a", "1");
    let submit = |who: Principal, json: Value| {
        let control = stage.control.clone();
        async move { control.submit(&who, parse_submission(json).unwrap()).await }
    };
    // Eight at once: one group, seven repetitions.
    let racing = (0..8).map(|_| submit(OPERATOR, json.clone()));
    let outcomes: Vec<_> = futures::future::join_all(racing)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(outcomes.iter().all(|o| o.group == outcomes[0].group));
    assert_eq!(outcomes.iter().filter(|o| !o.repeated).count(), 1);
    assert_eq!(stage.control.pending_effects(10).await?.len(), 1);

    let mut other = json.clone();
    other["priority"] = 9.into();
    let refusals = submit(OPERATOR, other.clone()).await.unwrap_err();
    assert_eq!(refusals[0].code, Code::IdempotencyMismatch);

    // Another tenant that happens on the key learns nothing.
    let mut foreign = stage.world.sample("b", "1");
    foreign["idempotency_key"] = json["idempotency_key"].clone();
    let b = Principal::Services(vec!["b".parse()?]);
    let refusals = submit(b.clone(), foreign).await.unwrap_err();
    assert_eq!(refusals[0].code, Code::IdempotencyMismatch);
    let refusals = submit(b, json.clone()).await.unwrap_err();
    assert_eq!(refusals[0].code, Code::Forbidden);
    assert_eq!(refusals[0].field.as_deref(), Some("members[0].service"));

    // After a week the key is free again.
    stage
        .world
        .clock
        .advance(std::time::Duration::from_secs(8 * 24 * 3600));
    let outcome = submit(OPERATOR, other).await.unwrap();
    assert!(!outcome.repeated);
    Ok(())
}

#[tokio::test]
async fn hostile_artifact_names_are_refused_at_the_door_and_not_repeated_raw() -> Test {
    let stage = Stage::new(31, 1, Bytes::gib(1), &["a"]).await?;
    let long = format!("{}y", "x/".repeat(2048));
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../b",
        "a\0b",
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "\u{9b}31m",
        "good\rbad",
        "gpj\u{202e}exe.jpg",
        "C:\\Windows\\system32",
        "\\\\server\\share",
        long.as_str(),
    ] {
        let mut json = stage.world.sample("a", "1");
        json["members"][0]["artifacts"][0]["name"] = name.into();
        let refusals = parse_submission(json).unwrap_err();
        assert_eq!(refusals.len(), 1, "{name:?}");
        let refusal = &refusals[0];
        assert_eq!(refusal.code, model::Code::InvalidArtifactName, "{name:?}");
        assert_eq!(
            refusal.field.as_deref(),
            Some("members[0].artifacts[0].name")
        );
        // What is shown to humans obeys no terminal and is short.
        let harmless = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}');
        assert!(refusal.message.chars().all(harmless), "{refusal}");
        assert!(refusal.message.len() < 600, "{refusal}");
    }
    Ok(())
}
