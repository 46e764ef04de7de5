//! Hiding what must not stand in a log.

use std::borrow::Cow;

/// What stands in place of a secret.
const HIDDEN: &str = "[redacted]";
/// After these words, a separator and perhaps quotes, comes a secret. In small letters.
const LABELS: [&str; 10] = [
    "authorization",
    "bearer",
    "credential",
    "password",
    "private_key",
    "secret",
    "signature",
    "signing_key",
    "token",
    "enrolment_code",
];
/// What begins so is a secret wherever it stands: bearer tokens of the API.
const PREFIXES: [&str; 1] = ["tmk_"];
/// What a label names is taken for a secret from so many characters on. Shorter words are
/// prose ("token: none"); every secret of ours has at least 20 characters.
const SHORTEST: usize = 12;
/// So many characters of base64 in a row are no id, digest or name: task tokens have some
/// hundred, of digests 64 are the most.
const LONGEST_WORD: usize = 160;

/// The line without its secrets: bearer tokens, task tokens, signatures, the credentials in
/// presigned URLs, and whatever else stands after a word such as `token` or `secret`.
///
/// A second wall: code that logs leaves secrets out in the first place. Errors of other
/// crates carry requests with all their headers, and those pass here too.
pub fn redact(line: &str) -> Cow<'_, str> {
    let mut hidden: Vec<(usize, usize)> = Vec::new();
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some(found) = prefixed(rest)
            .or_else(|| labelled(rest))
            .or_else(|| word(bytes, at))
        {
            hidden.push((at + found.0, at + found.1));
            at += found.1;
        } else {
            at += 1;
        }
    }
    if hidden.is_empty() {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut from = 0;
    for (start, end) in hidden {
        // Both ends lie beside ASCII, so they are boundaries of characters.
        out.push_str(line.get(from..start).unwrap_or_default());
        out.push_str(HIDDEN);
        from = end;
    }
    out.push_str(line.get(from..).unwrap_or_default());
    Cow::Owned(out)
}

/// A secret that begins here and says so itself.
fn prefixed(rest: &[u8]) -> Option<(usize, usize)> {
    let prefix = PREFIXES
        .iter()
        .find(|prefix| rest.starts_with(prefix.as_bytes()))?;
    let end = end_of(rest, prefix.len());
    (end - prefix.len() >= SHORTEST).then_some((0, end))
}

/// A secret after a label that begins here.
fn labelled(rest: &[u8]) -> Option<(usize, usize)> {
    let label = LABELS.iter().find(|label| {
        rest.get(..label.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(label.as_bytes()))
    })?;
    let mut at = label.len();
    let mut separated = false;
    // `token=…`, `"token": "…"`, `token: Some("…")`, `\"token\":\"…\"`, `bearer …`, `%3D`.
    loop {
        match rest.get(at)? {
            b':' | b'=' => separated = true,
            b' ' => separated |= *label == "bearer",
            b'"' | b'\'' | b'\\' | b'(' | b'[' => {}
            b'S' if rest[at..].starts_with(b"Some(") => at += 3,
            b'B' | b'b' if separated && starts_with_word(&rest[at..], b"bearer ") => at += 6,
            b'%' if rest[at..].starts_with(b"%3D") => {
                separated = true;
                at += 2;
            }
            _ => break,
        }
        at += 1;
    }
    let end = end_of(rest, at);
    (separated && end - at >= SHORTEST).then_some((at, end))
}

fn starts_with_word(rest: &[u8], word: &[u8]) -> bool {
    rest.get(..word.len())
        .is_some_and(|found| found.eq_ignore_ascii_case(word))
}

/// A word that begins here and is too long to be anything but a token.
fn word(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte);
    if at > 0 && is_word(&bytes[at - 1]) {
        return None;
    }
    let length = bytes[at..].iter().take_while(|byte| is_word(byte)).count();
    (length >= LONGEST_WORD).then_some((0, length))
}

/// Where the value that begins at `from` ends.
fn end_of(rest: &[u8], from: usize) -> usize {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'\\&,;)}]<>`".contains(byte);
    from + rest[from..]
        .iter()
        .position(ends)
        .unwrap_or(rest.len() - from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AQCEAAAAKgAAAAMAAAAAAAAAAXe8k9";

    #[test]
    fn no_secret_stands_in_a_line_however_it_came_there() {
        for line in [
            format!("{{\"taskToken\":\"{SECRET}\"}}"),
            format!("{{\"message\":\"payload {{\\\"taskToken\\\": \\\"{SECRET}\\\"}}\"}}"),
            format!("Input {{ token: Some(\"{SECRET}\"), run: 1 }}"),
            format!("task_token={SECRET}"),
            format!("Authorization: Bearer {SECRET}"),
            format!("\"authorization\": \"Bearer {SECRET}\""),
            format!(
                "authorization: AWS4-HMAC-SHA256 Credential={SECRET}/20260101, Signature={SECRET}"
            ),
            format!("https://b/k?X-Amz-Credential={SECRET}%2F2026&X-Amz-Signature={SECRET}"),
            format!("https://b/k?X-Amz-Security-Token={SECRET}&a=b"),
            format!("x-amz-security-token: {SECRET}"),
            format!("tmk_{SECRET}"),
            format!("aws_secret_access_key = x, secret: '{SECRET}'"),
            format!("Signature-Input: sig1=(), Signature: sig1=:{SECRET}:"),
            format!("odd {} end", SECRET.repeat(7)),
        ] {
            let shown = redact(&line);
            assert!(!shown.contains(SECRET), "{line} became {shown}");
            assert!(shown.contains(HIDDEN), "{line} became {shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let digest = "d17ba4fe60f7b49c8fb8f57f9fb54d127553d0b8d32eb503c8537f960fc77c21";
        for line in [
            "expected a task token, found none",
            "expected `Authorization: Bearer` and a token of this installation",
            "token: none",
            "tokens=5",
            "run 01930000-0000-7000-8000-000000000001 committed",
            digest,
            "s3://bucket/some/key?versionId=3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
            "größer als 5 € token: keines",
        ] {
            assert_eq!(redact(line), line);
        }
    }

    #[test]
    fn what_stands_around_a_secret_stays() {
        assert_eq!(
            redact("{\"run\":\"r\",\"taskToken\":\"AQCEAAAAKgAAAAMAAA==\",\"op\":\"dispatch\"}"),
            "{\"run\":\"r\",\"taskToken\":\"[redacted]\",\"op\":\"dispatch\"}"
        );
    }
}
