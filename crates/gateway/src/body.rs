//! Bodies: read within limits of size and time, packed and unpacked.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Code, Refusal};
use serde::Serialize;
use wire::GunzipError;

use crate::refusal::No;

/// The longest a question may be on its way. The largest needs 5.6 Mbit/s to make it, an
/// ordinary one next to nothing; an agent whose line stands still asks again.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer as it is sent. A Lambda function answers with at most 6 MB, in which
/// what is compressed travels as base64: 4 MiB become 5.6 MB, which leaves room for the
/// envelope.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Answers up to here are sent as they are: packing them saves less than a packet.
const WORTH_PACKING: usize = 1 << 10;
/// From here on packing and unpacking leaves the runtime's threads alone.
const SLOW: usize = 64 << 10;

/// True where the asker understands gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("gzip"))
}

/// The body as it came, at most so many bytes.
pub(crate) async fn read(body: Body, most: usize) -> Result<Bytes, No> {
    let Ok(read) = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, most)).await else {
        let text =
            format!("body: expected all of it within {BODY_TIMEOUT:?}, found it still on its way");
        return Err(No {
            status: StatusCode::REQUEST_TIMEOUT,
            refusal: Refusal::new(Code::Transient, text),
        });
    };
    read.map_err(|error| {
        let is_too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit"));
        if is_too_large {
            too_large(&format!("expected at most {most} bytes, found more"))
        } else {
            let text = format!("body: it could not be read to its end: {error}");
            No::of(Refusal::new(Code::InvalidRequest, text))
        }
    })
}

