//! A lock on a file or directory, which the kernel releases when its holder exits for any reason.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait;

/// A lock file, held from [`Lock::acquire`] until this is dropped. The file itself stays and is empty.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Opens or creates the file, accessible to its owner only, without locking it. A symbolic link is refused.
    ///
    /// Only accounts that may hold the lock should have write access to the directory: others could hold it for ever.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
        let file = options.open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Opens a directory, without locking it. Every account that can read the directory may hold the lock.
    pub fn open_directory(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Locks a directory in which only one process may work.
    ///
    /// A volume may refuse locks or belong to any user. That is logged, and nothing may be locked, because a program that
    /// does not start is worse than two running ones.
    pub fn lock_directory(path: &Path) -> Result<Option<Self>> {
        let me = nix::unistd::geteuid().as_raw();
        let owner = fs::metadata(path).map_or(me, |meta| meta.uid());
        let (file, state) = match File::open(path) {
            Err(error) => (None, State::Refused(error)),
            Ok(file) => {
                let state = match file.try_lock() {
                    Err(TryLockError::WouldBlock) => State::Busy,
                    Err(TryLockError::Error(error)) => State::Refused(error),
                    Ok(()) if owner != me => State::Foreign,
                    Ok(()) => State::Held,
                };
                (Some(file), state)
            }
        };
        if let Some(warning) = state.judge(path)? {
            log::warn!("{warning}");
        }
        Ok(file.map(|file| Self { file, path: path.to_owned() }))
    }

    /// Waits for the lock until `deadline`; the error names the lock, or why the kernel refused it.
    pub fn acquire(&self, deadline: Duration) -> Result<()> {
        let what = format!("the other program that holds {}", self.path.display());
        let locked = wait::until(deadline, &what, || match self.file.try_lock() {
            Ok(()) => Some(Ok(())),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => Some(Err(error)),
        })?;
        locked.with_context(|| format!("cannot lock {}", self.path.display()))
    }
}

/// Result of locking a directory.
enum State {
    Held,
    Busy,
    /// It belongs to another account.
    Foreign,
    Refused(io::Error),
}

impl State {
    /// Returns the message to log, or an error if two programs would conflict.
    fn judge(self, path: &Path) -> Result<Option<String>> {
        let path = path.display();
        Ok(Some(match self {
            Self::Held => return Ok(None),
            Self::Busy => bail!("another process is using {path}"),
            Self::Foreign => format!("{path} belongs to another user; files in it may be inaccessible"),
            Self::Refused(error) => {
                format!("cannot lock {path}: {error}; a second process would not be detected")
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_process_ends_a_start() {
        let refused = || State::Refused(io::ErrorKind::Unsupported.into());
        let table = [
            (State::Held, Ok(None)),
            (State::Busy, Err("another process is using /v")),
            (State::Foreign, Ok(Some("/v belongs to another user; files in it may be inaccessible"))),
            (refused(), Ok(Some("cannot lock /v: unsupported; a second process would not be detected"))),
        ];
        for (state, expected) in table {
            let judged = state.judge(Path::new("/v")).map_err(|error| error.to_string());
            assert_eq!(judged, expected.map(|text| text.map(str::to_owned)).map_err(str::to_owned));
        }
        assert!(Lock::lock_directory(Path::new("/no/such")).unwrap().is_none());
    }

    #[test]
    fn a_second_holder_waits_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::open(&path).unwrap();
        first.acquire(Duration::ZERO).unwrap();
        let second = Lock::open(&path).unwrap();
        let error = second.acquire(Duration::from_millis(10)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("timed out after 0.0 s waiting for the other program that holds {}", path.display())
        );
        drop(first);
        // A program that another test is about to start may have the descriptor of the first until then.
        second.acquire(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_directory_is_held_by_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Lock::lock_directory(dir.path()).unwrap();
        let error = Lock::lock_directory(dir.path()).unwrap_err().to_string();
        assert_eq!(error, format!("another process is using {}", dir.path().display()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file is left");
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("lock");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(Lock::open(&link).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }
}
