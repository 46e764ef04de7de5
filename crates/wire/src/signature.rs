//! Signing a request, and reading what a request says of its signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::AgentKey;
use sha2::{Digest as _, Sha256};

use crate::{SecretKey, is_signature, same};

/// What a signature covers, as it stands in `Signature-Input`: the method, the path, and,
/// through its digest, the body. Not the host: a control plane may stand behind names that
/// the agent does not know.
pub const SIGNED: &str = r#"("@method" "@path" "content-digest")"#;

/// The longest field that is looked at, in bytes: ours have about 200.
const MAX_FIELD: usize = 1024;
/// The longest key id or nonce.
const MAX_TEXT: usize = 128;

/// The three fields of a signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `Content-Digest`.
    pub content_digest: String,
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

/// A field that is not as agreed: which one, and what was expected. It quotes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct Malformed {
    /// The field.
    pub field: &'static str,
    /// What was expected.
    pub expected: &'static str,
}

/// The `Content-Digest` of a body (RFC 9530 2).
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// The signature base (RFC 9421 2.5): components with their values, then the parameters.
pub fn base(components: &[(&str, &str)], params: &str) -> String {
    let mut text = String::new();
    for (name, value) in components {
        text.push_str(&format!("\"{name}\": {value}\n"));
    }
    text.push_str("\"@signature-params\": ");
    text.push_str(params);
    text
}

fn request_base(method: &str, path: &str, digest: &str, params: &str) -> String {
    let components = [
        ("@method", method),
        ("@path", path),
        ("content-digest", digest),
    ];
    base(&components, params)
}

/// Signs a request. `key_id` and `nonce` are ASCII without quotes and backslashes;
/// `created` is in Unix seconds.
pub fn sign(
    key: &SecretKey,
    key_id: &str,
    method: &str,
    path: &str,
    body: &[u8],
    created: i64,
    nonce: &str,
) -> Signed {
    let content_digest = content_digest(body);
    let params =
        format!("{SIGNED};created={created};keyid=\"{key_id}\";nonce=\"{nonce}\";alg=\"ed25519\"");
    let signature = key.sign(request_base(method, path, &content_digest, &params).as_bytes());
    Signed {
        content_digest,
        signature: format!("sig1=:{}:", STANDARD.encode(signature)),
        signature_input: format!("sig1={params}"),
    }
}

/// What a request says of its signature; nothing of it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    params: String,
    created: i64,
    key_id: String,
    signature: [u8; 64],
    content_digest: String,
    digest: [u8; 32],
}

impl Presented {
    /// Reads the three fields. Strict: one signature, the components of [`SIGNED`] in that
    /// order, the parameters `created`, `keyid`, `nonce` and `alg`, each once.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn parse(
        signature_input: &str,
        signature: &str,
        content_digest: &str,
    ) -> Result<Self, Malformed> {
        for (field, text) in [
            ("signature-input", signature_input),
            ("signature", signature),
            ("content-digest", content_digest),
        ] {
            if text.len() > MAX_FIELD || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                let expected = "at most 1024 printable ASCII characters";
                return Err(Malformed { field, expected });
            }
        }
        let (label, params) = split(signature_input, "signature-input")?;
        let (created, key_id) = read_params(params)?;
        let field = "signature";
        let (same_label, value) = split(signature, field)?;
        let expected = "one signature under the label of signature-input";
        if same_label != label {
            return Err(Malformed { field, expected });
        }
        let signature: [u8; 64] = bytes(value).ok_or(Malformed { field, expected })?;
        let expected = "sha-256=:<base64 of 32 bytes>:";
        let field = "content-digest";
        let digest = content_digest
            .split(',')
            .find_map(|member| member.trim().strip_prefix("sha-256="))
            .and_then(bytes)
            .ok_or(Malformed { field, expected })?;
        Ok(Self {
            params: params.to_owned(),
            created,
            key_id,
            signature,
            content_digest: content_digest.to_owned(),
            digest,
        })
    }

    /// When it was signed, in Unix seconds, as the signer says.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// Who the signer says it is.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// True where this key signed a request of this method and path with this digest.
    pub fn is_by(&self, key: &AgentKey, method: &str, path: &str) -> bool {
        let base = request_base(method, path, &self.content_digest, &self.params);
        is_signature(key, base.as_bytes(), &self.signature)
    }

    /// True where the digest is that of this body.
    pub fn is_of(&self, body: &[u8]) -> bool {
        same(&Sha256::digest(body).into(), &self.digest)
    }
}

