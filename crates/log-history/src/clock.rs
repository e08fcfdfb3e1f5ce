//! Form of the times before each line: UTC, to the millisecond, as [`kit::rfc3339::millis`] writes them.

/// Length of a time in bytes.
pub const WIDTH: usize = 24;

/// True if a text has this form.
#[must_use]
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
    use std::time::SystemTime;

    use kit::rfc3339;

    use super::*;

    #[test]
    fn a_written_time_has_this_form() {
        assert!(is_time(rfc3339::millis(SystemTime::UNIX_EPOCH).as_bytes()));
        assert!(is_time(rfc3339::millis(SystemTime::now()).as_bytes()));
        assert!(!is_time(b"2026-12-31 23:59:59.010Z") && !is_time(b""));
    }
}
