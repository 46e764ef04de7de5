//! MiniStack on a free port, with everything it keeps in a folder that goes with it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::http::{self, Request};
use crate::process::{Running, free_port};

/// The account that MiniStack knows.
pub const ACCOUNT: &str = "000000000000";
/// The region of everything here.
pub const REGION: &str = "us-east-1";

/// A MiniStack that runs.
pub struct MiniStack {
    // Ends before its folder goes.
    running: Running,
    folder: tempfile::TempDir,
    port: u16,
}

/// What a service refused: its code without the namespace, and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct No {
    /// Such as `TaskDoesNotExist`.
    pub code: String,
    /// What it says.
    pub message: String,
}

/// What a function answered.
#[derive(Clone, Debug)]
pub struct Invoked {
    /// True where the function failed: the payload has `errorType` and `errorMessage`.
    pub failed: bool,
    /// The payload.
    pub payload: Value,
}

impl MiniStack {
    /// Starts it. Wait states and the delays of retries of its state machines take `scale` of
    /// their time; timeouts of tasks are not scaled.
    pub fn start(scale: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let own = |name: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let mut command = Command::new(crate::program("ministack").unwrap());
        command
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            // Functions find their services here.
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("IOT_MTLS_ENABLED", "0")
            // Functions are processes of this machine, kept warm.
            .env("LAMBDA_EXECUTOR", "local")
            .env("SFN_WAIT_SCALE", scale.to_string())
            .env("TMPDIR", own("tmp"))
            .env("HOME", own("home"))
            .env("S3_DATA_DIR", own("s3"))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_PROFILE");
        let mut running = Running::start(command, "ministack", folder.path());
        let address = format!("127.0.0.1:{port}");
        running.until("its health page", || {
            let page = http::send(&address, &Request::get("/_ministack/health")).ok()?;
            (page.status == 200).then_some(())
        });
        Self {
            running,
            folder,
            port,
        }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process id: functions are its children.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Its folder, gone when it ends.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What it has logged, functions included.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Waits until `look` finds something.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        self.running.until(what, look)
    }

    /// A client for it.
    pub fn client(&self) -> Client {
        Client {
            address: self.address(),
        }
    }
}

/// Speaks to MiniStack; can be cloned into threads.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
}

impl Client {
    /// Calls an action of a service with AWS's JSON protocol, such as
    /// `call("states", "AWSStepFunctions.StartExecution", …)`.
    ///
    /// # Errors
    /// The service's refusal.
    pub fn call(&self, service: &str, target: &str, input: &Value) -> Result<Value, No> {
        let request = Request::post("/", input.to_string().into_bytes())
            .with("content-type", "application/x-amz-json-1.0")
            .with("x-amz-target", target)
            .with("authorization", &authorization(service));
        let answer = http::send(&self.address, &request).unwrap();
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status == 200 {
            return Ok(value);
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let code = text("__type");
        Err(No {
            code: code.rsplit('#').next().unwrap_or_default().to_owned(),
            message: text("message") + &text("Message"),
        })
    }

    /// Creates a function from the archive of its `bootstrap`, and gives its ARN.
    pub fn create_function(&self, name: &str, archive: &str, environment: &Value) -> String {
        let input = json!({
            "FunctionName": name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/any"),
            "Timeout": 30,
            "Code": { "ZipFile": archive },
            "Environment": { "Variables": environment },
        });
        let request = Request::post("/2015-03-31/functions", input.to_string().into_bytes())
            .with("content-type", "application/json")
            .with("authorization", &authorization("lambda"));
        let answer = http::send(&self.address, &request).unwrap();
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        assert_eq!(answer.status, 201, "{value}");
        value["FunctionArn"].as_str().unwrap().to_owned()
    }

    /// Calls a function and waits for what it says.
    pub fn invoke(&self, function: &str, payload: &Value) -> Invoked {
        let target = format!("/2015-03-31/functions/{function}/invocations");
        let request = Request::post(&target, payload.to_string().into_bytes())
            .with("content-type", "application/json")
            .with("authorization", &authorization("lambda"));
        let answer = http::send(&self.address, &request).unwrap();
        Invoked {
            failed: answer.status != 200 || answer.header("x-amz-function-error").is_some(),
            payload: serde_json::from_slice(&answer.body).unwrap_or_default(),
        }
    }

    /// Asks a service that speaks in paths and methods; fails where it refuses. Gives JSON, or
    /// nothing where the answer is none.
    pub fn rest(&self, service: &str, request: &Request) -> Value {
        serde_json::from_slice(&self.send(service, request).body).unwrap_or_default()
    }

    /// The same, with all of the answer.
    pub fn send(&self, service: &str, request: &Request) -> http::Response {
        let request = request
            .clone()
            .with("authorization", &authorization(service));
        let answer = http::send(&self.address, &request).unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            answer.status < 300,
            "{}: {} {text}",
            request.target,
            answer.status
        );
        answer
    }

    /// Asks a service that takes forms, and gives its XML.
    pub fn query(&self, service: &str, form: &str) -> String {
        let request = Request::post("/", form.as_bytes().to_vec())
            .with("content-type", "application/x-www-form-urlencoded")
            .with("authorization", &authorization(service));
        let answer = http::send(&self.address, &request).unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status < 300, "{form}: {} {text}", answer.status);
        text
    }

    /// Starts an execution of a state machine under a name, and gives its ARN.
    pub fn start_execution(&self, machine: &str, name: &str, input: &Value) -> String {
        let input = json!({ "stateMachineArn": machine, "name": name, "input": input.to_string() });
        let started = self.call("states", "AWSStepFunctions.StartExecution", &input);
        started.unwrap()["executionArn"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// An execution as it stands.
    pub fn execution(&self, arn: &str) -> Value {
        let input = json!({ "executionArn": arn });
        self.call("states", "AWSStepFunctions.DescribeExecution", &input)
            .unwrap()
    }

    /// The events of an execution, in their order.
    pub fn history(&self, arn: &str) -> Vec<Value> {
        let mut events = Vec::new();
        let mut input = json!({ "executionArn": arn, "maxResults": 1000 });
        loop {
            let mut page = self
                .call("states", "AWSStepFunctions.GetExecutionHistory", &input)
                .unwrap();
            events.append(page["events"].as_array_mut().unwrap());
            match page["nextToken"].take() {
                Value::String(next) => input["nextToken"] = next.into(),
                _ => return events,
            }
        }
    }
}

/// MiniStack takes service and region from here, and checks no more of it.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}
