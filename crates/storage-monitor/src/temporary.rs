//! Names that links have for a moment, which no other monitor uses: two may work in one directory of a shared volume.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use nix::errno::Errno;

/// Digits of an identity.
const DIGITS: usize = 16;
/// Whoever has taken so many of our names wants us to stop.
const ATTEMPTS: usize = 100;

/// The temporary names of one monitor.
#[derive(Debug, Clone)]
pub struct Temporary(String);

impl Temporary {
    /// Those of the monitor with this state directory, also of its earlier runs; of no other monitor, if it has none yet.
    pub fn recall(state: &Path) -> Result<Self> {
        let known = fs::read_to_string(file(state)).unwrap_or_default();
        let valid = known.len() == DIGITS && known.bytes().all(|byte| byte.is_ascii_hexdigit());
        let identity = if valid { known } else { format!("{:016x}", getrandom::u64()?) };
        Ok(Self(format!(".storage-monitor.{identity}.")))
    }

    /// Sees to it that later runs have the same names.
    pub fn keep(&self, state: &Path) -> Result<()> {
        let identity = self.0.rsplit('.').nth(1).context("a temporary name without identity")?;
        atomic::write_if_changed(&file(state), identity.as_bytes(), WriteOptions::durable(0o644)).map(drop)
    }

    /// Whether it is one of these names.
    pub fn is(&self, name: &[u8]) -> bool {
        name.starts_with(self.0.as_bytes())
    }

    /// Gives a name to `take`, and another as long as that finds it taken; returns the one that was free.
    pub fn claim(&self, mut take: impl FnMut(&OsStr) -> nix::Result<()>) -> nix::Result<OsString> {
        for number in 0..ATTEMPTS {
            let name = OsString::from(format!("{}{number}", self.0));
            match take(&name) {
                Err(Errno::EEXIST) => {}
                taken => return taken.map(|()| name),
            }
        }
        Err(Errno::EEXIST)
    }

    #[cfg(test)]
    pub fn of(identity: &str) -> Self {
        Self(format!(".storage-monitor.{identity}."))
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("identity")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_monitor_keeps_its_names_and_no_two_have_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let names = || Temporary::recall(folder.path()).unwrap();
        let ours = names();
        assert_ne!(ours.0, names().0, "nothing is kept yet");
        ours.keep(folder.path()).unwrap();
        assert_eq!(ours.0, names().0);
        let second =
            ours.claim(|name| if name.as_bytes().ends_with(b".0") { Err(Errno::EEXIST) } else { Ok(()) });
        let second = second.unwrap();
        assert!(
            second.as_bytes().ends_with(b".1")
                && ours.is(second.as_bytes())
                && !ours.is(b".storage-monitor.x.1")
        );
        assert_eq!(ours.claim(|_| Err(Errno::EEXIST)), Err(Errno::EEXIST));
        assert_eq!(ours.claim(|_| Err(Errno::EROFS)), Err(Errno::EROFS));
        fs::write(file(folder.path()), "../../../../../x").unwrap();
        assert_ne!(ours.0, names().0, "what is no identity is not used");
    }
}
