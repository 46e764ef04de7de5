//! The four request parameters of GraphQL over HTTP.

use axum::extract::Query;
use axum::http::Uri;
use serde_json::{Map, Value};

/// A request: which document, which of its operations, with which variables.
#[derive(Debug, PartialEq)]
pub(super) struct Params {
    pub(super) query: String,
    pub(super) operation_name: Option<String>,
    pub(super) variables: Map<String, Value>,
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn map(name: &str, value: Option<Value>) -> Result<Map<String, Value>, String> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(other) => Err(format!(
            "{name}: expected an object, found {}",
            kind(&other)
        )),
    }
}

impl Params {
    /// From the body of a POST.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, String> {
        if body.is_empty() {
            return Err("body: expected a JSON object, found nothing".to_owned());
        }
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| format!("body: expected JSON, found an error: {error}"))?;
        let Value::Object(mut body) = body else {
            let found = kind(&body);
            return Err(format!("body: expected a JSON object, found {found}"));
        };
        let query = match body.remove("query") {
            Some(Value::String(text)) => text,
            Some(other) => return Err(format!("query: expected a string, found {}", kind(&other))),
            None => return Err("query: expected a GraphQL document, found nothing".to_owned()),
        };
        let operation_name = match body.remove("operationName") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                return Err(format!(
                    "operationName: expected a string, found {}",
                    kind(&other)
                ));
            }
        };
        map("extensions", body.remove("extensions"))?;
        let variables = map("variables", body.remove("variables"))?;
        Ok(Self {
            query,
            operation_name,
            variables,
        })
    }

    /// From the query string of a GET.
    pub(super) fn from_query(query: &str) -> Result<Self, String> {
        let uri: Uri = format!("/?{query}")
            .parse()
            .map_err(|_| "query string: expected a URL's query, found something else".to_owned())?;
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri)
            .map_err(|error| format!("query string: {}", error.body_text()))?;
        let mut body = Map::new();
        for (name, text) in pairs {
            let value = match name.as_str() {
                "query" | "operationName" => Value::String(text),
                "variables" | "extensions" => serde_json::from_str(&text)
                    .map_err(|error| format!("{name}: expected JSON, found an error: {error}"))?,
                _ => continue,
            };
            if body.insert(name.clone(), value).is_some() {
                return Err(format!("{name}: expected once, found twice"));
            }
        }
        let text = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
        Self::from_json(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn get_and_post_mean_the_same() {
        let get = Params::from_query(
            "query=query%20A(%24x%3AInt)%7B__typename%7D&operationName=A&variables=%7B%22x%22%3A1%7D",
        );
        let post = Params::from_json(
            br#"{"query":"query A($x:Int){__typename}","operationName":"A","variables":{"x":1}}"#,
        );
        assert_eq!(get, post);
        assert!(get.is_ok());
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        assert!(Params::from_query("query=a&query=b").is_err());
        assert!(Params::from_query("query=a&variables={").is_err());
    }

    proptest! {
        #[test]
        fn no_body_and_no_query_string_panics(bytes: Vec<u8>, text: String) {
            let _ = Params::from_json(&bytes);
            let _ = Params::from_query(&text);
        }
    }
}
