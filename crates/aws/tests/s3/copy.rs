//! Pinning by a copy within S3, which says what it copied. SeaweedFS copies but does not
//! say, so a few answers as the API reference has them stand in for S3 here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aws::{Place, S3Objects};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode};
use base64::Engine as _;
use control::ports::{ObjectError, Objects};
use model::{ArtifactSource, Bytes, CheckpointId, Sha256};
use sha2::Digest;

use crate::home::client;

const CONTENT: &[u8] = b"release 1.0";

/// What the stand-in says, and what it was asked.
struct Stand {
    /// The digest that HeadObject and CopyObject name.
    head: Option<Sha256>,
    copy: Option<Sha256>,
    asked: Mutex<Vec<String>>,
}

fn text(digest: Sha256) -> String {
    base64::engine::general_purpose::STANDARD.encode(digest.0)
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

async fn answer(State(stand): State<Arc<Stand>>, request: Request) -> Response<Body> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let copied_from = header("x-amz-copy-source");
    let is_pin = request.uri().path().starts_with("/tapemark/pins/");
    let what = match &copied_from {
        Some(from) => format!("COPY {from} with {:?}", header("x-amz-meta-sha256")),
        None => format!(
            "{} {}",
            request.method(),
            if is_pin { "pin" } else { "source" }
        ),
    };
    stand.asked.lock().unwrap().push(what);
    let answer = Response::builder();
    match (request.method(), is_pin, copied_from) {
        (&Method::HEAD, true, _) => answer.status(StatusCode::NOT_FOUND).body(Body::empty()),
        (&Method::HEAD, false, _) => {
            let answer = answer.header("content-length", CONTENT.len());
            match stand.head {
                Some(digest) => answer.header("x-amz-checksum-sha256", text(digest)),
                None => answer,
            }
            .body(Body::empty())
        }
        (&Method::PUT, _, Some(_)) => {
            let said = stand
                .copy
                .map(|digest| format!("<ChecksumSHA256>{}</ChecksumSHA256>", text(digest)));
            answer.body(Body::from(format!(
                "<CopyObjectResult><ETag>\"e\"</ETag>{}</CopyObjectResult>",
                said.unwrap_or_default()
            )))
        }
        (&Method::GET, false, _) => answer.body(Body::from(CONTENT)),
        (&Method::DELETE, ..) => answer.status(StatusCode::NO_CONTENT).body(Body::empty()),
        _ => answer.body(Body::empty()),
    }
    .unwrap()
}

/// Pins [`CONTENT`], declared with this digest, and tells what was asked for it.
async fn pin(
    head: Option<Sha256>,
    copy: Option<Sha256>,
    declared: Sha256,
) -> (Result<(), ObjectError>, Vec<String>) {
    let stand = Arc::new(Stand {
        head,
        copy,
        asked: Mutex::default(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(stand.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let place = Place {
        bucket: "tapemark".to_owned(),
        sources: BTreeSet::from(["releases".to_owned()]),
        restore_root: "/restore".to_owned(),
    };
    let objects = S3Objects::with_client(client(&endpoint, "test", "testtest"), place);
    let source = ArtifactSource::S3 {
        bucket: "releases".to_owned(),
        key: "größe 1.tar".to_owned(),
        version: "3HL4+kqt".to_owned(),
    };
    let checkpoint = CheckpointId::from_parts(1, &[1; 10]);
    let size = Bytes(CONTENT.len() as u64);
    let pinned = objects.pin(checkpoint, 0, &source, size, declared).await;
    let asked = std::mem::take(&mut *stand.asked.lock().unwrap());
    (pinned, asked)
}

fn copy_of(declared: Sha256) -> String {
    let from = "releases/gr%C3%B6%C3%9Fe%201.tar?versionId=3HL4%2Bkqt";
    format!("COPY {from} with {:?}", Some(declared.to_hex()))
}

#[tokio::test]
async fn what_s3_knows_the_digest_of_is_copied_without_a_byte_passing_through() {
    let declared = digest(CONTENT);
    let (pinned, asked) = pin(Some(declared), Some(declared), declared).await;
    pinned.unwrap();
    assert_eq!(asked, ["HEAD pin", "HEAD source", &copy_of(declared)]);
}

#[tokio::test]
async fn a_copy_that_is_not_proven_is_taken_away_and_the_bytes_are_hashed_here() {
    let declared = digest(CONTENT);
    for said in [None, Some(digest(b"other"))] {
        let (pinned, asked) = pin(Some(declared), said, declared).await;
        pinned.unwrap();
        let expected = [
            "HEAD pin",
            "HEAD source",
            &copy_of(declared),
            "DELETE pin",
            "GET source",
            "PUT pin",
        ];
        assert_eq!(asked, expected, "said {said:?}");
    }
}

#[tokio::test]
async fn other_bytes_than_declared_are_never_given_a_name() {
    let declared = digest(b"what was declared");
    // S3 knows better at once, or the bytes show it.
    for (head, most) in [(Some(digest(CONTENT)), "HEAD source"), (None, "GET source")] {
        let (pinned, asked) = pin(head, Some(declared), declared).await;
        assert!(
            matches!(pinned, Err(ObjectError::Mismatch { what: "sha256", .. })),
            "{pinned:?}"
        );
        assert_eq!(asked.last().map(String::as_str), Some(most));
    }
}
