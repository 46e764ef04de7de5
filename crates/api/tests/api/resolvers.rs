//! Resolvers over the API: components in, bindings and decisions out, and everything that
//! is refused with its code and field.

use control::testing::World;
use model::{CallOutcome, MAX_COMPONENT_BYTES};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{SUBMIT, Server, client, serve};

const BINDING: &str = "scope live { name version } previous { name } \
                       shadow { release { name } percent decided } recent quarantinedAt";

/// Registers a component that always fails, which is enough to be published.
fn script(world: &World, component: &[u8]) {
    world
        .resolvers
        .script(component, |_| Err(CallOutcome::OutOfFuel));
}

async fn put(
    server: &Server,
    token: &str,
    path: &str,
    content_type: &str,
    component: Vec<u8>,
) -> (StatusCode, Value) {
    let response = client()
        .put(format!("{}/resolvers/components/{path}", server.url))
        .header("content-type", content_type)
        .bearer_auth(token)
        .body(component)
        .send()
        .await
        .unwrap();
    (response.status(), response.json().await.unwrap())
}

fn refusal(answer: &Value) -> (String, String) {
    let extensions = &answer["errors"][0]["extensions"];
    let text = |key: &str| extensions[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("field"))
}

#[tokio::test]
async fn a_component_goes_in_as_it_is_and_its_release_comes_out() {
    let server = serve().await;
    script(&server.world, b"one");
    let path = "mine/1.0.0?limits=%7B%22fuel%22%3A7%7D";
    let (status, release) = put(
        &server,
        &server.operator,
        path,
        "application/wasm",
        b"one".to_vec(),
    )
    .await;
    assert_eq!(status, 200, "{release}");
    assert_eq!(release["name"], "mine");
    assert_eq!(release["bytes"], 3);
    assert_eq!(release["limits"]["fuel"], 7);
    let query = "{ resolvers { nodes { name version summary limits { fuel wallMs } \
                 withdrawnAt } } resolver(name: \"mine\") { component } }";
    let answer = server.ask(&server.scoped, query, json!({})).await;
    let found = &answer["data"]["resolvers"]["nodes"][0];
    assert_eq!(found["limits"]["fuel"], 7, "{answer}");
    assert_eq!(
        answer["data"]["resolver"]["component"],
        release["component"]
    );
}

#[tokio::test]
async fn what_is_no_upload_is_refused_before_it_costs_anything() {
    let server = serve().await;
    script(&server.world, b"one");
    let operator = server.operator.clone();
    let wasm = "application/wasm";
    let one = || b"one".to_vec();
    let too_large = vec![0; MAX_COMPONENT_BYTES + 1];
    let limits = |text: &str| format!("mine/1.0.0?limits={text}");
    for (token, path, content_type, body, status, code, field) in [
        ("guess", "mine/1.0.0", wasm, one(), 401, "Unauthorized", ""),
        (
            &server.scoped,
            "mine/1.0.0",
            wasm,
            one(),
            403,
            "Forbidden",
            "",
        ),
        (
            &operator,
            "mine/1.0.0",
            "text/plain",
            one(),
            415,
            "InvalidRequest",
            "Content-Type",
        ),
        (
            &operator,
            "mine/1.0.0",
            wasm,
            too_large,
            413,
            "ResolverInvalid",
            "component",
        ),
        (
            &operator,
            "Mine/1.0.0",
            wasm,
            one(),
            400,
            "InvalidRequest",
            "name",
        ),
        (
            &operator,
            "mine/1",
            wasm,
            one(),
            400,
            "InvalidRequest",
            "version",
        ),
        (
            &operator,
            &limits("x"),
            wasm,
            one(),
            400,
            "InvalidRequest",
            "limits",
        ),
        (
            &operator,
            &limits("%7B%22fuel%22:0%7D"),
            wasm,
            one(),
            400,
            "InvalidRequest",
            "limits.fuel",
        ),
        (
            &operator,
            "mine/1.0.0?limit=1",
            wasm,
            one(),
            400,
            "InvalidRequest",
            "query",
        ),
        (
            &operator,
            "mine/1.0.0",
            wasm,
            b"unknown".to_vec(),
            400,
            "ResolverInvalid",
            "",
        ),
    ] {
        let (found, answer) = put(&server, token, path, content_type, body).await;
        assert_eq!(found, status, "{path} {answer}");
        let (found, at) = refusal(&answer);
        assert_eq!(found, format!("Tapemark.{code}"), "{path} {answer}");
        if !field.is_empty() {
            assert_eq!(at, field, "{path} {answer}");
        }
    }
    let answer = server
        .ask(&operator, "{ resolvers { nodes { name } } }", json!({}))
        .await;
    assert_eq!(answer["data"]["resolvers"]["nodes"], json!([]), "{answer}");
}

