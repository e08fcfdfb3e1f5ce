//! Patterns of a search.

use regex::bytes::{Regex, RegexBuilder};

/// Maximum size of a compiled pattern in bytes.
const MAX_SIZE: usize = 4 << 20;

/// A regular expression that is matched with single lines, in the syntax of the crate `regex`, whose time is linear.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// False for what depends on the beginning or the end of the whole text.
    in_blocks: bool,
}

impl Pattern {
    /// Compiles a regular expression; an error has the reason, in several lines.
    pub fn new(text: &str, ignore_case: bool) -> Result<Self, String> {
        let in_blocks = !["\\A", "\\z"].iter().any(|part| text.contains(part)) && !clears_flags(text);
        let mut builder = RegexBuilder::new(text);
        builder.multi_line(true).case_insensitive(ignore_case).size_limit(MAX_SIZE);
        let regex = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { regex, in_blocks })
    }

    /// Returns a regular expression for a text without special characters.
    #[must_use]
    pub fn escape(text: &str) -> String {
        regex::escape(text)
    }

    /// True if a line, without its newline, matches.
    #[must_use]
    pub fn is_match(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }

    /// True if it can be searched in many lines at once.
    pub(crate) fn in_blocks(&self) -> bool {
        self.in_blocks
    }

    /// Returns the beginning of the first match in a block, from an index on.
    pub(crate) fn find_at(&self, block: &[u8], from: usize) -> Option<usize> {
        self.regex.find_at(block, from).map(|found| found.start())
    }
}

/// True if an expression switches flags off, such as the one by which `^` is the beginning of a line.
fn clears_flags(text: &str) -> bool {
    let mut groups = text.split("(?").skip(1);
    groups.any(|group| group.trim_start_matches(|flag: char| flag.is_ascii_alphabetic()).starts_with('-'))
}
