//! Store of share links, which give access to one service without the password.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kit::ReadPolicy;
use kit::atomic::WriteOptions;
use portal_control::Share;

use crate::signing::Key;
use crate::state_file::StateFile;

/// Purpose of the signature.
const PURPOSE: &str = "share";
/// Maximum number of active links.
const MAX_LINKS: usize = 1_000;
/// Maximum size of the file, in bytes: ten times that of the maximum number of links.
const MAX_BYTES: u64 = 4 << 20;
/// Maximum lifetime of a link, in seconds: a year.
pub const MAX_LIFETIME: u64 = 365 * 24 * 3_600;

/// Share links of this container.
pub struct Shares {
    file: StateFile,
    key: Key,
    by_id: BTreeMap<String, Share>,
}

/// Reason why a link is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareError {
    /// Not signed by this container, or revoked.
    Unknown,
    /// Created for another service.
    OtherService,
    /// Expired.
    Expired,
    /// Maximum number of uses reached.
    UsedUp,
}

impl ShareError {
    /// Returns the message for the visitor.
    pub fn message(self) -> &'static str {
        match self {
            Self::Unknown | Self::OtherService => "This link is not valid here.",
            Self::Expired => "This link has expired. Ask for a new one.",
            Self::UsedUp => "This link has reached its maximum number of uses. Ask for a new one.",
        }
    }
}

