//! A catalogue and objects behind DynamoDB and S3 endpoints of this process, so that
//! functions run beside it (`sam local invoke`) see what it sees. For development only.

mod seed;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws::{DynamoTable, Place, S3Objects};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use embedded::Stores;
use endpoints::{CREDENTIALS, Endpoints, Home, Running};
use model::{LibraryId, Pool};
use serde_json::{Value, json};

use super::files::{self, ENDPOINTS_DIR};
use crate::failure::Failure;

/// The catalogue's table.
const TABLE: &str = "tapemark";
/// Pinned artifacts.
const PINS: &str = "tapemark-pins";
/// Manifests and reports.
const DOCUMENTS: &str = "tapemark-documents";
/// Components, for the functions; the stack itself keeps resolvers in `resolvers/`.
const RESOLVERS: &str = "tapemark-resolvers";
/// Where artifacts come from.
const SOURCES: &str = "releases";
/// For `sam local invoke --env-vars`.
const ENV_FILE: &str = "env.json";

/// The endpoints at work, and what leads to them.
pub(super) struct Served {
    running: Running,
    env_file: PathBuf,
    library: LibraryId,
    restores: PathBuf,
    samples: Option<Value>,
}

/// Serves an installation's table and buckets, makes those that are not there yet, writes
/// `env.json`, and puts the samples, if asked to. Nothing else may be at work there yet.
///
/// # Errors
/// Where the address is taken or reached by other machines, or a file cannot be used.
pub(super) async fn start(
    data_dir: &Path,
    address: SocketAddr,
    pool: &Pool,
    with_samples: bool,
) -> Result<(Served, Stores), Failure> {
    let data_dir = data_dir.canonicalize()?;
    let running = Endpoints::start(Home::Directory(data_dir.join(ENDPOINTS_DIR)), address)
        .await
        .map_err(|error| Failure::Usage(format!("--aws-endpoints: {error}")))?;
    let mut served = Served {
        running,
        env_file: data_dir.join(ENV_FILE),
        library: pool.library.clone(),
        restores: data_dir.join("restore"),
        samples: None,
    };
    let tables = served.dynamodb();
    aws::schema::create_table(&tables, TABLE)
        .await
        .map_err(|error| failed(&error))?;
    let s3 = served.s3();
    for (bucket, is_versioned) in [
        (PINS, false),
        (DOCUMENTS, true),
        (RESOLVERS, true),
        (SOURCES, true),
    ] {
        make_bucket(&s3, bucket, is_versioned).await?;
    }
    files::write(
        &served.env_file,
        &serde_json::to_vec_pretty(&json!({ "Parameters": served.env() }))?,
    )?;
    let place = Place {
        bucket: PINS.to_owned(),
        sources: BTreeSet::from([SOURCES.to_owned()]),
        restore_root: served.restores.display().to_string(),
    };
    let stores = Stores {
        table: Arc::new(DynamoTable::with_client(tables, TABLE)),
        objects: Arc::new(S3Objects::with_client(s3.clone(), place).with_documents(DOCUMENTS)),
    };
    if with_samples {
        served.samples = Some(seed::seed(&s3, &stores, pool).await?);
    }
    Ok((served, stores))
}

async fn make_bucket(
    s3: &aws_sdk_s3::Client,
    bucket: &str,
    is_versioned: bool,
) -> Result<(), Failure> {
    if s3.head_bucket().bucket(bucket).send().await.is_err() {
        let made = s3.create_bucket().bucket(bucket).send().await;
        made.map_err(|error| failed(&DisplayErrorContext(error)))?;
    }
    if is_versioned {
        let enabled = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let put = s3.put_bucket_versioning().bucket(bucket);
        let put = put.versioning_configuration(enabled).send().await;
        put.map_err(|error| failed(&DisplayErrorContext(error)))?;
    }
    Ok(())
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!("--aws-endpoints: {error}"))
}

impl Served {
    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(CREDENTIALS.region))
            .credentials_provider(Credentials::new(
                CREDENTIALS.access_key_id,
                CREDENTIALS.secret_access_key,
                None,
                None,
                "endpoints",
            ))
            .retry_config(aws::table_retries())
            .timeout_config(aws::table_timeouts())
            .endpoint_url(&self.running.dynamodb_url)
            .build();
        aws_sdk_dynamodb::Client::from_conf(config)
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(CREDENTIALS.region))
            .credentials_provider(Credentials::new(
                CREDENTIALS.access_key_id,
                CREDENTIALS.secret_access_key,
                None,
                None,
                "endpoints",
            ))
            .endpoint_url(&self.running.s3_url)
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// The environment of functions that work here.
    fn env(&self) -> Value {
        json!({
            "AWS_ENDPOINT_URL_DYNAMODB": self.running.dynamodb_url,
            "AWS_ENDPOINT_URL_S3": self.running.s3_url,
            "TAPEMARK_TABLE": TABLE,
            "TAPEMARK_PINS_BUCKET": PINS,
            "TAPEMARK_DOCUMENTS_BUCKET": DOCUMENTS,
            "TAPEMARK_RESOLVERS_BUCKET": RESOLVERS,
            "TAPEMARK_SOURCES": SOURCES,
            "TAPEMARK_RESTORE_ROOT": format!("file://{}", self.restores.display()),
            "TAPEMARK_LIBRARY": self.library,
        })
    }

    /// What `up` says about them, for programs.
    pub(super) fn view(&self) -> Value {
        json!({
            "dynamodb": self.running.dynamodb_url,
            "s3": self.running.s3_url,
            "region": CREDENTIALS.region,
            "access_key_id": CREDENTIALS.access_key_id,
            "secret_access_key": CREDENTIALS.secret_access_key,
            "table": TABLE,
            "buckets": {
                "pins": PINS,
                "documents": DOCUMENTS,
                "resolvers": RESOLVERS,
                "sources": SOURCES,
            },
            "env_file": self.env_file,
            "env": self.env(),
            "samples": self.samples,
        })
    }

    /// What `up` says about them, for people.
    pub(super) fn lines(&self) -> String {
        format!(
            "  table  {TABLE} at {}\n  s3     {} (put artifacts into {SOURCES})\n  env    {}\n\
             \x20        AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} AWS_REGION={}\n",
            self.running.dynamodb_url,
            self.running.s3_url,
            self.env_file.display(),
            CREDENTIALS.access_key_id,
            CREDENTIALS.secret_access_key,
            CREDENTIALS.region,
        )
    }

    pub(super) async fn shutdown(self) {
        self.running.shutdown().await;
    }
}
