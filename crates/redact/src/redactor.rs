//! Masks secrets in output and messages, by their values.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

use aho_corasick::{AhoCorasick, MatchKind};
use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use kit::Env;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use terminal::plain_text;

use crate::MASK;

/// Minimum length of a secret in bytes; a shorter value is too likely a part of something else.
const SHORTEST: usize = 6;
/// Maximum length of a pattern in bytes; longer secrets are masked in parts, so that little output is held back.
const PART: usize = 1_024;
/// Characters that an address encodes (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Finds and masks secrets.
#[derive(Debug)]
pub struct Redactor {
    matcher: Option<AhoCorasick>,
    patterns: Vec<Vec<u8>>,
    longest: usize,
}

impl Redactor {
    /// Masks variables whose names look secret, logins in the addresses of all others, and `others`.
    pub fn new(env: &Env, others: Vec<Vec<u8>>) -> Result<Self> {
        let of_env = env.iter().flat_map(|(name, value)| {
            let value = value.as_bytes();
            if name.to_str().is_some_and(env_store::looks_secret) {
                return vec![value.to_vec()];
            }
            env_store::find_url_credentials(value)
                .into_iter()
                .flat_map(|login| login_secrets(&value[login]))
                .collect()
        });
        let mut patterns = BTreeSet::new();
        for secret in of_env.chain(others) {
            // Output comes in lines, so a secret of several lines is masked line by line.
            for line in secret.split(|&byte| byte == b'\n' || byte == b'\r') {
                for part in line.trim_ascii().chunks(PART) {
                    if part.len() >= SHORTEST {
                        patterns.extend(forms(part));
                        // In the log, control characters have another form, of which little or nothing may remain.
                        let shown = plain_text::line(part);
                        if shown.len() >= SHORTEST {
                            patterns.insert(shown.into_owned());
                        }
                    }
                }
            }
        }
        let patterns: Vec<Vec<u8>> = patterns.into_iter().collect();
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        let matcher = if patterns.is_empty() {
            None
        } else {
            let mut builder = AhoCorasick::builder();
            // The longer one of two secrets that begin alike.
            let built = builder.match_kind(MatchKind::LeftmostLongest).build(&patterns);
            Some(built.context("too many secrets to mask")?)
        };
        Ok(Self { matcher, patterns, longest })
    }

    /// Returns the text with a mask for each secret.
    #[must_use]
    pub fn redact<'text>(&self, text: &'text [u8]) -> Cow<'text, [u8]> {
        let Some(matcher) = &self.matcher else { return Cow::Borrowed(text) };
        let mut masked = Vec::new();
        let mut done = 0;
        for found in matcher.find_iter(text) {
            masked.extend_from_slice(&text[done..found.start()]);
            masked.extend_from_slice(MASK.as_bytes());
            done = found.end();
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        masked.extend_from_slice(&text[done..]);
        Cow::Owned(masked)
    }

    /// Masks secrets in a message.
    #[must_use]
    pub fn redact_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.redact(text.as_bytes())).into_owned()
    }

    /// Returns the length of a text that can be shown before its rest is known: a secret may begin at its end, or reach
    /// across any other place.
    #[must_use]
    pub fn safe_prefix(&self, text: &[u8]) -> usize {
        let may_go_on = |rest: &[u8]| {
            self.patterns.iter().any(|pattern| pattern.len() > rest.len() && pattern.starts_with(rest))
        };
        let begins =
            (text.len().saturating_sub(self.longest)..text.len()).find(|&start| may_go_on(&text[start..]));
        let Some(begins) = begins else { return text.len() };
        let across = self
            .matcher
            .iter()
            .flat_map(|matcher| matcher.find_iter(text))
            .find(|found| found.start() < begins && begins < found.end());
        across.map_or(begins, |found| found.end())
    }
}

/// Returns the password of a login, or all of a login without one, as written and as meant.
#[must_use]
pub fn login_secrets(login: &[u8]) -> [Vec<u8>; 2] {
    let colon = login.iter().position(|&byte| byte == b':');
    let secret = colon.map_or(login, |colon| &login[colon + 1..]);
    [secret.to_vec(), percent_decode(secret).collect()]
}

