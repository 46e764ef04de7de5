//! Events as the services send them.

use serde_json::{Value, json};

/// What the state machine asks of a phase, about a group that nobody submitted.
pub fn phase(op: &str) -> Value {
    json!({
        "op": op,
        "run": "01998d5e-0000-7000-8000-0000000000aa",
        "group": "01998d5e-0000-7000-8000-0000000000ab",
        "placement": 0,
        "attempt": 0,
        "error": { "Error": "", "Cause": "" },
    })
}

/// A request to an HTTP API in format 2.0, without an authorizer.
pub fn http(method: &str, path: &str, body: &Value) -> Value {
    let route = format!("{method} {path}");
    json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "host": "api.example" },
        "requestContext": {
            "accountId": "000000000000", "apiId": "a", "domainName": "api.example",
            "domainPrefix": "a", "requestId": "r", "routeKey": route, "stage": "$default",
            "time": "22/Nov/2026:12:00:00 +0000", "timeEpoch": 1_795_348_800_000_u64,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1",
                      "sourceIp": "127.0.0.1", "userAgent": "story" },
        },
        "body": body.to_string(),
        "isBase64Encoded": false,
    })
}