/// The label and the value of a dictionary with one member.
fn split<'a>(text: &'a str, field: &'static str) -> Result<(&'a str, &'a str), Malformed> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
    };
    text.trim()
        .split_once('=')
        .filter(|(label, _)| is_label(label))
        .ok_or(Malformed {
            field,
            expected: "a dictionary with one member",
        })
}

/// A byte sequence (RFC 8941 3.3.5) of exactly `N` bytes.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let inner = text.strip_prefix(':')?.strip_suffix(':')?;
    STANDARD.decode(inner).ok()?.try_into().ok()
}

/// `created` and `keyid`.
fn read_params(params: &str) -> Result<(i64, String), Malformed> {
    let wrong = |expected| Malformed {
        field: "signature-input",
        expected,
    };
    let mut rest = params.strip_prefix(SIGNED).ok_or(wrong(
        "the components (\"@method\" \"@path\" \"content-digest\")",
    ))?;
    let (mut created, mut key_id, mut nonce, mut alg) = (None, None, None, None);
    while !rest.is_empty() {
        let bad = wrong("parameters as in ;created=1700000000;keyid=\"agent\"");
        let (name, after) = rest
            .strip_prefix(';')
            .and_then(|text| text.split_once('='))
            .ok_or(bad.clone())?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(bad.clone())?,
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        let slot = match name {
            "created" => &mut created,
            "keyid" => &mut key_id,
            "nonce" => &mut nonce,
            "alg" => &mut alg,
            _ => return Err(wrong("no parameters but created, keyid, nonce and alg")),
        };
        if value.len() > MAX_TEXT || value.contains('\\') || slot.replace(value).is_some() {
            return Err(bad);
        }
        rest = after;
    }
    if alg != Some("ed25519") {
        return Err(wrong("alg=\"ed25519\""));
    }
    if nonce.is_none_or(str::is_empty) {
        return Err(wrong("a nonce"));
    }
    let created = created
        .and_then(|text| text.parse().ok())
        .ok_or(wrong("created, in Unix seconds"))?;
    let key_id = key_id.ok_or(wrong("keyid, the agent's name"))?;
    Ok((created, key_id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector_key() -> SecretKey {
        // RFC 9421 B.1.4, the 32 bytes inside the PKCS #8 document.
        let seed = STANDARD
            .decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=")
            .unwrap();
        SecretKey::parse(&hex::encode(seed)).unwrap()
    }

    /// RFC 9421 B.2.6, "Signing a Request Using ed25519".
    #[test]
    fn the_vector_of_the_standard_signs_as_printed() {
        let params = "(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
                      \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
        let components = [
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("@method", "POST"),
            ("@path", "/foo"),
            ("@authority", "example.com"),
            ("content-type", "application/json"),
            ("content-length", "18"),
        ];
        let key = vector_key();
        assert_eq!(
            STANDARD.encode(key.public().0),
            "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
        );
        let text = base(&components, params);
        let printed = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu\
                       4A0w6vuQv5lIp5WPpBKRCw==";
        assert_eq!(STANDARD.encode(key.sign(text.as_bytes())), printed);
        let signature = STANDARD.decode(printed).unwrap().try_into().unwrap();
        assert!(is_signature(&key.public(), text.as_bytes(), &signature));
        assert!(!is_signature(
            &key.public(),
            text.replace("/foo", "/fob").as_bytes(),
            &signature
        ));
    }

    /// RFC 9530 B: the digest of an example, with its line feed.
    #[test]
    fn digests_are_those_of_the_standard() {
        assert_eq!(
            content_digest(b"{\"hello\": \"world\"}\n"),
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
        );
        // Without it the content is another one.
        assert_eq!(
            content_digest(b"{\"hello\": \"world\"}"),
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
        );
    }

    fn signed() -> Signed {
        sign(&vector_key(), "agent-1", "POST", "/a", b"body", 7, "00ff")
    }

    fn parse(signed: &Signed) -> Result<Presented, Malformed> {
        Presented::parse(
            &signed.signature_input,
            &signed.signature,
            &signed.content_digest,
        )
    }

    #[test]
    fn a_signature_holds_for_what_was_signed_only() {
        let shown = parse(&signed()).unwrap();
        let key = vector_key().public();
        assert_eq!((shown.created(), shown.key_id()), (7, "agent-1"));
        assert!(shown.is_by(&key, "POST", "/a") && shown.is_of(b"body"));
        assert!(!shown.is_by(&key, "PUT", "/a"));
        assert!(!shown.is_by(&key, "POST", "/b"));
        assert!(!shown.is_by(&SecretKey::generate().public(), "POST", "/a"));
        assert!(!shown.is_of(b"bodY"));
        // Every parameter is signed too.
        for (what, instead) in [
            ("=7;", "=8;"),
            ("agent-1", "agent-2"),
            ("00ff", "00fe"),
            ("sig1=", "sig2="),
        ] {
            let mut changed = signed();
            changed.signature_input = changed.signature_input.replace(what, instead);
            let holds = parse(&changed).is_ok_and(|shown| shown.is_by(&key, "POST", "/a"));
            assert!(!holds, "{what}");
        }
        // Another body with its own, right digest.
        let mut other = signed();
        other.content_digest = content_digest(b"other");
        assert!(!parse(&other).unwrap().is_by(&key, "POST", "/a"));
    }

    #[test]
    fn fields_that_are_not_as_agreed_are_named() {
        let good = signed().signature_input;
        for (input, expected) in [
            ("", "signature-input: expected a dictionary with one member"),
            (
                &good.replace("\"@path\" ", ""),
                "signature-input: expected the components (\"@method\" \"@path\" \"content-digest\")",
            ),
            (
                &good.replace("ed25519", "hmac-sha256"),
                "signature-input: expected alg=\"ed25519\"",
            ),
            (
                &good.replace("created=7;", ""),
                "signature-input: expected created, in Unix seconds",
            ),
            (
                &good.replace("created=7", "created=7.5"),
                "signature-input: expected created, in Unix seconds",
            ),
            (
                &good.replace("created=7;", "created=7;created=8;"),
                "signature-input: expected parameters as in ;created=1700000000;keyid=\"agent\"",
            ),
            (
                &good.replace("nonce=\"00ff\";", ""),
                "signature-input: expected a nonce",
            ),
            (
                &format!("{good};tag=\"x\""),
                "signature-input: expected no parameters but created, keyid, nonce and alg",
            ),
            (
                &good.replace("00ff", &"0".repeat(2000)),
                "signature-input: expected at most 1024 printable ASCII characters",
            ),
        ] {
            let mut changed = signed();
            changed.signature_input = input.to_owned();
            assert_eq!(parse(&changed).unwrap_err().to_string(), expected);
        }
        let mut changed = signed();
        changed.signature = "sig1=:AAAA:".to_owned();
        assert_eq!(parse(&changed).unwrap_err().field, "signature");
        let mut changed = signed();
        changed.content_digest = "md5=:AAAA:".to_owned();
        assert_eq!(parse(&changed).unwrap_err().field, "content-digest");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_stumble(input in ".*", signature in ".*", digest in ".*") {
            let _ = Presented::parse(&input, &signature, &digest);
            let _ = Presented::parse(&format!("sig1={SIGNED}{input}"), &signature, &digest);
        }
    }
}
