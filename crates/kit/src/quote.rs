//! Quoting of names and messages for output, without terminal control characters.

use std::fmt::Write;
use std::path::Path;

/// Returns a path in double quotes, with escapes for unprintable characters (`\n`, `\u{1b}`) and bytes that are not
/// UTF-8 (`\xff`).
#[must_use]
pub fn quoted(path: &Path) -> String {
    let mut text = String::from('"');
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

/// Escapes control characters, so that a terminal displays the text and does not execute it: file names and output of
/// other programs can contain anything.
///
/// Line breaks and tabs stay, because messages of other programs have them.
#[must_use]
pub fn escape_control(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Like [`escape_control`], with line breaks and tabs escaped too.
#[must_use]
pub fn escape_control_line(message: &str) -> String {
    escape_control(message).replace('\n', "\\n").replace('\t', "\\t")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_name_cannot_add_lines_or_colours_to_a_message() {
        assert_eq!(
            escape_control_line("cannot read a\nb\tc\u{1b}[31m ä"),
            "cannot read a\\nb\\tc\\u{1b}[31m ä"
        );
    }

    #[test]
    fn a_terminal_gets_nothing_but_text() {
        assert_eq!(escape_control("a\u{1b}[2J\u{9b}m\r b\n\tc ä"), "a\\u{1b}[2J\\u{9b}m\\r b\n\tc ä");
    }

    #[test]
    fn every_name_is_one_line_that_a_terminal_only_shows() {
        let shown = |bytes: &[u8]| quoted(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(shown("/it's ä".as_bytes()), "\"/it's ä\"");
        assert_eq!(shown(b"/a\nb\x1b[0m\"\\"), r#""/a\nb\u{1b}[0m\"\\""#);
        assert_eq!(shown(b"/\xff\xfe"), r#""/\xff\xfe""#);
    }
}
