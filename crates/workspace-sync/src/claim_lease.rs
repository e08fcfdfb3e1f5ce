//! A claim in use: a thread renews it and notices if another container takes it over.
//!
//! A process that was paused for longer than others wait (a suspended machine, a hung volume) must not continue in a
//! directory that another container now uses as its copy. A claim is a file and cannot forbid writes, so it is checked
//! before each pass, each removal and the rename, and every few seconds.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use kit::HintExt;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::partial_claim::{self, Claim, TOUCH_EVERY};
use crate::reserved_names;

/// The claim on a partial copy, until this is dropped.
#[derive(Debug)]
pub struct ClaimLease {
    place: Arc<Place>,
    keeper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Place {
    claim: Claim,
    parent: OwnedFd,
    name: OsString,
    directory: OwnedFd,
    shown: PathBuf,
    lost: AtomicBool,
    ended: AtomicBool,
}

impl ClaimLease {
    /// Renews `claim` on `directory`, which has the last name of `path` in `parent`.
    pub fn new(claim: &Claim, parent: &OwnedFd, path: &Path, directory: &OwnedFd) -> Result<Self> {
        let another =
            |descriptor: &OwnedFd| descriptor.try_clone().context("cannot duplicate a file descriptor");
        let place = Arc::new(Place {
            claim: claim.clone(),
            parent: another(parent)?,
            name: path.file_name().unwrap_or_default().to_owned(),
            directory: another(directory)?,
            shown: path.to_owned(),
            lost: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let kept = Arc::clone(&place);
        let keeper = thread::Builder::new().name("claim".to_owned()).spawn(move || kept.keep());
        Ok(Self { place, keeper: Some(keeper.context("cannot start a thread")?) })
    }

    /// The root of the partial copy.
    pub fn directory(&self) -> &OwnedFd {
        &self.place.directory
    }

    /// True if the last check found the claim lost.
    pub fn is_lost(&self) -> bool {
        self.place.lost.load(Ordering::Relaxed)
    }

    /// Fails unless the directory still has its name and our claim.
    pub fn check(&self) -> Result<()> {
        if self.place.is_ours()? {
            return Ok(());
        }
        self.place.lost.store(true, Ordering::Relaxed);
        Err(anyhow!("{} was taken over by another container, or is in use", self.place.shown.display()))
            .hint(|| partial_claim::USED_ONCE_COMPLETE.to_owned())
    }

    /// Records that all content was compared, or written since this boot.
    pub fn confirm(&self) -> Result<()> {
        self.check()?;
        self.place.claim.write(&self.place.directory)
    }
}

impl Drop for ClaimLease {
    fn drop(&mut self) {
        self.place.ended.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            keeper.thread().unpark();
            let _ = keeper.join();
        }
    }
}

impl Place {
    fn keep(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            match self.is_ours() {
                // Do not renew the claim of another container.
                Ok(false) => return self.lost.store(true, Ordering::Relaxed),
                // The copy itself reports a failing volume.
                Err(_) => {}
                Ok(true) => drop(utimensat(
                    &self.directory,
                    reserved_names::CLAIM,
                    &TimeSpec::UTIME_NOW,
                    &TimeSpec::UTIME_NOW,
                    UtimensatFlags::NoFollowSymlink,
                )),
            }
            thread::park_timeout(TOUCH_EVERY);
        }
    }

    /// True if the directory of this name has our claim; a renamed one is in use.
    fn is_ours(&self) -> Result<bool> {
        let name: &OsStr = &self.name;
        let there = match dirfd::open_dir(&self.parent, name) {
            Err(error) if dirfd::is_absent(error) => return Ok(false),
            opened => opened
                .map_err(io::Error::from)
                .with_context(|| format!("cannot open {}", self.shown.display()))?,
        };
        Ok(Claim::read(&there)?.is_some_and(|found| self.claim.is_held_by(&found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partial_claim::ClaimResult;
    use std::fs;
    use std::time::Duration;

    fn claim(container: &str, instance: &str) -> Claim {
        Claim {
            tree: "x".into(),
            container: container.into(),
            instance: instance.into(),
            host: "h".into(),
            boot: "1".into(),
            waiting: false,
        }
    }

    fn lease(own: &Claim, at: &Path) -> ClaimLease {
        let parent = dirfd::open_root(at).unwrap();
        let ClaimResult::Ours { directory, .. } = own.take(&parent, OsStr::new("x.partial")).unwrap() else {
            panic!("it is free");
        };
        ClaimLease::new(own, &parent, &at.join("x.partial"), &directory).unwrap()
    }

    #[test]
    fn it_is_ours_until_another_container_or_another_start_of_a_saved_one_writes_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for other in [claim("b", "1"), claim("a", "2")] {
            let held = lease(&claim("a", "1"), dir.path());
            held.check().unwrap();
            other.write(held.directory()).unwrap();
            let error = held.check().unwrap_err().to_string();
            assert!(
                error.ends_with("x.partial was taken over by another container, or is in use"),
                "{error}"
            );
            assert!(held.is_lost());
            assert!(held.confirm().is_err(), "the other's claim stays");
            assert_eq!(Claim::read(held.directory()).unwrap(), Some(other));
            drop(held);
            fs::remove_dir_all(dir.path().join("x.partial")).unwrap();
        }
    }

    #[test]
    fn what_was_renamed_is_ours_no_more_although_it_has_our_claim() {
        let dir = tempfile::tempdir().unwrap();
        let held = lease(&claim("a", "1"), dir.path());
        fs::rename(dir.path().join("x.partial"), dir.path().join("x")).unwrap();
        assert!(held.check().is_err());
        fs::create_dir(dir.path().join("x.partial")).unwrap();
        assert!(held.check().is_err(), "another directory of that name is not it");
        assert!(Claim::read(held.directory()).unwrap().is_some());
    }

    #[test]
    fn its_thread_touches_it_and_notices_the_loss_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let held = lease(&claim("a", "1"), dir.path());
        let file = dir.path().join("x.partial").join(reserved_names::CLAIM);
        let wake = || held.keeper.as_ref().unwrap().thread().unpark();
        let long_ago = std::time::UNIX_EPOCH;
        fs::File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        kit::wait::until(Duration::from_secs(30), "a touch", || {
            wake();
            (fs::metadata(&file).unwrap().modified().unwrap() > long_ago).then_some(())
        })
        .unwrap();
        claim("b", "1").write(held.directory()).unwrap();
        kit::wait::until(Duration::from_secs(30), "the loss", || {
            wake();
            held.is_lost().then_some(())
        })
        .unwrap();
    }
}
