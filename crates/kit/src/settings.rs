//! Settings from the environment, read once, typed, with every mistake reported by name.
//!
//! A bad value never stops a boot: the [`SettingsReader`] records a [`Problem`] and returns the safe default, and its
//! caller reports the problems.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::duration;
use crate::env::Env;
use crate::invisible;
use crate::variables::{Kind, Variable};

/// A setting that cannot be used as given, and the value used instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name of the setting, such as `WEB_ENABLE_AUTH`.
    pub setting: String,
    /// Description of the mistake, without the value if that may be a secret.
    pub message: String,
}

impl Problem {
    /// Returns a problem with `setting`; the message names the mistake and the value used instead.
    pub fn new(setting: impl Into<String>, message: impl Into<String>) -> Self {
        Self { setting: setting.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.setting, self.message)
    }
}

/// Reads typed settings and collects the problems.
#[derive(Debug)]
pub struct SettingsReader<'env> {
    env: &'env Env,
    problems: Vec<Problem>,
}

/// Maximum number of characters of a line.
const MAX_LINE: usize = 60;

impl<'env> SettingsReader<'env> {
    /// Reads from `env`.
    #[must_use]
    pub fn new(env: &'env Env) -> Self {
        Self { env, problems: Vec::new() }
    }

    /// Returns the problems of the settings read so far.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Records a problem found by the caller; duplicates are dropped.
    pub fn problem(&mut self, setting: &str, message: impl Into<String>) {
        let problem = Problem::new(setting, message);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Reports a documented variable with an invalid value; kinds with rules in other crates are only checked for
    /// UTF-8.
    pub fn check(&mut self, variable: &Variable) {
        match variable.kind {
            Kind::Switch => drop(self.switch(variable)),
            Kind::Port => drop(self.port(variable)),
            Kind::Time => drop(self.duration_setting(variable)),
            Kind::Digest => drop(self.sha256_setting(variable)),
            Kind::Host => drop(self.host(variable)),
            Kind::Text => drop(self.line(variable)),
            _ => drop(self.given(variable.name)),
        }
    }

    /// Reads a documented switch.
    pub fn switch(&mut self, variable: &Variable) -> bool {
        self.flag(variable.name, variable.default == "true")
    }

    /// Reads `true`/`yes`/`on`/`1` or `false`/`no`/`off`/`0`, in any case.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(value) = self.given(name) else { return default };
        match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            _ => {
                self.problem(name, format!("{value:?} is neither true nor false; using {default}"));
                default
            }
        }
    }

    /// Reads a TCP port, 1 to 65535.
    pub fn port(&mut self, variable: &Variable) -> u16 {
        let default = variable.default.parse().unwrap_or_default();
        let Some(value) = self.given(variable.name) else { return default };
        match value.parse::<u16>() {
            Ok(port) if port > 0 && value.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => {
                self.problem(variable.name, format!("{value:?} is not a port (1 to 65535); using {default}"));
                default
            }
        }
    }

    /// Reads a duration above zero.
    pub fn duration_setting(&mut self, variable: &Variable) -> Option<Duration> {
        let rule = "is not a time such as 90s, 30m or 2h";
        self.parse_or_report(variable, rule, |text| duration::parse(text).filter(|time| !time.is_zero()))
    }

    /// Reads a SHA-256.
    pub fn sha256_setting(&mut self, variable: &Variable) -> Option<String> {
        self.parse_or_report(variable, "is not 64 hexadecimal digits", parse_sha256)
    }

    /// Reads a host name or address, as [`url_host`] returns it.
    pub fn host(&mut self, variable: &Variable) -> Option<String> {
        let rule = "is not a host name or an address alone, without http:// and port";
        self.parse_or_report(variable, rule, url_host)
    }

    /// Reads a line of text; one that is too long or has control characters is replaced by the default.
    pub fn line(&mut self, variable: &Variable) -> String {
        let rule = format!("is not one line of at most {MAX_LINE} characters; using {:?}", variable.default);
        let is_line = |text: &str| text.chars().count() <= MAX_LINE && !text.chars().any(char::is_control);
        let line = self.parse_or_report(variable, &rule, |text| is_line(text).then(|| text.to_owned()));
        line.unwrap_or_else(|| variable.default.to_owned())
    }

    fn parse_or_report<T>(
        &mut self,
        variable: &Variable,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.given(variable.name)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.problem(variable.name, format!("{value:?} {rule}"));
        }
        parsed
    }

    /// Reads a text; unset, empty and blank values count as not given.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.given(name)
    }

    fn given(&mut self, name: &str) -> Option<String> {
        let value = self.env.get(name)?;
        let Some(text) = value.to_str() else {
            self.problem(name, "the value is not UTF-8 text; ignored");
            return None;
        };
        let (text, _) = invisible::strip_invisible(text);
        if text.is_empty() { None } else { Some(text.to_owned()) }
    }
}

