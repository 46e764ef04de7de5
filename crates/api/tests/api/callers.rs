//! Callers that were proven before the request came here, as behind a JWT authorizer.

use std::sync::Arc;

use api::{Caller, NoTokens, Scope, TokenStore};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use crate::support::{SUBMIT, Server, client, serve_to, serve_under};

/// The answer to a question that comes with this `Authorization`, or with none.
async fn ask(server: &Server, authorization: Option<&str>, query: &str, variables: Value) -> Value {
    let mut request = client()
        .post(format!("{}/graphql", server.url))
        .header(header::CONTENT_TYPE, "application/json")
        .body(json!({ "query": query, "variables": variables }).to_string());
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

fn caller(role: &str, services: Option<&str>) -> Caller {
    let mut claims = vec![("sub", "someone"), ("tapemark_role", role)];
    claims.extend(services.map(|list| ("tapemark_services", list)));
    Caller::from_claims(claims).unwrap()
}

#[tokio::test]
async fn a_proven_caller_needs_no_token_of_ours_and_acts_for_its_services_only() {
    let server = serve_to(caller("service", Some("payments"))).await;
    let token = "Bearer eyJhbGciOiJub25lIn0.e30.";
    let mine = json!({ "i": server.sample("payments", "1", "k1") });
    let done = ask(&server, Some(token), SUBMIT, mine).await;
    assert_eq!(done["data"]["submit"]["repeated"], false, "{done}");

    let other = json!({ "i": server.sample("ledger", "1", "k2") });
    let refused = ask(&server, Some(token), SUBMIT, other).await;
    assert_eq!(
        refused["errors"][0]["extensions"]["code"],
        "Tapemark.Forbidden"
    );
}

#[tokio::test]
async fn a_bearer_token_beside_a_proven_caller_gives_no_more_rights() {
    let server = serve_to(caller("service", Some("payments"))).await;
    let operator = format!("Bearer {}", server.operator);
    let refused = ask(&server, Some(&operator), "{ tokens { name } }", json!({})).await;
    assert_eq!(
        refused["errors"][0]["extensions"]["code"],
        "Tapemark.Forbidden"
    );
}

#[tokio::test]
async fn a_proven_caller_uploads_and_downloads_by_the_same_way() {
    let server = serve_to(caller("service", Some("payments"))).await;
    let upload = client()
        .put(format!("{}/resolvers/components/x/1.0.0", server.url))
        .header(header::CONTENT_TYPE, "application/wasm")
        .body("x");
    assert_eq!(upload.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let id = "018f0000-0000-7000-8000-000000000000";
    let download = client().get(format!("{}/v1/restores/{id}/artifacts/a", server.url));
    assert_eq!(
        download.send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn claims_without_rights_are_answered_with_403_and_a_hint() {
    let refusal = Caller::from_claims([("sub", "someone")]).unwrap_err();
    let response = api::forbidden(&refusal);
    assert_eq!(response.status(), 403);
    let body = axum::body::to_bytes(response.into_body(), 4096).await;
    let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
    let error = &body["errors"][0];
    assert_eq!(error["extensions"]["code"], "Tapemark.Forbidden");
    assert_eq!(error["extensions"]["field"], "tapemark_role");
}

#[test]
fn without_tokens_of_our_own_none_is_known_and_none_is_made() {
    let now = jiff::Timestamp::UNIX_EPOCH;
    assert_eq!(NoTokens.authenticate("anything"), None);
    assert!(NoTokens.create("a", Scope::Operator, now).is_err());
    assert!(NoTokens.revoke("a").is_err());
    assert_eq!(NoTokens.list(), []);
}

#[tokio::test]
async fn policies_decide_for_proven_callers_and_a_refusal_names_the_policy() {
    let policies = authz::Policies::beside(
        "extra.cedar",
        r#"@id("auditors-look") permit (
               principal == Tapemark::User::"someone", action in Tapemark::Action::"View", resource);
           @id("ledger-is-closed") forbid (
               principal, action, resource == Tapemark::Service::"ledger");"#,
    )
    .unwrap();
    let server = serve_under(
        caller("service", Some("payments ledger")),
        Arc::new(policies),
    )
    .await;
    // Permitted by the new policy: the log of all services.
    let leaves = ask(&server, None, "{ ledgerLeaves(from: 0) }", json!({})).await;
    assert_eq!(leaves["data"]["ledgerLeaves"], json!([]), "{leaves}");
    // Not permitted by any: an order.
    let order = "mutation { revokeToken(name: \"payments\") }";
    let refused = ask(&server, None, order, json!({})).await;
    expect_test::expect![[r#"
        RevokeToken on token "payments": expected a policy that permits it to someone (service), found none"#]]
    .assert_eq(refused["errors"][0]["message"].as_str().unwrap());
    // Forbidden, although the token is scoped to it.
    let closed = json!({ "i": server.sample("ledger", "1", "k1") });
    let refused = ask(&server, None, SUBMIT, closed).await;
    let error = &refused["errors"][0];
    assert_eq!(error["extensions"]["code"], "Tapemark.Forbidden");
    assert_eq!(error["extensions"]["field"], "members[0].service");
    expect_test::expect![
        "Submit on service ledger: expected a policy that permits it to someone (service), found it forbidden by policy ledger-is-closed"
    ]
    .assert_eq(error["message"].as_str().unwrap());
}
