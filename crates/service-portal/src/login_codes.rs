//! Single-use codes of one-time login links, and of a login that continues at another port.

use std::collections::HashMap;

use anyhow::Result;
use sha2::{Digest, Sha256};

/// Maximum number of codes at once.
const MAX_CODES: usize = 100;
/// Maximum lifetime of a code, in seconds.
pub const MAX_LIFETIME: u64 = 24 * 3_600;

/// Expiry of each code by its digest. Kept in memory only: a restart of the portal invalidates all codes.
#[derive(Debug, Default)]
pub struct LoginCodes(HashMap<[u8; 32], u64>);

impl LoginCodes {
    /// Creates a code that expires after `seconds`, capped at [`MAX_LIFETIME`].
    pub fn issue(&mut self, seconds: u64, now: u64) -> Result<String> {
        self.0.retain(|_, ends| *ends > now);
        if self.0.len() >= MAX_CODES {
            let first = self.0.iter().min_by_key(|(_, ends)| **ends).map(|(digest, _)| *digest);
            first.map(|digest| self.0.remove(&digest));
        }
        let code = web_login::token()?;
        self.0.insert(Sha256::digest(&code).into(), now + seconds.min(MAX_LIFETIME));
        Ok(code)
    }

    /// True if a code is valid; does not use it up.
    pub fn is_valid(&self, code: &str, now: u64) -> bool {
        self.0.get(&<[u8; 32]>::from(Sha256::digest(code))).is_some_and(|ends| *ends > now)
    }

    /// Uses a code up; returns true if it was valid.
    pub fn redeem(&mut self, code: &str, now: u64) -> bool {
        self.0.remove(&<[u8; 32]>::from(Sha256::digest(code))).is_some_and(|ends| ends > now)
    }

    /// Invalidates all codes, after the login has changed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_until_it_expires() {
        let mut codes = LoginCodes::default();
        let code = codes.issue(60, 0).unwrap();
        assert!(codes.is_valid(&code, 59) && !codes.is_valid(&code, 60) && !codes.is_valid("", 0));
        assert!(codes.redeem(&code, 59) && !codes.redeem(&code, 59));
        let late = codes.issue(60, 0).unwrap();
        assert!(!codes.redeem(&late, 60));
        let forgotten = codes.issue(60, 0).unwrap();
        codes.clear();
        assert!(!codes.redeem(&forgotten, 1));
    }

    #[test]
    fn a_code_lives_for_a_day_at_most() {
        let mut codes = LoginCodes::default();
        let code = codes.issue(u64::MAX, 1_000).unwrap();
        assert!(codes.is_valid(&code, 1_000 + 86_399) && !codes.is_valid(&code, 1_000 + 86_400));
    }

    #[test]
    fn a_full_table_drops_expired_codes_then_the_one_that_expires_first() {
        let mut codes = LoginCodes::default();
        let [ended, last, first] = [1, 3_000, 2_000].map(|seconds| codes.issue(seconds, 0).unwrap());
        (3..MAX_CODES).for_each(|_| drop(codes.issue(2_500, 0).unwrap()));
        let known = |codes: &LoginCodes| [&ended, &last, &first].map(|code| codes.is_valid(code, 0));
        assert_eq!((known(&codes), codes.0.len()), ([true; 3], MAX_CODES));
        codes.issue(2_500, 1).unwrap();
        assert_eq!((known(&codes), codes.0.len()), ([false, true, true], MAX_CODES));
        codes.issue(2_500, 1).unwrap();
        assert_eq!((known(&codes), codes.0.len()), ([false, true, false], MAX_CODES));
    }
}
