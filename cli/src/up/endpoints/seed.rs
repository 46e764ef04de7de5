//! What the sample events of functions name (`events/`): always under the same ids, and with
//! no run of its own, so that the function that is tried out is the first to look at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use aws_sdk_s3::error::DisplayErrorContext;
use control::ledger::HashChain;
use control::ports::{Clock, NoResolvers, Ports, Randomness};
use control::{Control, Effect, Principal, parse_submission};
use embedded::{LocalQueue, Stores};
use jiff::Timestamp;
use model::{GroupId, Pool, Refusal, RetentionClass, Service};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{SOURCES, failed};
use crate::failure::Failure;

/// When the samples were submitted: their ids hold it. 2026-01-01T00:00:00Z.
const SUBMITTED: i64 = 1_767_225_600;
/// What the samples' artifact holds.
const CONTENT: &[u8] = b"payments, release 1.0\n";
/// Where it is.
const KEY: &str = "payments/1.0/app.tar";

/// A group that is submitted and not validated.
struct Sample {
    /// What ValidateFunction makes of it.
    name: &'static str,
    service: &'static str,
    version: &'static str,
    /// What the submitter says the bytes are.
    declared: &'static [u8],
    /// The version of the object; that which is there, if it is none.
    object: Option<&'static str>,
}

/// In the order of their ids.
const SAMPLES: [Sample; 4] = [
    Sample {
        name: "ok",
        service: "payments",
        version: "1.0",
        declared: CONTENT,
        object: None,
    },
    Sample {
        name: "checksum-mismatch",
        service: "payments",
        version: "1.1",
        declared: b"payments, release 1.1\n",
        object: None,
    },
    Sample {
        name: "artifact-missing",
        service: "payments",
        version: "1.2",
        declared: CONTENT,
        object: Some("00000000000000000000000000000000"),
    },
    Sample {
        name: "unknown-service",
        service: "nobody",
        version: "1.0",
        declared: CONTENT,
        object: None,
    },
];

struct Then;

impl Clock for Then {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(SUBMITTED).unwrap_or_default()
    }
}

/// Counts up from the number of the sample.
struct Counting(AtomicU8);

impl Randomness for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::Relaxed);
        buffer.fill(0);
        if let Some(last) = buffer.last_mut() {
            *last = next;
        }
    }
}

/// Puts the samples, where they are not there yet, and says their ids. Nothing else may be
/// at work on the stores.
pub(super) async fn seed(
    s3: &aws_sdk_s3::Client,
    stores: &Stores,
    pool: &Pool,
) -> Result<Value, Failure> {
    let version = artifact(s3).await?;
    let who = Principal::Operator;
    let mut shown = Vec::new();
    for (number, sample) in (1_u8..).zip(&SAMPLES) {
        let control = Control::new(Ports {
            table: stores.table.clone(),
            objects: stores.objects.clone(),
            queue: Arc::new(LocalQueue::default()),
            clock: Arc::new(Then),
            randomness: Arc::new(Counting(AtomicU8::new(number << 4))),
            ledger: Arc::new(HashChain),
            resolvers: Arc::new(NoResolvers),
        });
        if number == 1 {
            if control.pool(&who, &pool.name).await.is_err() {
                control.put_pool(&who, pool.clone()).await?;
            }
            control.register_services(&who, services(pool)?).await?;
        }
        let object = sample.object.unwrap_or(&version);
        let submission = json!({
            "idempotency_key": format!("sample/{}", sample.name),
            "members": [{
                "service": sample.service,
                "version": sample.version,
                "artifacts": [{
                    "name": "app.tar",
                    "source": format!("s3://{SOURCES}/{KEY}?versionId={object}"),
                    "size": sample.declared.len(),
                    "sha256": format!("{:x}", Sha256::digest(sample.declared)),
                }],
            }],
        });
        let submission = parse_submission(submission).map_err(refused)?;
        let outcome = control.submit(&who, submission).await;
        let outcome = outcome.map_err(refused)?;
        forget_run(&control, outcome.group).await?;
        shown.push(json!({
            "name": sample.name,
            "group": outcome.group,
            "checkpoint": outcome.checkpoints.first(),
        }));
    }
    Ok(shown.into())
}

/// The run that a sample asks for is not to begin; what others ask for is.
async fn forget_run(control: &Control, group: GroupId) -> Result<(), Failure> {
    let asked = control.pending_effects(1_000).await?;
    let of_sample = asked.into_iter().filter(|(_, effect)| match effect {
        Effect::StartRun { input, .. } => input["group"] == json!(group),
        _ => false,
    });
    let ids: Vec<_> = of_sample.map(|(id, _)| id).collect();
    Ok(control.effects_told(&ids).await?)
}

fn refused(refusals: Vec<Refusal>) -> Failure {
    Failure::Refused(refusals.into_iter().map(Into::into).collect())
}

fn services(pool: &Pool) -> Result<Vec<Service>, Failure> {
    ["payments", "search"]
        .into_iter()
        .map(|name| {
            Ok(Service {
                name: name.parse()?,
                pool: pool.name.clone(),
                retention: vec![RetentionClass::default()],
                frozen: false,
                provenance_key: None,
            })
        })
        .collect()
}

/// The version of the samples' artifact, which is put where it is not there.
async fn artifact(s3: &aws_sdk_s3::Client) -> Result<String, Failure> {
    let head = s3.head_object().bucket(SOURCES).key(KEY).send().await;
    let version = match head {
        Ok(head) => head.version_id,
        Err(_) => {
            let put = s3.put_object().bucket(SOURCES).key(KEY);
            let put = put.body(CONTENT.to_vec().into()).send().await;
            put.map_err(|error| failed(&DisplayErrorContext(error)))?
                .version_id
        }
    };
    version.ok_or_else(|| failed(&format!("{SOURCES}/{KEY} has no version")))
}
