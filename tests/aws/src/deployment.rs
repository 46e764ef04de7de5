//! The built template, deployed into MiniStack by `sam deploy`, and a door in front of its
//! HTTP API at which a story can lose answers.
//!
//! What this copy does not have: alarms and dashboard (parameter `Alarms`) and the archive of
//! events, resources that MiniStack does not know. Tokens are checked by MiniStack's JWT authorizer against
//! [`Issuer`]; nothing checks IAM.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::http::{self, Request, Response, Server};
use crate::issuer::{AUDIENCE, Issuer};
use crate::ministack::{Client, MiniStack, REGION};

/// The bucket that artifacts may come from.
pub const SOURCES: &str = "sources";

/// The name of the stack.
const STACK: &str = "tapemark";

/// Waits and delays of retries of the state machine take this share of their time.
const SCALE: f64 = 0.02;

/// What a story does to requests on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Through, and the answer back.
    Pass,
    /// The answer is lost after the request was carried out: the connection breaks.
    LoseAnswer,
}

type Fates = Arc<Mutex<Box<dyn FnMut(&Request) -> Fate + Send>>>;

/// A deployment that runs; all of it ends with this value.
pub struct Deployment {
    /// The emulator.
    pub stack: MiniStack,
    /// Who issues tokens.
    pub issuer: Issuer,
    door: Server,
    fates: Fates,
    outputs: Value,
}

/// Where `sam build` put what it built: `TAPEMARK_SAM_BUILD`, or `.aws-sam/build`.
pub fn built() -> PathBuf {
    std::env::var_os("TAPEMARK_SAM_BUILD")
        .map_or_else(|| crate::repository().join(".aws-sam/build"), PathBuf::from)
}

/// True where functions are built for this machine and can be deployed.
pub fn possible() -> bool {
    if !crate::need(&["sam", "ministack", "openssl"]) {
        return false;
    }
    let bootstrap = built().join("ValidateFunction/bootstrap");
    let Ok(head) = std::fs::read(&bootstrap) else {
        let how = "sam build --parameter-overrides Architecture=x86_64";
        return crate::lacking(&format!("no {}; run: {how}", bootstrap.display()));
    };
    // The machine's number in an ELF header: 62 is x86-64, 183 is AArch64.
    let own = if cfg!(target_arch = "x86_64") {
        62
    } else {
        183
    };
    let found = head.get(18).copied();
    found == Some(own)
        || crate::lacking(&format!("{} is for another processor", bootstrap.display()))
}

impl Deployment {
    /// Deploys. Artifacts come from the bucket [`SOURCES`], restores go to `restore_root`.
    pub fn start(restore_root: &str) -> Self {
        let stack = MiniStack::start(SCALE);
        let issuer = Issuer::start();
        let client = stack.client();
        client.create_bucket("artifacts", false);
        client.create_bucket(SOURCES, true);
        deploy(&stack, &issuer, restore_root);
        let described = client.query(
            "cloudformation",
            &format!("Action=DescribeStacks&Version=2010-05-15&StackName={STACK}"),
        );
        let outputs = outputs(&described);
        let url = outputs["ApiUrl"].as_str().unwrap_or_default().to_owned();
        assert!(!url.is_empty(), "no ApiUrl: {outputs}");
        let fates: Fates = Arc::new(Mutex::new(Box::new(|_| Fate::Pass)));
        let door = {
            let host = url.trim_start_matches("http://").to_owned();
            let (address, fates) = (stack.address(), Arc::clone(&fates));
            Server::answering("127.0.0.1:0", move |request| {
                pass(request, &address, &host, &fates)
            })
        };
        Self {
            stack,
            issuer,
            door: door.unwrap(),
            fates,
            outputs,
        }
    }

    /// The URL of the HTTP API, through the door.
    pub fn url(&self) -> String {
        format!("http://{}", self.door.address())
    }

    /// An output of the stack.
    pub fn output(&self, name: &str) -> &str {
        self.outputs[name].as_str().unwrap_or_default()
    }

    /// What happens to requests from now on.
    pub fn decide(&self, fate: impl FnMut(&Request) -> Fate + Send + 'static) {
        *self.fates.lock().unwrap() = Box::new(fate);
    }

    /// The deployed name of a function, by its logical id.
    pub fn function(&self, logical: &str) -> String {
        let client = self.stack.client();
        let listed = client.rest(
            "lambda",
            &Request::get("/2015-03-31/functions?MaxItems=100"),
        );
        let start = format!("{STACK}-{logical}-");
        let names = listed["Functions"].as_array().unwrap().iter();
        let mut names = names.filter_map(|function| function["FunctionName"].as_str());
        let found = names.find(|name| name.starts_with(&start));
        found
            .unwrap_or_else(|| panic!("no {logical}: {listed}"))
            .to_owned()
    }

    /// The environment that a deployed function has.
    pub fn environment(&self, logical: &str) -> Vec<(String, String)> {
        let target = format!(
            "/2015-03-31/functions/{}/configuration",
            self.function(logical)
        );
        let found = self.stack.client().rest("lambda", &Request::get(&target));
        let variables = found["Environment"]["Variables"].as_object().unwrap();
        variables
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect()
    }
}

