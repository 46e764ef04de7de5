//! What stands for AWS: DynamoDB and S3 in this process with an empty catalogue, and one
//! endpoint for all else that agrees to everything at once.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use endpoints::{ANY_PORT, Endpoints, Home, Running};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What is asked of Step Functions and EventBridge here, answered for both.
const AGREED: &str = r#"{"executionArn":"arn:aws:states:us-east-1:000000000000:execution:tapemark-checkpoint:bench","startDate":0,"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}"#;
/// The catalogue's table.
const TABLE: &str = "tapemark";

/// Endpoints of the services.
pub struct Cloud {
    stores: Running,
    others: SocketAddr,
    server: JoinHandle<std::io::Result<()>>,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Cloud {
    /// Starts them in memory and makes the table.
    ///
    /// # Errors
    /// Where there is no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let stores = Endpoints::start(Home::Memory, ANY_PORT).await?;
        let credentials = aws_sdk_dynamodb::config::Credentials::new(
            stores.credentials.access_key_id,
            stores.credentials.secret_access_key,
            None,
            None,
            "bench",
        );
        let config = aws_sdk_dynamodb::config::Builder::new()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .region(aws_sdk_dynamodb::config::Region::new(
                stores.credentials.region,
            ))
            .credentials_provider(credentials)
            .endpoint_url(&stores.dynamodb_url)
            .build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        aws::schema::create_table(&client, TABLE).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let others = listener.local_addr()?;
        let router = Router::new().fallback(async || AGREED);
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            stores,
            others,
            server,
        })
    }

    /// All variables that Lambda and `template.yaml` set, for a function whose code lies in
    /// `task`.
    pub fn environment(&self, api: SocketAddr, task: &Path) -> Vec<(&'static str, String)> {
        let others = format!("http://{}", self.others);
        let own = [
            ("AWS_ENDPOINT_URL", others.clone()),
            (
                "AWS_ENDPOINT_URL_DYNAMODB",
                self.stores.dynamodb_url.clone(),
            ),
            ("AWS_ENDPOINT_URL_S3", self.stores.s3_url.clone()),
            ("AWS_LAMBDA_RUNTIME_API", api.to_string()),
            ("LAMBDA_TASK_ROOT", task.display().to_string()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            (
                "TAPEMARK_BELL_QUEUE_URL",
                format!("{others}/000000000000/tapemark-bell"),
            ),
            (
                "AWS_ACCESS_KEY_ID",
                self.stores.credentials.access_key_id.to_owned(),
            ),
            (
                "AWS_SECRET_ACCESS_KEY",
                self.stores.credentials.secret_access_key.to_owned(),
            ),
        ];
        let fixed = [
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
            ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
            ("AWS_REGION", "us-east-1"),
            ("LANG", "en_US.UTF-8"),
            ("TAPEMARK_COMPILE_FUNCTION", "CompileFunction"),
            ("TAPEMARK_DOCUMENTS_BUCKET", "tapemark-documents"),
            ("TAPEMARK_EVENT_BUS", "tapemark-events"),
            ("TAPEMARK_LIBRARY", "lib-1"),
            ("TAPEMARK_PINS_BUCKET", "tapemark-pins"),
            ("TAPEMARK_RESOLVERS_BUCKET", "tapemark-resolvers"),
            ("TAPEMARK_RESOLVER_KEY", "alias/tapemark-resolvers"),
            ("TAPEMARK_RESTORE_ROOT", "file:///var/lib/tapemark/restore"),
            ("TAPEMARK_SOURCES", "releases"),
            (
                "TAPEMARK_STATE_MACHINE_ARN",
                "arn:aws:states:us-east-1:000000000000:stateMachine:tapemark-checkpoint",
            ),
            ("TAPEMARK_TABLE", TABLE),
            ("TZ", ":UTC"),
        ];
        own.into_iter()
            .chain(fixed.map(|(name, value)| (name, value.to_owned())))
            .collect()
    }
}
