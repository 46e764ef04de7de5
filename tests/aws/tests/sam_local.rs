//! `sam local invoke` and `sam local start-api` for real: each built function in a container
//! of a Docker daemon that this story starts and stops, its services on MiniStack.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use aws_stories::deployment::{self, Deployment, built, credentials};
use aws_stories::docker::{self, Docker, GATEWAY};
use aws_stories::events;
use aws_stories::http::{self, Request, Response, Server};
use aws_stories::process::{Running, free_port};
use serde_json::{Map, Value, json};

struct Local {
    // In the order in which they end: what listens on the bridge before the bridge.
    _services: Server,
    docker: Docker,
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
        for (function, _, _) in cases() {
            let own = deployment.environment(function).into_iter();
            // SAM sets a variable that hangs on a condition of the template to nothing: this
            // one is told here, and those of single services stay so, which means this one.
            let services = format!("http://{}", services.address());
            let elsewhere = [("AWS_ENDPOINT_URL".to_owned(), services)];
            let own: Map<_, _> = own
                .chain(elsewhere)
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

    /// `sam local invoke` with an event: the last line of what it prints, which is the answer,
    /// and what it says beside it.
    fn invoke(&self, function: &str, event: &Value) -> (Value, String) {
        let file = self.deployment.stack.folder().join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        let mut command = self.sam(&["invoke", function, "--event", file.to_str().unwrap()]);
        let said = command.output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let why = String::from_utf8_lossy(&said.stderr).into_owned();
        let mut lines = text.lines().rev();
        let answer = lines.find_map(|line| serde_json::from_str(line).ok());
        let answer =
            answer.unwrap_or_else(|| unreachable!("{function}: {}\n{text}\n{why}", said.status));
        (answer, why)
    }
}

/// What a function answers to an event.
enum Expected {
    /// An error `Tapemark.…`.
    Refusal,
    /// An object with this member.
    Member(&'static str),
    /// Anything but an error.
    NoError,
    /// An HTTP answer.
    Status(u16),
}

/// Every function, a small event, and what it answers.
fn cases() -> [(&'static str, Value, Expected); 9] {
    let unknown = json!({ "component": "0".repeat(64) });
    let claim = events::http("POST", "/agent/v1/claim", &json!({}));
    let health = events::http("GET", "/healthz", &Value::Null);
    let none = json!({ "Records": [] });
    [
        (
            "ValidateFunction",
            events::phase("check"),
            Expected::Refusal,
        ),
        (
            "AllocateFunction",
            events::phase("place"),
            Expected::Refusal,
        ),
        ("ExecuteFunction", events::phase("fence"), Expected::Refusal),
        ("VerifyFunction", events::phase("commit"), Expected::Refusal),
        (
            "EventsFunction",
            none,
            Expected::Member("batchItemFailures"),
        ),
        ("SweepFunction", json!({}), Expected::NoError),
        ("AgentFunction", claim, Expected::Status(401)),
        ("ApiFunction", health, Expected::Status(200)),
        ("CompileFunction", unknown, Expected::Refusal),
    ]
}

#[test]
fn every_function_answers_in_its_container_and_the_api_on_its_port() {
    if !deployment::possible() || !docker::possible() {
        return;
    }
    let local = Local::start();
    for (function, event, expected) in cases() {
        let begun = std::time::Instant::now();
        let (answer, why) = local.invoke(function, &event);
        eprintln!("sam local invoke {function}: {:?}", begun.elapsed());
        let error = answer["errorType"].as_str().unwrap_or_default();
        match expected {
            Expected::Refusal => assert!(
                error.starts_with("Tapemark."),
                "{function}: {answer}\n{why}"
            ),
            Expected::Member(name) => {
                assert!(answer.get(name).is_some(), "{function}: {answer}\n{why}")
            }
            Expected::NoError => assert_eq!(error, "", "{function}: {answer}\n{why}"),
            Expected::Status(code) => {
                assert_eq!(answer["statusCode"], code, "{function}: {answer}\n{why}")
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
