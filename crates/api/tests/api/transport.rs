//! GraphQL over HTTP, as a stranger's client meets it. The table follows the audits that
//! the specification's authors publish (`graphql-http`, 61 of them), under their ids; what
//! they leave open is settled and tested below.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Server, client, serve};

const JSON: &str = "application/json";
const MODERN: &str = "application/graphql-response+json";
const TYPENAME: &str = "{ __typename }";

/// What an audit asks of the answer.
enum Expect {
    /// This status.
    Status(u16),
    /// 400 to 499.
    Status4xx,
    /// 200 in this media type.
    Media(&'static str),
    /// 200, without errors.
    Fine,
    /// No `data` in the answer.
    NoData,
}
use Expect::{Fine, Media, NoData, Status, Status4xx};

struct Audit {
    id: &'static str,
    accept: Option<&'static str>,
    content_type: Option<&'static str>,
    /// A POST with this body, or a GET with these parameters.
    body: Body,
    expect: Expect,
}

enum Body {
    Post(Value),
    Raw(&'static str),
    Get(Vec<(&'static str, &'static str)>),
}
use Body::{Get, Post, Raw};

fn audit(id: &'static str, accept: Option<&'static str>, body: Body, expect: Expect) -> Audit {
    Audit {
        id,
        accept,
        content_type: Some(JSON),
        body,
        expect,
    }
}

#[allow(clippy::too_many_lines)]
fn audits() -> Vec<Audit> {
    let query = || Post(json!({ "query": TYPENAME }));
    let type_query = "query Type($name: String!) { __type(name: $name) { name } }";
    let type_body = || Post(json!({ "query": type_query, "variables": { "name": "sometype" } }));
    let unknown = || Post(json!({ "query": "{ 8f31403dfe404bccbb0e835f2629c6a7 }" }));
    let coerce = || {
        Post(json!({
            "query": "query CoerceFailure($id: ID!){ __typename }",
            "variables": { "id": null },
        }))
    };
    let open = || Post(json!({ "query": "{" }));
    let (any, old, new) = (None, Some(JSON), Some(MODERN));
    let mut list = vec![
        audit("22EB", new, query(), Media(MODERN)),
        audit("4655", old, query(), Media(JSON)),
        audit("47DE", Some("*/*"), query(), Media(JSON)),
        audit("80D8", any, query(), Media(JSON)),
        audit("82A3", any, query(), Fine),
        Audit {
            id: "BF61",
            accept: any,
            content_type: Some("application/json; charset=utf-8"),
            body: Post(json!({ "query": "{ __type(name: \"Run🏃Swim🏊\") { name } }" })),
            expect: Fine,
        },
        audit("78D5", any, query(), Fine),
        audit("2C94", any, query(), Fine),
        audit("5A70", any, Get(vec![("query", TYPENAME)]), Fine),
        audit(
            "9C48",
            new,
            Get(vec![("query", "mutation { __typename }")]),
            Status4xx,
        ),
        Audit {
            id: "9ABE",
            accept: any,
            content_type: None,
            body: query(),
            expect: Status4xx,
        },
        audit("03D4", any, query(), Fine),
        audit("A5BF", any, Raw(""), Status(400)),
        audit(
            "423L",
            new,
            Post(json!({ "notquery": TYPENAME })),
            Status(400),
        ),
        audit("34A2", new, query(), Fine),
        audit("13EE", old, query(), Fine),
        audit(
            "8161",
            new,
            Post(json!({ "operationName": "Query", "query": "query Query { __typename }" })),
            Fine,
        ),
        audit(
            "B8B3",
            old,
            Post(json!({ "operationName": "Query", "query": "query Query { __typename }" })),
            Fine,
        ),
        audit("2EA1", new, type_body(), Fine),
        audit("28B9", old, type_body(), Fine),
        audit(
            "D6D5",
            new,
            Get(vec![
                ("query", type_query),
                ("variables", "{\"name\":\"sometype\"}"),
            ]),
            Fine,
        ),
        audit(
            "6A70",
            old,
            Get(vec![
                ("query", type_query),
                ("variables", "{\"name\":\"sometype\"}"),
            ]),
            Fine,
        ),
        audit(
            "428F",
            new,
            Post(json!({ "query": TYPENAME, "extensions": { "some": "value" } })),
            Fine,
        ),
        audit(
            "1B7A",
            old,
            Post(json!({ "query": TYPENAME, "extensions": { "some": "value" } })),
            Fine,
        ),
        audit("B6DC", old, Raw("{ \"not a JSON"), Status(400)),
        audit("BCF8", old, Raw("{ \"not a JSON"), Status(400)),
        audit("B7N8", new, Raw("{ \"not a JSON"), Status(400)),
        audit("8764", any, Post(json!({ "qeury": TYPENAME })), Status4xx),
        audit("3E3A", any, Post(json!({ "qeury": TYPENAME })), Status(400)),
        audit("572B", old, open(), Status(200)),
        audit("FDE2", old, unknown(), Status(200)),
        audit("7B9B", old, coerce(), Status(200)),
        audit("865D", new, open(), Status4xx),
        audit("556A", new, open(), Status(400)),
        audit("D586", new, open(), NoData),
        audit("51FE", new, unknown(), Status4xx),
        audit("74FF", new, unknown(), Status(400)),
        audit("5E5B", new, unknown(), NoData),
        audit("86EE", new, coerce(), Status(400)),
    ];
    let wrong = [
        json!({ "obj": "ect" }),
        json!(0),
        json!(false),
        json!(["array"]),
    ];
    for (ids, name) in [
        (["LKJ0", "LKJ1", "LKJ2", "LKJ3"], "query"),
        (["6C00", "6C01", "6C02", "6C03"], "operationName"),
        (["4760", "4761", "4762", "4763"], "variables"),
        (["58B0", "58B1", "58B2", "58B3"], "extensions"),
    ] {
        for (id, wrong) in ids.into_iter().zip(&wrong) {
            let takes_objects = matches!(name, "variables" | "extensions");
            let wrong = match wrong {
                Value::Object(_) if takes_objects => json!("string"),
                other => other.clone(),
            };
            let mut body = json!({ "query": TYPENAME });
            body[name] = wrong;
            list.push(audit(id, any, Post(body), Status(400)));
        }
    }
    for (new_id, old_id, name) in [
        ("94B0", "0220", "variables"),
        ("94B1", "0221", "operationName"),
        ("94B2", "0222", "extensions"),
    ] {
        let mut body = json!({ "query": TYPENAME });
        body[name] = Value::Null;
        list.push(audit(new_id, new, Post(body.clone()), Fine));
        list.push(audit(old_id, old, Post(body), Fine));
    }
    list
}

async fn ask(server: &Server, audit: &Audit) -> Response {
    let client = client();
    let url = format!("{}/graphql", server.url);
    let mut request = match &audit.body {
        Get(pairs) => client.get(&url).query(pairs),
        Post(body) => client.post(&url).body(body.to_string()),
        Raw(body) => client.post(&url).body(*body),
    };
    if let (Some(value), false) = (audit.content_type, matches!(audit.body, Get(_))) {
        request = request.header("content-type", value);
    }
    if let Some(value) = audit.accept {
        request = request.header("accept", value);
    }
    request.bearer_auth(&server.operator).send().await.unwrap()
}

#[tokio::test]
async fn all_61_audits_pass() {
    let server = serve().await;
    let list = audits();
    assert_eq!(list.len(), 61);
    let mut failed = Vec::new();
    for audit in &list {
        let response = ask(&server, audit).await;
        let status = response.status().as_u16();
        let media = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        // Every answer is UTF-8 and says so, in one of the two media types.
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let expected_media = if audit.accept == Some(MODERN) {
            MODERN
        } else {
            JSON
        };
        let media_fits = media == format!("{expected_media}; charset=utf-8");
        let fine = match audit.expect {
            Status(expected) => status == expected,
            Status4xx => (400..500).contains(&status),
            Media(expected) => status == 200 && media.starts_with(expected),
            Fine => status == 200 && body.get("errors").is_none() && body.get("data").is_some(),
            NoData => body.get("data").is_none() && body.get("errors").is_some(),
        };
        // A request error has no data in either media type, and every error has a code.
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        let coded = errors
            .iter()
            .all(|error| error["extensions"]["code"].is_string());
        if !fine || !media_fits || !coded {
            failed.push(format!("{}: {status} {media} {body}", audit.id));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

async fn post(server: &Server, accept: &str, body: &Value) -> (StatusCode, Value) {
    let client = client();
    let response = client
        .post(format!("{}/graphql", server.url))
        .header("content-type", JSON)
        .header("accept", accept)
        .bearer_auth(&server.operator)
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let status = response.status();
    (status, response.json().await.unwrap())
}

#[tokio::test]
async fn what_the_audits_leave_open_is_settled() {
    let server = serve().await;
    let client = client();
    let url = format!("{}/graphql", server.url);
    let send = |request: reqwest::RequestBuilder| async {
        request.bearer_auth(&server.operator).send().await.unwrap()
    };

    let response = send(
        client
            .get(&url)
            .query(&[("query", "mutation { __typename }")]),
    )
    .await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "POST");

    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let response = send(client.request(method.clone(), &url)).await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "GET, POST");
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let request = client
            .post(&url)
            .header("content-type", content_type)
            .body("{}");
        assert_eq!(send(request).await.status(), 415, "{content_type}");
    }
    let request = client
        .post(&url)
        .body(json!({ "query": TYPENAME }).to_string());
    assert_eq!(send(request).await.status(), 415);

    let request = client
        .post(&url)
        .header("accept", "text/html")
        .header("content-type", JSON);
    assert_eq!(send(request.body("{}")).await.status(), 406);

    let long = "#".repeat(api::limits::MAX_QUERY_STRING_BYTES);
    assert_eq!(
        send(client.get(&url).query(&[("query", long)]))
            .await
            .status(),
        414
    );

    let body = vec![b' '; api::limits::MAX_BODY_BYTES + 1];
    let request = client.post(&url).header("content-type", JSON).body(body);
    assert_eq!(send(request).await.status(), 413);

    // No batches: each would be a way around the limits.
    let (status, _) = post(&server, MODERN, &json!([{ "query": TYPENAME }])).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn even_what_is_not_here_is_answered_in_json() {
    let server = serve().await;
    for (method, path, status, code) in [
        (Method::GET, "/graphq", 404, "Tapemark.NotFound"),
        (Method::POST, "/v1/restores", 404, "Tapemark.NotFound"),
        (Method::GET, "/%ff", 404, "Tapemark.NotFound"),
        (Method::POST, "/healthz", 405, "Tapemark.InvalidRequest"),
    ] {
        let request = client().request(method, format!("{}{path}", server.url));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let allow = response.headers().get("allow").cloned();
        assert_eq!(allow.is_some(), status == 405, "{path}: {allow:?}");
        assert!(
            response.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with(JSON),
            "{path}"
        );
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], code, "{path}");
    }
}

/// The time is virtual: it passes when nobody has anything to do but wait.
#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_given_up() {
    let server = serve().await;
    let begun = tokio::time::Instant::now();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: tapemark\r\nContent-Type: {JSON}\r\n\
         Authorization: Bearer {}\r\nContent-Length: 100\r\n\r\n{{",
        server.operator
    );
    let address = server.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    // To its end: the connection is closed too.
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"Tapemark.Transient\""), "{answer}");
    assert!(
        answer.contains("body: expected all of it within 60s"),
        "{answer}"
    );
    let waited = begun.elapsed();
    assert!(waited >= api::limits::BODY_TIMEOUT, "{waited:?}");
}

