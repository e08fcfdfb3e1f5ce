//! Moments as logs and records write them: UTC, in a form that sorts (RFC 3339).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::{format_rfc3339_millis, format_rfc3339_seconds};

/// Returns a moment as `2026-11-24T00:25:58Z`.
#[must_use]
pub fn seconds(time: SystemTime) -> String {
    format_rfc3339_seconds(clamped(time)).to_string()
}

/// Returns a moment as `2026-11-24T00:25:58.123Z`.
#[must_use]
pub fn millis(time: SystemTime) -> String {
    format_rfc3339_millis(clamped(time)).to_string()
}

/// Keeps a moment within the years 1970 to 9999: `humantime` panics for another.
fn clamped(time: SystemTime) -> SystemTime {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    UNIX_EPOCH + time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_the_world_writes_them() {
        // From date(1): date -u -d @SECONDS.
        for (second, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX / 4, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(seconds(UNIX_EPOCH + Duration::from_secs(second)), text);
        }
        assert_eq!(
            seconds(UNIX_EPOCH - Duration::from_secs(1)),
            "1970-01-01T00:00:00Z",
            "a clock that is not set"
        );
        for (millisecond, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_005, "2024-03-01T00:00:00.005Z"),
            (1_798_761_599_010, "2026-12-31T23:59:59.010Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(millis(UNIX_EPOCH + Duration::from_millis(millisecond)), text);
        }
    }
}
