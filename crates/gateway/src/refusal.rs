//! A refusal on its way out.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Code, Refusal};

/// What a signature must look like (RFC 9421 5.1).
const ACCEPT_SIGNATURE: &str =
    r#"sig1=("@method" "@path" "content-digest");created;keyid;nonce;alg="ed25519""#;

/// A refusal and its status.
pub(crate) struct No {
    pub(crate) status: StatusCode,
    pub(crate) refusal: Refusal,
}

impl No {
    pub(crate) fn of(refusal: Refusal) -> Self {
        Self {
            status: status_of(refusal.code),
            refusal,
        }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.refusal)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            let of = header::HeaderValue::from_static;
            headers.insert(header::WWW_AUTHENTICATE, of("Signature"));
            headers.insert("accept-signature", of(ACCEPT_SIGNATURE));
        }
        response
    }
}

/// The HTTP status of a refusal.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound | Code::VolumeMissing => StatusCode::NOT_FOUND,
        Code::FenceLost | Code::Conflict | Code::AgentLost => StatusCode::CONFLICT,
        // Whoever asks the same again gets the same: no 503.
        Code::AnswerTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Busy => StatusCode::TOO_MANY_REQUESTS,
        Code::Transient | Code::NoCapacity => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}
