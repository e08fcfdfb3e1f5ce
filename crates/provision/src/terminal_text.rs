//! Output as text: what a terminal would show of it in the end, and nothing that a terminal would obey.

use std::borrow::Cow;

use memchr::{memchr, memrchr};

const ESCAPE: u8 = 0x1b;

/// Lines as text, each with its end; see [`line`].
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

/// A line as text: escape sequences are left out, other control characters are written as `\x07`. Text stays as it is.
pub fn line(line: &[u8]) -> Cow<'_, [u8]> {
    let line = last_state(line);
    if is_plain(line) {
        return Cow::Borrowed(line);
    }
    let mut text = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            ESCAPE => rest = behind_sequence(behind).unwrap_or_default(),
            b'\t' | 0x20.. => text.push(byte),
            control => text.extend(control.escape_ascii()),
        }
    }
    Cow::Owned(text)
}

/// How much of the beginning of a line can be made text: an escape sequence may go on with what comes next, and what
/// follows a carriage return takes the place of what was before it.
pub fn complete_prefix(line: &[u8]) -> usize {
    let mut end = 0;
    while let Some(found) = memchr(ESCAPE, &line[end..]) {
        match behind_sequence(&line[end + found + 1..]) {
            Some(rest) => end = line.len() - rest.len(),
            None => return before_returns(&line[..end + found]),
        }
    }
    before_returns(line)
}

/// The length without carriage returns at the end.
fn before_returns(line: &[u8]) -> usize {
    line.len() - line.iter().rev().take_while(|&&byte| byte == b'\r').count()
}

/// Whether a block has no control characters but ends of lines and tabs.
fn is_plain(block: &[u8]) -> bool {
    // In bytes and without an early exit, so that the compiler looks at many of them at once.
    let control = |byte: u8| u8::from(byte < 0x20) & u8::from(byte != b'\n') & u8::from(byte != b'\t');
    block.chunks(4_096).all(|chunk| chunk.iter().fold(0, |found, &byte| found | control(byte)) == 0)
}

/// What a terminal would show of a line in the end: behind the last carriage return that something follows.
fn last_state(line: &[u8]) -> &[u8] {
    let line = &line[..before_returns(line)];
    let start = memrchr(b'\r', line).map_or(0, |index| index + 1);
    &line[start..]
}

/// What follows an escape sequence (ECMA-48, and the operating system commands of xterm); nothing if it has not ended.
fn behind_sequence(text: &[u8]) -> Option<&[u8]> {
    let (&kind, rest) = text.split_first()?;
    match kind {
        b'[' => {
            let parameters = rest.iter().take_while(|byte| matches!(byte, 0x20..=0x3f)).count();
            rest.get(parameters + 1..)
        }
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let end = rest.iter().position(|&byte| byte == 0x07 || byte == ESCAPE)?;
            if rest[end] == ESCAPE { rest.get(end + 2..) } else { rest.get(end + 1..) }
        }
        b'(' | b')' | b'#' | b'%' => rest.get(1..),
        _ => Some(rest),
    }
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
    }
}
