//! Signatures of values that visitors send back, such as share links and device cookies.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use kit::ReadPolicy;
use kit::atomic::WriteOptions;
use kit::untrusted_file::ReadErrorKind;
use sha2::Sha256;

use crate::state_file::StateFile;

/// Signing key of this container; anyone who has it can create share links.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// The key and its file.
pub struct KeyFile {
    key: Key,
    file: StateFile,
}

impl KeyFile {
    /// Loads the key at `path`, or creates one if it is missing or corrupt.
    ///
    /// A new key that cannot be written is used until the portal exits. After an I/O error, no new key is created.
    pub fn load(path: &Path) -> Result<Self> {
        let mut file = StateFile::new(path, WriteOptions::durable(0o600));
        match ReadPolicy::max_size(64).no_follow().read_if_exists(path) {
            Ok(bytes) => {
                if let Some(Ok(key)) = bytes.map(TryInto::try_into) {
                    return Ok(Self { key: Key(key), file });
                }
            }
            Err(refused) if is_transient(&refused.reason) => return Err(refused.into()),
            Err(refused) => {
                log::warn!("{refused}; created a new key, which invalidates existing share links");
            }
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("cannot get random numbers from the kernel")?;
        file.write(Ok(key.to_vec()));
        Ok(Self { key: Key(key), file })
    }

    /// Returns the key.
    pub fn key(&self) -> Key {
        self.key.clone()
    }

    /// Writes the key if an earlier write has failed.
    pub fn flush(&mut self) {
        if self.file.needs_write() {
            self.file.write(Ok(self.key.0.to_vec()));
        }
    }

    /// Returns the reason why signatures would not survive a restart.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }
}

/// True for an I/O error that a restart may solve; a wrong mode or owner is permanent.
fn is_transient(reason: &ReadErrorKind) -> bool {
    matches!(reason, ReadErrorKind::Unreadable(error) if error.kind() != io::ErrorKind::PermissionDenied)
}

impl Key {
    /// Returns `word.signature`; a signature is valid for one `purpose` only.
    pub fn sign(&self, purpose: &str, word: &str) -> String {
        let signature = self.mac(purpose, word).map(|mac| mac.finalize().into_bytes());
        signature.map_or_else(String::new, |bytes| format!("{word}.{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Returns the word if the signature is valid; compared in constant time.
    pub fn verify<'a>(&self, purpose: &str, signed: &'a str) -> Option<&'a str> {
        let (word, signature) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.mac(purpose, word)?.verify_slice(&signature).ok()?;
        Some(word)
    }

    fn mac(&self, purpose: &str, word: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(purpose.as_bytes());
        mac.update(b"\0");
        mac.update(word.as_bytes());
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_file::tests::FullDisk;
    use proptest::prelude::*;

    const KEY: Key = Key([7; 32]);

    #[test]
    fn only_the_same_key_word_and_purpose_verify() {
        let signed = KEY.sign("share", "abc");
        assert_eq!(KEY.verify("share", &signed), Some("abc"));
        assert_eq!(KEY.verify("device", &signed), None);
        assert_eq!(Key([8; 32]).verify("share", &signed), None);
        assert_eq!(KEY.verify("share", &signed.replace("abc", "abd")), None);
        for wrong in ["", ".", "abc", "abc.", "abc.AAAA", &format!("{signed}A"), &signed[..signed.len() - 1]]
        {
            assert_eq!(KEY.verify("share", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_is_kept_and_a_corrupt_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = || KeyFile::load(&path).unwrap().key();
        let signed = key().sign("share", "x");
        assert_eq!(key().verify("share", &signed), Some("x"));
        std::fs::write(&path, "short").unwrap();
        assert_eq!(key().verify("share", &signed), None);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("key", &path).unwrap();
        let signed = key().sign("share", "x");
        assert_eq!(key().verify("share", &signed), Some("x"), "a new key replaces the symbolic link");
    }

    #[test]
    fn only_an_io_error_is_transient() {
        let unreadable = |error: i32| ReadErrorKind::Unreadable(io::Error::from_raw_os_error(error));
        let reasons = [nix::libc::EIO, nix::libc::EACCES, nix::libc::EPERM].map(unreadable);
        assert_eq!(reasons.map(|reason| is_transient(&reason)), [true, false, false]);
        assert!(!is_transient(&ReadErrorKind::Kind("a symbolic link")));
    }

    #[test]
    fn with_a_full_disk_a_new_key_is_kept_in_memory_and_written_later() {
        let disk = FullDisk::with(&[]);
        let path = disk.path().join("key");
        let mut file = KeyFile::load(&path).unwrap();
        assert!(file.problem().is_some() && !path.exists());
        disk.free();
        file.flush();
        let signed = file.key().sign("share", "x");
        assert_eq!(KeyFile::load(&path).unwrap().key().verify("share", &signed), Some("x"));
    }

    proptest! {
        #[test]
        fn unsigned_text_does_not_verify(text in "\\PC{0,80}") {
            prop_assert_eq!(KEY.verify("share", &text), None);
        }
    }
}
