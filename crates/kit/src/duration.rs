//! Durations as people write and read them.

use std::time::Duration;

/// Parses `90s`, `15m`, `2h` or `7d`; a number needs a unit.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// Parses a command's argument; an error names the form.
pub fn argument(text: &str) -> Result<Duration, String> {
    parse(text).ok_or_else(|| "write it as 90s, 15m, 2h or 7d".to_owned())
}

/// Formats seconds with their two largest units.
#[must_use]
pub fn words(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Formats seconds with the digits that matter: `38 ms`, `1.2 s`, `2 min 5 s`, `3 h 10 min`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let whole = duration.as_secs();
    match duration.as_millis() {
        0 => "0 s".to_owned(),
        millis @ 1..1_000 => format!("{millis} ms"),
        1_000..60_000 if duration.subsec_millis() >= 100 => {
            format!("{whole}.{} s", duration.subsec_millis() / 100)
        }
        60_000..3_600_000 if !whole.is_multiple_of(60) => format!("{} min {} s", whole / 60, whole % 60),
        _ => words(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_formatted() {
        for (written, seconds, formatted) in
            [("59s", 59, "59 s"), ("15m", 900, "15 min"), ("2h", 7_200, "2 h"), ("7d", 604_800, "7 d")]
        {
            assert_eq!(parse(written), Some(Duration::from_secs(seconds)), "{written}");
            assert_eq!(words(seconds), formatted);
        }
        assert_eq!((words(7_260).as_str(), words(90_000).as_str()), ("2 h 1 min", "1 d 1 h"));
        for (exact, formatted) in [
            (0.0, "0 s"),
            (-1.0, "0 s"),
            (f64::NAN, "0 s"),
            (0.038, "38 ms"),
            (1.0, "1 s"),
            (1.26, "1.2 s"),
            (59.99, "59.9 s"),
            (60.0, "1 min"),
            (125.4, "2 min 5 s"),
            (11_400.0, "3 h 10 min"),
        ] {
            assert_eq!(super::seconds(exact), formatted, "{exact}");
        }
        for wrong in ["", "h", "2", "-2h", "+2h", "2 h", "2w", "2ä", "99999999999999999999d"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
