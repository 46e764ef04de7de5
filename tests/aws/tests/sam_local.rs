//! `sam local invoke` and `sam local start-api` for real: each built function in a container
//! of a Docker daemon that this story starts and stops, its services on MiniStack.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use aws_stories::deployment::{self, Deployment, built, credentials};
use aws_stories::docker::{self, Docker, GATEWAY};
use aws_stories::http::{self, Request, Response, Server};
use aws_stories::process::{Running, free_port};
use serde_json::{Map, Value, json};

const RUN: &str = "01998d5e-0000-7000-8000-0000000000aa";
const GROUP: &str = "01998d5e-0000-7000-8000-0000000000ab";

struct Local {
    // In the order in which they end.
    docker: Docker,
    _services: Server,
    services_at: String,
    variables: PathBuf,
    deployment: Deployment,
}

impl Local {
    fn start() -> Self {
        let deployment = Deployment::start("file:///tmp");
        let docker = Docker::start();
        // MiniStack listens on loopback alone; containers reach the bridge.
        let services = {
            let address = deployment.stack.address();
            Server::answering(
                &format!("{GATEWAY}:0"),
                move |request| -> Option<Response> { http::send(&address, request).ok() },
            )
        };
        let services = services.unwrap();
        let mut all = Map::new();
        for function in FUNCTIONS.map(|(function, _, _)| function) {
            let own = deployment.environment(function).into_iter();
            let own: Map<_, _> = own
                .map(|(name, value)| (name, Value::from(value)))
                .collect();
            all.insert(function.to_owned(), own.into());
        }
        let variables = deployment.stack.folder().join("env.json");
        std::fs::write(&variables, Value::Object(all).to_string()).unwrap();
        Self {
            docker,
            services_at: format!("http://{}", services.address()),
            _services: services,
            variables,
            deployment,
        }
    }

    fn sam(&self, what: &[&str]) -> Command {
        let mut command = Command::new(aws_stories::program("sam").unwrap());
        command
            .arg("local")
            .args(what)
            .arg("--skip-pull-image")
            .arg("--template")
            .arg(built().join("template.yaml"))
            .arg("--env-vars")
            .arg(&self.variables)
            .arg("--parameter-overrides")
            .args(["Architecture=x86_64", "SourceBuckets=sources"])
            .args(["JwtIssuer=https://issuer.example", "Alarms=disabled"])
            .arg(format!("EndpointUrl={}", self.services_at))
            .envs(credentials())
            .env("DOCKER_HOST", self.docker.host())
            .env("HOME", self.deployment.stack.folder().join("home"))
            .current_dir(self.deployment.stack.folder())
            .stdin(Stdio::null());
        command
    }

    /// `sam local invoke` with an event; the last line of what it prints is the answer.
    fn invoke(&self, function: &str, event: &Value) -> Value {
        let file = self.deployment.stack.folder().join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        let mut command = self.sam(&["invoke", function, "--event", file.to_str().unwrap()]);
        let said = command.output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let answer = text
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok());
        answer.unwrap_or_else(|| {
            let why = String::from_utf8_lossy(&said.stderr).into_owned();
            unreachable!("{function}: {}\n{text}\n{why}", said.status)
        })
    }
}

/// Every function, a small event, and what it answers: the type of an error, or a member and
/// its value.
const FUNCTIONS: [(&str, fn() -> Value, Expected); 9] = [
    ("ValidateFunction", || phase("check"), Expected::Refusal),
    ("AllocateFunction", || phase("place"), Expected::Refusal),
    ("ExecuteFunction", || phase("fence"), Expected::Refusal),
    ("VerifyFunction", || phase("commit"), Expected::Refusal),
    (
        "EventsFunction",
        || json!({ "Records": [] }),
        Expected::Member("batchItemFailures"),
    ),
    ("SweepFunction", || json!({}), Expected::NoError),
    (
        "AgentFunction",
        || http_event("POST", "/agent/v1/claim"),
        Expected::Status(401),
    ),
    (
        "ApiFunction",
        || http_event("GET", "/healthz"),
        Expected::Status(200),
    ),
    (
        "CompileFunction",
        || json!({ "component": "0".repeat(64) }),
        Expected::Refusal,
    ),
];

#[derive(Clone, Copy)]
enum Expected {
    Refusal,
    Member(&'static str),
    NoError,
    Status(u16),
}

fn phase(op: &str) -> Value {
    json!({ "op": op, "run": RUN, "group": GROUP, "placement": 0, "attempt": 0,
            "error": { "Error": "", "Cause": "" } })
}

fn http_event(method: &str, path: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": format!("{method} {path}"), "rawPath": path,
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "host": "api.example" },
        "requestContext": {
            "accountId": "000000000000", "apiId": "a", "domainName": "api.example",
            "domainPrefix": "a", "requestId": "r", "routeKey": format!("{method} {path}"),
            "stage": "$default", "time": "22/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_348_800_000u64,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1",
                      "sourceIp": "127.0.0.1", "userAgent": "story" },
        },
        "body": "{}", "isBase64Encoded": false,
    })
}

#[test]
fn every_function_answers_in_its_container_and_the_api_on_its_port() {
    if !deployment::possible() || !docker::possible() {
        return;
    }
    let local = Local::start();
    for (function, event, expected) in FUNCTIONS {
        let begun = std::time::Instant::now();
        let answer = local.invoke(function, &event());
        eprintln!("sam local invoke {function}: {:?}", begun.elapsed());
        let error = answer["errorType"].as_str().unwrap_or_default();
        match expected {
            Expected::Refusal => assert!(error.starts_with("Tapemark."), "{function}: {answer}"),
            Expected::Member(name) => assert!(answer.get(name).is_some(), "{function}: {answer}"),
            Expected::NoError => assert_eq!(error, "", "{function}: {answer}"),
            Expected::Status(code) => {
                assert_eq!(answer["statusCode"], code, "{function}: {answer}")
            }
        }
    }

    // SAM leaves out JWT authorizers: whoever has no claims is refused by the function itself.
    let port = free_port();
    let command = local.sam(&["start-api", "--port", &port.to_string()]);
    let folder = local.deployment.stack.folder();
    let mut api = Running::start(command, "start-api", folder);
    let address = format!("127.0.0.1:{port}");
    let well = api.until("an API that is well", || {
        http::send(&address, &Request::get("/healthz")).ok()
    });
    assert_eq!(well.status, 200, "{well:?}\n{}", api.log());
    let question = json!({ "query": "{ __typename }" })
        .to_string()
        .into_bytes();
    let question = Request::post("/graphql", question).with("content-type", "application/json");
    let nobody = http::send(&address, &question).unwrap();
    assert_eq!(nobody.status, 401, "{nobody:?}\n{}", api.log());
}

#[test]
fn a_daemon_leaves_nothing_behind() {
    if !docker::possible() {
        return;
    }
    let traces = || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let links = std::fs::read_dir("/sys/class/net").unwrap();
        let mut links: Vec<_> = links.map(|link| link.unwrap().file_name()).collect();
        links.retain(|link| link.to_string_lossy().starts_with("tmark"));
        (mounts.matches("docker").count(), links)
    };
    let docker = Docker::start();
    let said = docker
        .command()
        .args(["run", "--rm", "--detach"])
        .args([
            "public.ecr.aws/lambda/provided:al2023-x86_64",
            "/bin/sh",
            "-c",
            "cat",
        ])
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    drop(docker);
    assert_eq!(traces(), (0, Vec::new()));
}