#[tokio::test]
async fn a_body_that_breaks_off_publishes_nothing() {
    let server = serve().await;
    script(&server.world, b"one");
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT /resolvers/components/mine/1.0.0 HTTP/1.1\r\nhost: x\r\ncontent-type: \
         application/wasm\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\none",
        server.operator
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A server that hangs up without a word is as good.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    let query = "{ resolver(name: \"mine\") { name } }";
    let asked = server.ask(&server.operator, query, json!({})).await;
    assert_eq!(refusal(&asked).0, "Tapemark.NotFound", "{asked}");
}

#[tokio::test]
async fn a_binding_goes_from_bind_to_unbind() {
    let server = serve().await;
    for (component, name) in [(&b"one"[..], "one"), (b"two", "two")] {
        script(&server.world, component);
        let path = format!("{name}/1.0.0");
        let body = component.to_vec();
        let (status, answer) =
            put(&server, &server.operator, &path, "application/wasm", body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let order = |field: &str, arguments: &str| {
        format!("mutation {{ it: {field}(scope: \"pool:main\"{arguments}) {{ {BINDING} }} }}")
    };
    let ask = async |query: String| server.ask(&server.operator, &query, json!({})).await;
    let bound = ask(order("bindResolver", ", name: \"one\"")).await;
    assert_eq!(bound["data"]["it"]["live"]["name"], "one", "{bound}");
    let shadow = ask(order("shadowResolver", ", name: \"two\", percent: 10")).await;
    assert_eq!(shadow["data"]["it"]["shadow"]["percent"], 10, "{shadow}");
    let promoted = ask(order("promoteResolver", "")).await;
    assert_eq!(promoted["data"]["it"]["live"]["name"], "two", "{promoted}");
    assert_eq!(promoted["data"]["it"]["previous"]["name"], "one");
    let back = ask(order("rollbackResolver", "")).await;
    assert_eq!(back["data"]["it"]["live"]["name"], "one", "{back}");
    for (query, code, field) in [
        (order("unshadowResolver", ""), "InvalidRequest", "scope"),
        (
            order("bindResolver", ", name: \"none\""),
            "NotFound",
            "name",
        ),
        (
            order("shadowResolver", ", name: \"two\", percent: 101"),
            "InvalidRequest",
            "percent",
        ),
        (
            "mutation { unbindResolver(scope: \"main\") }".to_owned(),
            "InvalidRequest",
            "scope",
        ),
    ] {
        let answer = ask(query).await;
        let (found, at) = refusal(&answer);
        assert_eq!(found, format!("Tapemark.{code}"), "{answer}");
        assert_eq!(at, field, "{answer}");
    }
    let scoped = server
        .ask(
            &server.scoped,
            "mutation { unbindResolver(scope: \"pool:main\") }",
            json!({}),
        )
        .await;
    assert_eq!(refusal(&scoped).0, "Tapemark.Forbidden");
    ask("mutation { unbindResolver(scope: \"pool:main\") }".to_owned()).await;
    let left = ask("{ resolverBindings { scope } }".to_owned()).await;
    assert_eq!(left["data"]["resolverBindings"], json!([]), "{left}");
}

#[tokio::test]
async fn a_pool_says_what_decides_where_a_resolver_does_not() {
    let server = serve().await;
    let order = "mutation { putPool(pool: { name: \"main\", reserve: 0, fallback: REJECT }) \
                 { fallback } }";
    let answer = server.ask(&server.operator, order, json!({})).await;
    assert_eq!(answer["data"]["putPool"]["fallback"], "REJECT", "{answer}");
    let query = "{ pool(name: \"main\") { fallback } }";
    let answer = server.ask(&server.operator, query, json!({})).await;
    assert_eq!(answer["data"]["pool"]["fallback"], "REJECT");
    // A submission without conflicts needs nobody's decision to be accepted.
    let input = server.sample("payments", "1", "k");
    let submitted = server
        .ask(&server.operator, SUBMIT, json!({ "i": input }))
        .await;
    assert!(submitted["errors"].is_null(), "{submitted}");
    let none = server
        .ask(
            &server.operator,
            "{ resolverDecisions { nodes { id } } }",
            json!({}),
        )
        .await;
    assert_eq!(none["data"]["resolverDecisions"]["nodes"], json!([]));
    let scoped = server
        .ask(
            &server.scoped,
            "{ resolverDecisions { nodes { id } } }",
            json!({}),
        )
        .await;
    assert_eq!(refusal(&scoped).0, "Tapemark.Forbidden", "{scoped}");
}
