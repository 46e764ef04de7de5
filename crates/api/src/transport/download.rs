//! The way back: what was brought back from tape, byte for byte.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::RestoreState;
use model::{ArtifactName, Code, Refusal, RestoreId};
use tokio_util::io::ReaderStream;

use super::accept::MediaType;
use super::{Proven, Served, authenticate, refuse, unauthorized, with};

/// How much is read from the file at once: large enough to be cheap, small enough that
/// a hundred downloads stay within 25 MiB.
const CHUNK: usize = 256 << 10;

pub(super) async fn artifact(
    State(served): State<Served>,
    proven: Proven,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let who = match authenticate(&served.api, proven, &headers) {
        Ok(who) => who,
        Err(refusal) => return unauthorized(MediaType::Json, &refusal),
    };
    let Path((id, name)) = match path {
        Ok(path) => path,
        Err(error) => {
            let refusal = Refusal::new(Code::InvalidRequest, format!("path: {error}"));
            return refuse(error.status(), MediaType::Json, &refusal);
        }
    };
    match open(&served, &who, &id, &name).await {
        Ok(response) => response,
        Err(refusal) => {
            let status = match refusal.code {
                Code::NotFound => StatusCode::NOT_FOUND,
                Code::Forbidden => StatusCode::FORBIDDEN,
                Code::NotRestorable => StatusCode::CONFLICT,
                Code::InvalidRequest | Code::InvalidArtifactName => StatusCode::BAD_REQUEST,
                code if code.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refuse(status, MediaType::Json, &refusal)
        }
    }
}

async fn open(
    served: &Served,
    who: &control::Principal,
    id: &str,
    name: &str,
) -> Result<Response, Refusal> {
    let id: RestoreId = id
        .parse()
        .map_err(|error: model::InvalidId| Refusal::new(Code::NotFound, error.to_string()))?;
    // A name that was checked cannot lead out of the delivery directory.
    let name: ArtifactName = name.parse().map_err(|error: model::InvalidId| {
        Refusal::new(Code::InvalidArtifactName, error.to_string())
    })?;
    let view = served.api.control.delivered(who, id).await?;
    match view.state {
        RestoreState::Done => {}
        RestoreState::Waiting => {
            return Err(Refusal::new(
                Code::NotRestorable,
                format!("restore {id}: expected it to be done, found it waiting for the tape"),
            ));
        }
        RestoreState::Failed { refusal } => return Err(refusal),
    }
    let missing = || {
        Refusal::new(
            Code::NotFound,
            format!("restore {id}: no artifact {name:?}", name = name.as_str()),
        )
    };
    let delivered = view.delivered.ok_or_else(missing)?;
    let Some(directory) = delivered.strip_prefix("file://") else {
        return redirect(&delivered, &name);
    };
    let path = std::path::Path::new(directory).join(name.as_str());
    let file = match tokio::fs::File::open(&path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Deliveries are plaintext and not kept for ever.
            let is_gone = matches!(tokio::fs::try_exists(directory).await, Ok(false));
            return Err(if is_gone {
                Refusal::new(
                    Code::NotFound,
                    format!(
                        "restore {id}: expected its files, found them removed after the time \
                         to fetch them; ask for the restore again"
                    ),
                )
            } else {
                missing()
            });
        }
        Err(error) => {
            tracing::error!(restore = %id, %error, "a delivered artifact cannot be read");
            return Err(Refusal::new(
                Code::Internal,
                "a delivered artifact cannot be read",
            ));
        }
    };
    let metadata = file.metadata().await.map_err(|error| {
        Refusal::new(
            Code::Internal,
            format!("a delivered artifact has no size: {error}"),
        )
    })?;
    if !metadata.is_file() {
        return Err(missing());
    }
    let body = Body::from_stream(ReaderStream::with_capacity(file, CHUNK));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(metadata.len()));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    Ok(with(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

/// Where the object store delivers by itself, the asker is sent there.
fn redirect(delivered: &str, name: &ArtifactName) -> Result<Response, Refusal> {
    let target = format!("{}/{}", delivered.trim_end_matches('/'), name.as_str());
    let location = HeaderValue::from_str(&target).map_err(|_| {
        Refusal::new(
            Code::Internal,
            "the object store gave an address that is no URL",
        )
    })?;
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
