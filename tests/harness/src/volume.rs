//! A volume of another kind than the machine's own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Output;

/// In bytes; the file is sparse.
const SIZE: u64 = 32 * 1024 * 1024;

/// A file system without owners and modes, as some providers' volumes are: everything is root's, and open to everybody.
pub struct Volume {
    directory: TempDir,
}

impl Volume {
    /// Makes one in a file, and mounts it for as long as this lives.
    #[track_caller]
    pub fn without_owners() -> Self {
        let volume = Self { directory: tempfile::tempdir().expect("a directory") };
        let image = volume.directory.path().join("image");
        File::create(&image).and_then(|file| file.set_len(SIZE)).expect("a sparse file");
        std::fs::create_dir(volume.path()).expect("a directory");
        succeed(Command::new("mkntfs").args(["--quick", "--force", "--quiet"]).arg(&image));
        // Without allow_other, nobody but root could look into it.
        succeed(Command::new("ntfs-3g").args(["-o", "allow_other"]).arg(&image).arg(volume.path()));
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
