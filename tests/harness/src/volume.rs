//! A volume of another kind than the machine's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Output, RunOptions};

/// A file system that is mounted for a test.
pub struct Volume {
    directory: TempDir,
}

impl Volume {
    /// A file system without owners and modes, as network volumes of some providers are: everything is root's and open
    /// to every user, and every change of that fails with "Operation not permitted".
    #[track_caller]
    pub fn without_owners() -> Self {
        Self::of_root("--perms=a+rwX")
    }

    /// The same, writable only by root.
    #[track_caller]
    pub fn root_only() -> Self {
        Self::of_root("--perms=a=rX:u+w")
    }

    /// A file system with owners and modes that keeps no ACLs, and is root's.
    #[track_caller]
    pub fn without_acls() -> Self {
        let volume = Self::unmounted();
        succeed(Command::new("mount").args(["-t", "ramfs", "-o", "mode=755", "none"]).arg(volume.path()));
        volume
    }

    /// A full disk with the content that a place has in an image: no byte can be added.
    #[track_caller]
    pub fn full(place: &str) -> Self {
        let volume = Self::unmounted();
        let mount = ["-t", "tmpfs", "-o", "size=512m", "none"];
        succeed(Command::new("mount").args(mount).arg(volume.path()));
        // The content first; then the limit comes down to what is used.
        let script = format!("cp -a {place}/. /disk && chmod --reference={place} /disk");
        let copy = RunOptions::new().mount(&volume.path(), "/disk", "").option("--entrypoint").option("sh");
        copy.command(&["-c", &script]).run_to_end().text();
        volume.fill();
        volume
    }

    /// Takes all free space away.
    #[track_caller]
    pub fn fill(&self) {
        let df = Command::new("df").args(["-k", "--output=used"]).arg(self.path()).output().expect("df");
        let used = String::from_utf8_lossy(&df.stdout).lines().last().expect("a number").trim().to_owned();
        self.limit(&format!("{used}k"));
    }

    /// An empty disk of 8 GB, which takes only the memory that is used.
    #[track_caller]
    pub fn empty() -> Self {
        let volume = Self::unmounted();
        let mount = ["-t", "tmpfs", "-o", "size=8g,mode=755", "none"];
        succeed(Command::new("mount").args(mount).arg(volume.path()));
        volume
    }

    /// Changes an option, such as `ro`, for everyone who has the volume mounted.
    #[track_caller]
    pub fn remount(&self, option: &str) {
        succeed(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(self.path()));
    }

    /// Gives a full disk room.
    #[track_caller]
    pub fn grow(&self) {
        self.limit("512m");
    }

    #[track_caller]
    fn limit(&self, size: &str) {
        self.remount(&format!("size={size}"));
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
        // Without allow_other, only root could read it.
        let mut mount = Command::new("bindfs");
        succeed(
            mount.args(owners).args(refusals).args(["-o", "allow_other"]).arg(content).arg(volume.path()),
        );
        volume
    }

    /// Mount point.
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
