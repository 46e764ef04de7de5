//! S3 as the SDK sees it: on a disk and in memory, and again after a restart.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumAlgorithm, ChecksumMode, ChecksumType,
    CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective, ObjectIdentifier,
    VersioningConfiguration,
};
use endpoints::{ANY_PORT, CREDENTIALS, Endpoints, Home, Running, StartError};

const BUCKET: &str = "releases";
const PART: usize = 5 << 20;

fn client_with(url: &str, secret: &str) -> Client {
    let credentials = Credentials::new(CREDENTIALS.access_key_id, secret, None, None, "test");
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(CREDENTIALS.region))
        .credentials_provider(credentials)
        .endpoint_url(url)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

fn client(running: &Running) -> Client {
    client_with(&running.s3_url, CREDENTIALS.secret_access_key)
}

async fn start(home: Home) -> (Running, Client) {
    let running = Endpoints::start(home, ANY_PORT).await.unwrap();
    let client = client(&running);
    (running, client)
}

async fn with_bucket(home: Home, is_versioned: bool) -> (Running, Client) {
    let (running, client) = start(home).await;
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    if is_versioned {
        let enabled = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let put = client.put_bucket_versioning().bucket(BUCKET);
        let put = put.versioning_configuration(enabled).send().await;
        put.unwrap();
    }
    (running, client)
}