/// Forms in which a secret turns up in texts: as it is, in an address, and inside of something encoded as base64.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let lowercase = |part: &str| {
        if part.starts_with('%') { part.to_ascii_lowercase() } else { part.to_owned() }
    };
    let upper = percent_encode(secret, ENCODED).to_string();
    let lower: String = percent_encode(secret, ENCODED).map(lowercase).collect();
    let mut forms = vec![secret.to_vec(), upper.into_bytes(), lower.into_bytes()];
    // `curl -v -u me:$TOKEN` prints `Authorization: Basic …`, in which the token begins at any of three places. Three bytes
    // become four letters; which ones depends on how many bytes come before, but for the first and the last.
    for before in 0..3 {
        let padded = [&[0; 2][..before], secret].concat();
        let from = (before * 8).div_ceil(6);
        let to = padded.len() * 8 / 6;
        for encoded in [BASE64_STANDARD_NO_PAD.encode(&padded), BASE64_URL_SAFE_NO_PAD.encode(&padded)] {
            if let Some(letters) = encoded.as_bytes().get(from..to).filter(|found| found.len() >= SHORTEST) {
                forms.push(letters.to_vec());
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

    fn redactor(secret: &str) -> Redactor {
        let env: Env = [("X_TOKEN", secret), ("OTHER", "visible value")].into_iter().collect();
        Redactor::new(&env, Vec::new()).unwrap()
    }

    fn shown(redactor: &Redactor, text: &str) -> String {
        redactor.redact_text(text)
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_nothing_else_is() {
        let secret = "s3cr+t/va?ue";
        let redactor = redactor(secret);
        assert_eq!(shown(&redactor, "a s3cr+t/va?ue b"), "a ******** b");
        assert_eq!(shown(&redactor, "x=s3cr%2Bt%2Fva%3Fue&y"), "x=********&y");
        assert_eq!(shown(&redactor, "x=s3cr%2bt%2fva%3fue&y"), "x=********&y");
        for before in ["", "u", "us", "user:", "some user:"] {
            for encoded in [
                BASE64_STANDARD.encode(format!("{before}{secret}")),
                BASE64_URL_SAFE.encode(format!("{before}{secret} and more")),
            ] {
                let masked = shown(&redactor, &encoded);
                assert!(masked.contains("********") && masked.len() < encoded.len(), "{encoded} {masked}");
            }
        }
        assert_eq!(shown(&redactor, "visible value s3cr+t"), "visible value s3cr+t");
    }

    #[test]
    fn a_login_of_a_proxy_is_a_secret_too() {
        let env: Env = [("https_proxy", "http://ada:open%20sesame@proxy:1")].into_iter().collect();
        let redactor = Redactor::new(&env, Vec::new()).unwrap();
        assert_eq!(shown(&redactor, "http://ada:open%20sesame@proxy:1"), "http://ada:********@proxy:1");
        assert_eq!(shown(&redactor, "user ada, password open sesame"), "user ada, password ********");
    }

    #[test]
    fn short_values_are_left_and_long_ones_are_found_line_by_line() {
        assert_eq!(shown(&redactor("12345"), "12345"), "12345");
        let key = redactor("first line\nsecond line\n");
        assert_eq!(shown(&key, "first line\n  second line"), "********\n  ********");
        assert_eq!(shown(&redactor("abc\u{7}def"), "abc\u{7}def abc\\x07def"), "******** ********");
        for nothing_to_see in ["\u{1b}[31m\u{1b}[0m", "\u{1b}[31mlog\u{1b}[0m"] {
            assert_eq!(shown(&redactor(nothing_to_see), "the log"), "the log");
        }
        let long = "ab".repeat(2_000);
        assert_eq!(shown(&redactor(&long), &long), "********".repeat(4));
    }

    #[test]
    fn what_may_be_the_beginning_of_a_secret_is_not_settled() {
        let redactor = redactor("abcdefgh");
        for (text, settled) in
            [("xyz", 3), ("xyzabc", 3), ("abcdefgh", 8), ("xabcdefg", 1), ("xabcdefgha", 9)]
        {
            assert_eq!(redactor.safe_prefix(text.as_bytes()), settled, "{text}");
        }
    }
}