#[tokio::test]
async fn without_a_token_there_is_no_answer() {
    let server = serve().await;
    let client = client();
    for header in [
        None,
        Some("Bearer guess"),
        Some("Basic dTpw"),
        Some("Bearer"),
    ] {
        let mut request = client
            .post(format!("{}/graphql", server.url))
            .header("content-type", JSON)
            .body(json!({ "query": TYPENAME }).to_string());
        if let Some(value) = header {
            request = request.header("authorization", value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{header:?}");
        assert_eq!(
            response.headers()["www-authenticate"],
            "Bearer realm=\"tapemark\""
        );
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            body["errors"][0]["extensions"]["code"],
            "Tapemark.Unauthorized"
        );
        assert!(body.get("data").is_none());
    }
    let response = client
        .get(format!(
            "{}/v1/restores/{}/artifacts/x",
            server.url,
            uuid::Uuid::nil()
        ))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn limits_hold_and_the_usual_introspection_passes() {
    let server = serve().await;
    let mut deep = "name".to_owned();
    for _ in 0..api::limits::MAX_DEPTH {
        deep = format!("ofType {{ {deep} }}");
    }
    let deep = format!("{{ __schema {{ types {{ {deep} }} }} }}");
    let wide = "{ checkpoints(first: 200) { edges { node { group { checkpoints { id service \
                version state placements { volume segments { no sha256 bytes records } } \
                artifacts(first: 2000) { edges { node { name size } } } } } } } } }";
    for query in [
        deep.as_str(),
        wide,
        "{ services(first: 2000000000) { edges { node { name } } } }",
    ] {
        let (status, body) = post(&server, MODERN, &json!({ "query": query })).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(
            body["errors"][0]["extensions"]["code"],
            "Tapemark.InvalidRequest"
        );
    }
    // What GraphiQL and the code generators ask first (graphql-js getIntrospectionQuery).
    let of_type = (0..9).fold("kind name".to_owned(), |inner, _| {
        format!("kind name ofType {{ {inner} }}")
    });
    let query = format!(
        "{{ __schema {{ queryType {{ name }} mutationType {{ name }} types {{ kind name \
         description specifiedByURL fields(includeDeprecated: true) {{ name description \
         args(includeDeprecated: true) {{ name type {{ {of_type} }} defaultValue }} \
         type {{ {of_type} }} isDeprecated }} inputFields {{ name type {{ {of_type} }} }} \
         enumValues {{ name }} possibleTypes {{ {of_type} }} }} directives {{ name \
         isRepeatable locations args {{ name }} }} }} }}"
    );
    let (status, body) = post(&server, MODERN, &json!({ "query": query })).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.get("errors").is_none(), "{body}");
}

#[tokio::test]
async fn a_scalar_or_choice_of_the_wrong_form_is_named() {
    let server = serve().await;
    for (query, variables, says) in [
        (
            "query($id: UUID!) { checkpoint(id: $id) { id } }",
            json!({ "id": "x" }),
            "UUID",
        ),
        (
            "query($t: GroupTarget!) { group(target: $t) { id } }",
            json!({ "t": { "group": uuid::Uuid::nil(), "checkpoint": uuid::Uuid::nil() } }),
            "Oneof",
        ),
    ] {
        let (status, body) = post(
            &server,
            MODERN,
            &json!({ "query": query, "variables": variables }),
        )
        .await;
        assert_eq!(status, 400, "{body}");
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn graphiql_is_there_on_one_machine() {
    let server = serve().await;
    let page = client().get(&server.url).send().await.unwrap();
    assert!(
        page.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.text().await.unwrap().contains("/graphql"));
}
