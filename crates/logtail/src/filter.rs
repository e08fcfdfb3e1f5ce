//! Filter of lines.

use log_history::Pattern;

use crate::entry::Entry;

/// Conditions of a command line.
#[derive(Debug, Default)]
pub struct Filter {
    /// Names of services; empty means all.
    pub services: Vec<String>,
    /// Earliest time, as it is written.
    pub since: Option<String>,
    /// Time before which a line is, as it is written.
    pub until: Option<String>,
    pub grep: Option<Grep>,
}

/// A regular expression, and its text.
#[derive(Debug, Clone)]
pub struct Grep {
    text: String,
    pattern: Pattern,
}

impl Grep {
    pub fn new(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), pattern: Pattern::new(text, false)? })
    }
}

impl Filter {
    /// True if a line meets all conditions. Times are compared as text, which their form allows.
    pub fn matches(&self, entry: &Entry<'_>) -> bool {
        (self.services.is_empty() || self.services.iter().any(|service| service == entry.service))
            && self.since.as_deref().is_none_or(|since| entry.at.is_none_or(|at| at >= since))
            && !self.is_over(entry)
            && self.grep.as_ref().is_none_or(|grep| grep.pattern.is_match(entry.text.as_bytes()))
    }

    /// True for a line behind the last one.
    pub fn is_over(&self, entry: &Entry<'_>) -> bool {
        self.until.as_deref().is_some_and(|until| entry.at.is_some_and(|at| at >= until))
    }

    /// True if lines are selected by more than their time.
    pub fn selects(&self) -> bool {
        !self.services.is_empty() || self.grep.is_some()
    }

    /// Returns a pattern that every selected line of the merged log matches, for a faster search.
    pub fn in_merged_log(&self) -> Option<Pattern> {
        // What begins with the text does not begin with the line.
        let is_anchored = |text: &str| text.replace("[^", "").contains(['^']) || text.contains("\\A");
        let found =
            self.grep.as_ref().filter(|grep| !is_anchored(&grep.text)).map(|grep| grep.pattern.clone());
        found.or_else(|| self.of_services())
    }

    /// Returns a pattern of the services' lines in the merged log.
    pub fn of_services(&self) -> Option<Pattern> {
        let alternatives = self.services.iter().map(|service| Pattern::escape(&format!(" {service} | ")));
        let alternatives = alternatives.collect::<Vec<_>>().join("|");
        (!alternatives.is_empty()).then(|| Pattern::new(&alternatives, false).ok()).flatten()
    }

    /// Returns a pattern that every selected line of a service's own log matches.
    pub fn in_own_log(&self) -> Option<Pattern> {
        // A line may match only after its control characters were removed.
        let grep = self.grep.as_ref()?;
        Pattern::new(&format!("(?:{})|[\\x00-\\x08\\x0b-\\x1f\\x7f]", grep.text), false).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2026-11-24T00:25:58.123Z caddy | ERROR 7";

    #[test]
    fn every_question_has_to_be_met() {
        let entry = Entry::parse(LINE).unwrap();
        let filter = |service: &str, since: &str, until: &str, grep: &str| Filter {
            services: vec!["sshd".to_owned(), service.to_owned()],
            since: Some(format!("2026-11-24T00:25:58.{since}Z")),
            until: Some(format!("2026-11-24T00:25:58.{until}Z")),
            grep: Some(Grep::new(grep).unwrap()),
        };
        assert!(Filter::default().matches(&entry));
        for (service, since, until, grep, matches) in [
            ("caddy", "123", "124", "^ERROR [0-9]$", true),
            ("caddy", "123", "124", "^R", false),
            ("cadd", "123", "124", "ERROR", false),
            ("caddy", "124", "124", "ERROR", false),
            ("caddy", "123", "123", "ERROR", false),
            ("caddy", "123", "124", "caddy", false),
        ] {
            let filter = filter(service, since, until, grep);
            assert_eq!(filter.matches(&entry), matches, "{service} {since} {until} {grep}");
            let candidate = [filter.in_merged_log(), filter.of_services()];
            let candidate = candidate.iter().flatten().all(|pattern| pattern.is_match(LINE.as_bytes()));
            assert!(candidate || !matches, "{service} {since} {until} {grep}");
        }
    }

    #[test]
    fn a_faster_pattern_excludes_no_line_that_matches() {
        for (grep, raw, text) in [
            ("red x", &b"a \x1b[31mred\x1b[0m x"[..], "a red x"),
            ("^red", b"\x1b[31mred", "red"),
            ("^a|^b", b"b", "b"),
            ("(?i)RED", b"red", "red"),
            ("(?x) r e d # comment", b"red", "red"),
            ("100 %$", b" 10 %\r100 %", "100 %"),
        ] {
            let filter = Filter { grep: Some(Grep::new(grep).unwrap()), ..Filter::default() };
            assert!(filter.matches(&Entry::new(None, "x", text)), "{grep}");
            assert!(filter.in_own_log().is_none_or(|pattern| pattern.is_match(raw)), "{grep}");
            let line = format!("2026-11-24T00:25:58.123Z x | {text}");
            assert!(filter.in_merged_log().is_none_or(|pattern| pattern.is_match(line.as_bytes())), "{grep}");
        }
    }
}
