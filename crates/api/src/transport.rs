//! HTTP: GraphQL at `/graphql`, restored bytes below `/v1/restores/`, resolver components
//! below `/resolvers/components/`, health at `/healthz`, GraphiQL at `/` on one machine.

mod accept;
mod download;
mod params;
mod upload;

use std::sync::Arc;

use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Request, Response as Answer, ServerError};
use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};
use axum::{Extension, Router};
use control::Principal;
use model::{Code, Refusal};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::error::{describe, label, to_errors};
use crate::schema::{TapemarkSchema, schema};
use crate::{Api, Caller, limits};
use accept::MediaType;
use params::Params;

#[derive(Clone)]
struct Served {
    api: Api,
    schema: TapemarkSchema,
    line: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

/// The API as an axum router. It keeps no state of its own but the schema. It answers
/// unknown paths too: what it is merged with must leave those to it.
pub fn router(api: Api) -> Router {
    let local = api.local;
    let served = Served {
        schema: schema(api.clone()),
        api,
        line: Arc::new(Semaphore::new(limits::MAX_CONCURRENT)),
        uploads: Arc::new(Semaphore::new(limits::MAX_UPLOADS)),
    };
    let mut router = Router::new()
        .route("/graphql", any(graphql))
        .route("/healthz", get(health))
        .route(
            "/v1/restores/{id}/artifacts/{*name}",
            get(download::artifact),
        )
        .route(
            "/resolvers/components/{name}/{version}",
            // Its own limit stands in the handler, with a reason of its own.
            put(upload::component).layer(axum::extract::DefaultBodyLimit::disable()),
        );
    if local {
        router = router.route("/", get(graphiql));
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(nowhere)
        .with_state(served)
}

/// The answer to a path that is none of ours.
async fn nowhere(uri: Uri) -> Response {
    let refusal = Refusal::new(
        Code::NotFound,
        format!(
            "expected /graphql, /healthz or a path below /v1/restores/ or \
             /resolvers/components/, found {:?}",
            uri.path().chars().take(80).collect::<String>()
        ),
    );
    refuse(StatusCode::NOT_FOUND, MediaType::Json, &refusal)
}

/// The answer to a method that the path does not take; axum names those it takes in `Allow`.
async fn wrong_method(method: Method, uri: Uri) -> Response {
    let expected = if uri.path().starts_with("/resolvers/") {
        "PUT"
    } else {
        "GET"
    };
    let refusal = Refusal::new(
        Code::InvalidRequest,
        format!("expected {expected}, found {method}"),
    );
    refuse(StatusCode::METHOD_NOT_ALLOWED, MediaType::Json, &refusal)
}

/// An answer with a JSON body in one of the two media types.
fn answer(status: StatusCode, media: MediaType, body: &Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let content_type = HeaderValue::from_static(media.as_header());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// A refusal outside of GraphQL execution.
fn refuse(status: StatusCode, media: MediaType, refusal: &Refusal) -> Response {
    answer(status, media, &to_errors(refusal))
}

fn with(mut response: Response, name: HeaderName, value: &'static str) -> Response {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    response
}

/// The caller that was proven before the request came here, if any. Extensions are set in
/// process; no header reaches them.
type Proven = Option<Extension<Caller>>;

/// Who asks: the caller that was proven already, or the bearer of the request's token.
fn authenticate(api: &Api, proven: Proven, headers: &HeaderMap) -> Result<Principal, Refusal> {
    if let Some(Extension(caller)) = proven {
        return Ok(caller.principal.named(caller.id));
    }
    let refused = |found: &str| {
        Refusal::new(
            Code::Unauthorized,
            format!(
                "expected `Authorization: Bearer` and a token of this installation, found {found}"
            ),
        )
    };
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(refused("no such header"));
    };
    let text = value
        .to_str()
        .map_err(|_| refused("a header that is no text"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused("another scheme"));
    }
    api.tokens
        .authenticate(token.trim())
        .ok_or_else(|| refused("a token that is not known"))
}

fn unauthorized(media: MediaType, refusal: &Refusal) -> Response {
    let response = refuse(StatusCode::UNAUTHORIZED, media, refusal);
    with(
        response,
        header::WWW_AUTHENTICATE,
        "Bearer realm=\"tapemark\"",
    )
}

/// The answer to a caller whose token is good and whose claims give no rights here:
/// what [`Caller::from_claims`](crate::Caller::from_claims) refused, as an HTTP response
/// with status 403.
pub fn forbidden(refusal: &Refusal) -> Response {
    refuse(StatusCode::FORBIDDEN, MediaType::Json, refusal)
}

async fn graphql(
    State(served): State<Served>,
    proven: Proven,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let invalid = |message: String| Refusal::new(Code::InvalidRequest, message);
    let Some(media) = accept::negotiate(&headers) else {
        return refuse(
            StatusCode::NOT_ACCEPTABLE,
            MediaType::Json,
            &invalid(
                "Accept: expected application/graphql-response+json or application/json, \
                 found neither"
                    .to_owned(),
            ),
        );
    };
    if method != Method::GET && method != Method::POST {
        let refusal = invalid(format!("expected GET or POST, found {method}"));
        let response = refuse(StatusCode::METHOD_NOT_ALLOWED, media, &refusal);
        return with(response, header::ALLOW, "GET, POST");
    }
    let who = match authenticate(&served.api, proven, &headers) {
        Ok(who) => who,
        Err(refusal) => return unauthorized(media, &refusal),
    };
    let params = if method == Method::GET {
        match query {
            Some(query) if query.len() > limits::MAX_QUERY_STRING_BYTES => {
                let refusal = invalid(format!(
                    "query string: expected at most {} bytes, found {}; use POST",
                    limits::MAX_QUERY_STRING_BYTES,
                    query.len()
                ));
                return refuse(StatusCode::URI_TOO_LONG, media, &refusal);
            }
            query => Params::from_query(query.as_deref().unwrap_or_default()),
        }
    } else {
        if let Err(message) = accept::check_content_type(&headers) {
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, media, &invalid(message));
        }
        let read = to_bytes(body, limits::MAX_BODY_BYTES);
        match tokio::time::timeout(limits::BODY_TIMEOUT, read).await {
            Ok(Ok(bytes)) => Params::from_json(&bytes),
            Err(_) => {
                let refusal = Refusal::new(
                    Code::Transient,
                    format!(
                        "body: expected all of it within {:?}, found it still on its way",
                        limits::BODY_TIMEOUT
                    ),
                );
                return refuse(StatusCode::REQUEST_TIMEOUT, media, &refusal);
            }
            Ok(Err(_)) => {
                let refusal = invalid(format!(
                    "body: expected at most {} bytes, found more, or it broke off",
                    limits::MAX_BODY_BYTES
                ));
                return refuse(StatusCode::PAYLOAD_TOO_LARGE, media, &refusal);
            }
        }
    };
    let params = match params {
        Ok(params) => params,
        Err(message) => return refuse(StatusCode::BAD_REQUEST, media, &invalid(message)),
    };
    match tokio::time::timeout(
        limits::REQUEST_TIMEOUT,
        served.execute(&method, media, who, params),
    )
    .await
    {
        Ok(response) => response,
        Err(_) => {
            let refusal = Refusal::new(
                Code::Busy,
                format!(
                    "expected an answer within {:?}, found none",
                    limits::REQUEST_TIMEOUT
                ),
            );
            let response = refuse(StatusCode::SERVICE_UNAVAILABLE, media, &refusal);
            with(response, header::RETRY_AFTER, "5")
        }
    }
}

impl Served {
    async fn execute(
        &self,
        method: &Method,
        media: MediaType,
        who: Principal,
        params: Params,
    ) -> Response {
        // The line is never closed while the router lives.
        let _place = self.line.acquire().await;
        let document = match async_graphql::parser::parse_query(&params.query) {
            Ok(document) => document,
            Err(error) => {
                return request_error(media, vec![ServerError::from(error)]);
            }
        };
        let operation = match select(&document, params.operation_name.as_deref()) {
            Ok(operation) => operation,
            Err(message) => return request_error(media, vec![ServerError::new(message, None)]),
        };
        if method == Method::GET && operation.ty != OperationType::Query {
            let refusal = Refusal::new(
                Code::InvalidRequest,
                format!(
                    "expected a query over GET, found a {}; use POST",
                    operation.ty
                ),
            );
            let response = refuse(StatusCode::METHOD_NOT_ALLOWED, media, &refusal);
            return with(response, header::ALLOW, "POST");
        }
        let missing: Vec<ServerError> = operation
            .variable_definitions
            .iter()
            .map(|definition| &definition.node)
            .filter(|definition| {
                !definition.var_type.node.nullable
                    && definition.default_value.is_none()
                    && params
                        .variables
                        .get(definition.name.node.as_str())
                        .is_none_or(Value::is_null)
            })
            .map(|definition| {
                let message = format!(
                    "variable ${}: expected {}, found nothing",
                    definition.name.node, definition.var_type.node
                );
                ServerError::new(message, None)
            })
            .collect();
        if !missing.is_empty() {
            return request_error(media, missing);
        }
        let variables = Value::Object(params.variables);
        let mut request = Request::new(params.query)
            .variables(async_graphql::Variables::from_json(variables))
            .data(who);
        if let Some(name) = params.operation_name {
            request = request.operation_name(name);
        }
        request.set_parsed_query(document);
        respond(media, self.schema.execute(request).await)
    }
}

/// The operation that is meant: the named one, or the only one.
fn select<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a async_graphql::parser::types::OperationDefinition, String> {
    let mut operations = document.operations.iter();
    let found = match name {
        Some(name) => operations.find(|(found, _)| found.is_some_and(|found| found == name)),
        None => {
            let first = operations.next();
            if operations.next().is_some() {
                return Err(
                    "operationName: expected one of several operations to be named, \
                            found none"
                        .to_owned(),
                );
            }
            first
        }
    };
    found
        .map(|(_, operation)| &operation.node)
        .ok_or_else(|| match name {
            Some(name) => format!(
                "operationName: expected an operation of the document, found {:?}",
                name.chars().take(80).collect::<String>()
            ),
            None => "query: expected an operation, found none".to_owned(),
        })
}

/// A request that was never executed: the document does not parse or validate, or a
/// variable has no value that its type takes.
fn request_error(media: MediaType, errors: Vec<ServerError>) -> Response {
    // Clients of the older media type take any other status for a broken server.
    let status = match media {
        MediaType::GraphqlResponse => StatusCode::BAD_REQUEST,
        MediaType::Json => StatusCode::OK,
    };
    answer(
        status,
        media,
        &json!({ "errors": errors_json(errors, Code::InvalidRequest) }),
    )
}

fn errors_json(errors: Vec<ServerError>, code: Code) -> Vec<Value> {
    let labelled = errors.into_iter().map(|mut error| {
        label(&mut error.extensions, code);
        serde_json::to_value(error).unwrap_or_else(|cause| {
            describe(&Refusal::new(
                Code::Internal,
                format!("an error without JSON: {cause}"),
            ))
        })
    });
    labelled.collect()
}

fn respond(media: MediaType, executed: Answer) -> Response {
    // Only execution gives an error a path.
    let request_failed = !executed.errors.is_empty()
        && executed.data == async_graphql::Value::Null
        && executed.errors.iter().all(|error| error.path.is_empty());
    if request_failed {
        return request_error(media, executed.errors);
    }
    let data = match executed.data.into_json() {
        Ok(data) => data,
        Err(error) => {
            let refusal = Refusal::new(Code::Internal, format!("an answer without JSON: {error}"));
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, media, &refusal);
        }
    };
    let body = if executed.errors.is_empty() {
        json!({ "data": data })
    } else {
        json!({ "data": data, "errors": errors_json(executed.errors, Code::InvalidRequest) })
    };
    answer(StatusCode::OK, media, &body)
}

async fn health(State(served): State<Served>) -> Response {
    match served.api.control.checkpoints_committed().await {
        Ok(committed) => {
            let body = json!({ "status": "ok", "committed": committed });
            answer(StatusCode::OK, MediaType::Json, &body)
        }
        Err(refusal) => refuse(StatusCode::SERVICE_UNAVAILABLE, MediaType::Json, &refusal),
    }
}

async fn graphiql() -> Response {
    let page = async_graphql::http::GraphiQLSource::build()
        .endpoint("/graphql")
        .title("Tapemark")
        .finish();
    axum::response::Html(page).into_response()
}
