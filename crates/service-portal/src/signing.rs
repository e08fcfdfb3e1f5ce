//! Signatures of what visitors bring back: share links and known devices.

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

/// The key of this container; whoever has it can make share links.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// The key, and the file that keeps it.
pub struct KeyFile {
    key: Key,
    file: StateFile,
}

impl KeyFile {
    /// The key kept at `path`; the first time, or if it is damaged, a new one is made.
    ///
    /// A new one that cannot be written is good until the portal ends; one that a failing disk does not give back is not
    /// replaced.
    pub fn load(path: &Path) -> Result<Self> {
        let mut file = StateFile::new(path, WriteOptions::durable(0o600));
        match ReadPolicy::max_size(64).no_follow().read_if_exists(path) {
            Ok(bytes) => {
                if let Some(Ok(key)) = bytes.map(TryInto::try_into) {
                    return Ok(Self { key: Key(key), file });
                }
            }
            Err(refused) if is_failure(&refused.reason) => return Err(refused.into()),
            Err(refused) => log::warn!("{refused}; a new one is made, and share links made before are void"),
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("the kernel gives no random numbers")?;
        file.write(Ok(key.to_vec()));
        Ok(Self { key: Key(key), file })
    }

    /// The key.
    pub fn key(&self) -> Key {
        self.key.clone()
    }

    /// Writes what could not be written before.
    pub fn flush(&mut self) {
        if self.file.problem().is_some() {
            self.file.write(Ok(self.key.0.to_vec()));
        }
    }

    /// The reason why signatures do not survive a restart.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }
}

/// True for an error of the disk; a mode or an owner that keeps the portal out stays, however often it starts.
fn is_failure(reason: &ReadErrorKind) -> bool {
    matches!(reason, ReadErrorKind::Unreadable(error) if error.kind() != io::ErrorKind::PermissionDenied)
}

impl Key {
    /// `word.signature`; `purpose` keeps signatures of one kind from being used as another.
    pub fn sign(&self, purpose: &str, word: &str) -> String {
        let signature = self.mac(purpose, word).map(|mac| mac.finalize().into_bytes());
        signature.map_or_else(String::new, |bytes| format!("{word}.{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The word, if the signature is ours; compared in constant time.
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
    fn the_key_is_kept_and_a_damaged_one_replaced() {
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
        assert_eq!(key().verify("share", &signed), Some("x"), "a new one takes the link's place");
    }

    #[test]
    fn only_an_error_of_the_disk_ends_the_start() {
        let unreadable = |error: i32| ReadErrorKind::Unreadable(io::Error::from_raw_os_error(error));
        let reasons = [nix::libc::EIO, nix::libc::EACCES, nix::libc::EPERM].map(unreadable);
        assert_eq!(reasons.map(|reason| is_failure(&reason)), [true, false, false]);
        assert!(!is_failure(&ReadErrorKind::Kind("a symbolic link")));
    }

    #[test]
    fn with_a_full_disk_a_new_key_lives_in_memory_and_is_written_later() {
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
        fn nothing_that_we_did_not_sign_verifies(text in "\\PC{0,80}") {
            prop_assert_eq!(KEY.verify("share", &text), None);
        }
    }
}
