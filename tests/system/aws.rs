//! The built template on MiniStack, and `tapemark agent` with the simulated library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use age::secrecy::ExposeSecret;
use aws_stories::deployment::{Deployment, Fate, SOURCES};
use aws_stories::http::Request;
use aws_stories::process::{Running, children, signal};
use serde_json::{Value, json};

use crate::Place;
use crate::support::TAPEMARK;

/// The name that the template gives to the library.
const LIBRARY: &str = "lib-1";

pub(crate) struct Aws {
    // In the order in which they end.
    agent: Option<Running>,
    deployment: Deployment,
    token: String,
    config: PathBuf,
    folder: tempfile::TempDir,
    api_answers_to_lose: Arc<AtomicU64>,
    agent_answers_to_lose: Arc<AtomicU64>,
}

impl Aws {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let restores = folder.path().join("restores");
        std::fs::create_dir(&restores).unwrap();
        let deployment = Deployment::start(&format!("file://{}", restores.display()));
        let config = folder.path().join("agent.toml");
        configure(&config, folder.path(), &restores, &deployment.url());
        let mut aws = Self {
            agent: None,
            token: deployment.issuer.operator(),
            deployment,
            config,
            folder,
            api_answers_to_lose: Arc::default(),
            agent_answers_to_lose: Arc::default(),
        };
        aws.set_fates();
        aws.run(&["pool", "put", "main"]).ok();
        aws.enrol();
        aws.start_agent();
        aws
    }

    fn set_fates(&self) {
        let api = Arc::clone(&self.api_answers_to_lose);
        let agent = Arc::clone(&self.agent_answers_to_lose);
        let take = |from: &AtomicU64| {
            from.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok()
        };
        self.deployment.decide(move |request: &Request| {
            let lost = if request.target.starts_with("/agent/") {
                take(&agent)
            } else {
                take(&api)
            };
            if lost { Fate::LoseAnswer } else { Fate::Pass }
        });
    }

    /// What `tapemark-agent enrol` does, with a code from an operator.
    fn enrol(&self) {
        let code = self.run(&["agent", "enrol-code", "agent-1"]).ok();
        let code = code["code"].as_str().unwrap();
        let enrolled = tapemark_agent::enrol(None, code, None, &self.config);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(enrolled).unwrap();
    }

    fn start_agent(&mut self) {
        let mut command = Command::new(TAPEMARK);
        command.args(["agent", "--config"]).arg(&self.config);
        self.agent = Some(Running::start(command, "agent", self.folder.path()));
    }

    /// The records of the table's stream that order something of the state machine.
    fn orders(&self) -> Vec<Value> {
        let client = self.deployment.stack.client();
        let ask = |action: &str, input: Value| {
            let target = format!("DynamoDBStreams_20120810.{action}");
            client.call("dynamodb", &target, &input).unwrap()
        };
        let streams = ask(
            "ListStreams",
            json!({ "TableName": self.deployment.output("Table") }),
        );
        let stream = streams["Streams"][0]["StreamArn"].as_str().unwrap();
        let described = ask("DescribeStream", json!({ "StreamArn": stream }));
        let shards = described["StreamDescription"]["Shards"].as_array().unwrap();
        let mut orders = Vec::new();
        for shard in shards {
            let begin = ask(
                "GetShardIterator",
                json!({ "StreamArn": stream, "ShardId": shard["ShardId"],
                        "ShardIteratorType": "TRIM_HORIZON" }),
            );
            let mut at = begin["ShardIterator"].clone();
            while at.is_string() {
                let page = ask("GetRecords", json!({ "ShardIterator": at }));
                let records = page["Records"].as_array().unwrap();
                if records.is_empty() {
                    break;
                }
                orders.extend(records.iter().filter(|record| is_order(record)).cloned());
                at = page["NextShardIterator"].clone();
            }
        }
        for record in &mut orders {
            record["eventSourceARN"] = stream.into();
        }
        orders
    }
}

