//! `up --aws-endpoints`: catalogue and objects behind DynamoDB and S3 endpoints, so that a
//! function beside the stack sees what the stack sees; the rest as always.
//!
//! Needs the command with its feature `aws-endpoints`.

#![allow(clippy::unwrap_used, clippy::panic)]

#[cfg(feature = "aws-endpoints")]
mod support;

#[cfg(not(feature = "aws-endpoints"))]
#[test]
fn the_command_is_built_with_its_endpoints() {
    let message = "SKIPPED: needs `cargo test --features tapemark/aws-endpoints`";
    assert!(
        std::env::var_os("TAPEMARK_TEST_REQUIRE").is_none(),
        "{message}"
    );
    eprintln!("{message}");
}

#[cfg(feature = "aws-endpoints")]
mod stories {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use aws::{DynamoTable, Place, S3Objects};
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
    use control::ledger::HashChain;
    use control::ports::{NoResolvers, Ports};
    use control::{Control, Phase};
    use embedded::{LocalQueue, SystemClock, SystemRandomness};
    use serde_json::{Value, json};

    use crate::support::{Stack, noise, sha256, tree};

    fn stack(options: &[&str]) -> Stack {
        let options = [&["--aws-endpoints", "127.0.0.1:0"], options].concat();
        Stack::start_with(&options, &[])
    }