/// Carries one request to the API and its answer back, or loses that.
fn pass(request: &Request, address: &str, host: &str, fates: &Fates) -> Option<Response> {
    let fate = (fates.lock().unwrap())(request);
    let mut inner = request.clone();
    inner.headers.retain(|(name, _)| name != "host");
    inner = inner.with("host", host);
    let answer = http::send(address, &inner);
    match fate {
        Fate::Pass => Some(answer.unwrap_or_else(|error| {
            Response::new(
                502,
                json!({ "message": error.to_string() })
                    .to_string()
                    .into_bytes(),
            )
        })),
        Fate::LoseAnswer => None,
    }
}

fn deploy(stack: &MiniStack, issuer: &Issuer, restore_root: &str) {
    // Else SAM takes the repository's.
    let config = stack.folder().join("samconfig.toml");
    std::fs::write(&config, "version = 0.1\n").unwrap();
    let template = emulated_template();
    let mut command = Command::new(crate::program("sam").unwrap());
    command
        .args(["deploy", "--no-confirm-changeset", "--no-progressbar"])
        .arg("--config-file")
        .arg(&config)
        .arg("--template-file")
        .arg(&template)
        .args(["--stack-name", STACK, "--s3-bucket", "artifacts"])
        .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"])
        .arg("CAPABILITY_AUTO_EXPAND")
        .arg("--parameter-overrides")
        .args([
            "Architecture=x86_64",
            "Alarms=disabled",
            "LogRetentionDays=7",
        ])
        .arg(format!("SourceBuckets={SOURCES}"))
        .arg(format!("JwtIssuer={}", issuer.url()))
        .arg(format!("JwtAudience={AUDIENCE}"))
        .arg(format!("RestoreRoot={restore_root}"))
        .envs(credentials())
        .env("AWS_ENDPOINT_URL", format!("http://{}", stack.address()))
        .env("HOME", stack.folder().join("home"))
        .current_dir(stack.folder())
        .stdin(Stdio::null());
    let said = command.output().unwrap();
    drop(template);
    assert!(
        said.status.success(),
        "sam deploy:\n{}\n{}\n{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
        stack.log()
    );
}

/// A copy of the built template, beside it, without the resources of types that MiniStack
/// does not know: it refuses them even where a condition leaves them out.
fn emulated_template() -> tempfile::TempPath {
    const UNKNOWN: [&str; 1] = ["AWS::Events::Archive"];
    let text = std::fs::read_to_string(built().join("template.yaml")).unwrap();
    let mut kept: Vec<&str> = Vec::new();
    // Where the resource under way begins in `kept`, and whether it is left out.
    let (mut begun, mut left_out) = (0, false);
    for line in text.lines() {
        let is_name = line.starts_with("  ") && !line[2..].starts_with([' ', '#', '-']);
        if is_name || !line.starts_with(' ') {
            (begun, left_out) = (kept.len(), false);
        }
        if UNKNOWN
            .iter()
            .any(|kind| line.trim() == format!("Type: {kind}"))
        {
            kept.truncate(begun);
            left_out = true;
        }
        if !left_out {
            kept.push(line);
        }
    }
    let mut file = tempfile::Builder::new();
    let file = file
        .prefix("ministack-")
        .suffix(".yaml")
        .tempfile_in(built())
        .unwrap();
    std::fs::write(&file, kept.join("\n")).unwrap();
    file.into_temp_path()
}

/// What AWS's tools want to hear, and no more than that.
pub fn credentials() -> [(&'static str, &'static str); 6] {
    [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", REGION),
        // Else SAM asks for its account's id for as long as 14 s.
        ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("SAM_CLI_TELEMETRY", "0"),
    ]
}

/// The outputs out of CloudFormation's XML: its values hold no markup here.
fn outputs(xml: &str) -> Value {
    let between = |text: &str, tag: &str| -> Option<String> {
        let from = text.split(&format!("<{tag}>")).nth(1)?;
        Some(from.split(&format!("</{tag}>")).next()?.to_owned())
    };
    let found = xml
        .split("<OutputKey>")
        .skip(1)
        .filter_map(|rest| {
            let key = rest.split("</OutputKey>").next()?.to_owned();
            Some((key, Value::from(between(rest, "OutputValue")?)))
        })
        .collect::<serde_json::Map<_, _>>();
    Value::Object(found)
}

impl Client {
    /// Creates a bucket, with versions where wanted.
    pub fn create_bucket(&self, name: &str, versions: bool) {
        let mut create = Request::get(&format!("/{name}"));
        create.method = "PUT".to_owned();
        self.rest("s3", &create);
        if versions {
            let xml = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            let mut set = Request::post(&format!("/{name}?versioning"), xml.as_bytes().to_vec());
            set.method = "PUT".to_owned();
            self.rest("s3", &set);
        }
    }

    /// Puts an object, and gives its version.
    pub fn put_object(&self, bucket: &str, key: &str, bytes: &[u8]) -> String {
        let mut put = Request::post(&format!("/{bucket}/{key}"), bytes.to_vec());
        put.method = "PUT".to_owned();
        let answer = self.send("s3", &put);
        let version = answer.header("x-amz-version-id");
        version
            .unwrap_or_else(|| panic!("{key}: {answer:?}"))
            .to_owned()
    }
}
