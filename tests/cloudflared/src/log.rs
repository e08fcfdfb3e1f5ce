//! The log: the console format, on stderr.

use std::io::{self, Write};
use std::iter;
use std::time::SystemTime;

use kit::rfc3339;

/// Writes a line without time and level, as Go's and the command line library's own messages are.
pub fn bare(text: &str) {
    raw(format!("{text}\n").as_bytes());
}

/// Writes bytes as they are.
pub fn raw(bytes: &[u8]) {
    // Its reader may have exited, as in tests that kill it.
    let _ = io::stderr().write_all(bytes);
}

/// Writes `TIME LEVEL message [error="…"] key=value …`; `level` has three letters.
pub fn write(level: &str, message: &str, fields: &[(&str, &str)]) {
    let mut sorted = fields.to_vec();
    sorted.sort_by_key(|(name, _)| (*name != "error", *name));
    let words = sorted.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
    let fields: Vec<String> = iter::once(message.to_owned()).chain(words).collect();
    bare(&format!("{} {level} {}", rfc3339::seconds(SystemTime::now()), fields.join(" ")));
}

/// Writes an informational line.
pub fn info(message: &str, fields: &[(&str, &str)]) {
    write("INF", message, fields);
}

/// Writes an error.
pub fn error(message: &str, fields: &[(&str, &str)]) {
    write("ERR", message, fields);
}

fn quoted(value: &str) -> String {
    let is_plain = !value.is_empty()
        && value.chars().all(|letter| letter.is_ascii_graphic() && !"\"\\".contains(letter));
    if is_plain { value.to_owned() } else { format!("{value:?}") }
}
