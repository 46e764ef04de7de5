//! What the schema answers: refusals with their code, lists in pages, and to whom.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{SUBMIT, client, serve};

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[tokio::test]
async fn a_submission_is_answered_with_ids_and_found_again() {
    let server = serve().await;
    let input = server.sample("payments", "1.0", "k1");
    let answer = server
        .ask(&server.operator, SUBMIT, json!({ "i": input }))
        .await;
    let submitted = &answer["data"]["submit"];
    assert_eq!(submitted["repeated"], false, "{answer}");
    let id = submitted["checkpoints"][0].as_str().unwrap();

    let query = "query($id: UUID!) { checkpoint(id: $id) { service version state refusals { code } \
                 artifactCount bytes artifacts { nodes { name size } pageInfo { hasNextPage } } \
                 placements { volume } group { final priority labels { name } checkpointIds } } }";
    let answer = server
        .ask(&server.operator, query, json!({ "id": id }))
        .await;
    assert_eq!(
        answer["data"]["checkpoint"]["group"]["checkpointIds"],
        json!([id])
    );
    let mut found = answer["data"]["checkpoint"].clone();
    found["group"]["checkpointIds"] = Value::Null;
    expect![[r#"
        {
          "service": "payments",
          "version": "1.0",
          "state": "SUBMITTED",
          "refusals": [],
          "artifactCount": 1,
          "bytes": 12,
          "placements": [],
          "group": {
            "final": false,
            "priority": 5,
            "labels": [],
            "checkpointIds": null
          },
          "artifacts": {
            "nodes": [
              {
                "name": "bin/app",
                "size": 12
              }
            ],
            "pageInfo": {
              "hasNextPage": false
            }
          }
        }"#]]
    .assert_eq(&pretty(&found));

    let again = server
        .ask(&server.operator, SUBMIT, json!({ "i": input }))
        .await;
    assert_eq!(again["data"]["submit"]["repeated"], true);
    assert_eq!(again["data"]["submit"]["group"], submitted["group"]);
}

#[tokio::test]
async fn every_fault_of_a_submission_is_told_at_once_with_its_field() {
    let server = serve().await;
    let input = json!({
        "idempotencyKey": "k",
        "members": [{
            "service": "pay ments",
            "version": "1.0",
            "artifacts": [
                { "name": "../x", "source": "file:///sources/a", "size": 1, "sha256": "abc" },
            ],
        }],
        "priority": 12,
    });
    let answer = server
        .ask(&server.operator, SUBMIT, json!({ "i": input }))
        .await;
    let extensions = &answer["errors"][0]["extensions"];
    let mut told: Vec<(&str, &str)> = extensions["refusals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|no| (no["code"].as_str().unwrap(), no["field"].as_str().unwrap()))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (
                "Tapemark.InvalidArtifactName",
                "members[0].artifacts[0].name"
            ),
            ("Tapemark.InvalidRequest", "members[0].artifacts[0].sha256"),
            ("Tapemark.InvalidRequest", "members[0].service"),
            ("Tapemark.InvalidRequest", "priority"),
        ]
    );
    assert_eq!(extensions["code"], extensions["refusals"][0]["code"]);
    assert_eq!(extensions["hint"], extensions["refusals"][0]["hint"]);
    assert_eq!(answer["errors"][0]["path"], json!(["submit"]));
}

#[tokio::test]
async fn one_key_for_two_payloads_is_refused() {
    let server = serve().await;
    for (version, repeated) in [("1", json!(false)), ("1", json!(true))] {
        let input = server.sample("payments", version, "k");
        let answer = server
            .ask(&server.operator, SUBMIT, json!({ "i": input }))
            .await;
        assert_eq!(answer["data"]["submit"]["repeated"], repeated);
    }
    let input = server.sample("payments", "2", "k");
    let answer = server
        .ask(&server.operator, SUBMIT, json!({ "i": input }))
        .await;
    let code = &answer["errors"][0]["extensions"]["code"];
    assert_eq!(code, "Tapemark.IdempotencyMismatch");
}

