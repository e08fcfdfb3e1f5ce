//! The last lines of one file, as a page shows them beside a failure.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::safe_text;

/// Maximum number of lines.
const MAX_LINES: usize = 20;
/// Number of bytes that are read; progress bars make long lines.
const MAX_BYTES: u64 = 16 * 1024;
/// Maximum length of a line, in characters.
const MAX_LENGTH: usize = 400;

/// Returns the last lines before an offset that are not blank, as safe text.
pub fn last_lines(mut file: &File, end: u64) -> io::Result<Vec<String>> {
    let start = end.saturating_sub(MAX_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(end - start).read_to_end(&mut bytes)?;
    let mut text = &bytes[..];
    if start > 0
        && let Some(newline) = memchr::memchr(b'\n', text)
    {
        text = &text[newline + 1..];
    }
    let lines = text.rsplit(|byte| *byte == b'\n').map(safe_text::sanitize);
    let lines = lines.filter(|line| !line.trim().is_empty()).take(MAX_LINES);
    let mut lines: Vec<String> = lines.map(|line| line.chars().take(MAX_LENGTH).collect()).collect();
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_lines_that_are_not_blank_are_safe_text() {
        let twenty_one = "first\n\n".to_owned() + &"line\n\n".repeat(20);
        let long = "x".repeat(100_000);
        for (text, end, first, last, count) in [
            ("", 0, None, None, 0),
            ("\n \n\t\r\n", 6, None, None, 0),
            ("one\ntwo\nof the next start\n", 8, Some("one"), Some("two"), 2),
            (&twenty_one, twenty_one.len(), Some("line"), Some("line"), 20),
            (
                "10%\r50%\r100%\r\n\u{1b}[1;31mred\u{1b}[0m\0\u{202e}\n",
                99,
                Some("100%"),
                Some("red␀\\u{202e}"),
                2,
            ),
            (&format!("{long}\n<b>\n"), 100_005, Some("<b>"), Some("<b>"), 1),
            (&long, 100_000, Some(&long[..MAX_LENGTH]), Some(&long[..MAX_LENGTH]), 1),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let lines = last_lines(&file, end as u64).unwrap();
            let shown = (lines.first().map(String::as_str), lines.last().map(String::as_str), lines.len());
            assert_eq!(shown, (first, last, count), "{text:.40}");
        }
    }
}
