//! The generation of a tree: which state of the image it is, as a short name that is the same in every container.
//!
//! It is a digest of names, kinds, modes, sizes and link targets. Times are left out, because an image that was built
//! again from the same sources has new ones; so is compiled Python, which programs write while they run. What was
//! written since the container began is not the image's any more. What `fix-perms` changes, which runs at the same time,
//! makes no difference.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use kit::units;
use nix::fcntl::readlinkat;
use nix::sys::stat::SFlag;
use sha2::{Digest, Sha256};

use crate::beneath;
use crate::clock::Instant;
use crate::walk::{self, Entry, Next};

/// The generation of the tree at `root`, as 16 hexadecimal digits. `began` is when this container began to change it.
pub fn of(root: &Path, began: Option<Instant>) -> Result<String> {
    let mut digest = Sha256::new();
    walk::each::<io::Error>(beneath::open_root(root)?, &mut |entry| {
        let is_file = entry.kind() == SFlag::S_IFREG;
        if entry.base == "__pycache__" {
            return Ok(Next::Skip);
        }
        // Another group or mode changes the inode alone; and a time of writing can be set to any.
        if !(is_file && began.is_some_and(|began| entry.changed().min(entry.modified()) >= began)) {
            digest.update(line(entry));
        }
        Ok(Next::Enter)
    })
    .with_context(|| format!("cannot read {}", root.display()))?;
    Ok(units::hexadecimal(&digest.finalize()[..8]))
}

/// What `fix-perms` gives to the group: the bits of the owner, and directories to the group's heirs.
const OF_THE_GROUP: u32 = 0o2070;

fn line(entry: &Entry<'_>) -> Vec<u8> {
    let mut line = entry.name.as_os_str().as_bytes().to_vec();
    let size = if entry.kind() == SFlag::S_IFREG { entry.stat.st_size } else { 0 };
    line.extend(format!("\0{:o}\0{size}\0", entry.stat.st_mode & !OF_THE_GROUP).as_bytes());
    if entry.kind() == SFlag::S_IFLNK {
        line.extend(readlinkat(entry.directory, entry.base).unwrap_or_default().as_bytes());
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn content_that_came_with_the_image_names_the_generation_and_what_programs_write_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("lib")).unwrap();
        fs::write(root.join("lib/a.py"), "1").unwrap();
        std::os::unix::fs::symlink("a.py", root.join("lib/b.py")).unwrap();
        let generation = of(root, None).unwrap();
        assert_eq!(generation.len(), 16);

        fs::create_dir(root.join("lib/__pycache__")).unwrap();
        fs::write(root.join("lib/__pycache__/a.pyc"), "x").unwrap();
        assert_eq!(of(root, None).unwrap(), generation, "compiled Python is nobody's release");
        fs::File::open(root.join("lib/a.py")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(of(root, None).unwrap(), generation, "a rebuilt image has other times");

        let before = Instant::now(fs::File::open(root).unwrap()).unwrap();
        let began = kit::wait::until(std::time::Duration::from_secs(10), "the next tick", || {
            Instant::now(fs::File::open(root).unwrap()).ok().filter(|&now| now > before)
        })
        .unwrap();
        fs::write(root.join("lib/server.log"), "x").unwrap();
        assert_eq!(of(root, Some(began)).unwrap(), generation, "a log of this container is not the image's");
        assert_ne!(of(root, None).unwrap(), generation);
        fs::remove_file(root.join("lib/server.log")).unwrap();
        fs::set_permissions(root.join("lib"), Permissions::from_mode(0o2775)).unwrap();
        fs::set_permissions(root.join("lib/a.py"), Permissions::from_mode(0o664)).unwrap();
        assert_eq!(of(root, Some(began)).unwrap(), generation, "what fix-perms does is no release");
        fs::set_permissions(root.join("lib/a.py"), Permissions::from_mode(0o775)).unwrap();
        assert_ne!(of(root, Some(began)).unwrap(), generation);
        fs::set_permissions(root.join("lib/a.py"), Permissions::from_mode(0o644)).unwrap();
        fs::remove_file(root.join("lib/b.py")).unwrap();
        std::os::unix::fs::symlink("c.py", root.join("lib/b.py")).unwrap();
        assert_ne!(of(root, None).unwrap(), generation);
    }
}
