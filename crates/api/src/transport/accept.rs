//! Media types: which one the answer has, and which one a question may have.

use axum::http::{HeaderMap, header};

/// The media types of an answer (GraphQL over HTTP, "Media types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`: the status says whether the request was executed.
    GraphqlResponse,
    /// `application/json`: a well-formed request is answered with 200, come what may.
    Json,
}

impl MediaType {
    /// The value of `Content-Type`.
    pub(super) const fn as_header(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }
}

/// The media type that the asker likes best, none where it takes neither. Without an
/// `Accept`, and where both are liked the same, it is `application/json` unless the other
/// one is named.
pub(super) fn negotiate(headers: &HeaderMap) -> Option<MediaType> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        let parts = value.to_str().unwrap_or_default().split(',');
        ranges.extend(parts.filter_map(range));
    }
    if !headers.contains_key(header::ACCEPT) {
        return Some(MediaType::Json);
    }
    // A media range that names more decides over one that names less (RFC 9110 §12.5.1).
    let quality = |name: &str| {
        ["*/*", "application/*", name]
            .iter()
            .rev()
            .find_map(|wanted| {
                let mut places = ranges.iter().enumerate();
                let (place, (_, quality)) = places.find(|(_, (found, _))| found == wanted)?;
                Some((*quality, place, *wanted == name))
            })
            .filter(|(quality, _, _)| *quality > 0)
    };
    let modern = quality("application/graphql-response+json");
    let json = quality("application/json");
    match (modern, json) {
        (None, None) => None,
        (Some(_), None) => Some(MediaType::GraphqlResponse),
        (None, Some(_)) => Some(MediaType::Json),
        (Some((q1, place1, named1)), Some((q2, place2, named2))) => {
            let modern_first = match q1.cmp(&q2) {
                std::cmp::Ordering::Equal if named1 && named2 => place1 < place2,
                std::cmp::Ordering::Equal => named1,
                order => order.is_gt(),
            };
            Some(if modern_first {
                MediaType::GraphqlResponse
            } else {
                MediaType::Json
            })
        }
    }
}

/// One media range: its name in lower case and its quality in thousandths.
fn range(text: &str) -> Option<(String, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    let mut quality = 1000;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if key.trim().eq_ignore_ascii_case("q") {
            let number: f32 = value.trim().parse().unwrap_or(0.0);
            quality = (number.clamp(0.0, 1.0) * 1000.0) as u32;
        } else if key.trim().eq_ignore_ascii_case("charset") && !is_utf8(value) {
            return None;
        }
    }
    Some((name, quality))
}

fn is_utf8(charset: &str) -> bool {
    let charset = charset.trim().trim_matches('"');
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

/// Refuses a question whose body is not said to be JSON in UTF-8. A form of a foreign page
/// cannot say so, which is why nothing else is taken.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), String> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err("Content-Type: expected application/json, found no such header".to_owned());
    };
    let text = value.to_str().unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let shown: String = text.chars().take(80).collect();
    if !name.eq_ignore_ascii_case("application/json") {
        return Err(format!(
            "Content-Type: expected application/json, found {shown:?}"
        ));
    }
    for part in parts {
        if let Some((key, value)) = part.split_once('=')
            && key.trim().eq_ignore_ascii_case("charset")
            && !is_utf8(value)
        {
            return Err(format!(
                "Content-Type: expected charset=utf-8, found {shown:?}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Option<MediaType> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        negotiate(&headers)
    }

    #[test]
    fn the_best_liked_type_is_chosen() {
        use MediaType::{GraphqlResponse as G, Json as J};
        assert_eq!(negotiate(&HeaderMap::new()), Some(J));
        for (accept, expected) in [
            ("*/*", Some(J)),
            ("application/*", Some(J)),
            ("application/json", Some(J)),
            ("application/json; charset=utf-8", Some(J)),
            ("APPLICATION/JSON", Some(J)),
            ("application/graphql-response+json", Some(G)),
            (
                "application/graphql-response+json, application/json;q=0.9",
                Some(G),
            ),
            (
                "application/json;q=0.9, application/graphql-response+json",
                Some(G),
            ),
            (
                "application/json, application/graphql-response+json",
                Some(J),
            ),
            (
                "application/graphql-response+json, application/json",
                Some(G),
            ),
            (
                "application/graphql-response+json;q=0.5, */*;q=0.9",
                Some(J),
            ),
            ("application/graphql-response+json, */*", Some(G)),
            ("application/json;q=0, */*", Some(G)),
            ("text/html", None),
            ("text/html, */*;q=0.1", Some(J)),
            ("application/json;q=0", None),
            ("application/json; charset=latin1", None),
            ("", None),
        ] {
            assert_eq!(chosen(accept), expected, "{accept}");
        }
    }

    #[test]
    fn only_json_in_utf_8_is_taken() {
        for (value, fine) in [
            ("application/json", true),
            ("application/json;charset=UTF-8", true),
            ("application/json; charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/x-www-form-urlencoded", false),
            ("text/plain", false),
            ("application/jsonp", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(check_content_type(&headers).is_ok(), fine, "{value}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }
}