fn homes() -> (tempfile::TempDir, [Home; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("endpoints");
    (directory, [Home::Memory, Home::Directory(path)])
}

/// The code of a refusal.
fn code<T: std::fmt::Debug, E>(result: Result<T, SdkError<E>>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let error = result.unwrap_err();
    match error.code() {
        Some(code) => code.to_owned(),
        // Answers to HEAD have no body.
        None => match error.raw_response() {
            Some(raw) => raw.status().to_string(),
            None => panic!("{}", DisplayErrorContext(&error)),
        },
    }
}

async fn put(client: &Client, key: &str, body: &[u8]) -> String {
    let put = client.put_object().bucket(BUCKET).key(key);
    let put = put.body(body.to_vec().into()).send().await.unwrap();
    put.version_id().unwrap_or("null").to_owned()
}

async fn get(client: &Client, key: &str, version: Option<&str>) -> Result<Vec<u8>, String> {
    let get = client.get_object().bucket(BUCKET).key(key);
    match get.set_version_id(version.map(str::to_owned)).send().await {
        Ok(found) => Ok(found.body.collect().await.unwrap().to_vec()),
        error => Err(code(error)),
    }
}

/// Bytes that do not repeat.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_stay_until_they_are_deleted_by_name() {
    let (_directory, homes) = homes();
    for home in homes {
        let (_running, client) = with_bucket(home, true).await;
        let first = put(&client, "app", b"one").await;
        let second = put(&client, "app", b"two").await;
        assert_ne!(first, second);
        assert_eq!(get(&client, "app", None).await.unwrap(), b"two");
        assert_eq!(get(&client, "app", Some(&first)).await.unwrap(), b"one");
        let unknown = get(&client, "app", Some(&"0".repeat(32))).await;
        assert_eq!(unknown, Err("NoSuchVersion".to_owned()));

        let deleted = client
            .delete_object()
            .bucket(BUCKET)
            .key("app")
            .send()
            .await;
        let deleted = deleted.unwrap();
        assert_eq!(deleted.delete_marker(), Some(true));
        let marker = deleted.version_id().unwrap();
        assert_eq!(get(&client, "app", None).await, Err("NoSuchKey".to_owned()));
        let of_marker = get(&client, "app", Some(marker)).await;
        assert_eq!(of_marker, Err("MethodNotAllowed".to_owned()));
        assert_eq!(get(&client, "app", Some(&second)).await.unwrap(), b"two");
        let listed = client
            .list_objects_v2()
            .bucket(BUCKET)
            .send()
            .await
            .unwrap();
        assert!(listed.contents().is_empty(), "a marker hides the key");

        let all = client
            .list_object_versions()
            .bucket(BUCKET)
            .send()
            .await
            .unwrap();
        let ids: Vec<_> = all
            .versions()
            .iter()
            .filter_map(|v| v.version_id())
            .collect();
        assert_eq!(ids, [second.as_str(), first.as_str()], "newest first");
        assert_eq!(all.delete_markers().len(), 1);

        for id in [marker, &first] {
            let delete = client.delete_object().bucket(BUCKET).key("app");
            delete.version_id(id).send().await.unwrap();
        }
        assert_eq!(get(&client, "app", None).await.unwrap(), b"two");
        let gone = get(&client, "app", Some(&first)).await;
        assert_eq!(gone, Err("NoSuchVersion".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_decide_and_of_twenty_writers_one_wins() {
    let (_directory, homes) = homes();
    for home in homes {
        let (_running, client) = with_bucket(home, false).await;
        for round in 0..5 {
            let key = format!("claim-{round}");
            let racers: Vec<_> = (0..20_u8)
                .map(|n| {
                    let claim = client.put_object().bucket(BUCKET).key(&key);
                    let claim = claim.if_none_match("*").body(vec![n].into()).send();
                    tokio::spawn(async move { (n, claim.await) })
                })
                .collect();
            let mut winners = Vec::new();
            for racer in racers {
                let (n, result) = racer.await.unwrap();
                match result {
                    Ok(_) => winners.push(n),
                    lost => assert_eq!(code(lost), "PreconditionFailed"),
                }
            }
            assert_eq!(winners.len(), 1, "{winners:?}");
            assert_eq!(get(&client, &key, None).await.unwrap(), winners);
        }

        let head = client
            .head_object()
            .bucket(BUCKET)
            .key("claim-0")
            .send()
            .await;
        let tag = head.unwrap().e_tag().unwrap().to_owned();
        let swap = |key: &str, tag: &str| {
            let swap = client.put_object().bucket(BUCKET).key(key).if_match(tag);
            swap.body(b"swapped".to_vec().into()).send()
        };
        assert_eq!(code(swap("none", &tag).await), "NoSuchKey");
        swap("claim-0", &tag).await.unwrap();
        assert_eq!(code(swap("claim-0", &tag).await), "PreconditionFailed");
        let read = client.get_object().bucket(BUCKET).key("claim-0");
        assert_eq!(code(read.if_match(&tag).send().await), "PreconditionFailed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_are_kept_said_and_compared() {
    let (_directory, homes) = homes();
    for home in homes {
        let (_running, client) = with_bucket(home, false).await;
        // SHA-256 of "release 1.0", and its CRC64NVME for who names none.
        let sha256 = "zp0ZIhw3vWKcvpkFnWkvIyxBu9KFLSvZfWEg5LCUcoI=";
        let put = || client.put_object().bucket(BUCKET).key("app");
        let body = || b"release 1.0".to_vec().into();
        let wrong = put().checksum_sha256(sha256.replace('z', "y"));
        assert_eq!(code(wrong.body(body()).send().await), "BadDigest");
        assert_eq!(get(&client, "app", None).await, Err("NoSuchKey".to_owned()));

        let said = put().checksum_algorithm(ChecksumAlgorithm::Sha256);
        let said = said.body(body()).send().await.unwrap();
        let known = said.checksum_sha256().unwrap().to_owned();
        let head = || client.head_object().bucket(BUCKET).key("app");
        assert_eq!(head().send().await.unwrap().checksum_sha256(), None);
        let found = head()
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap();
        assert_eq!(found.checksum_sha256(), Some(known.as_str()));
        assert_eq!(found.checksum_type(), Some(&ChecksumType::FullObject));
        let again = put().checksum_sha256(&known).body(body()).send().await;
        again.unwrap();

        // Every algorithm of the SDK, computed there and here.
        for algorithm in [
            ChecksumAlgorithm::Crc32,
            ChecksumAlgorithm::Crc32C,
            ChecksumAlgorithm::Crc64Nvme,
            ChecksumAlgorithm::Sha1,
        ] {
            let put = put().checksum_algorithm(algorithm);
            put.body(body()).send().await.unwrap();
            let get = client.get_object().bucket(BUCKET).key("app");
            let got = get
                .checksum_mode(ChecksumMode::Enabled)
                .send()
                .await
                .unwrap();
            // The SDK compares what comes with what is said.
            assert_eq!(got.body.collect().await.unwrap().to_vec(), b"release 1.0");
        }

        // A copy says what was copied, in the algorithm that was asked for.
        let copy = client.copy_object().bucket(BUCKET).key("copy");
        let copy = copy.copy_source(format!("{BUCKET}/app"));
        let copy = copy.checksum_algorithm(ChecksumAlgorithm::Sha256);
        let copied = copy.send().await.unwrap();
        let result = copied.copy_object_result().unwrap();
        assert_eq!(result.checksum_sha256(), Some(known.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_made_at_a_version_with_metadata_as_asked() {
    let (_directory, homes) = homes();
    for home in homes {
        let (_running, client) = with_bucket(home, true).await;
        let key = "dir/größe + 1%.tar";
        let with = client
            .put_object()
            .bucket(BUCKET)
            .key(key)
            .metadata("who", "me");
        let first = with.body(b"one".to_vec().into()).send().await.unwrap();
        let first = first.version_id().unwrap();
        put(&client, key, b"two").await;
        let source = format!("{BUCKET}/dir/gr%C3%B6%C3%9Fe%20%2B%201%25.tar?versionId={first}");
        let copy = |to: &str| {
            client
                .copy_object()
                .bucket(BUCKET)
                .key(to)
                .copy_source(&source)
        };
        copy("kept").send().await.unwrap();
        let replace = copy("replaced").metadata_directive(MetadataDirective::Replace);
        replace.metadata("who", "you").send().await.unwrap();
        for (to, who) in [("kept", "me"), ("replaced", "you")] {
            assert_eq!(get(&client, to, None).await.unwrap(), b"one");
            let head = client
                .head_object()
                .bucket(BUCKET)
                .key(to)
                .send()
                .await
                .unwrap();
            assert_eq!(head.metadata().unwrap()["who"], who);
        }
        let none = client.copy_object().bucket(BUCKET).key("x");
        let none = none.copy_source(format!("{BUCKET}/none")).send().await;
        assert_eq!(code(none), "NoSuchKey");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_presigned_urls_are_served_and_nothing_is_public() {
    let (_directory, homes) = homes();
    for home in homes {
        let (running, client) = with_bucket(home, false).await;
        let content = bytes(1 << 20);
        put(&client, "app", &content).await;
        for (range, expected) in [
            ("bytes=0-0", &content[..1]),
            ("bytes=1000-99999", &content[1000..100_000]),
            ("bytes=1048000-", &content[1_048_000..]),
            ("bytes=-7", &content[content.len() - 7..]),
        ] {
            let get = client.get_object().bucket(BUCKET).key("app").range(range);
            let found = get.send().await.unwrap();
            assert!(
                found.content_range().unwrap().ends_with("/1048576"),
                "{range}"
            );
            assert_eq!(
                found.body.collect().await.unwrap().to_vec(),
                expected,
                "{range}"
            );
        }
        let beyond = client.get_object().bucket(BUCKET).key("app");
        assert_eq!(
            code(beyond.range("bytes=1048576-").send().await),
            "InvalidRange"
        );

        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let lifetime = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let presigned = client.get_object().bucket(BUCKET).key("app");
        let presigned = presigned.presigned(lifetime).await.unwrap();
        let url = presigned.uri();
        let part = http
            .get(url)
            .header("range", "bytes=5-9")
            .send()
            .await
            .unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), content[5..10]);
        for bad in [
            url.split('?').next().unwrap().to_owned(),
            url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
            url.replace("/app?", "/other?"),
        ] {
            assert_eq!(http.get(&bad).send().await.unwrap().status(), 403, "{bad}");
        }
        let stranger = client_with(&running.s3_url, "guess");
        let refused = stranger.get_object().bucket(BUCKET).key("app").send().await;
        assert_eq!(code(refused), "SignatureDoesNotMatch");
    }
}

async fn upload(client: &Client, key: &str, algorithm: Option<ChecksumAlgorithm>) -> String {
    let begin = client.create_multipart_upload().bucket(BUCKET).key(key);
    let begun = begin
        .set_checksum_algorithm(algorithm)
        .send()
        .await
        .unwrap();
    begun.upload_id().unwrap().to_owned()
}

fn completed(parts: Vec<CompletedPart>) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder()
        .set_parts(Some(parts))
        .build()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_parts_are_joined_compared_and_aborted() {
    let (_directory, homes) = homes();
    for home in homes {
        let (_running, client) = with_bucket(home, false).await;
        let content = bytes(2 * PART + 3);
        put(&client, "source", &content).await;
        let id = upload(&client, "app", Some(ChecksumAlgorithm::Sha256)).await;
        let part = |number: i32, body: Vec<u8>| {
            let part = client
                .upload_part()
                .bucket(BUCKET)
                .key("app")
                .upload_id(&id);
            let part = part
                .part_number(number)
                .checksum_algorithm(ChecksumAlgorithm::Sha256);
            part.body(ByteStream::from(body)).send()
        };
        let complete = |parts: &[CompletedPart]| {
            let done = client.complete_multipart_upload().bucket(BUCKET).key("app");
            let done = done
                .upload_id(&id)
                .multipart_upload(completed(parts.to_vec()));
            done.send()
        };
        let mut parts = Vec::new();
        for (number, body) in [
            (1, content[..PART].to_vec()),
            (3, content[2 * PART..].to_vec()),
        ] {
            let sent = part(number, body).await.unwrap();
            let named = CompletedPart::builder().part_number(number);
            let named = named
                .set_e_tag(sent.e_tag)
                .set_checksum_sha256(sent.checksum_sha256);
            parts.push(named.build());
        }
        // The part in the middle is copied from an object.
        let copy = client
            .upload_part_copy()
            .bucket(BUCKET)
            .key("app")
            .upload_id(&id);
        let copy = copy.part_number(2).copy_source(format!("{BUCKET}/source"));
        let copy = copy.copy_source_range(format!("bytes={PART}-{}", 2 * PART - 1));
        let copied = copy.send().await.unwrap().copy_part_result.unwrap();
        let named = CompletedPart::builder().part_number(2);
        let named = named
            .set_e_tag(copied.e_tag)
            .set_checksum_sha256(copied.checksum_sha256);
        parts.insert(1, named.build());

        let mut turned = parts.clone();
        turned.swap(0, 1);
        assert_eq!(code(complete(&turned).await), "InvalidPartOrder");
        let missing = CompletedPart::builder()
            .part_number(9)
            .e_tag("\"x\"")
            .build();
        assert_eq!(code(complete(&[missing]).await), "InvalidPart");
        assert_eq!(get(&client, "app", None).await, Err("NoSuchKey".to_owned()));

        let done = complete(&parts).await.unwrap();
        let (tag, sum) = (done.e_tag().unwrap(), done.checksum_sha256().unwrap());
        assert!(tag.ends_with("-3\"") && sum.ends_with("-3"), "{tag} {sum}");
        assert!(get(&client, "app", None).await.unwrap() == content);
        let head = client.head_object().bucket(BUCKET).key("app");
        let head = head
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap();
        assert_eq!(head.checksum_sha256(), Some(sum));
        assert_eq!(head.checksum_type(), Some(&ChecksumType::Composite));
        // A client that lost the answer asks again.
        assert_eq!(complete(&parts).await.unwrap().e_tag(), Some(tag));
        let other = complete(&parts[..1]).await;
        assert_eq!(code(other), "NoSuchUpload");

        let id = upload(&client, "small", None).await;
        let mut parts = Vec::new();
        for number in 1..=2 {
            let part = client
                .upload_part()
                .bucket(BUCKET)
                .key("small")
                .upload_id(&id);
            let sent = part
                .part_number(number)
                .body(b"x".to_vec().into())
                .send()
                .await;
            let tag = sent.unwrap().e_tag;
            parts.push(
                CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(tag)
                    .build(),
            );
        }
        let listed = client
            .list_parts()
            .bucket(BUCKET)
            .key("small")
            .upload_id(&id);
        assert_eq!(listed.send().await.unwrap().parts().len(), 2);
        let small = client
            .complete_multipart_upload()
            .bucket(BUCKET)
            .key("small");
        let small = small
            .upload_id(&id)
            .multipart_upload(completed(parts))
            .send()
            .await;
        assert_eq!(code(small), "EntityTooSmall");
        let open = || client.list_multipart_uploads().bucket(BUCKET).send();
        assert_eq!(open().await.unwrap().uploads().len(), 1);
        let abort = client.abort_multipart_upload().bucket(BUCKET).key("small");
        abort.upload_id(&id).send().await.unwrap();
        assert_eq!(open().await.unwrap().uploads().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_have_prefixes_pages_and_folders() {
    let (_directory, homes) = homes();
    for home in homes {
        let (_running, client) = with_bucket(home, false).await;
        let keys = ["a/1", "a/2", "a/b/3", "b", "../up", "größe 1", "a", "c/"];
        for key in keys {
            put(&client, key, b"x").await;
        }
        let mut sorted: Vec<_> = keys.map(str::to_owned).to_vec();
        sorted.sort();
        let pages = client.list_objects_v2().bucket(BUCKET).max_keys(3);
        let mut pages = pages.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert!(page.contents().len() <= 3);
            found.extend(
                page.contents()
                    .iter()
                    .filter_map(|object| object.key.clone()),
            );
        }
        assert_eq!(found, sorted);

        let folded = client.list_objects_v2().bucket(BUCKET).prefix("a");
        let folded = folded.delimiter("/").send().await.unwrap();
        let names: Vec<_> = folded.contents().iter().filter_map(|o| o.key()).collect();
        let folders: Vec<_> = folded
            .common_prefixes()
            .iter()
            .filter_map(|p| p.prefix())
            .collect();
        assert_eq!((names, folders), (vec!["a"], vec!["a/"]));
        let coded = client.list_objects_v2().bucket(BUCKET).prefix("gr");
        let coded = coded.encoding_type(aws_sdk_s3::types::EncodingType::Url);
        let coded = coded.send().await.unwrap();
        assert_eq!(coded.contents()[0].key(), Some("gr%C3%B6%C3%9Fe%201"));
        let guess = client
            .list_objects_v2()
            .bucket(BUCKET)
            .continuation_token("%");
        assert_eq!(code(guess.send().await), "InvalidArgument");

        let busy = client.delete_bucket().bucket(BUCKET).send().await;
        assert_eq!(code(busy), "BucketNotEmpty");
        let all = keys.map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
        let delete = Delete::builder().set_objects(Some(all.to_vec())).build();
        let delete = client
            .delete_objects()
            .bucket(BUCKET)
            .delete(delete.unwrap());
        assert_eq!(delete.send().await.unwrap().deleted().len(), keys.len());
        client.delete_bucket().bucket(BUCKET).send().await.unwrap();
        let none = client.list_objects_v2().bucket(BUCKET).send().await;
        assert_eq!(code(none), "NoSuchBucket");
    }
}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_again_after_a_restart_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let home = || Home::Directory(directory.path().join("endpoints"));
    let (running, client) = with_bucket(home(), true).await;
    let first = put(&client, "../../escape", b"one").await;
    let second = put(&client, "../../escape", b"two").await;
    client
        .delete_object()
        .bucket(BUCKET)
        .key("../../escape")
        .send()
        .await
        .unwrap();
    let id = upload(&client, "app", None).await;
    let part = client
        .upload_part()
        .bucket(BUCKET)
        .key("app")
        .upload_id(&id);
    let part = part
        .part_number(1)
        .body(b"part".to_vec().into())
        .send()
        .await
        .unwrap();
    let tag = part.e_tag;
    assert!(!directory.path().join("escape").exists());
    let twice = Endpoints::start(home(), ANY_PORT).await.err().unwrap();
    assert!(matches!(twice, StartError::Directory { .. }), "{twice}");
    running.shutdown().await;

    // What a crash leaves: bytes that were on their way, and bytes that nothing names.
    let root = directory.path().join("endpoints/s3");
    std::fs::write(root.join("tmp/7"), "half").unwrap();
    std::fs::write(root.join("blobs/orphan"), "nobody's").unwrap();
    let (running, client) = start(home()).await;
    assert_eq!(files(&root.join("tmp")), 0);
    assert_eq!(files(&root.join("blobs")), 3, "two versions and a part");
    assert_eq!(
        get(&client, "../../escape", None).await,
        Err("NoSuchKey".to_owned())
    );
    for (version, body) in [(&first, b"one"), (&second, b"two")] {
        assert_eq!(
            get(&client, "../../escape", Some(version)).await.unwrap(),
            body
        );
    }
    let named = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(tag)
        .build();
    let done = client.complete_multipart_upload().bucket(BUCKET).key("app");
    let done = done.upload_id(&id).multipart_upload(completed(vec![named]));
    done.send().await.unwrap();
    assert_eq!(get(&client, "app", None).await.unwrap(), b"part");
    assert_eq!(
        files(&root.join("blobs")),
        3,
        "the part has become an object"
    );
    assert_eq!(files(&root.join("uploads")), 0);
    running.shutdown().await;
}

#[tokio::test]
async fn no_address_is_served_that_other_machines_reach() {
    for open in ["0.0.0.0:0", "8.8.8.8:7410", "[::]:0"] {
        let refused = Endpoints::start(Home::Memory, open.parse().unwrap()).await;
        assert!(matches!(refused, Err(StartError::Exposed(_))), "{open}");
    }
}
