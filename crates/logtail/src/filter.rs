//! Filter of lines.

use regex_lite::Regex;

use crate::entry::Entry;

/// Conditions of a command line.
#[derive(Debug, Default)]
pub struct Filter {
    /// Names of services; empty means all.
    pub services: Vec<String>,
    /// Earliest time, as it is written.
    pub since: Option<String>,
    pub grep: Option<Regex>,
}

impl Filter {
    /// True if a line meets all conditions. Times are compared as text, which their form allows.
    pub fn matches(&self, entry: &Entry<'_>) -> bool {
        (self.services.is_empty() || self.services.iter().any(|service| service == entry.service))
            && self.since.as_deref().is_none_or(|since| entry.at.is_none_or(|at| at >= since))
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(entry.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2026-11-24T00:25:58.123Z caddy | ERROR 7";

    #[test]
    fn every_question_has_to_be_met() {
        let entry = Entry::parse(LINE).unwrap();
        let wanted = |service: &str, since: &str, grep: &str| {
            let services = vec!["sshd".to_owned(), service.to_owned()];
            Filter { services, since: Some(since.to_owned()), grep: Some(Regex::new(grep).unwrap()) }
        };
        assert!(Filter::default().matches(&entry));
        assert!(wanted("caddy", "2026-11-24T00:25:58.123Z", "^ERROR [0-9]$").matches(&entry));
        assert!(!wanted("cadd", "2026-11-24T00:25:58.123Z", "ERROR").matches(&entry));
        assert!(!wanted("caddy", "2026-11-24T00:25:58.124Z", "ERROR").matches(&entry));
        assert!(!wanted("caddy", "2026-11-24T00:25:58.123Z", "caddy").matches(&entry));
    }
}
