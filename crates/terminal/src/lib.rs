//! Recognises control sequences of terminals in the output of other programs.
//!
//! Each tool decides how to display them: logtail shows control characters as pictures, provision as `\x07`. [`screen`] renders
//! output as a terminal does, with its colours and progress bars.

pub mod plain_text;
pub mod screen;

/// First byte of every control sequence.
pub const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// Result of parsing a control sequence; lengths are in bytes and include the escape character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// A complete sequence.
    Complete(usize),
    /// Begins like a sequence, up to and including the byte that cannot be part of one.
    Malformed(usize),
    /// The text ends before the sequence does.
    Unfinished,
}

/// Parses the control sequence at the beginning of a text, which is an escape character (ECMA-48, and the commands of xterm).
#[must_use]
pub fn sequence(text: &[u8]) -> Sequence {
    let Some(&kind) = text.get(1) else { return Sequence::Unfinished };
    match kind {
        // Parameters and intermediates, then one final byte.
        b'[' => with_final_byte(text, 0x20..0x40, 0x40..0x7f),
        // Strings: they end with the string terminator, the title of a window with a bell too.
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let Some(length) = text[2..].iter().position(|&byte| byte == BELL || byte == ESCAPE) else {
                return Sequence::Unfinished;
            };
            let end = 2 + length;
            match (text[end], text.get(end + 1)) {
                (BELL, _) => Sequence::Complete(end + 1),
                (_, Some(b'\\')) => Sequence::Complete(end + 2),
                (_, Some(_)) => Sequence::Malformed(end + 2),
                (_, None) => Sequence::Unfinished,
            }
        }
        // Intermediates, then one final byte, such as the choice of a character set.
        0x20..0x30 => with_final_byte(text, 0x20..0x30, 0x30..0x7f),
        0x30..0x7f => Sequence::Complete(2),
        _ => Sequence::Malformed(2),
    }
}

fn with_final_byte(text: &[u8], before: std::ops::Range<u8>, last: std::ops::Range<u8>) -> Sequence {
    match text[2..].iter().position(|byte| !before.contains(byte)) {
        Some(index) if last.contains(&text[2 + index]) => Sequence::Complete(index + 3),
        Some(index) => Sequence::Malformed(index + 3),
        None => Sequence::Unfinished,
    }
}

/// Returns the text after the sequence at its beginning; empty if the sequence is unfinished.
#[must_use]
pub fn after_sequence(text: &[u8]) -> &[u8] {
    match sequence(text) {
        Sequence::Complete(length) | Sequence::Malformed(length) => &text[length..],
        Sequence::Unfinished => &[],
    }
}

/// Returns the final state of a line on a terminal: the part after the last carriage return that is not at its end.
#[must_use]
pub fn last_state(line: &[u8]) -> &[u8] {
    let line = without_returns(line);
    memchr::memrchr(b'\r', line).map_or(line, |index| &line[index + 1..])
}

/// Returns a line without the carriage returns at its end.
#[must_use]
pub fn without_returns(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|&byte| byte != b'\r').map_or(0, |index| index + 1);
    &line[..end]
}

/// True if the character embeds, overrides or isolates the direction of the characters after it (UAX #9).
#[must_use]
pub fn changes_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// True for C1 controls, line and paragraph separators, and characters that change the direction of others.
#[must_use]
pub fn misleads(character: char) -> bool {
    changes_direction(character)
        || matches!(
            character,
            '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}'
        )
}

#[cfg(test)]
mod tests {
    use super::Sequence::{Complete, Malformed, Unfinished};
    use super::*;

    #[test]
    fn sequences_end_where_a_terminal_ends_them() {
        for (text, expected) in [
            ("\x1b[1;31mred", Complete(7)),
            ("\x1b[?1049hx", Complete(8)),
            ("\x1b[0 qx", Complete(5)),
            ("\x1b]0;title\x07x", Complete(10)),
            ("\x1b]8;;http://x\x1b\\x", Complete(15)),
            ("\x1bP+q\x1b\\x", Complete(6)),
            ("\x1b(Bx", Complete(3)),
            ("\x1b$(Bx", Complete(4)),
            ("\x1bcx", Complete(2)),
            ("\x1b[3\x01m", Malformed(4)),
            ("\x1b[3\x1b[0m", Malformed(4)),
            ("\x1b]0;a\x1b[0m", Malformed(7)),
            ("\x1b(\x01B", Malformed(3)),
            ("\x1b\x1b[2J", Malformed(2)),
            ("\x1b\x7f", Malformed(2)),
            ("\x1b", Unfinished),
            ("\x1b[31", Unfinished),
            ("\x1b(", Unfinished),
            ("\x1b]0;no end", Unfinished),
            ("\x1b]0;no end\x1b", Unfinished),
        ] {
            assert_eq!(sequence(text.as_bytes()), expected, "{text:?}");
        }
    }
}