fn is_order(record: &Value) -> bool {
    let key = record["dynamodb"]["Keys"]["pk"]["S"].as_str();
    record["eventName"] == "INSERT" && key.is_some_and(|key| key.starts_with("OBX"))
}

fn configure(file: &Path, folder: &Path, restores: &Path, url: &str) {
    let identity = age::x25519::Identity::generate();
    let identity_file = folder.join("identity.txt");
    std::fs::write(&identity_file, identity.to_string().expose_secret()).unwrap();
    let journal = folder.join("journal");
    std::fs::create_dir(&journal).unwrap();
    let text = format!(
        r#"
agent = "agent-1"
recipients = ["{recipient}"]
identity_file = {identity_file:?}
journal_dir = {journal:?}
restore_roots = [{restores:?}]

[control]
url = "{url}"
key_file = {key_file:?}

[library]
kind = "simulated"
id = "{LIBRARY}"
dir = {library:?}
drives = 2
slots = 6
capacity = 8589934592

[batch]
idle = "1s"
"#,
        recipient = identity.to_public(),
        key_file = folder.join("agent.key"),
        library = folder.join("library"),
    );
    std::fs::write(file, text).unwrap();
}

impl Place for Aws {
    fn source(&self, name: &str, bytes: &[u8]) -> String {
        let version = self
            .deployment
            .stack
            .client()
            .put_object(SOURCES, name, bytes);
        format!("s3://{SOURCES}/{name}?versionId={version}")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(TAPEMARK);
        command
            .arg("--json")
            .env("TAPEMARK_URL", self.deployment.url())
            .env("TAPEMARK_TOKEN", &self.token)
            .current_dir(self.folder.path())
            .stdin(std::process::Stdio::null());
        command
    }

    fn dir(&self) -> &Path {
        self.folder.path()
    }

    fn kill_agent(&mut self) {
        let agent = self.agent.take().unwrap();
        signal("KILL", &agent.pid().to_string());
        drop(agent);
        self.start_agent();
    }

    fn kill_control(&mut self) {
        // MiniStack swallows the end of a function that a state with a task token waits
        // for, and leaves the state waiting for two days where Step Functions tries again:
        // those functions live on. The state machine's own tests have that case.
        const BEHIND_TOKENS: [&str; 3] = ["AllocateFunction", "ExecuteFunction", "VerifyFunction"];
        let mut killed = 0;
        for process in children(self.deployment.stack.pid()) {
            let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let mut variables = environment.split('\0');
            let name = variables.find_map(|text| text.strip_prefix("AWS_LAMBDA_FUNCTION_NAME="));
            let own = |name: &str| BEHIND_TOKENS.iter().any(|kept| name.contains(kept));
            if name.is_some_and(|name| !own(name)) {
                signal("KILL", &process.to_string());
                killed += 1;
            }
        }
        assert!(killed > 0, "no function runs");
    }

    fn lose_answers(&self, how_many: u64) {
        self.api_answers_to_lose.store(how_many, Ordering::SeqCst);
        self.agent_answers_to_lose.store(how_many, Ordering::SeqCst);
    }

    fn tell_again(&mut self) {
        // Starts of executions that run or ran, and answers under task tokens that were used.
        let orders = self.orders();
        assert!(orders.len() > 100, "{} orders in the stream", orders.len());
        let function = self.deployment.function("EventsFunction");
        for batch in orders.chunks(100) {
            let event = json!({ "Records": batch });
            let told = self.deployment.stack.client().invoke(&function, &event);
            assert!(!told.failed, "{}", told.payload);
            assert_eq!(
                told.payload["batchItemFailures"],
                json!([]),
                "{}",
                told.payload
            );
        }
    }

    fn logs(&self) -> String {
        let agent = self.agent.as_ref().map(Running::log).unwrap_or_default();
        format!(
            "--- agent\n{agent}\n--- ministack\n{}",
            self.deployment.stack.log()
        )
    }
}
