//! Mounts the file system, and unmounts it on every exit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::fault::Fault;
use crate::faults::Faults;
use crate::passthrough::PassThrough;

/// Number of concurrent requests.
const THREADS: usize = 4;

/// A mounted file system without faults, until some are injected; unmounted when it is dropped.
#[derive(Debug)]
pub struct FaultFs {
    at: PathBuf,
    faults: Arc<Faults>,
    session: Option<BackgroundSession>,
}

impl FaultFs {
    /// Shows the directory `backing` at the directory `at`; needs root and `/dev/fuse`.
    pub fn mount(backing: &Path, at: &Path) -> Result<Self> {
        let resolve = |path: &Path| {
            fs::canonicalize(path).with_context(|| format!("cannot resolve {}", path.display()))
        };
        let (backing, at) = (resolve(backing)?, resolve(at)?);
        let faults = Arc::new(Faults::default());
        let filesystem = PassThrough::new(&backing, faults.clone())
            .with_context(|| format!("cannot open {}", backing.display()))?;
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("faultfs".into()),
            MountOption::Subtype("faultfs".into()),
            MountOption::DefaultPermissions,
            MountOption::Dev,
            MountOption::Suid,
        ];
        config.acl = SessionACL::All;
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(filesystem, &at, &config)
            .with_context(|| format!("cannot mount a FUSE file system at {}", at.display()))?;
        Ok(Self { at, faults, session: Some(session) })
    }

    /// Mount point.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Adds a fault to the active ones.
    pub fn inject(&self, fault: Fault) {
        self.faults.inject(fault);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.faults.clear();
    }
}

impl Drop for FaultFs {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        match unmount(&self.at, UnmountFlags::empty()) {
            Err(Errno::BUSY) => {
                // It is detached now, and ends when its last file is closed, which cannot be waited for.
                let _ = unmount(&self.at, UnmountFlags::DETACH);
                std::mem::forget(session);
            }
            // Errors of the server's threads no longer matter.
            _ => drop(session.umount_and_join()),
        }
    }
}
