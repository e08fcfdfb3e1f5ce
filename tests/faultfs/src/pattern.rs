//! Pattern for the files that a fault affects.

use std::fmt;

/// A path relative to the mount point in which `*` stands for any bytes, slashes too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// `*` is every file, `lib/*.so` all such names at any depth below `lib`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// True if the whole path matches.
    #[must_use]
    pub fn fits(&self, path: &[u8]) -> bool {
        let mut parts = self.0.as_bytes().split(|byte| *byte == b'*');
        let Some(mut rest) = parts.next().and_then(|first| path.strip_prefix(first)) else { return false };
        let mut parts: Vec<&[u8]> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            match (0..=rest.len()).find(|start| rest[*start..].starts_with(part)) {
                Some(start) => rest = &rest[start + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_the_rest_for_itself() {
        let cases = [
            ("*", "a/b", true),
            ("*.so", "lib/x.so", true),
            ("*.so", "lib/x.so.1", false),
            ("lib/*.so", "lib/deep/x.so", true),
            ("lib/*.so", "bin/x.so", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("ab*ba", "aba", false),
        ];
        for (pattern, path, fits) in cases {
            assert_eq!(Pattern::new(pattern).fits(path.as_bytes()), fits, "{pattern} {path}");
        }
    }
}