/// Parses a SHA-256 of 64 hexadecimal digits, with or without `sha256:`, into lower case.
#[must_use]
pub fn parse_sha256(text: &str) -> Option<String> {
    let digits = text.trim().to_ascii_lowercase();
    let digits = digits.strip_prefix("sha256:").unwrap_or(&digits);
    (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digits.to_owned())
}

/// True for a host name or address that can be part of a URL without changing its meaning; IPv6 addresses need
/// brackets.
#[must_use]
pub fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// Returns a host name or address as a URL contains it: a bare IPv6 address gets its brackets. `None` for anything else.
#[must_use]
pub fn url_host(text: &str) -> Option<String> {
    let bare = || text.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    if is_host(text) { Some(text.to_owned()) } else { bare() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variables;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_typo_keeps_the_default_and_is_reported_by_name() {
        let env = env(&[("WEB_ENABLE_AUTH", "flase")]);
        let mut reader = SettingsReader::new(&env);
        assert!(reader.flag("WEB_ENABLE_AUTH", true));
        assert_eq!(
            reader.into_problems(),
            [Problem::new("WEB_ENABLE_AUTH", "\"flase\" is neither true nor false; using true")]
        );
    }

    #[test]
    fn spaces_and_case_do_not_turn_false_into_true() {
        for spelling in ["false", " FALSE ", "No", "off", "0", "False\n"] {
            let env = env(&[("X", spelling)]);
            let mut reader = SettingsReader::new(&env);
            assert!(!reader.flag("X", true), "{spelling:?}");
            assert_eq!(reader.into_problems(), []);
        }
    }

    #[test]
    fn empty_means_not_given() {
        let env = env(&[("P", ""), ("T", "  ")]);
        let mut reader = SettingsReader::new(&env);
        assert_eq!((reader.text("T"), reader.flag("P", true)), (None, true));
        assert_eq!(reader.into_problems(), []);
    }

    #[test]
    fn what_an_env_file_keeps_around_a_value_does_not_count() {
        let env = env(&[("X", "\"false\""), ("T", "'a b'\r"), ("SSH_PORT", "\u{feff}2222")]);
        let mut reader = SettingsReader::new(&env);
        assert!(!reader.flag("X", true));
        assert_eq!((reader.text("T").as_deref(), reader.port(&variables::SSH_PORT)), (Some("a b"), 2222));
        assert_eq!(env.text("T"), Some("a b"));
        assert_eq!(reader.into_problems(), []);
    }

    #[test]
    fn a_kind_has_one_rule_and_a_mistake_is_reported_once() {
        for variable in variables::ALL {
            let env = env(&[(variable.name, variable.invalid)]);
            let mut reader = SettingsReader::new(&env);
            reader.check(variable);
            reader.check(variable);
            let own =
                matches!(variable.kind, Kind::Switch | Kind::Time | Kind::Digest | Kind::Host | Kind::Text);
            assert_eq!(reader.into_problems().len(), usize::from(own), "{}", variable.name);
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_alone() {
        for right in ["lab", "gpu-1.lan", "192.0.2.7", "[2001:db8::1]", "a_b"] {
            assert!(is_host(right), "{right}");
        }
        for wrong in
            ["", "http://lab", "lab:8080", "2001:db8::1", "[lab]", "a b", "x@evil", "a/b", &"a".repeat(254)]
        {
            assert!(!is_host(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_url_has_brackets_around_an_ipv6_address() {
        for (text, host) in
            [("lab", Some("lab")), ("2001:DB8::1", Some("[2001:db8::1]")), ("[::1]", Some("[::1]"))]
        {
            assert_eq!(url_host(text).as_deref(), host);
        }
        for wrong in ["lab:8080", "fe80::1%eth0", "a b", ""] {
            assert_eq!(url_host(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_digest_is_64_digits_in_either_case() {
        let digits = "0123456789abcdef".repeat(4);
        for written in [digits.clone(), digits.to_uppercase(), format!(" sha256:{digits} ")] {
            assert_eq!(parse_sha256(&written), Some(digits.clone()));
        }
        for wrong in ["", "abc", "sha256:", &digits[1..], &format!("{}g", &digits[1..])] {
            assert_eq!(parse_sha256(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_port_is_digits_only_and_never_zero() {
        for wrong in ["0", "65536", "-1", "+22", "2 2", "$(id)", "٢٢"] {
            let env = env(&[("SSH_PORT", wrong)]);
            let mut reader = SettingsReader::new(&env);
            assert_eq!(reader.port(&variables::SSH_PORT), 22, "{wrong:?}");
            assert_eq!(reader.into_problems().len(), 1, "{wrong:?}");
        }
    }
}
