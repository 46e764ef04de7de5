//! The GraphQL API behind an HTTP API whose JWT authorizer has checked the token: its claims
//! say who asks. A request without an authorizer's word is nobody's, whatever its headers
//! say.

use std::sync::Arc;

use api::{Api, Caller, NoTokens, RunHistory};
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use control::Control;
use control::ports::system::SystemClock;
use lambda::Function;
use lambda::http::{HttpFunction, claims, once, request_context};
use model::LibraryId;

/// The function on a control plane. Orders with an `Idempotency-Key` are carried out once.
pub fn function(
    function: Function,
    control: Control,
    runs: Arc<dyn RunHistory>,
    library: LibraryId,
) -> HttpFunction {
    let router = api::router(Api {
        control: control.clone(),
        tokens: Arc::new(NoTokens),
        runs,
        clock: Arc::new(SystemClock),
        library,
        local: false,
    });
    let router = once(router, control, |request| {
        Some(request.extensions().get::<Caller>()?.id.clone())
    });
    let router = router.layer(middleware::from_fn(identify));
    HttpFunction::new(function, router, op)
}

/// Puts the caller of the authorizer's claims into the request. Claims that give no rights
/// here are refused at once.
async fn identify(mut request: Request, next: Next) -> Response {
    let Some(claims) = claims(request_context(request.extensions())) else {
        return next.run(request).await;
    };
    match Caller::from_claims(claims) {
        Ok(caller) => {
            tracing::info!(caller = caller.id, "asked");
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => api::forbidden(&refusal),
    }
}

fn op(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("graphql") => "graphql",
        Some("resolvers") => "publish",
        Some("v1") => "restores",
        Some("healthz") => "healthz",
        _ => "unknown",
    }
}
