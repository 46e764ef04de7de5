use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use control::Principal;
use embedded::{Stack, Status};
use model::{Service, State, Submission};
use serde_json::{Value, json};

use super::paper::{self, Line, Tapes};

/// Set for the child: the directory it works in.
const CHILD: &str = "TAPEMARK_TEST_STACK";
const CHECKPOINTS: usize = 30;

/// The child's life: a stack that submits its checkpoints (again), serves the agent, and
/// says so when all are committed. Without the variable this is no test of its own.
#[test]
fn child_that_is_a_stack() {
    let Ok(directory) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(be_a_stack(Path::new(&directory)));
}

async fn be_a_stack(directory: &Path) {
    let stack = Stack::start(super::config(directory)).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("address {}", listener.local_addr().unwrap());
    let router = stack.agent_router();
    tokio::spawn(async move { axum::serve(listener, router).await });

    let operator = Principal::Operator;
    // A pool without volumes is full, and what is submitted to it refused.
    let library = "lib".parse().unwrap();
    while (stack.control.volumes(&operator, &library).await.unwrap()).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await; // Until the condition holds.
    }
    let services = (0..CHECKPOINTS).map(|n| Service {
        name: format!("service-{n}").parse().unwrap(),
        pool: "main".parse().unwrap(),
        retention: vec![model::RetentionClass::default()],
        frozen: false,
        provenance_key: None,
    });
    stack
        .control
        .register_services(&operator, services.collect())
        .await
        .unwrap();
    let submissions = (0..CHECKPOINTS).map(|n| {
        let (control, submission) = (stack.control.clone(), submission(directory, n));
        tokio::spawn(async move {
            control
                .submit(&Principal::Operator, submission)
                .await
                .unwrap()
        })
    });
    let mut groups = Vec::new();
    for submitted in submissions.collect::<Vec<_>>() {
        groups.push(submitted.await.unwrap().group);
    }
    let mut checkpoints = Vec::new();
    for group in groups {
        loop {
            let (found, members) = stack.control.group(&operator, group).await.unwrap();
            if found.lifecycle.state().is_final() {
                assert_eq!(*found.lifecycle.state(), State::Committed, "{found:?}");
                checkpoints.extend(members.iter().map(|member| member.id));
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // Until the condition holds.
        }
        let run = stack.control.group(&operator, group).await.unwrap().0.run;
        assert_eq!(
            stack.runner.ended(&run).await.unwrap().status,
            Status::Succeeded
        );
    }
    let count = |status| stack.runner.list(status, 1_000, None).unwrap().items.len();
    let summary = json!({
        "checkpoints": checkpoints,
        "ledger": stack.control.checkpoints_committed().await.unwrap(),
        "succeeded": count(Status::Succeeded),
        "running": count(Status::Running),
        "failed": count(Status::Failed),
    });
    println!("done {summary}");
    std::future::pending::<()>().await;
}

fn content(n: usize) -> String {
    format!("service {n}").repeat(100)
}

fn submission(directory: &Path, n: usize) -> Submission {
    let path = directory.join(format!("artifacts/app-{n}"));
    let content = content(n);
    serde_json::from_value(json!({
        "idempotency_key": format!("key-{n}"),
        "members": [{
            "service": format!("service-{n}"), "version": "1.0",
            "artifacts": [{
                "name": "bin/app", "source": format!("file://{}", path.display()),
                "size": content.len(), "sha256": paper::sha256(content.as_bytes()),
            }],
        }],
    }))
    .unwrap()
}

struct Running {
    child: Child,
    address: String,
    done: mpsc::Receiver<Value>,
}

fn start(directory: &Path) -> Running {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life::child_that_is_a_stack", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("address ")?.1.to_owned()))
        .expect("the stack says where it listens");
    let (tell, done) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, summary)) = line.split_once("done ") {
                let _ = tell.send(serde_json::from_str(summary).unwrap());
            }
        }
    });
    Running {
        child,
        address,
        done,
    }
}

/// One life of the stack with one life of the agent; gives the summary if it came so far.
async fn live(
    directory: &Path,
    life: usize,
    calls: Option<usize>,
    tapes: &mut Tapes,
) -> Option<Value> {
    let Running {
        mut child,
        address,
        done,
    } = start(directory);
    let key = |agent: &str| {
        let path = directory.join(format!("data/keys/agent-{agent}.key"));
        wire::SecretKey::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let summary = std::cell::RefCell::new(None);
    {
        let mut kill = || child.kill().unwrap();
        let mut line = Line {
            address,
            key: key("agent-1"),
            other: key("agent-2"),
            client: reqwest::Client::new(),
            calls_left: calls,
            kill: &mut kill,
        };
        let is_done = || {
            let mut summary = summary.borrow_mut();
            *summary = done.try_recv().ok().or(summary.take());
            summary.is_some()
        };
        let gone = paper::live(&mut line, &format!("life-{life}"), tapes, is_done).await;
        let gone = gone.err().map(|gone| gone.0);
        assert!(
            gone.is_none() || calls.is_some(),
            "the stack died of itself: {gone:?}"
        );
    }
    let _ = child.kill();
    child.wait().unwrap();
    summary.into_inner()
}

#[tokio::test]
async fn the_stack_is_killed_wherever_it_hurts_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("artifacts")).unwrap();
    for n in 0..CHECKPOINTS {
        let path = directory.path().join(format!("artifacts/app-{n}"));
        std::fs::write(path, content(n)).unwrap();
    }
    let mut tapes = Tapes::new();
    let kills = [0, 1, 2, 3, 4, 5, 7, 9, 12];
    let mut summary = None;
    for (life, calls) in kills.into_iter().map(Some).chain([None]).enumerate() {
        summary = live(directory.path(), life, calls, &mut tapes).await;
    }
    let summary = summary.expect("the last life was not killed");
    let committed: Vec<model::CheckpointId> =
        serde_json::from_value(summary["checkpoints"].clone()).unwrap();
    assert_eq!(committed.len(), CHECKPOINTS);
    assert_eq!(summary["ledger"], CHECKPOINTS, "each once");
    assert_eq!(
        summary["succeeded"], CHECKPOINTS,
        "one execution a submission, each ended once"
    );
    assert_eq!(
        (&summary["running"], &summary["failed"]),
        (&json!(0), &json!(0))
    );

    let mut copies = BTreeMap::<_, usize>::new();
    for checkpoint in tapes.values().flat_map(paper::Tape::checkpoints) {
        *copies.entry(checkpoint).or_default() += 1;
    }
    for checkpoint in committed {
        assert!(
            copies.contains_key(&checkpoint),
            "{checkpoint} is committed and on no tape"
        );
    }
}
