//! Store of API tokens, which read the API and the metrics and nothing else.
//!
//! The file has digests: a copy of it gives no access. A token is bound to the login under which it was created: whoever
//! knew a password could have created tokens with it, so a new login ends them all, as it ends sessions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kit::atomic::WriteOptions;
use kit::{ReadPolicy, hex};
use serde::{Deserialize, Serialize};

use crate::state_file::StateFile;

/// Beginning of every token, by which people and scanners for secrets recognize it.
const PREFIX: &str = "leo_";
/// Length of a token: the prefix, and 256 bits in base64.
const LENGTH: usize = PREFIX.len() + 43;
const MAX_TOKENS: usize = 100;
/// Maximum length of a name, in characters.
const MAX_NAME_LENGTH: usize = 64;
/// Maximum lifetime of a token, in seconds: a year.
pub const MAX_LIFETIME: u64 = 365 * 24 * 3_600;
/// Maximum size of the file, in bytes: ten times that of the maximum number of tokens.
const MAX_BYTES: u64 = 1 << 20;

/// API tokens by their digest.
#[derive(Debug)]
pub struct ApiTokens {
    file: StateFile,
    by_digest: HashMap<String, ApiToken>,
}

/// One token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Public identifier, which gives no access.
    pub id: String,
    /// Name that the owner gave it.
    pub name: String,
    /// What it can read.
    pub scope: TokenScope,
    /// Time of creation, in seconds since the epoch.
    pub created: u64,
    /// Expiry, in seconds since the epoch.
    pub expires: u64,
    /// Time of the last use, in seconds since the epoch.
    pub used: Option<u64>,
    /// Address of the last use.
    pub used_from: Option<IpAddr>,
    /// Fingerprint of the login under which it was created.
    login: String,
}

/// What a token can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenScope {
    /// State and metrics.
    #[serde(rename = "read")]
    Read,
    /// State, metrics and the text of logs, which may contain secrets.
    #[serde(rename = "read+logs")]
    ReadLogs,
}

impl TokenScope {
    /// Returns the scope as the API and the form spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadLogs => "read+logs",
        }
    }
}

impl ApiTokens {
    /// Loads the tokens at `path`; a corrupt file counts as empty.
    pub fn load(path: &Path) -> Self {
        let kept = ReadPolicy::max_size(MAX_BYTES)
            .read_if_exists(path)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let file = StateFile::new(path, WriteOptions::durable(0o600));
        Self { file, by_digest: kept.unwrap_or_default() }
    }

    /// Creates a token of the current `login`; returns it with its secret.
    pub fn create(
        &mut self,
        name: &str,
        scope: TokenScope,
        seconds: u64,
        login: &str,
        now: u64,
    ) -> Result<(ApiToken, String)> {
        let name = name.trim();
        ensure!(!name.is_empty(), "a token needs a name");
        ensure!(
            name.chars().count() <= MAX_NAME_LENGTH,
            "the name is longer than {MAX_NAME_LENGTH} characters"
        );
        ensure!(!name.chars().any(char::is_control), "the name contains control characters");
        ensure!((1..=MAX_LIFETIME).contains(&seconds), "a token must expire within one second to one year");
        self.by_digest.retain(|_, token| token.is_active(login, now));
        ensure!(self.by_digest.len() < MAX_TOKENS, "there are already {MAX_TOKENS} tokens");
        ensure!(
            self.by_digest.values().all(|token| token.name != name),
            "there is already a token with this name; choose another name or revoke that token"
        );
        let word = format!("{PREFIX}{}", web_login::token()?);
        let digest = hex::sha256(word.as_bytes());
        let token = ApiToken {
            id: digest[..16].to_owned(),
            name: name.to_owned(),
            scope,
            created: now,
            expires: now + seconds,
            used: None,
            used_from: None,
            login: login.to_owned(),
        };
        self.by_digest.insert(digest, token.clone());
        self.write();
        Ok((token, word))
    }

    /// Returns the scope of a token, if it is active; counts as a use.
    ///
    /// Looking a token up needs no rate limit: 256 random bits cannot be guessed, and only digests are compared.
    pub fn touch(&mut self, word: &[u8], login: &str, address: IpAddr, now: u64) -> Option<TokenScope> {
        let token = self.by_digest.get_mut(&digest(word)?)?;
        if !token.is_active(login, now) {
            return None;
        }
        if token.used != Some(now) || token.used_from != Some(address) {
            (token.used, token.used_from) = (Some(now), Some(address));
            self.file.mark_changed();
        }
        Some(token.scope)
    }

    /// True if the word is or was a token of this container: no guess, and nothing that a service may see.
    pub fn is_known(&self, word: &[u8]) -> bool {
        digest(word).is_some_and(|digest| self.by_digest.contains_key(&digest))
    }

    /// Revokes the token with this public id; returns its name if there was one.
    pub fn revoke(&mut self, id: &str) -> Option<String> {
        let digest = self.by_digest.iter().find(|(_, token)| token.id == id)?.0.clone();
        let revoked = self.by_digest.remove(&digest)?;
        let bytes = self.bytes();
        self.file.replace_or_remove(bytes);
        Some(revoked.name)
    }

    /// Returns the active tokens, the oldest first.
    pub fn list(&self, login: &str, now: u64) -> Vec<ApiToken> {
        let mut active: Vec<ApiToken> =
            self.by_digest.values().filter(|token| token.is_active(login, now)).cloned().collect();
        active.sort_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name)));
        active
    }

    /// Writes pending changes.
    pub fn flush(&mut self) {
        if self.file.needs_write() {
            self.write();
        }
    }

    /// Returns the reason why tokens would not survive a restart.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }

    fn write(&mut self) {
        let bytes = self.bytes();
        self.file.write(bytes);
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.by_digest).context("cannot serialize the API tokens")
    }
}