impl Shares {
    /// Loads the links at `path`; a corrupt file counts as empty.
    pub fn load(path: &Path, key: Key) -> Self {
        let kept = ReadPolicy::max_size(MAX_BYTES)
            .read_if_exists(path)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice::<Vec<Share>>(&bytes).ok());
        let by_id = kept.unwrap_or_default().into_iter().map(|share| (share.id.clone(), share)).collect();
        Self { file: StateFile::new(path, WriteOptions::durable(0o600)), key, by_id }
    }

    /// Creates a link to one service; returns it with its secret word.
    pub fn create(
        &mut self,
        service: &str,
        port: u16,
        seconds: u64,
        max_uses: Option<u32>,
        now: u64,
    ) -> Result<(Share, String)> {
        ensure!((1..=MAX_LIFETIME).contains(&seconds), "a link must expire within one second to one year");
        ensure!(max_uses != Some(0), "the maximum number of uses must be at least 1");
        self.by_id.retain(|_, share| share.expires > now);
        ensure!(self.by_id.len() < MAX_LINKS, "there are already {MAX_LINKS} links");
        let id = web_login::instance()? + &web_login::instance()?;
        let share = Share {
            id: id.clone(),
            service: service.to_owned(),
            port,
            created: now,
            expires: now + seconds,
            max_uses,
            uses: 0,
        };
        self.by_id.insert(id.clone(), share.clone());
        let bytes = self.bytes();
        self.file.write(bytes);
        Ok((share, self.key.sign(PURPOSE, &id)))
    }

    /// Returns the link with this secret word, if it is valid for the service at `port`.
    pub fn check(&self, word: &str, port: u16, now: u64) -> Result<&Share, ShareError> {
        let id = self.key.verify(PURPOSE, word).ok_or(ShareError::Unknown)?;
        let share = self.by_id.get(id).ok_or(ShareError::Unknown)?;
        if share.port != port {
            Err(ShareError::OtherService)
        } else if share.expires <= now {
            Err(ShareError::Expired)
        } else if share.max_uses.is_some_and(|most| share.uses >= most) {
            Err(ShareError::UsedUp)
        } else {
            Ok(share)
        }
    }

    /// Like [`Self::check`], and counts a use.
    pub fn redeem(&mut self, word: &str, port: u16, now: u64) -> Result<Share, ShareError> {
        let id = self.check(word, port, now)?.id.clone();
        let share = self.by_id.get_mut(&id).ok_or(ShareError::Unknown)?;
        share.uses += 1;
        let share = share.clone();
        let bytes = self.bytes();
        self.file.write(bytes);
        Ok(share)
    }

    /// Revokes a link; returns true if there was one.
    pub fn revoke(&mut self, id: &str) -> bool {
        let existed = self.by_id.remove(id).is_some();
        if existed {
            let bytes = self.bytes();
            self.file.replace_or_remove(bytes);
        }
        existed
    }

    /// Writes the links if an earlier write has failed.
    pub fn flush(&mut self) {
        if self.file.needs_write() {
            let bytes = self.bytes();
            self.file.write(bytes);
        }
    }

    /// Returns the reason why links would not survive a restart.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }

    /// Returns the links that have not expired, the one that expires first at the top.
    pub fn list(&self, now: u64) -> Vec<Share> {
        let mut active: Vec<Share> =
            self.by_id.values().filter(|share| share.expires > now).cloned().collect();
        active.sort_by(|one, other| (one.expires, &one.id).cmp(&(other.expires, &other.id)));
        active
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let shares: Vec<&Share> = self.by_id.values().collect();
        serde_json::to_vec(&shares).context("cannot serialize the share links")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::KeyFile;
    use crate::state_file::tests::FullDisk;

    const NOW: u64 = 1_000;

    fn shares(dir: &tempfile::TempDir) -> Shares {
        let key = KeyFile::load(&dir.path().join("key")).unwrap().key();
        Shares::load(&dir.path().join("shares.json"), key)
    }

    #[test]
    fn a_link_is_valid_for_its_service_until_it_expires_or_is_used_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = shares(&dir);
        let (share, word) = links.create("Echo", 8080, 60, Some(2), NOW).unwrap();
        assert_eq!(links.check(&word, 8081, NOW), Err(ShareError::OtherService));
        assert_eq!(links.check(&word, 8080, NOW + 60), Err(ShareError::Expired));
        assert_eq!(
            links.check(&word.replace(&share.id, "0000000000000000"), 8080, NOW),
            Err(ShareError::Unknown)
        );
        assert_eq!(links.redeem(&word, 8080, NOW).unwrap().uses, 1);
        let mut restarted = shares(&dir);
        assert_eq!(restarted.redeem(&word, 8080, NOW).unwrap().uses, 2);
        assert_eq!(restarted.redeem(&word, 8080, NOW), Err(ShareError::UsedUp));
    }

    #[test]
    fn a_revoked_link_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = shares(&dir);
        let (share, word) = links.create("Echo", 8080, 60, None, NOW).unwrap();
        assert_eq!(links.list(NOW), std::slice::from_ref(&share));
        assert!(links.revoke(&share.id) && !links.revoke(&share.id));
        assert_eq!(links.check(&word, 8080, NOW), Err(ShareError::Unknown));
        assert_eq!(shares(&dir).check(&word, 8080, NOW), Err(ShareError::Unknown));
    }

    #[test]
    fn with_a_full_disk_links_are_kept_in_memory_and_a_revoked_one_stays_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let (old, _) = shares(&dir).create("Echo", 8080, 60, None, NOW).unwrap();
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        let disk = FullDisk::with(&[("key", &read("key")), ("shares.json", &read("shares.json"))]);
        let load = || {
            let key = KeyFile::load(&disk.path().join("key")).unwrap().key();
            Shares::load(&disk.path().join("shares.json"), key)
        };
        let mut links = load();
        let (new, word) = links.create("Echo", 8080, 60, None, NOW).unwrap();
        assert!(links.redeem(&word, 8080, NOW).is_ok() && links.problem().is_some());
        assert!(links.revoke(&old.id));
        assert_eq!(load().list(NOW), []);
        disk.free();
        links.flush();
        assert_eq!((links.problem(), load().list(NOW)[0].id.as_str()), (None, new.id.as_str()));
    }

    #[test]
    fn links_are_listed_until_they_expire_and_their_number_is_limited() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = shares(&dir);
        let [late, soon] = [60, 30].map(|seconds| links.create("Echo", 8080, seconds, None, NOW).unwrap().0);
        assert_eq!((late.created, late.expires, late.uses), (NOW, NOW + 60, 0));
        assert_eq!(links.list(NOW + 29), [soon.clone(), late.clone()]);
        assert_eq!(links.list(NOW + 30), [late]);
        (2..MAX_LINKS).for_each(|number| drop(links.by_id.insert(number.to_string(), soon.clone())));
        assert!(links.create("Echo", 8080, 60, None, NOW).is_err());
        assert!(links.create("Echo", 8080, 60, None, NOW + 30).is_ok(), "expired ones do not count");
    }

    #[test]
    fn a_link_expires_within_a_year() {
        let dir = tempfile::tempdir().unwrap();
        let (share, _) = shares(&dir).create("Echo", 8080, 31_536_000, None, NOW).unwrap();
        assert_eq!(share.expires, NOW + 31_536_000);
        assert!(shares(&dir).create("Echo", 8080, 31_536_001, None, NOW).is_err());
    }

    #[test]
    fn a_link_that_could_never_be_used_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = shares(&dir);
        assert!(links.create("Echo", 8080, 0, None, NOW).is_err());
        assert!(links.create("Echo", 8080, MAX_LIFETIME + 1, None, NOW).is_err());
        assert!(links.create("Echo", 8080, 60, Some(0), NOW).is_err());
    }
}
