//! Output as text: the last state that a terminal would show, without anything that a terminal would obey.

use std::borrow::Cow;

use crate::{ESCAPE, Sequence};
use memchr::memchr;

/// Returns lines as text, each with its line break; see [`line()`].
#[must_use]
pub fn lines(block: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(block) {
        return Cow::Borrowed(block);
    }
    let mut text = Vec::with_capacity(block.len());
    for whole in block.split_inclusive(|&byte| byte == b'\n') {
        let (shown, end) = whole.strip_suffix(b"\n").map_or((whole, &b""[..]), |shown| (shown, b"\n"));
        text.extend_from_slice(&line(shown));
        text.extend_from_slice(end);
    }
    Cow::Owned(text)
}

/// Returns a line as text: escape sequences are removed, other control characters are written as `\x07`. Text is unchanged.
#[must_use]
pub fn line(line: &[u8]) -> Cow<'_, [u8]> {
    let line = crate::last_state(line);
    if is_plain(line) {
        return Cow::Borrowed(line);
    }
    let mut text = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match byte {
            ESCAPE => crate::after_sequence(rest),
            b'\t' | 0x20.. => {
                text.push(byte);
                behind
            }
            control => {
                text.extend(control.escape_ascii());
                behind
            }
        };
    }
    Cow::Owned(text)
}

/// Returns the length of the prefix of a line that can already be converted: an escape sequence may continue in the next
/// bytes, and text after a carriage return replaces the text before it.
#[must_use]
pub fn complete_prefix(line: &[u8]) -> usize {
    let mut end = 0;
    while let Some(found) = memchr(ESCAPE, &line[end..]) {
        let start = end + found;
        match crate::sequence(&line[start..]) {
            Sequence::Complete(length) | Sequence::Malformed(length) => end = start + length,
            Sequence::Unfinished => return crate::without_returns(&line[..start]).len(),
        }
    }
    crate::without_returns(line).len()
}

/// True if a block has no control characters except line breaks and tabs.
fn is_plain(block: &[u8]) -> bool {
    // In bytes and without an early exit, so that the compiler looks at many of them at once.
    let control = |byte: u8| u8::from(byte < 0x20) & u8::from(byte != b'\n') & u8::from(byte != b'\t');
    block.chunks(4_096).all(|chunk| chunk.iter().fold(0, |found, &byte| found | control(byte)) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_up_to_a_sequence_that_may_go_on() {
        for (text, expected) in [
            ("", 0),
            ("abc", 3),
            ("a\x1b[1mb", 6),
            ("a\x1b", 1),
            ("a\x1b[1;", 1),
            ("a\x1b[1mb\x1b]0;title", 6),
            ("a\x1b]0;title\x1b", 1),
            ("a\x1b]0;title\x1b\\b", 13),
            ("10%\r", 3),
            ("10%\r\x1b[", 3),
        ] {
            assert_eq!(complete_prefix(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn text_stays_as_it_is_and_the_ends_of_lines_stay_too() {
        let shown = lines(b"\x1b[31mred\x1b[0m\r\n1%\r2%\n\n\x07\tend");
        assert_eq!(shown.escape_ascii().to_string(), "red\\n2%\\n\\n\\\\x07\\tend");
        assert_eq!(lines(&shown), shown);
        let charsets = line(b"\x1b(Bone\x1b$B two\x1b[never");
        assert_eq!(charsets.escape_ascii().to_string(), "one twoever");
    }
}
