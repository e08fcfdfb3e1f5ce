//! Times as they stand before each line: UTC, to the millisecond, in a form that sorts (RFC 3339).

use std::time::{SystemTime, UNIX_EPOCH};

/// How long a written time is, in bytes.
pub const WIDTH: usize = 24;

/// Such as `2026-11-24T00:25:58.123Z`.
pub fn written(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    let (second, millisecond) = (second % 60, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// Year, month and day of a number of days since 1970.
///
/// Counted from March of the year 0, so that a leap day is the last day of its year: then 400 years have 146,097
/// days, and months follow a rhythm of 153 days for five.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, date)
}

/// Whether a text has the form of [`written`].
pub fn is_time(text: &[u8]) -> bool {
    const FORM: &[u8; WIDTH] = b"0000-00-00T00:00:00.000Z";
    text.len() == WIDTH
        && text.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == form,
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn known_moments_are_written_as_the_world_writes_them() {
        // From date(1): date -u -d @SECONDS.
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_005, "2024-03-01T00:00:00.005Z"),
            (1_798_761_599_010, "2026-12-31T23:59:59.010Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(written(UNIX_EPOCH + Duration::from_millis(milliseconds)), text);
            assert!(is_time(text.as_bytes()));
        }
        assert!(!is_time(b"2026-12-31 23:59:59.010Z") && !is_time(b""));
    }
}
