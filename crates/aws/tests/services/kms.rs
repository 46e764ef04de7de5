//! A key that never leaves KMS signs; checking is local.

use std::sync::Arc;

use aws::KmsSigner;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use model::Code;
use serde_json::json;

use crate::script::{Answer, Server, client};

async fn start() -> (Arc<Server>, KmsSigner) {
    let server = Server::start().await;
    let client = client!(aws_sdk_kms, &server.endpoint);
    (server, KmsSigner::with_client(client, "alias/tm-resolvers"))
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn public(spec: &str, der: &[u8]) -> Answer {
    Answer::Ok(json!({
        "KeyId": "k", "KeySpec": spec, "KeyUsage": "SIGN_VERIFY",
        "PublicKey": STANDARD.encode(der), "SigningAlgorithms": ["ED25519_SHA_512"],
    }))
}

/// RFC 8410, section 10.1: a public key of Ed25519 in DER.
fn der() -> Vec<u8> {
    let prefix = hex::decode("302a300506032b6570032100").unwrap();
    [prefix, key().verifying_key().to_bytes().to_vec()].concat()
}

#[tokio::test]
async fn the_message_itself_is_signed_and_checks_under_the_public_key() {
    let (server, signer) = start().await;
    let signature = key().sign(b"message").to_bytes();
    let signed = json!({ "KeyId": "k", "Signature": STANDARD.encode(signature) });
    server.next("Sign", Answer::No(400, "ThrottlingException"));
    server.next("Sign", Answer::Ok(signed));
    server.next("GetPublicKey", public("ECC_NIST_EDWARDS25519", &der()));
    let found = signer.sign(b"message").await.unwrap();
    for _ in 0..2 {
        let public = signer.public_key().await.unwrap();
        let public = ed25519_dalek::VerifyingKey::from_bytes(&public).unwrap();
        let found = ed25519_dalek::Signature::from_bytes(&found);
        public.verify_strict(b"message", &found).unwrap();
    }
    let asked = server.asked();
    let names: Vec<_> = asked.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Sign", "Sign", "GetPublicKey"], "the key once");
    let question = &asked[0].1;
    assert_eq!(question["KeyId"], "alias/tm-resolvers");
    assert_eq!(question["MessageType"], "RAW");
    assert_eq!(question["SigningAlgorithm"], "ED25519_SHA_512");
    assert_eq!(question["Message"], STANDARD.encode("message"));
}

#[tokio::test]
async fn what_is_no_key_for_it_says_so_and_a_busy_one_may_be_asked_again() {
    let (server, signer) = start().await;
    server.next("GetPublicKey", public("ECC_NIST_P256", &[0x30; 91]));
    let refusal = signer.public_key().await.unwrap_err();
    assert_eq!(refusal.code, Code::Internal);
    assert!(refusal.message.contains("ECC_NIST_P256"), "{refusal}");
    server.next("GetPublicKey", Answer::No(400, "AccessDeniedException"));
    assert_eq!(signer.public_key().await.unwrap_err().code, Code::Internal);
    for _ in 0..3 {
        server.next("Sign", Answer::No(400, "ThrottlingException"));
    }
    let refusal = signer.sign(b"m").await.unwrap_err();
    assert_eq!(refusal.code, Code::Transient);
    server.asked();
    let refusal = signer.sign(&[0; 4_097]).await.unwrap_err();
    assert_eq!(refusal.code, Code::Internal);
    assert!(server.asked().is_empty(), "nothing was sent");
    // A fault is not remembered.
    server.next("GetPublicKey", public("ECC_NIST_EDWARDS25519", &der()));
    signer.public_key().await.unwrap();
}
