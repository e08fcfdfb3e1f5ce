//! Text that cannot do anything to a terminal.
//!
//! Only the last state of a line that was drawn several times counts. Terminal control sequences are removed; a control
//! character that remains is shown as its picture (`␀`, `␛`), a byte that is not UTF-8 as `\xff`, and a character that would
//! change the direction or the appearance of others as `\u{202e}`.

use std::io::Write;

use terminal::{ESCAPE, Sequence};

/// Appends the last state of a line, without harmful characters.
pub fn append_sanitized(out: &mut Vec<u8>, line: &[u8]) {
    if line.iter().fold(true, |plain, byte| plain & (0x20..0x7f).contains(byte)) {
        out.extend_from_slice(line);
        return;
    }
    let mut rest = terminal::last_state(line);
    while !rest.is_empty() {
        if rest[0] == ESCAPE
            && let Sequence::Complete(length) = terminal::sequence(rest)
        {
            rest = &rest[length..];
            continue;
        }
        // Up to the next sequence: at least one byte, which is a lone escape character then.
        let end = memchr::memchr(ESCAPE, &rest[1..]).map_or(rest.len(), |index| index + 1);
        visible(out, &rest[..end]);
        rest = &rest[end..];
    }
}

/// Returns the last state of a text, without harmful characters.
#[must_use]
pub fn sanitize(bytes: &[u8]) -> String {
    let mut safe = Vec::new();
    append_sanitized(&mut safe, bytes);
    String::from_utf8_lossy(&safe).into_owned()
}

/// True if a line was drawn over by a later state of it.
#[must_use]
pub fn overwrites_line(line: &[u8]) -> bool {
    terminal::last_state(line).len() < terminal::without_returns(line).len()
}

fn visible(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut buffer = [0; 4];
            match character {
                '\t' | ' '..='~' => out.push(character as u8),
                '\0'..='\x1f' => push(out, char::from_u32(0x2400 + character as u32), &mut buffer),
                '\x7f' => push(out, Some('␡'), &mut buffer),
                _ if terminal::misleads(character) => {
                    // Writing to memory cannot fail.
                    let _ = write!(out, "\\u{{{:x}}}", character as u32);
                }
                _ => push(out, Some(character), &mut buffer),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

fn push(out: &mut Vec<u8>, character: Option<char>, buffer: &mut [u8; 4]) {
    if let Some(character) = character {
        out.extend_from_slice(character.encode_utf8(buffer).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &[u8]) -> String {
        let mut out = Vec::new();
        append_sanitized(&mut out, line);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_stays_as_it_is() {
        for text in ["", "plain text", "tab\there", "größer → 日本", "100 %"] {
            assert_eq!(shown(text.as_bytes()), text);
        }
    }

    #[test]
    fn of_a_bar_the_last_state_counts() {
        assert_eq!(shown(b"\r 10 %\r 50 %\r100 %"), "100 %");
        assert_eq!(shown(b" 10 %\r100 %\r"), "100 %");
        assert_eq!(shown(b"from windows\r"), "from windows");
        assert!(overwrites_line(b"1\r2") && overwrites_line(b"\r2") && !overwrites_line(b"1\r"));
    }

    #[test]
    fn sequences_are_taken_out_and_their_text_stays() {
        for (line, text) in [
            (&b"\x1b[1;31mred\x1b[0m"[..], "red"),
            (b"a\x1b[2J\x1b[Hb\x1b[?1049hc", "abc"),
            (b"a\x1b]0;title\x07b\x1b]52;c;aGk=\x1b\\c", "abc"),
            (b"a\x1bP+q\x1b\\b\x1b(Bc\x1bcd", "abcd"),
            (b"\x1b[8mhidden", "hidden"),
        ] {
            assert_eq!(shown(line), text);
        }
    }

    #[test]
    fn what_is_left_is_shown_and_swallows_nothing() {
        for (line, text) in [
            (&b"a\0b\x07c\x7f"[..], "a␀b␇c␡"),
            (b"a\x1b]0;no end", "a␛]0;no end"),
            (b"a\x1b[31", "a␛[31"),
            (b"a\x1b", "a␛"),
            (b"a\x1b\x1b[2Jb", "a␛b"),
            (b"\xff\xfe and \xc3", "\\xff\\xfe and \\xc3"),
            ("a\u{9b}31m\u{202e}gpj.exe\u{2028}".as_bytes(), "a\\u{9b}31m\\u{202e}gpj.exe\\u{2028}"),
            ("1\u{61c}2".as_bytes(), "1\\u{61c}2"),
        ] {
            assert_eq!(shown(line), text);
        }
    }
}
