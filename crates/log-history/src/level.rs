//! Level of a line, by the usual words.

use serde::Serialize;

/// Level that a line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Errors, also fatal ones.
    Error,
    /// Warnings.
    Warning,
    /// Information and notices.
    Info,
    /// Details for developers.
    Debug,
}

/// Length of a line, in bytes, in which a level is searched: it follows a time and a name at most.
const SEARCHED: usize = 120;

/// Shortest and longest of the words.
const LENGTHS: (usize, usize) = (3, 9);

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
    #[must_use]
    pub fn detect(line: &[u8]) -> Option<Self> {
        line[..line.len().min(SEARCHED)]
            .split(|other| !other.is_ascii_alphanumeric() && *other != b'-' && *other != b'_')
            .filter(|word| (LENGTHS.0..=LENGTHS.1).contains(&word.len()))
            .find_map(|word| WORDS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word)))
            .map(|&(_, level)| level)
    }
}

/// Levels that are shown: a set of [`Level`], and of lines without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelSet(u8);

impl LevelSet {
    /// Every line.
    pub const ALL: Self = Self(0b1_1111);
    /// No line.
    pub const NONE: Self = Self(0);

    /// Returns the set with the lines of one more level, or with those that name none.
    #[must_use]
    pub const fn with(self, level: Option<Level>) -> Self {
        Self(self.0 | Self::bit(level))
    }

    /// True if lines of this level, or those that name none, are in the set.
    #[must_use]
    pub const fn contains(self, level: Option<Level>) -> bool {
        self.0 & Self::bit(level) != 0
    }

    const fn bit(level: Option<Level>) -> u8 {
        match level {
            Some(level) => 1 << level as u8,
            None => 1 << 4,
        }
    }
}

impl Default for LevelSet {
    fn default() -> Self {
        Self::ALL
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
            assert_eq!(Level::detect(text.as_bytes()), level, "{text}");
        }
        assert_eq!(
            Level::detect(format!("{} error", "é".repeat(200)).as_bytes()),
            None,
            "too far from the beginning"
        );
        let set = LevelSet::NONE.with(Some(Level::Error)).with(None);
        let contained = [Some(Level::Error), Some(Level::Debug), None].map(|level| set.contains(level));
        assert_eq!((contained, LevelSet::ALL.contains(None)), ([true, false, true], true));
    }
}