#[tokio::test]
async fn a_scoped_token_sees_and_does_its_own_only() {
    let server = serve().await;
    let mut ids = Vec::new();
    for service in ["payments", "ledger"] {
        let input = server.sample(service, "1", service);
        let answer = server
            .ask(&server.operator, SUBMIT, json!({ "i": input }))
            .await;
        ids.push(answer["data"]["submit"]["checkpoints"][0].clone());
    }
    let code = |answer: &Value| answer["errors"][0]["extensions"]["code"].clone();

    let own = server.sample("payments", "2", "own");
    let answer = server
        .ask(&server.scoped, SUBMIT, json!({ "i": own }))
        .await;
    assert!(answer["errors"].is_null(), "{answer}");

    let show = "query($id: UUID!) { checkpoint(id: $id) { id artifacts { nodes { name } } } }";
    let answer = server
        .ask(&server.scoped, show, json!({ "id": ids[0] }))
        .await;
    assert_eq!(answer["data"]["checkpoint"]["id"], ids[0]);
    // What is not one's own is either not there or forbidden; it is never shown.
    let answer = server
        .ask(&server.scoped, show, json!({ "id": ids[1] }))
        .await;
    assert!(answer["data"]["checkpoint"].is_null(), "{answer}");
    assert!(!code(&answer).is_null());
    let list = "{ checkpoints { nodes { service } } }";
    let answer = server.ask(&server.scoped, list, json!({})).await;
    for node in answer["data"]["checkpoints"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
    {
        assert_eq!(node["service"], "payments");
    }

    for (order, variables) in [
        (
            "mutation { registerServices(services: [{ name: \"new\" }]) { name } }",
            json!({}),
        ),
        (
            "mutation { putPool(pool: { name: \"p\", reserve: 0 }) { name } }",
            json!({}),
        ),
        (
            "mutation { createToken(name: \"t\", scope: { operator: true }) { token } }",
            json!({}),
        ),
        ("mutation { revokeToken(name: \"operator\") }", json!({})),
        (
            "mutation { scanVolume(barcode: \"V001\") { id } }",
            json!({}),
        ),
        ("{ tokens { name } }", json!({})),
        ("{ ledgerLeaves(from: 0) }", json!({})),
        (
            "mutation($id: UUID!) { restore(checkpoint: $id) { id } }",
            json!({ "id": ids[1] }),
        ),
        (
            "mutation($id: UUID!) { cancel(target: { checkpoint: $id }) { id } }",
            json!({ "id": ids[1] }),
        ),
    ] {
        let answer = server.ask(&server.scoped, order, variables).await;
        let told = code(&answer);
        assert!(
            told == "Tapemark.Forbidden" || told == "Tapemark.NotFound",
            "{order}: {answer}"
        );
    }
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_forgotten() {
    let server = serve().await;
    let make = "mutation($s: ScopeInput!) { createToken(name: \"ci\", scope: $s) { name token } }";
    let scope = json!({ "services": ["payments"] });
    let answer = server
        .ask(&server.operator, make, json!({ "s": scope }))
        .await;
    let token = answer["data"]["createToken"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let answer = server
        .ask(
            &token,
            "{ service(name: \"payments\") { name pool } }",
            json!({}),
        )
        .await;
    assert_eq!(answer["data"]["service"]["pool"], "main", "{answer}");
    let again = server
        .ask(&server.operator, make, json!({ "s": scope }))
        .await;
    assert_eq!(again["errors"][0]["extensions"]["field"], "name");
    let list = "{ tokens { name operator services } }";
    let answer = server.ask(&server.operator, list, json!({})).await;
    assert!(!answer.to_string().contains(&token));
    assert_eq!(
        answer["data"]["tokens"][0],
        json!({ "name": "ci", "operator": false, "services": ["payments"] })
    );
    let revoke = "mutation { revokeToken(name: \"ci\") }";
    server.ask(&server.operator, revoke, json!({})).await;
    let answer = server.ask(&token, "{ __typename }", json!({})).await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"],
        "Tapemark.Unauthorized"
    );
    let none = json!({ "s": { "services": [] } });
    let answer = server.ask(&server.operator, make, none).await;
    assert_eq!(answer["errors"][0]["extensions"]["field"], "scope");
}

#[tokio::test]
async fn lists_are_walked_forwards_without_gaps() {
    let server = serve().await;
    for n in 0..5 {
        server
            .world
            .clock
            .advance(std::time::Duration::from_millis(1));
        let input = server.sample("payments", &n.to_string(), &n.to_string());
        server
            .ask(&server.operator, SUBMIT, json!({ "i": input }))
            .await;
    }
    let query = "query($after: String) { checkpoints(service: \"payments\", first: 2, \
                 after: $after) { edges { cursor node { version } } \
                 pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let answer = server
            .ask(&server.operator, query, json!({ "after": after }))
            .await;
        let page = &answer["data"]["checkpoints"];
        assert_eq!(
            page["pageInfo"]["hasPreviousPage"],
            !after.is_null(),
            "{answer}"
        );
        let edges = page["edges"].as_array().unwrap();
        seen.extend(edges.iter().map(|edge| edge["node"]["version"].clone()));
        assert_eq!(
            edges.last().unwrap()["cursor"],
            page["pageInfo"]["endCursor"]
        );
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"]);
    let wrong = server
        .ask(&server.operator, query, json!({ "after": "made up" }))
        .await;
    assert_eq!(wrong["errors"][0]["extensions"]["field"], "after");
}

#[tokio::test]
async fn the_library_and_the_log_are_shown() {
    let server = serve().await;
    let query = "{ volumes { barcode state capacity free } drives { serial state } \
                 ledgerHead { size } pool(name: \"main\") { copies } }";
    let answer = server.ask(&server.operator, query, json!({})).await;
    assert_eq!(answer["data"]["volumes"][0]["barcode"], "V001", "{answer}");
    assert_eq!(answer["data"]["volumes"][0]["state"], "SCRATCH");
    assert_eq!(answer["data"]["volumes"][0]["capacity"], 1 << 30);
    assert_eq!(answer["data"]["drives"].as_array().unwrap().len(), 2);
    assert_eq!(answer["data"]["ledgerHead"]["size"], 0);
    let health = client()
        .get(format!("{}/healthz", server.url))
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn a_download_is_asked_for_with_care() {
    let server = serve().await;
    let get = |path: String| {
        let request = client().get(format!("{}/v1/restores/{path}", server.url));
        async { request.bearer_auth(&server.operator).send().await.unwrap() }
    };
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (path, status, code) in [
        (format!("{nobody}/artifacts/app"), 404, "Tapemark.NotFound"),
        (
            "nonsense/artifacts/app".to_owned(),
            404,
            "Tapemark.NotFound",
        ),
        (
            format!("{nobody}/artifacts/..%2f..%2fetc%2fpasswd"),
            400,
            "Tapemark.InvalidArtifactName",
        ),
        (
            format!("{nobody}/artifacts/%ff"),
            400,
            "Tapemark.InvalidRequest",
        ),
        (
            "%ff/artifacts/app".to_owned(),
            400,
            "Tapemark.InvalidRequest",
        ),
        (format!("{nobody}/artifacts/"), 404, "Tapemark.NotFound"),
        (nobody.to_owned(), 404, "Tapemark.NotFound"),
    ] {
        let response = get(path.clone()).await;
        assert_eq!(response.status(), status, "{path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], code, "{path}");
    }
}
