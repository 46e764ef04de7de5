//! The way in for resolver components: bytes as they are, not wrapped in GraphQL.

use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use control::Principal;
use control::authority::{Action, Resource};
use model::{Code, Limits, MAX_COMPONENT_BYTES, Refusal, Release};
use serde::Deserialize;

use super::accept::MediaType;
use super::{Proven, Served, answer, authenticate, refuse, unauthorized, with};
use crate::limits;

/// The only type a component has.
const WASM: &str = "application/wasm";

/// What may stand behind the path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The limits as JSON; those that are left out are the defaults.
    limits: Option<String>,
}

fn invalid(field: &str, message: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("{field}: {message}")).at(field)
}

fn parse_limits(text: Option<&str>) -> Result<Limits, Refusal> {
    let Some(text) = text else {
        return Ok(Limits::DEFAULT);
    };
    let limits: Limits = serde_json::from_str(text).map_err(|error| {
        invalid(
            "limits",
            format!("expected a JSON object of limits: {error}"),
        )
    })?;
    match limits.beyond_cap() {
        None => Ok(limits),
        Some((field, cap)) => Err(Refusal::new(
            Code::InvalidRequest,
            format!("limits.{field}: expected 1 to {cap}, found something else"),
        )
        .at(format!("limits.{field}"))),
    }
}

/// `PUT /resolvers/components/{name}/{version}?limits={...}`: publishes the body under
/// name and version, and answers with the release.
pub(super) async fn component(
    State(served): State<Served>,
    proven: Proven,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Asked>, QueryRejection>,
    body: Body,
) -> Response {
    let who = match authenticate(&served.api, proven, &headers) {
        Ok(who) => who,
        Err(refusal) => return unauthorized(MediaType::Json, &refusal),
    };
    let published = match (path, query) {
        (Ok(Path((name, version))), Ok(Query(asked))) => {
            publish(&served, &who, &headers, (&name, &version), &asked, body).await
        }
        (Err(error), _) => Err((error.status(), invalid("path", error))),
        (_, Err(error)) => Err((error.status(), invalid("query", error))),
    };
    let no = match published {
        Ok(release) => match serde_json::to_value(&release) {
            Ok(body) => return answer(StatusCode::OK, MediaType::Json, &body),
            Err(error) => {
                let refusal = Refusal::new(Code::Internal, format!("a release: {error}"));
                (StatusCode::INTERNAL_SERVER_ERROR, refusal)
            }
        },
        Err(no) => no,
    };
    let response = refuse(no.0, MediaType::Json, &no.1);
    if no.0 == StatusCode::SERVICE_UNAVAILABLE {
        with(response, header::RETRY_AFTER, "5")
    } else {
        response
    }
}

type No = (StatusCode, Refusal);

async fn publish(
    served: &Served,
    who: &Principal,
    headers: &HeaderMap,
    (name, version): (&str, &str),
    asked: &Asked,
    body: Body,
) -> Result<Release, No> {
    // Everything that needs no byte of the body comes first.
    served
        .api
        .control
        .authorize(who, Action::PublishResolver, Resource::Resolver(name))
        .map_err(|refusal| (StatusCode::FORBIDDEN, refusal))?;
    let found = headers.get(header::CONTENT_TYPE);
    if found.map(HeaderValue::as_bytes) != Some(WASM.as_bytes()) {
        let refusal = invalid("Content-Type", format!("expected {WASM}, found {found:?}"));
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, refusal));
    }
    let limits = parse_limits(asked.limits.as_deref())
        .map_err(|refusal| (StatusCode::BAD_REQUEST, refusal))?;
    let too_large = |found: &str| {
        let refusal = Refusal::new(
            Code::ResolverInvalid,
            format!("component: expected at most {MAX_COMPONENT_BYTES} bytes, found {found}"),
        );
        (StatusCode::PAYLOAD_TOO_LARGE, refusal.at("component"))
    };
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if let Some(length) = declared.filter(|length| *length > MAX_COMPONENT_BYTES as u64) {
        return Err(too_large(&length.to_string()));
    }
    let Ok(_place) = served.uploads.try_acquire() else {
        let refusal = Refusal::new(
            Code::Busy,
            format!(
                "expected at most {} components to be published at once, found more",
                limits::MAX_UPLOADS
            ),
        );
        return Err((StatusCode::SERVICE_UNAVAILABLE, refusal));
    };
    let read = to_bytes(body, MAX_COMPONENT_BYTES);
    let component = match tokio::time::timeout(limits::BODY_TIMEOUT, read).await {
        Ok(Ok(bytes)) => bytes.to_vec(),
        Ok(Err(_)) => return Err(too_large("more, or it broke off")),
        Err(_) => {
            let refusal = Refusal::new(
                Code::Transient,
                format!(
                    "body: expected all of it within {:?}, found it still on its way",
                    limits::BODY_TIMEOUT
                ),
            );
            return Err((StatusCode::REQUEST_TIMEOUT, refusal));
        }
    };
    let publish = served
        .api
        .control
        .publish_resolver(who, name, version, component, limits);
    match tokio::time::timeout(limits::PUBLISH_TIMEOUT, publish).await {
        Ok(published) => published.map_err(|refusal| (status(&refusal), refusal)),
        Err(_) => {
            let refusal = Refusal::new(
                Code::Busy,
                format!(
                    "expected it to be compiled within {:?}, found it still at work",
                    limits::PUBLISH_TIMEOUT
                ),
            );
            Err((StatusCode::SERVICE_UNAVAILABLE, refusal))
        }
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal.code {
        Code::InvalidRequest | Code::ResolverInvalid => StatusCode::BAD_REQUEST,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::VersionExists => StatusCode::CONFLICT,
        code if code.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_left_out_are_the_defaults_and_none_passes_its_cap() {
        assert_eq!(parse_limits(None).unwrap(), Limits::DEFAULT);
        let own = parse_limits(Some(r#"{"fuel":7}"#)).unwrap();
        assert_eq!((own.fuel, own.wall_ms), (7, Limits::DEFAULT.wall_ms));
        for (bad, field) in [
            ("x", "limits"),
            (r#"{"wall":1}"#, "limits"),
            (r#"{"fuel":0}"#, "limits.fuel"),
            (r#"{"wall_ms":2001}"#, "limits.wall_ms"),
        ] {
            let refusal = parse_limits(Some(bad)).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field), "{bad}");
        }
    }
}
