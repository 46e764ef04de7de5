//! Timestamps as the language writes them, and clock arithmetic that cannot overflow.

use jiff::{SignedDuration, Timestamp};

use crate::limits::MAX_WAIT_SECONDS;

/// An RFC 3339 timestamp with an upper-case `T`, seconds, an optional fraction of at most nine
/// digits and `Z` or a numeric offset: the profile that Choice comparisons and Wait accept.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[10] != b'T' {
        return None;
    }
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    if !(digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && digits(11..13)
        && digits(14..16)
        && digits(17..19))
    {
        return None;
    }
    if bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let mut at = 19;
    if bytes[at] == b'.' {
        let fraction = bytes[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if fraction == 0 || fraction > 9 {
            return None;
        }
        at += 1 + fraction;
    }
    match bytes.get(at..) {
        Some(b"Z") => {}
        Some([b'+' | b'-', h1, h2, b':', m1, m2])
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) => {}
        _ => return None,
    }
    // A leap second is a valid time of RFC 3339, but not one that AWS accepts.
    if &bytes[17..19] == b"60" {
        return None;
    }
    text.parse().ok()
}

/// Milliseconds and `Z`, as the context object and histories show times.
pub(crate) fn text(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// `at` plus a number of seconds, held at the end of time.
pub(crate) fn after(at: Timestamp, seconds: u64) -> Timestamp {
    after_f64(at, seconds as f64)
}

/// `at` plus a fraction of seconds (0 when negative or not a number), held at the end of time.
pub(crate) fn after_f64(at: Timestamp, seconds: f64) -> Timestamp {
    let seconds = if seconds.is_finite() {
        seconds.clamp(0.0, MAX_WAIT_SECONDS as f64)
    } else {
        MAX_WAIT_SECONDS as f64
    };
    let millis = (seconds * 1000.0).round() as i64;
    at.checked_add(SignedDuration::from_millis(millis))
        .unwrap_or(Timestamp::MAX)
}
