//! Recognition of content that is not a script.

use kit::windows_text::{BYTE_ORDER_MARK, is_utf16};

/// Maximum size of a script in bytes.
pub const MAX_BYTES: usize = 1_000_000;

/// First bytes of programs and archives.
const MAGIC: [(&[u8], &str); 8] = [
    (b"\x7fELF", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"%PDF", "a PDF document"),
];

/// First bytes of web pages, in lower case.
const PAGE: [&[u8]; 6] = [b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml", b"<!--"];

/// Encoding of some Windows editors, which bash cannot read.
pub const UTF_16: &str = "UTF-16 text";
/// Content without commands.
pub const EMPTY: &str = "empty";

/// Returns a name, with its article, for content that is not a script.
pub fn not_a_script(bytes: &[u8], content_type: Option<&str>) -> Option<&'static str> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii_start();
    if text.is_empty() {
        return Some(EMPTY);
    }
    if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(name);
    }
    if is_utf16(bytes) {
        return Some(UTF_16);
    }
    if bytes.contains(&0) {
        return Some("binary");
    }
    // A script, regardless of the server's content type.
    if text.starts_with(b"#!") {
        return None;
    }
    let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let start = text[..text.len().min(20)].to_ascii_lowercase();
    if PAGE.iter().any(|page| start.starts_with(page))
        || ["text/html", "application/xhtml+xml"].iter().any(|html| kind.eq_ignore_ascii_case(html))
    {
        return Some("an HTML page");
    }
    if kind.eq_ignore_ascii_case("application/json") {
        return Some("JSON");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_not_a_script_is_named() {
        let utf16: Vec<u8> = "echo hello\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cases: [(&[u8], Option<&str>, Option<&str>); 16] = [
            (b"echo hello\n", None, None),
            (b"echo hello\n", Some("application/octet-stream"), None),
            (b"#!/bin/bash\n", Some("text/html"), None),
            (b"", None, Some(EMPTY)),
            (b"\xef\xbb\xbf \r\n\t\n", None, Some(EMPTY)),
            (b"\n <!DOCTYPE HTML><p>", None, Some("an HTML page")),
            (b"<html>", Some("text/plain"), Some("an HTML page")),
            (b"please log in", Some("text/html; charset=utf-8"), Some("an HTML page")),
            (b"{\"error\":1}", Some("application/json"), Some("JSON")),
            (b"\x7fELF\x02", None, Some("a program")),
            (b"\x1f\x8b\x08", None, Some("a gzip archive")),
            (b"PK\x03\x04", None, Some("a zip archive")),
            (b"\xff\xfee\0", None, Some(UTF_16)),
            (b"\xfe\xff\0e", None, Some(UTF_16)),
            (&utf16, None, Some(UTF_16)),
            (b"echo a\0b and more text behind it\n", None, Some("binary")),
        ];
        for (bytes, kind, expected) in cases {
            assert_eq!(not_a_script(bytes, kind), expected, "{}", bytes.escape_ascii());
        }
    }
}
