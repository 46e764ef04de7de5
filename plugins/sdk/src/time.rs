//! Instants for humans.

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// An instant in milliseconds since 1970-01-01T00:00:00Z as RFC 3339 writes it, in UTC,
/// with as many decimals as it needs: the way the host writes it too.
///
/// ```
/// use tapemark_resolver::rfc3339;
///
/// assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
/// assert_eq!(rfc3339(1_795_374_093_250), "2026-11-22T19:01:33.25Z");
/// ```
pub fn rfc3339(millis: u64) -> String {
    let (year, month, day) = date(millis / DAY_MS);
    let (seconds, fraction) = (millis % DAY_MS / 1000, millis % 1000);
    let decimals = match fraction {
        0 => String::new(),
        _ => format!(".{fraction:03}").trim_end_matches('0').to_owned(),
    };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{decimals}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Year, month, day of a day since 1970-01-01. After Howard Hinnant, `civil_from_days`:
/// eras of 400 years have 146,097 days, and a year that begins in March ends with its
/// leap day.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_days_and_ends_of_years_are_where_the_calendar_has_them() {
        for (millis, text) in [
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_500, "2100-03-01T00:00:00.5Z"),
            (1_798_761_599_100, "2026-12-31T23:59:59.1Z"),
            (253_402_300_799_000, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(millis), text);
        }
        assert!(rfc3339((1 << 53) - 1).starts_with("287396-"));
    }
}
