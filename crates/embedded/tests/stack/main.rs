//! An installation on one machine, from outside: it starts, holds its directory, is killed
//! with SIGKILL wherever it hurts, and goes on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod life;
mod paper;

use std::path::Path;

use control::Principal;
use embedded::{Stack, StackConfig, StackError};
use model::{Bytes, Pool};

fn config(directory: &Path) -> StackConfig {
    let pool = Pool {
        name: "main".parse().unwrap(),
        library: "lib".parse().unwrap(),
        copies: 1,
        reserve: Bytes(0),
        write_drives: 1,
        fallback: model::Fallback::BuiltIn,
    };
    let mut config = StackConfig::new(directory.join("data"), pool);
    config.allowed_roots = vec![directory.join("artifacts")];
    config.agents = vec!["agent-1".parse().unwrap(), "agent-2".parse().unwrap()];
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_at_a_time_works_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("artifacts")).unwrap();
    let config = config(directory.path());
    let stack = Stack::start(config.clone()).await.unwrap();
    let second = Stack::start(config.clone()).await.err().unwrap();
    let own = std::process::id().to_string();
    assert!(
        matches!(&second, StackError::InUse { holder, .. } if *holder == own),
        "{second}"
    );
    assert!(
        second.to_string().contains("name another data directory"),
        "{second}"
    );
    stack.shutdown().await;
    Stack::start(config).await.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_and_the_pool_are_made_once() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("artifacts")).unwrap();
    let mut config = config(directory.path());
    let stack = Stack::start(config.clone()).await.unwrap();
    let agent = "agent-1".parse().unwrap();
    let key = || std::fs::read_to_string(directory.path().join("data/keys/agent-agent-1.key"));
    let (first, api) = (key().unwrap(), stack.secret("operator").unwrap());
    assert_eq!((first.trim().len(), api.len()), (64, 64));
    assert_ne!(first.trim(), api);
    assert_eq!(
        stack.agent_key_file(&agent),
        directory.path().join("data/keys/agent-agent-1.key")
    );
    assert!(stack.secret("../outside").is_err());
    for (path, mode) in [
        ("data", 0o700),
        ("data/keys", 0o700),
        ("data/keys/operator", 0o600),
        ("data/keys/agent-agent-1.key", 0o600),
    ] {
        let found = std::fs::metadata(directory.path().join(path))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
    let mut pool = stack
        .control
        .pool(&Principal::Operator, &config.pool.name)
        .await
        .unwrap();
    assert_eq!(pool, config.pool);
    pool.write_drives = 2;
    stack
        .control
        .put_pool(&Principal::Operator, pool.clone())
        .await
        .unwrap();
    stack.shutdown().await;

    config.pool.write_drives = 1;
    let stack = Stack::start(config.clone()).await.unwrap();
    assert_eq!(key().unwrap(), first);
    let agents = stack.control.agents(&Principal::Operator).await.unwrap();
    let leaves = stack.control.ledger_leaves(0, 100).await.unwrap();
    assert_eq!((agents.len(), leaves.len()), (2, 2), "registered once");
    assert_eq!(stack.secret("operator").unwrap(), api);
    let kept = stack
        .control
        .pool(&Principal::Operator, &config.pool.name)
        .await
        .unwrap();
    assert_eq!(
        kept, pool,
        "a later start leaves the pool as the operator set it"
    );
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setup_that_cannot_work_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing_root = Stack::start(config(directory.path())).await.err().unwrap();
    assert!(
        missing_root.to_string().contains("artifacts"),
        "{missing_root}"
    );

    std::fs::create_dir(directory.path().join("artifacts")).unwrap();
    let mut config = config(directory.path());
    config.definition = Some(directory.path().join("none.json"));
    let missing = Stack::start(config.clone()).await.err().unwrap();
    assert!(missing.to_string().contains("none.json"), "{missing}");
    std::fs::write(directory.path().join("none.json"), "{}").unwrap();
    let empty = Stack::start(config.clone()).await.err().unwrap();
    assert!(matches!(empty, StackError::Runner(_)), "{empty}");
    config.definition = None;
    Stack::start(config).await.unwrap().shutdown().await;
}
