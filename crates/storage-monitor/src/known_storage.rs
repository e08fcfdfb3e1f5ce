//! The storage that was used last. Links stay while its volume is missing or another directory is in its place: without
//! them, programs would download everything again.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dirfd::FileType;
use kit::atomic::{self, WriteOptions};
use nix::sys::statfs::fstatfs;

/// Maximum depth of the search for a file; a directory at this depth counts as one.
const DEPTH: usize = 32;

/// Type of the file system and inode of the storage, kept across restarts; device numbers change with them.
#[derive(Debug)]
pub struct KnownStorage {
    file: PathBuf,
    identity: Option<(u64, u64)>,
}

impl KnownStorage {
    /// Loads the identity that an earlier run saved.
    pub fn load(file: PathBuf) -> Self {
        let read = |text: String| {
            text.trim().split_once(' ').map(|(dev, ino)| Some((dev.parse().ok()?, ino.parse().ok()?)))
        };
        let identity = fs::read_to_string(&file).ok().and_then(read).flatten();
        Self { file, identity }
    }

    /// Returns the reason why the storage cannot be the one that links point into; files of the image in it do not count.
    pub fn mismatch(
        &mut self,
        storage: Option<&OwnedFd>,
        image: &Path,
        save: bool,
    ) -> io::Result<Option<&'static str>> {
        let Some(storage) = storage else { return Ok(Some("it is missing")) };
        let identity = identity(storage)?;
        if self.identity == Some(identity) {
            return Ok(None);
        }
        if self.identity.is_some() && !has_file(storage, image, DEPTH)? {
            return Ok(Some("it is a different directory than before and contains no files"));
        }
        if save {
            self.identity = Some(identity);
            // If it cannot be saved, the next run accepts any storage.
            let _ = atomic::write(
                &self.file,
                format!("{} {}\n", identity.0, identity.1).as_bytes(),
                WriteOptions::volatile(0o644),
            );
        }
        Ok(None)
    }
}

fn identity(storage: &OwnedFd) -> io::Result<(u64, u64)> {
    Ok((fstatfs(storage)?.filesystem_type().0.cast_unsigned(), dirfd::identity(storage)?.1))
}

/// True if there is anything but directories, hidden names and links to files of the image.
fn has_file(directory: impl AsFd, image: &Path, depth: usize) -> nix::Result<bool> {
    let directory = directory.as_fd();
    for name in dirfd::names(directory)? {
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let Some(stat) = dirfd::stat(directory, name.as_os_str())? else { continue };
        let is_file = match dirfd::file_type(&stat) {
            FileType::Symlink => !dirfd::read_link(directory, name.as_os_str())?
                .is_some_and(|text| text.as_bytes().starts_with(image.as_os_str().as_bytes())),
            FileType::Directory if depth > 0 => match dirfd::open_beneath(directory, Path::new(&name)) {
                Ok(child) => has_file(child, image, depth - 1)?,
                Err(error) => !dirfd::is_absent(error),
            },
            _ => true,
        };
        if is_file {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn another_storage_is_doubted_until_it_has_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (image, one, two) = (dir.path().join("image"), dir.path().join("one"), dir.path().join("two"));
        for folder in [&one, &two] {
            fs::create_dir_all(folder.join("a/b")).unwrap();
        }
        let open = |path: &Path| dirfd::open_root(path).unwrap();
        let known = || KnownStorage::load(dir.path().join("known"));
        let mismatch = |path: &Path, keep| known().mismatch(Some(&open(path)), &image, keep).unwrap();
        assert_eq!((mismatch(&two, false), mismatch(&one, false)), (None, None), "a dry run saves nothing");
        fs::write(one.join("a/b/x"), "").unwrap();
        assert_eq!(mismatch(&one, true), None);
        fs::remove_file(one.join("a/b/x")).unwrap();
        assert_eq!(mismatch(&one, true), None, "emptied by its user");
        fs::write(two.join(".hidden"), "").unwrap();
        symlink(image.join("x"), two.join("x")).unwrap();
        assert!(mismatch(&two, true).is_some());
        symlink("/elsewhere", two.join("y")).unwrap();
        assert_eq!(mismatch(&two, true), None);
        assert_eq!(known().mismatch(None, &image, true).unwrap(), Some("it is missing"));
    }
}
