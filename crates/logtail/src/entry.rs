//! One line of the stream: service and text, and in `logtail.log` also a time.

use log_history::Level;
use log_history::clock;
use log_history::safe_text;
use serde::Serialize;

use crate::line_assembler::Piece;

/// Separator of service and text.
const BAR: &str = " | ";
/// Marks a continued line, at the end of a piece and at the start of the next one.
const ON: &str = "…";

/// Returns a service's name without characters that could end it early or do harm.
pub fn sanitize_label(service: &str) -> String {
    safe_text::sanitize(service.as_bytes()).replace(|other: char| other.is_whitespace() || other == '|', "_")
}

/// Appends `service | text`.
pub fn append_line(out: &mut Vec<u8>, label: &str, piece: Piece<'_>) {
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(BAR.as_bytes());
    append_text(out, piece);
    out.push(b'\n');
}

/// Appends the text of a line, and marks where it continues.
pub fn append_text(out: &mut Vec<u8>, piece: Piece<'_>) {
    if piece.continues && !safe_text::overwrites_line(piece.text) {
        out.extend_from_slice(ON.as_bytes());
    }
    safe_text::append_sanitized(out, piece.text);
    if !piece.ended {
        out.extend_from_slice(ON.as_bytes());
    }
}

/// A line of `logtail.log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry<'a> {
    /// Time of reading; nothing in a service's own log.
    pub at: Option<&'a str>,
    /// Name of the log, which is the service's.
    pub service: &'a str,
    /// Level that the text names.
    pub level: Option<Level>,
    /// The line, without control sequences.
    pub text: &'a str,
}

impl<'a> Entry<'a> {
    /// Parses a line of `logtail.log`.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (at, rest) = line.split_at_checked(clock::WIDTH)?;
        let (service, text) = rest.strip_prefix(' ')?.split_once(BAR)?;
        clock::is_time(at.as_bytes()).then(|| Self::new(Some(at), service, text))
    }

    pub fn new(at: Option<&'a str>, service: &'a str, text: &'a str) -> Self {
        Self { at, service, level: Level::detect(text.as_bytes()), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, text: &str, continues: bool, ended: bool) -> String {
        let mut out = Vec::new();
        append_line(&mut out, label, Piece { text: text.as_bytes(), continues, ended });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_names_its_service_and_marks_where_it_goes_on() {
        assert_eq!(line("caddy", "hello", false, true), "caddy | hello\n");
        assert_eq!(line("caddy", "hel", false, false), "caddy | hel…\n");
        assert_eq!(line("caddy", "lo", true, true), "caddy | …lo\n");
        assert_eq!(line("caddy", "\r100 %", true, true), "caddy | 100 %\n", "drawn anew");
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_service_is_called() {
        for (service, label) in [("caddy", "caddy"), ("my app | x\n\u{1b}[2J", "my_app___x␊")] {
            assert_eq!(super::sanitize_label(service), label);
            let text = format!("2026-11-24T00:25:58.123Z {}", line(label, "a | b: error", false, true));
            let entry = Entry::parse(text.trim_end()).unwrap();
            let at = Some("2026-11-24T00:25:58.123Z");
            assert_eq!(entry, Entry { at, service: label, level: Some(Level::Error), text: "a | b: error" });
        }
        for other in ["", "caddy | x", "2026-11-24T00:25:58.123Z caddy", "é".repeat(20).as_str()] {
            assert_eq!(Entry::parse(other), None, "{other}");
        }
    }
}
