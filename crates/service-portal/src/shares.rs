//! Share links: one service for somebody else, for a while, without the password.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kit::ReadPolicy;
use kit::atomic::WriteOptions;
use portal_control::Share;

use crate::signing::Key;
use crate::state_file::StateFile;

/// Keeps the signature of a link from being used as anything else.
const PURPOSE: &str = "share";
/// Links kept at most.
const MOST: usize = 1_000;
/// A thousand of them are a tenth of this, in bytes.
const LARGEST: u64 = 4 << 20;
/// The longest life of a link, in seconds: a year.
pub const LONGEST: u64 = 365 * 24 * 3_600;

/// The links of this container.
pub struct Shares {
    file: StateFile,
    key: Key,
    by_id: BTreeMap<String, Share>,
}

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareError {
    /// Not signed by us, or revoked: a stranger is not told which.
    Unknown,
    /// Made for another service.
    OtherService,
    /// Its time is over.
    Expired,
    /// It has been used as often as it may.
    UsedUp,
}

impl ShareError {
    /// What the visitor is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Unknown | Self::OtherService => "This link is not valid here.",
            Self::Expired => "This link has expired. Ask for a new one.",
            Self::UsedUp => "This link has been used as often as it may. Ask for a new one.",
        }
    }
}

impl Shares {
    /// The links kept at `path`; a damaged file counts as none.
    pub fn load(path: &Path, key: Key) -> Self {
        let kept = ReadPolicy::max_size(LARGEST)
            .read_if_exists(path)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice::<Vec<Share>>(&bytes).ok());
        let by_id = kept.unwrap_or_default().into_iter().map(|share| (share.id.clone(), share)).collect();
        Self { file: StateFile::new(path, WriteOptions::durable(0o600)), key, by_id }
    }

    /// Makes a link to one service and returns it with its secret word.
    pub fn create(
        &mut self,
        service: &str,
        port: u16,
        seconds: u64,
        max_uses: Option<u32>,
        now: u64,
    ) -> Result<(Share, String)> {
        ensure!((1..=LONGEST).contains(&seconds), "a link lives between a second and a year");
        ensure!(max_uses != Some(0), "a link that can be used 0 times is none");
        self.by_id.retain(|_, share| share.expires > now);
        ensure!(self.by_id.len() < MOST, "there are {MOST} links already");
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

    /// The link of a secret word, if it opens the service at `port` now.
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

    /// Like [`Self::check`], and counts it as a use.
    pub fn redeem(&mut self, word: &str, port: u16, now: u64) -> Result<Share, ShareError> {
        let id = self.check(word, port, now)?.id.clone();
        let share = self.by_id.get_mut(&id).ok_or(ShareError::Unknown)?;
        share.uses += 1;
        let share = share.clone();
        let bytes = self.bytes();
        self.file.write(bytes);
        Ok(share)
    }

    /// Ends a link; says whether there was one.
    pub fn revoke(&mut self, id: &str) -> bool {
        let there = self.by_id.remove(id).is_some();
        if there {
            let bytes = self.bytes();
            self.file.replace_or_remove(bytes);
        }
        there
    }

    /// Writes what could not be written before.
    pub fn flush(&mut self) {
        if self.file.problem().is_some() {
            let bytes = self.bytes();
            self.file.write(bytes);
        }
    }

    /// The reason why links do not survive a restart.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }

    /// The links that have not expired, the one that expires first at the beginning.
    pub fn list(&self, now: u64) -> Vec<Share> {
        let mut living: Vec<Share> =
            self.by_id.values().filter(|share| share.expires > now).cloned().collect();
        living.sort_by(|one, other| (one.expires, &one.id).cmp(&(other.expires, &other.id)));
        living
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let shares: Vec<&Share> = self.by_id.values().collect();
        serde_json::to_vec(&shares).context("cannot describe the share links")
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
    fn a_link_opens_its_service_for_its_time_and_as_often_as_it_may() {
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
    fn with_a_full_disk_links_live_in_memory_and_a_revoked_one_does_not_come_back() {
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
    fn links_are_listed_until_they_expire_and_there_is_a_most() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = shares(&dir);
        let [late, soon] = [60, 30].map(|seconds| links.create("Echo", 8080, seconds, None, NOW).unwrap().0);
        assert_eq!((late.created, late.expires, late.uses), (NOW, NOW + 60, 0));
        assert_eq!(links.list(NOW + 29), [soon.clone(), late.clone()]);
        assert_eq!(links.list(NOW + 30), [late]);
        (2..MOST).for_each(|number| drop(links.by_id.insert(number.to_string(), soon.clone())));
        assert!(links.create("Echo", 8080, 60, None, NOW).is_err());
        assert!(links.create("Echo", 8080, 60, None, NOW + 30).is_ok(), "expired ones make room");
    }

    #[test]
    fn a_link_lives_for_a_year_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let (share, _) = shares(&dir).create("Echo", 8080, 31_536_000, None, NOW).unwrap();
        assert_eq!(share.expires, NOW + 31_536_000);
        assert!(shares(&dir).create("Echo", 8080, 31_536_001, None, NOW).is_err());
    }

    #[test]
    fn a_link_that_could_never_be_used_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = shares(&dir);
        assert!(links.create("Echo", 8080, 0, None, NOW).is_err());
        assert!(links.create("Echo", 8080, LONGEST + 1, None, NOW).is_err());
        assert!(links.create("Echo", 8080, 60, Some(0), NOW).is_err());
    }
}
