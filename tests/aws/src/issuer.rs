//! Who issues tokens to operators and services in a story: an OpenID provider in the size that
//! a JWT authorizer asks of it.
//!
//! The key is made for one story, by OpenSSL's command line: API Gateway takes RSA.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::http::{Request, Response, Server};

/// The audience of every token.
pub const AUDIENCE: &str = "tapemark";

/// An issuer that runs.
pub struct Issuer {
    server: Server,
    folder: tempfile::TempDir,
}

impl Issuer {
    /// Makes a key and publishes it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        openssl(
            folder.path(),
            &["genrsa", "-out", key.to_str().unwrap(), "2048"],
        );
        let said = openssl(
            folder.path(),
            &["rsa", "-in", "key.pem", "-noout", "-modulus"],
        );
        let said = String::from_utf8(said).unwrap();
        let modulus = bytes_of_hex(said.trim().trim_start_matches("Modulus="));
        let keys = json!({ "keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "story",
            "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB",
        }]});
        let server = Server::start(move |request: &Request| {
            let base = format!("http://{}", request.header("host").unwrap_or_default());
            let page = match request.target.as_str() {
                "/.well-known/openid-configuration" => {
                    json!({ "issuer": base, "jwks_uri": format!("{base}/keys") })
                }
                "/keys" => keys.clone(),
                _ => return Response::new(404, Vec::new()),
            };
            Response::new(200, page.to_string().into_bytes())
        });
        Self {
            server: server.unwrap(),
            folder,
        }
    }

    /// The issuer's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// A token with these claims besides `iss`, `aud`, `iat` and `exp` (an hour).
    pub fn token(&self, claims: &Value) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let mut all = json!({ "iss": self.url(), "aud": AUDIENCE, "iat": now, "exp": now + 3600 });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "story" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&all));
        let folder = self.folder.path();
        std::fs::write(folder.join("signed"), &signed).unwrap();
        let signature = openssl(folder, &["dgst", "-sha256", "-sign", "key.pem", "signed"]);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token of an operator.
    pub fn operator(&self) -> String {
        self.token(&json!({ "sub": "olga", "tapemark_role": "operator" }))
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(crate::program("openssl").unwrap());
    let said = command
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "openssl {arguments:?}: {why}");
    said.stdout
}

fn bytes_of_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4) | pair[1])
        .collect()
}