/// The body as it was meant, at most so many bytes.
pub(crate) async fn unpack(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Bytes, No> {
    let coding = headers
        .get(header::CONTENT_ENCODING)
        .map_or(Ok("identity"), header::HeaderValue::to_str);
    let plain = match coding {
        Ok("identity") => return Ok(body),
        Ok("gzip") if body.len() < SLOW => wire::gunzip(&body, most),
        Ok("gzip") => tokio::task::spawn_blocking(move || wire::gunzip(&body, most))
            .await
            .unwrap_or_else(|error| Err(GunzipError::Broken(error.to_string()))),
        _ => {
            let text = "expected gzip, or no content-encoding";
            let refusal = Refusal::new(Code::InvalidRequest, text);
            return Err(No::of(refusal.at("content-encoding")));
        }
    };
    plain.map(Bytes::from).map_err(|error| match error {
        GunzipError::TooLarge(_) => too_large(&error.to_string()),
        GunzipError::Broken(_) => {
            No::of(Refusal::new(Code::InvalidRequest, format!("body: {error}")))
        }
    })
}

/// The answer as it is sent: packed where that helps and the asker understands it.
pub(crate) async fn answer<T: Serialize>(result: Result<T, Refusal>, gzip: bool) -> Response {
    let plain = result.and_then(|answer| {
        serde_json::to_vec(&answer)
            .map_err(|error| Refusal::new(Code::Internal, format!("answer: {error}")))
    });
    let plain = match plain {
        Ok(plain) => plain,
        Err(refusal) => return No::of(refusal).into_response(),
    };
    let gzip = gzip && plain.len() > WORTH_PACKING;
    let sent = if !gzip {
        plain
    } else if plain.len() < SLOW {
        wire::gzip(&plain)
    } else {
        match tokio::task::spawn_blocking(move || wire::gzip(&plain)).await {
            Ok(packed) => packed,
            Err(error) => {
                let refusal = Refusal::new(Code::Internal, format!("answer: {error}"));
                return No::of(refusal).into_response();
            }
        }
    };
    if sent.len() > MAX_ANSWER_BYTES {
        let text = format!(
            "expected an answer of at most {MAX_ANSWER_BYTES} bytes, found one of {}",
            sent.len()
        );
        return No::of(Refusal::new(Code::AnswerTooLarge, text)).into_response();
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    if gzip {
        (json, [(header::CONTENT_ENCODING, "gzip")], sent).into_response()
    } else {
        (json, sent).into_response()
    }
}

fn too_large(text: &str) -> No {
    No {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        refusal: Refusal::new(Code::InvalidRequest, format!("body: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use model::work::{ClaimAnswer, Order, OrderedArtifact, WorkItem, WriteOrder};
    use model::{ArtifactRange, Bytes as Size, CopyNo, Sha256};

    use super::*;

    /// 64 digits that nothing shrinks below 32 bytes.
    fn noise(n: u64) -> String {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let part = |k: u64| {
            let mut hasher = DefaultHasher::new();
            (n, k).hash(&mut hasher);
            hasher.finish()
        };
        (0..4).map(|k| format!("{:016x}", part(k))).collect()
    }

    /// As S3 presigns for a function: credential and session token are the same in all,
    /// the key and the signature are not.
    fn url(n: u64) -> String {
        let token: String = (0..25).map(noise).collect();
        format!(
            "https://tapemark-pins.s3.eu-central-1.amazonaws.com/pins/\
             01890a5d-ac96-774b-bcce-b302099a8057/{n}?versionId={}&X-Amz-Algorithm=\
             AWS4-HMAC-SHA256&X-Amz-Credential=ASIAEXAMPLE%2F20261122%2Feu-central-1%2Fs3%2F\
             aws4_request&X-Amz-Date=20261122T221110Z&X-Amz-Expires=43200&X-Amz-SignedHeaders=\
             host&X-Amz-Security-Token={token}&X-Amz-Signature={}",
            &noise(n)[..32],
            noise(n + 1_000_000)
        )
    }

    fn claim(artifacts: u64) -> ClaimAnswer {
        let id = || "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let artifacts = (0..artifacts).map(|n| OrderedArtifact {
            name: format!("assets/{}/part-{n}.bin", &noise(n)[..8])
                .parse()
                .unwrap(),
            source: format!("s3://artifacts/build/{n}?versionId={}", &noise(n + 7)[..32])
                .parse()
                .unwrap(),
            size: Size(1_000_000 + n),
            sha256: noise(n + 2_000_000).parse::<Sha256>().unwrap(),
            range: ArtifactRange {
                artifact: n as u32,
                offset: Size(0),
                length: Size(1_000_000 + n),
            },
            fetch: url(n),
        });
        let order = WriteOrder {
            checkpoint: id(),
            group: "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap(),
            group_index: 0,
            group_size: 1,
            run: "run-1".parse().unwrap(),
            service: "payments".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            parent: None,
            copy: CopyNo(0),
            part: 0,
            parts: 1,
            content: Sha256::EMPTY,
            submitted_at: jiff::Timestamp::UNIX_EPOCH,
            artifacts: artifacts.collect(),
        };
        ClaimAnswer {
            items: vec![WorkItem {
                key: "run-1/0/0".parse().unwrap(),
                order: Order::Write(order),
            }],
            others_waiting: false,
        }
    }

    #[tokio::test]
    async fn the_largest_checkpoint_with_presigned_urls_fits_in_an_answer() {
        assert!((1900..2100).contains(&url(1).len()), "{}", url(1).len());
        let most = model::MAX_ARTIFACTS_PER_CHECKPOINT as u64;
        let plain = serde_json::to_vec(&claim(most)).unwrap().len();
        let response = answer(Ok(claim(most)), true).await;
        assert_eq!(response.status(), StatusCode::OK);
        let sent = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(plain > 20_000_000, "{plain}");
        println!("{plain} bytes became {}", sent.len());
        assert!(sent.len() < 3 << 20, "{plain} bytes became {}", sent.len());
    }

    #[tokio::test]
    async fn an_answer_that_would_not_fit_is_refused_not_cut() {
        let response = answer(Ok(claim(3000)), false).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let no: Refusal = serde_json::from_slice(&body).unwrap();
        assert_eq!(no.code, Code::AnswerTooLarge);
        assert!(no.code.hint().contains("ask for less"));
    }
}