    fn said<'a>(ready: &'a Value, what: &str) -> &'a str {
        ready["aws"][what].as_str().unwrap()
    }

    fn s3(ready: &Value) -> aws_sdk_s3::Client {
        let [key, secret] = ["access_key_id", "secret_access_key"].map(|what| said(ready, what));
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(key, secret, None, None, "test"))
            .endpoint_url(said(ready, "s3"))
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Puts artifacts into the bucket of sources, submits them and waits for the end; the id
    /// of the checkpoint.
    fn commit(stack: &Stack, version: &str, artifacts: &[(&str, Vec<u8>)]) -> String {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = s3(stack.ready());
        let written = artifacts.iter().map(|(name, body)| {
            let key = format!("payments/{version}/{name}");
            let put = client.put_object().bucket("releases").key(&key);
            let put = runtime
                .block_on(put.body(body.clone().into()).send())
                .unwrap();
            let version = put.version_id().unwrap();
            json!({
                "name": name,
                "source": format!("s3://releases/{key}?versionId={version}"),
                "size": body.len(),
                "sha256": sha256(body),
            })
        });
        let written: Vec<_> = written.collect();
        let member = json!({"service": "payments", "version": version, "artifacts": written});
        let file = stack.file(
            &format!("{version}.json"),
            json!({ "members": [member] }).to_string().as_bytes(),
        );
        let answer = stack.run(["submit", "--wait", "--group", file.to_str().unwrap()]);
        assert_eq!(answer.code, 0, "{}\n{}", answer.stderr, stack.logs());
        answer.json["checkpoints"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn compare(stack: &Stack, id: &str, artifacts: &[(&str, Vec<u8>)]) {
        let expected = artifacts
            .iter()
            .map(|(name, body)| ((*name).to_owned(), body.clone()));
        let restored = stack.restore(id);
        assert_eq!(tree(&restored), expected.collect());
        // Restored once more, it finds its place as the first time.
        std::fs::remove_dir_all(restored).unwrap();
    }

    #[test]
    fn what_lies_in_s3_is_committed_and_restored_also_after_everything_was_killed() {
        let mut stack = stack(&[]);
        stack.register(&["payments"]);
        let first = [
            ("bin/app", noise(1, 3 << 20)),
            ("etc/config.toml", b"answer = 42\n".to_vec()),
            ("empty", Vec::new()),
        ];
        let one = commit(&stack, "1.0", &first);
        compare(&stack, &one, &first);

        stack.kill_and_restart();
        assert_eq!(stack.status(&one)["state"], "committed");
        // Larger than what is put in one piece.
        let second = [("bin/app", noise(2, 17 << 20))];
        let two = commit(&stack, "1.1", &second);
        compare(&stack, &two, &second);
        compare(&stack, &one, &first);
        let ledger = stack.run(["ledger", "verify"]).ok();
        assert_eq!(ledger["committed"], 2);

        // Only what lies in the bucket of sources is a source.
        let local = stack.file("local", b"x");
        let refused = stack.submit("payments", "1.2", &local);
        assert_ne!(refused.code, 0, "{}", refused.json);

        // The next start is told where the catalogue is, or remembers it.
        assert_eq!(stack.stop(), 0);
        stack.up();
        assert_eq!(stack.status(&two)["state"], "committed");
    }

    #[test]
    fn a_catalogue_stays_where_its_first_start_put_it() {
        let mut stack = Stack::start();
        assert_eq!(stack.stop(), 0);
        let moved = stack.up_in_vain(&["--aws-endpoints", "127.0.0.1:0"]);
        assert_eq!(moved.code, 2, "{}", moved.stderr);
        assert!(
            moved.stderr.contains("another data directory"),
            "{}",
            moved.stderr
        );
        let open = stack.up_in_vain(&["--seed"]);
        assert_eq!(open.code, 2, "{}", open.stderr);
    }

    #[test]
    fn a_function_beside_the_stack_validates_a_sample_and_the_stack_sees_it() {
        let mut stack = stack(&["--seed"]);
        let file = std::fs::read(stack.data().join("env.json")).unwrap();
        let file: Value = serde_json::from_slice(&file).unwrap();
        assert_eq!(file["Parameters"], stack.ready()["aws"]["env"]);
        let samples = stack.ready()["aws"]["samples"].clone();
        let group = |name: &str| {
            let mut all = samples.as_array().unwrap().iter();
            let found = all.find(|sample| sample["name"] == name).unwrap();
            found["group"].as_str().unwrap().to_owned()
        };
        // What events/ are written for.
        assert_eq!(group("ok"), "019b76da-a800-7000-8000-000000000010");

        let runtime = tokio::runtime::Runtime::new().unwrap();
        let validate = |name: &str| {
            let payload = json!({"op": "check", "run": group(name), "group": group(name)});
            runtime.block_on(function(stack.ready()).run_phase(Phase::Validate, payload))
        };
        validate("ok").unwrap();
        assert_eq!(stack.status(&group("ok"))["state"], "staged");
        for (name, code) in [
            ("checksum-mismatch", "Tapemark.ChecksumMismatch"),
            ("artifact-missing", "Tapemark.ArtifactMissing"),
            ("unknown-service", "Tapemark.UnknownService"),
        ] {
            let refused = validate(name).unwrap_err();
            assert_eq!(refused.code.as_str(), code, "{refused:?}");
        }

        // Seeding twice changes nothing.
        assert_eq!(stack.stop(), 0);
        stack.up();
        assert_eq!(stack.ready()["aws"]["samples"], samples);
        assert_eq!(stack.status(&group("ok"))["state"], "staged");
    }

    /// The control plane as a function has it.
    fn function(ready: &Value) -> Control {
        use aws_sdk_dynamodb::config as dynamodb;
        let env = &ready["aws"]["env"];
        let text = |name: &str| env[name].as_str().unwrap().to_owned();
        let config = dynamodb::Builder::new()
            .behavior_version(dynamodb::BehaviorVersion::latest())
            .region(dynamodb::Region::new("us-east-1"))
            .credentials_provider(dynamodb::Credentials::new("a", "b", None, None, "test"))
            .endpoint_url(text("AWS_ENDPOINT_URL_DYNAMODB"))
            .build();
        let tables = aws_sdk_dynamodb::Client::from_conf(config);
        let place = Place {
            bucket: text("TAPEMARK_PINS_BUCKET"),
            sources: BTreeSet::from([text("TAPEMARK_SOURCES")]),
            restore_root: "/restore".to_owned(),
        };
        Control::new(Ports {
            table: Arc::new(DynamoTable::with_client(tables, text("TAPEMARK_TABLE"))),
            objects: Arc::new(
                S3Objects::with_client(s3(ready), place)
                    .with_documents(text("TAPEMARK_DOCUMENTS_BUCKET")),
            ),
            queue: Arc::new(LocalQueue::default()),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            ledger: Arc::new(HashChain),
            resolvers: Arc::new(NoResolvers),
        })
    }
}
