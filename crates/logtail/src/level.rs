//! Level of a line, by the usual words.

use serde::Serialize;

/// Level that a line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

/// Length of a line, in bytes, in which a level is searched: it follows a time and a name at most.
const SEARCHED: usize = 120;

const WORDS: &[(&str, Level)] = &[
    ("error", Level::Error),
    ("err", Level::Error),
    ("fatal", Level::Error),
    ("critical", Level::Error),
    ("crit", Level::Error),
    ("panic", Level::Error),
    ("panicked", Level::Error),
    ("traceback", Level::Error),
    ("exception", Level::Error),
    ("warning", Level::Warning),
    ("warn", Level::Warning),
    ("info", Level::Info),
    ("notice", Level::Info),
    ("debug", Level::Debug),
    ("debg", Level::Debug),
    ("trace", Level::Debug),
    ("trac", Level::Debug),
];

impl Level {
    /// Returns the first level named near the start, as in `2026 ERROR x` or `{"level":"warn"`.
    pub fn detect(text: &str) -> Option<Self> {
        text.char_indices()
            .nth(SEARCHED)
            .map_or(text, |(end, _)| &text[..end])
            .split(|other: char| !other.is_ascii_alphanumeric() && other != '-' && other != '_')
            .find_map(|word| WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)))
            .map(|&(_, level)| level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_level_counts() {
        for (text, level) in [
            ("2026-11-24 00:00:00,000 INFO spawned: 'error'", Some(Level::Info)),
            (r#"{"level":"warn","msg":"no error"}"#, Some(Level::Warning)),
            ("service-portal: error: cannot bind", Some(Level::Error)),
            ("Traceback (most recent call last):", Some(Level::Error)),
            ("[DEBUG] x", Some(Level::Debug)),
            ("an informal terror, error-free", None),
            ("", None),
        ] {
            assert_eq!(Level::detect(text), level, "{text}");
        }
        assert_eq!(Level::detect(&format!("{} error", "é".repeat(200))), None, "too far from the beginning");
    }
}