impl ApiToken {
    fn is_active(&self, login: &str, now: u64) -> bool {
        now < self.expires && self.login == login && !login.is_empty()
    }
}

/// Returns the digest of a word that has the form of a token.
fn digest(word: &[u8]) -> Option<String> {
    (word.len() == LENGTH && word.starts_with(PREFIX.as_bytes())).then(|| hex::sha256(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_file::tests::FullDisk;

    const NOW: u64 = 1_000;
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn create(tokens: &mut ApiTokens, name: &str) -> (ApiToken, String) {
        tokens.create(name, TokenScope::Read, 60, "login", NOW).unwrap()
    }

    fn touch(tokens: &mut ApiTokens, word: &str, now: u64) -> Option<TokenScope> {
        tokens.touch(word.as_bytes(), "login", ADDRESS, now)
    }

    #[test]
    fn a_token_is_valid_until_it_expires_or_the_login_changes_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let mut tokens = ApiTokens::load(&path);
        let (token, word) = create(&mut tokens, " Grafana ");
        assert_eq!((token.name.as_str(), word.len()), ("Grafana", LENGTH));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&word) && !text.contains(&word[4..]), "the file gives no access");
        assert_eq!(touch(&mut tokens, &word, NOW + 59), Some(TokenScope::Read));
        assert_eq!(touch(&mut tokens, &word, NOW + 60), None);
        tokens.flush();
        let mut restarted = ApiTokens::load(&path);
        let kept = &restarted.list("login", NOW)[0];
        assert_eq!((kept.used, kept.used_from), (Some(NOW + 59), Some(ADDRESS)));
        assert_eq!(touch(&mut restarted, &word, NOW), Some(TokenScope::Read));
        for login in ["another login", ""] {
            assert_eq!(restarted.touch(word.as_bytes(), login, ADDRESS, NOW), None, "{login}");
            assert_eq!(restarted.list(login, NOW), [], "{login}");
        }
        std::fs::write(&path, "{").unwrap();
        assert_eq!(touch(&mut ApiTokens::load(&path), &word, NOW), None);
    }

    #[test]
    fn nothing_but_the_whole_token_is_valid() {
        let dir = tempfile::tempdir().unwrap();
        let mut tokens = ApiTokens::load(&dir.path().join("tokens.json"));
        let (token, word) = create(&mut tokens, "one");
        let digest = hex::sha256(word.as_bytes());
        let variants = [
            "",
            "leo_",
            &word[..46],
            &word[4..],
            &format!("{word}x"),
            &format!(" {word}"),
            &word.to_uppercase(),
            &token.id,
            &digest,
            &format!("leo_{}", &digest[..43]),
            &word.replace("leo_", "LEO_"),
            &format!("{word}\0"),
        ];
        for variant in variants {
            assert_eq!(touch(&mut tokens, variant, NOW), None, "{variant:?}");
        }
    }

    #[test]
    fn a_revoked_token_stays_revoked_with_a_full_disk() {
        let disk = FullDisk::with(&[]);
        disk.free();
        let path = disk.path().join("tokens.json");
        let mut tokens = ApiTokens::load(&path);
        let (token, word) = create(&mut tokens, "one");
        std::fs::write(disk.path().join("fill"), vec![0; 128 << 10]).unwrap_err();
        assert_eq!(tokens.revoke(&token.id).as_deref(), Some("one"));
        assert_eq!(tokens.revoke(&token.id), None);
        assert_eq!(touch(&mut tokens, &word, NOW), None);
        assert_eq!(touch(&mut ApiTokens::load(&path), &word, NOW), None);
        std::fs::write(disk.path().join("more"), vec![0; 128 << 10]).unwrap_err();
        let (_, word) = create(&mut tokens, "two");
        assert!(tokens.problem().is_some() && touch(&mut tokens, &word, NOW).is_some());
        disk.free();
        tokens.flush();
        assert_eq!(touch(&mut ApiTokens::load(&path), &word, NOW), Some(TokenScope::Read));
    }

    #[test]
    fn names_lifetimes_and_the_number_of_tokens_are_limited() {
        let dir = tempfile::tempdir().unwrap();
        let mut tokens = ApiTokens::load(&dir.path().join("tokens.json"));
        create(&mut tokens, "one");
        for (name, seconds, reason) in [
            ("one", 60, "there is already a token with this name; choose another name or revoke that token"),
            (" ", 60, "a token needs a name"),
            ("a\u{1b}[31m", 60, "the name contains control characters"),
            (&"ä".repeat(65), 60, "the name is longer than 64 characters"),
            ("two", 0, "a token must expire within one second to one year"),
            ("two", MAX_LIFETIME + 1, "a token must expire within one second to one year"),
        ] {
            let refused = tokens.create(name, TokenScope::Read, seconds, "login", NOW);
            assert_eq!(refused.unwrap_err().to_string(), reason, "{name:?}");
        }
        (1..MAX_TOKENS).for_each(|number| drop(create(&mut tokens, &number.to_string())));
        assert!(tokens.create("more", TokenScope::Read, 60, "login", NOW).is_err());
        assert!(
            tokens.create("more", TokenScope::Read, 60, "login", NOW + 60).is_ok(),
            "expired ones do not count"
        );
    }
}
