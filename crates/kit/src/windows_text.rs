//! Artifacts of Windows editors in a text file: UTF-16, a byte order mark, CRLF line ends; and blanks before `#!`.

use std::fmt;

/// Byte order mark of UTF-8 text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Number of bytes examined for the encoding.
const SAMPLE_BYTES: usize = 1_024;

/// Changes that [`normalize`] made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AppliedFixes {
    /// A byte order mark was removed; it would hide the first line from the kernel.
    pub mark: bool,
    /// Blanks or empty lines before `#!` were removed; they would hide it from the kernel too.
    pub blanks: bool,
    /// Number of CRLF line ends, whose carriage return bash takes for a part of the last word.
    pub line_ends: usize,
}

impl fmt::Display for AppliedFixes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = self.mark.then(|| "a byte order mark was removed".to_owned());
        let blanks = self.blanks.then(|| "blanks before its #! were removed".to_owned());
        let lines = self.line_ends;
        let line_ends = (lines > 0).then(|| format!("{lines} line ends of Windows were changed"));
        let all: Vec<_> = [mark, blanks, line_ends].into_iter().flatten().collect();
        write!(formatter, "mended: {}", all.join(", and "))
    }
}

/// Removes the byte order mark, blanks before `#!`, and the carriage return of each line end.
#[must_use]
pub fn normalize(bytes: &[u8]) -> (Vec<u8>, AppliedFixes) {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK);
    let mark = text.is_some();
    let text = text.unwrap_or(bytes);
    let trimmed = text.trim_ascii_start();
    let blanks = trimmed.starts_with(b"#!") && trimmed.len() < text.len();
    let text = if blanks { trimmed } else { text };
    let mut mended = Vec::with_capacity(text.len());
    let mut line_ends = 0;
    for (index, &byte) in text.iter().enumerate() {
        if byte == b'\r' && text.get(index + 1) == Some(&b'\n') {
            line_ends += 1;
        } else {
            mended.push(byte);
        }
    }
    (mended, AppliedFixes { mark, blanks, line_ends })
}

/// True for UTF-16 text, with a byte order mark or without.
#[must_use]
pub fn is_utf16(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|&&byte| byte == 0).count();
    bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || (head.len() >= 4 && zeros(0).max(zeros(1)) * 3 >= head.len())
}

/// Returns the artifact that a reader of plain UTF-8 would fail on.
#[must_use]
pub fn detect(bytes: &[u8]) -> Option<&'static str> {
    if is_utf16(bytes) {
        Some("UTF-16")
    } else if bytes.starts_with(BYTE_ORDER_MARK) {
        Some("a byte order mark")
    } else {
        bytes.windows(2).any(|pair| pair == b"\r\n").then_some("line ends of Windows")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_line_ends_and_the_mark_go_and_nothing_else() {
        let (script, mended) = normalize(b"\xef\xbb\xbf#!/bin/bash\r\necho a\rb\r\r\n");
        assert_eq!(script, b"#!/bin/bash\necho a\rb\r\n");
        assert_eq!(mended, AppliedFixes { mark: true, blanks: false, line_ends: 2 });
        assert_eq!(normalize(b"a\nb\r").1, AppliedFixes::default());
        let (script, mended) = normalize(b"\xef\xbb\xbf\r\n \t\n#!/bin/bash -e\n");
        assert_eq!(script, b"#!/bin/bash -e\n");
        assert_eq!(mended, AppliedFixes { mark: true, blanks: true, line_ends: 0 });
        assert_eq!(
            normalize(b"\n a\n").1,
            AppliedFixes::default(),
            "only the first line needs to be the first"
        );
    }

    #[test]
    fn a_trace_is_named() {
        let utf16: Vec<u8> = "a\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (text, expected) in [
            (&utf16[..], Some("UTF-16")),
            (b"\xff\xfe", Some("UTF-16")),
            (b"\xef\xbb\xbfa\r\n", Some("a byte order mark")),
            (b"a\r\n", Some("line ends of Windows")),
            (b"a\rb\n", None),
            (b"", None),
        ] {
            assert_eq!(detect(text), expected, "{}", text.escape_ascii());
        }
    }
}
