//! Times at the beginning of lines, as programs write them.

use std::time::{Duration, UNIX_EPOCH};

/// Number of bytes before a time: a bracket, a quote, the name of a field.
const PREFIX: usize = 48;

/// Returns the time at the beginning of a line, in seconds since 1970.
///
/// Reads RFC 3339 and what differs from it in separators (`2026-11-24 00:25:58,123`, `2026/11/24 00:25:58`), also in brackets
/// and as a field of JSON (`"ts":1795479958.1`). Without a zone, it is UTC, as the clocks of containers are.
#[must_use]
pub fn of_line(line: &[u8]) -> Option<f64> {
    let text = without_colours(line);
    match text.first()? {
        b'0'..=b'9' => date_and_time(text),
        b'[' | b'(' | b'"' | b'<' => date_and_time(text.get(1..)?),
        b'{' => json(text),
        _ => None,
    }
}

/// Skips sequences that only set colours.
fn without_colours(mut text: &[u8]) -> &[u8] {
    while let [0x1b, b'[', rest @ ..] = text {
        let Some(end) = rest.iter().take(PREFIX).position(|byte| !byte.is_ascii_digit() && *byte != b';')
        else {
            break;
        };
        text = &rest[end + 1..];
    }
    text
}

/// Returns the time in the first of the usual fields near the beginning.
fn json(text: &[u8]) -> Option<f64> {
    const FIELDS: [&[u8]; 4] = [b"\"ts\":", b"\"time\":", b"\"timestamp\":", b"\"@timestamp\":"];
    let begin = &text[..text.len().min(2 * PREFIX)];
    let at =
        FIELDS.iter().filter_map(|field| Some(memchr::memmem::find(begin, field)? + field.len())).min()?;
    let value = text[at..].trim_ascii_start();
    if let Some(quoted) = value.strip_prefix(b"\"") {
        return date_and_time(quoted);
    }
    let length = value.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let seconds: f64 = std::str::from_utf8(&value[..length]).ok()?.parse().ok()?;
    // Milliseconds, as some libraries write them.
    let seconds = if seconds > 1e11 { seconds / 1e3 } else { seconds };
    (seconds > 0.0).then_some(seconds)
}

/// Parses `2026-11-24T00:25:58.123+01:00`, with other separators and without fraction or zone too.
fn date_and_time(text: &[u8]) -> Option<f64> {
    let fixed: &[u8; 19] = text.first_chunk()?;
    let [_, _, _, _, date1, _, _, date2, _, _, gap, _, _, b':', _, _, b':', _, _] = *fixed else {
        return None;
    };
    if date1 != date2 || !matches!(date1, b'-' | b'/' | b'.') || !matches!(gap, b'T' | b't' | b' ' | b'_') {
        return None;
    }
    let number = |from: usize, length: usize| {
        fixed[from..from + length].iter().try_fold(0_u32, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    let whole = days * 86_400 + i64::from(hour * 3_600 + minute * 60 + second);
    let (fraction, rest) = fraction(&text[19..]);
    #[expect(clippy::cast_precision_loss, reason = "years up to 9999 are exact")]
    let time = (whole - zone(rest)) as f64 + fraction;
    (time >= 0.0).then_some(time)
}

/// Returns a fraction of a second, and the rest.
fn fraction(text: &[u8]) -> (f64, &[u8]) {
    let Some((b'.' | b',', digits)) = text.split_first() else { return (0.0, text) };
    let length = digits.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    let value =
        digits[..length].iter().rev().fold(0.0, |value, digit| (value + f64::from(digit - b'0')) / 10.0);
    (value, &digits[length..])
}

/// Returns the distance from UTC in seconds.
fn zone(text: &[u8]) -> i64 {
    let two = |bytes: &[u8]| match bytes {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', ..] => {
            Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
        }
        _ => None,
    };
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let Some((sign @ (b'+' | b'-'), digits)) = text.split_first() else { return 0 };
    let Some(hours) = two(digits) else { return 0 };
    let minutes = digits.get(2..).and_then(|rest| two(rest.strip_prefix(b":").unwrap_or(rest))).unwrap_or(0);
    let seconds = hours * 3_600 + minutes * 60;
    if *sign == b'-' { -seconds } else { seconds }
}

/// Days of the Gregorian calendar.
fn days_since_1970(year: u32, month: u32, day: u32) -> Option<i64> {
    const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let longest = LENGTHS.get(month.checked_sub(1)? as usize)?;
    if year < 1970 || day == 0 || day > *longest {
        return None;
    }
    // Counted from March, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some(i64::from(days) - 719_468)
}

/// Returns a time in seconds since 1970.
#[must_use]
pub fn seconds(time: std::time::SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_of_times_are_read_and_everything_else_is_not() {
        // From date(1): date -u -d 2026-11-24T00:25:58 +%s.
        const TIME: f64 = 1_795_479_958.0;
        for (line, time) in [
            ("2026-11-24T00:25:58.123Z caddy | x", Some(TIME + 0.123)),
            ("2026-11-24 00:25:58,5 INFO x", Some(TIME + 0.5)),
            ("2026/11/24 00:25:58 [error] x", Some(TIME)),
            ("2026-11-24T01:25:58.25+01:00 x", Some(TIME + 0.25)),
            ("2026-11-23 18:55:58 -0530 x", Some(TIME)),
            ("[2026-11-24 00:25:58] x", Some(TIME)),
            ("\x1b[2;37m\x1b[1m2026-11-24T00:25:58Z\x1b[0m x", Some(TIME)),
            (r#"{"level":"info","ts":1795479958.5,"msg":"x"}"#, Some(TIME + 0.5)),
            (r#"{"time": "2026-11-24T00:25:58Z"}"#, Some(TIME)),
            (r#"{"timestamp":1795479958250}"#, Some(TIME + 0.25)),
            ("1970-01-01T00:00:00Z", Some(0.0)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800.0)),
            ("2026-13-24T00:25:58Z", None),
            ("2026-11-32T00:25:58Z", None),
            ("2026-11-24T24:25:58Z", None),
            ("2026-11/24 00:25:58", None),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-24", None),
            ("x 2026-11-24T00:25:58Z", None),
            ("{}", None),
            ("", None),
            ("\x1b[", None),
        ] {
            let found = of_line(line.as_bytes());
            let near = |(one, other): (f64, f64)| (one - other).abs() < 1e-6;
            assert!(
                found.is_none() && time.is_none() || found.zip(time).is_some_and(near),
                "{line}: {found:?}"
            );
        }
    }
}
