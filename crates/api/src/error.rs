//! How a refusal stands in an answer.

use async_graphql::{Error, ErrorExtensionValues, ErrorExtensions, Value};
use model::{Code, Refusal};

/// A refusal as JSON, as it stands in `extensions.refusals` and in the answers of the
/// plain HTTP endpoints: `code`, `message`, `hint`, `retryable`, and `field` where it is
/// about one.
pub fn describe(refusal: &Refusal) -> serde_json::Value {
    let mut body = serde_json::json!({
        "code": refusal.code,
        "message": refusal.message,
        "hint": refusal.code.hint(),
        "retryable": refusal.code.is_retryable(),
    });
    if let Some(field) = &refusal.field {
        body["field"] = field.as_str().into();
    }
    body
}

/// A whole answer without `data`, for refusals outside of GraphQL execution.
pub fn to_errors(refusal: &Refusal) -> serde_json::Value {
    let mut extensions = describe(refusal);
    if let Some(map) = extensions.as_object_mut() {
        map.remove("message");
    }
    serde_json::json!({ "errors": [{ "message": refusal.message, "extensions": extensions }] })
}

/// Puts a code and its hint on an error that has none.
pub(crate) fn label(extensions: &mut Option<ErrorExtensionValues>, code: Code) {
    let values = extensions.get_or_insert_with(ErrorExtensionValues::default);
    if values.get("code").is_none() {
        values.set("code", code.as_str());
        values.set("hint", code.hint());
        values.set("retryable", code.is_retryable());
    }
}

/// One refusal as a GraphQL error.
pub(crate) fn refused(refusal: Refusal) -> Error {
    all_refused(vec![refusal])
}

/// All refusals of one request as one GraphQL error: the first one's code and message,
/// and the list of all in `extensions.refusals`.
pub(crate) fn all_refused(refusals: Vec<Refusal>) -> Error {
    let Some(first) = refusals.first() else {
        return refused(Refusal::new(
            Code::Internal,
            "expected a reason, found a refusal without one",
        ));
    };
    let list: Vec<Value> = refusals
        .iter()
        .filter_map(|refusal| Value::from_json(describe(refusal)).ok())
        .collect();
    Error::new(first.message.clone()).extend_with(|_, values| {
        values.set("code", first.code.as_str());
        values.set("hint", first.code.hint());
        values.set("retryable", first.code.is_retryable());
        if let Some(field) = &first.field {
            values.set("field", field.as_str());
        }
        values.set("refusals", Value::List(list));
    })
}

/// Maps the error of a port or of `control` on a GraphQL error.
pub(crate) trait OrRefused<T> {
    /// The value, or the refusal as a GraphQL error.
    fn or_refused(self) -> Result<T, Error>;
}

impl<T> OrRefused<T> for Result<T, Refusal> {
    fn or_refused(self) -> Result<T, Error> {
        self.map_err(refused)
    }
}

/// A text as a name of the model, or the refusal that names the argument.
pub(crate) fn name<T>(text: &str, field: &str) -> Result<T, Error>
where
    T: std::str::FromStr<Err = model::InvalidId>,
{
    text.parse().map_err(|error: model::InvalidId| {
        refused(Refusal::new(Code::InvalidRequest, error.to_string()).at(field))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_first_code_and_all_refusals() {
        let error = all_refused(vec![
            Refusal::new(
                Code::InvalidArtifactName,
                "expected a relative path, found \"/x\"",
            )
            .at("members[0].artifacts[0].name"),
            Refusal::new(Code::UnknownService, "no service \"x\""),
        ]);
        let json = serde_json::to_value(error.extensions.unwrap()).unwrap();
        expect_test::expect![[r#"
            {
              "code": "Tapemark.InvalidArtifactName",
              "field": "members[0].artifacts[0].name",
              "hint": "use a relative path without `..`, at most 1,024 bytes",
              "refusals": [
                {
                  "code": "Tapemark.InvalidArtifactName",
                  "message": "expected a relative path, found \"/x\"",
                  "hint": "use a relative path without `..`, at most 1,024 bytes",
                  "retryable": false,
                  "field": "members[0].artifacts[0].name"
                },
                {
                  "code": "Tapemark.UnknownService",
                  "message": "no service \"x\"",
                  "hint": "register it: tapemark service register NAME",
                  "retryable": false
                }
              ],
              "retryable": false
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&json).unwrap());
    }
}
