//! A volume of another kind than the machine's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Output;

/// A file system that is mounted for a test.
pub struct Volume {
    directory: TempDir,
}

impl Volume {
    /// A file system without owners and modes, as network volumes of some providers are: everything is root's and open
    /// to everybody, and every change of that fails with "Operation not permitted".
    #[track_caller]
    pub fn without_owners() -> Self {
        Self::of_root("--perms=a+rwX")
    }

    /// The same, and root alone may write.
    #[track_caller]
    pub fn closed() -> Self {
        Self::of_root("--perms=a=rX:u+w")
    }

    /// A file system with owners and modes that keeps no ACLs, and is root's.
    #[track_caller]
    pub fn without_acls() -> Self {
        let volume = Self::unmounted();
        succeed(Command::new("mount").args(["-t", "ramfs", "-o", "mode=755", "none"]).arg(volume.path()));
        volume
    }

    #[track_caller]
    fn unmounted() -> Self {
        let volume = Self { directory: tempfile::tempdir().expect("a directory") };
        std::fs::create_dir(volume.path()).expect("a directory");
        volume
    }

    #[track_caller]
    fn of_root(permissions: &str) -> Self {
        let volume = Self::unmounted();
        let content = volume.directory.path().join("content");
        std::fs::create_dir(&content).expect("a directory");
        let owners = ["--force-user=root", "--force-group=root", permissions];
        let refusals = ["--chown-deny", "--chgrp-deny", "--chmod-deny"];
        // Without allow_other, nobody but root could look into it.
        let mut mount = Command::new("bindfs");
        succeed(
            mount.args(owners).args(refusals).args(["-o", "allow_other"]).arg(content).arg(volume.path()),
        );
        volume
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A container may still be on its way out with it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}

#[track_caller]
fn succeed(command: &mut Command) {
    let program = Path::new(command.get_program()).to_owned();
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    Output::from(output).text();
}
