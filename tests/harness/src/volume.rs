//! A volume of another kind than the machine's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Output;

/// A file system without owners and modes, as network volumes of some providers are: everything is root's and open to
/// everybody, and who wants to change that is told "Operation not permitted".
pub struct Volume {
    directory: TempDir,
}

impl Volume {
    /// Mounts one for as long as this lives.
    #[track_caller]
    pub fn without_owners() -> Self {
        let volume = Self { directory: tempfile::tempdir().expect("a directory") };
        let content = volume.directory.path().join("content");
        for directory in [&content, &volume.path()] {
            std::fs::create_dir(directory).expect("a directory");
        }
        let owners = ["--force-user=root", "--force-group=root", "--perms=a+rwX"];
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
