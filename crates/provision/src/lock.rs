//! Lock of the only run, with the process that holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kit::process::Process;
use kit::{system_account, wait};

/// Width of the process number in the file.
const LONGEST_NUMBER: usize = 10;
const GROUP: &str = "leonardo";
/// `provision status` holds the lock for microseconds.
const LOOK: Duration = Duration::from_millis(300);
/// Time in which processes of a killed run are ended (see `cleanup_guard`).
const CLEANING: Duration = Duration::from_secs(15);

/// The lock, held until every descriptor of this file is closed, also the guard's.
#[derive(Debug)]
pub struct Lock(pub File);

impl Lock {
    /// Takes the lock. With `wait`, waits for another run as long as it takes; always waits for the processes of a killed
    /// run to be ended.
    pub fn acquire(path: &Path, wait: bool) -> Result<Self> {
        let cannot = || format!("cannot lock {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o640)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(path)
            .with_context(cannot)?;
        let try_lock = || match file.try_lock() {
            Ok(()) => Some(Ok(())),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => Some(Err(error)),
        };
        let mut locked = wait::until(LOOK, "the lock", try_lock).ok();
        if locked.is_none() {
            let timeout = match (holder(path), wait) {
                (Some(process), false) => bail!("the script is already running as process {process}"),
                (Some(_), true) => Duration::MAX,
                (None, _) => CLEANING,
            };
            locked = wait::until(timeout, "the lock", try_lock).ok();
        }
        let Some(locked) = locked else { bail!("processes of an earlier run are still running") };
        locked.and_then(|()| write_holder(&mut file)).with_context(cannot)?;
        Ok(Self(file))
    }

    /// Records that the script is being ended, so that the next run waits for that.
    pub fn record_ending(&self) {
        // In place, and so on a full disk too. After an error, the next run reports that the script is running.
        let _ = self.0.write_all_at(&[b' '; LONGEST_NUMBER], 0);
    }

    /// Releases the lock, also the guard's, which may exit a moment later.
    pub fn release(&self) {
        // Closing the last descriptor releases it anyway.
        let _ = self.0.unlock();
    }

    /// Returns whether a run, or the end of a killed one, is in progress; nothing if the lock cannot be read.
    pub fn is_held(path: &Path) -> Option<bool> {
        match File::open(path) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => Some(false),
                Err(TryLockError::WouldBlock) => Some(true),
                Err(TryLockError::Error(_)) => None,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(false),
            Err(_) => None,
        }
    }
}

/// Writes the process number, for messages; members of the group may read it.
fn write_holder(file: &mut File) -> io::Result<()> {
    if let Some(group) = system_account::group(GROUP) {
        nix::unistd::fchown(&*file, None, Some(group.into()))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o640))?;
    file.set_len(0)?;
    file.rewind()?;
    // The lock holds without it, on a full disk.
    let _ = file.write_all(std::process::id().to_string().as_bytes());
    Ok(())
}

/// Returns the process that holds the lock, if it is a living `provision` that is not ending its script.
fn holder(path: &Path) -> Option<i32> {
    let mut text = String::new();
    File::open(path).ok()?.take(20).read_to_string(&mut text).ok()?;
    let process: i32 = text.trim().parse().ok()?;
    let found = Process::new(process).stat()?;
    (found.name == "provision" && found.is_alive).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_reports_its_state_and_ends_with_its_last_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(Lock::is_held(&path), Some(false));
        let lock = Lock::acquire(&path, false).unwrap();
        let second = lock.0.try_clone().unwrap();
        assert_eq!(Lock::is_held(&path), Some(true));
        drop(lock);
        assert_eq!(Lock::is_held(&path), Some(true), "another descriptor keeps it");
        drop(second);
        assert_eq!(Lock::is_held(&path), Some(false));
        let lock = Lock::acquire(&path, false).unwrap();
        let second = lock.0.try_clone().unwrap();
        lock.release();
        assert_eq!(Lock::is_held(&path), Some(false), "released for all");
        drop(second);
    }
}
