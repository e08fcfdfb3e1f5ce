//! The generation of a tree: which state of the image it is, as a short name that is the same in every container.
//!
//! It is a digest of names, kinds, modes, sizes and link targets. Times are left out, because an image that was built
//! again from the same sources has new ones; so is compiled Python, which programs write while they run. What has
//! changed since the container began is not the image's any more.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::clock::Instant;
use kit::units;

/// The generation of the tree at `root`, as 16 hexadecimal digits. `began` is when this container began to change it.
pub fn of(root: &Path, began: Option<Instant>) -> Result<String> {
    let mut digest = Sha256::new();
    let tree = WalkDir::new(root).follow_links(false).same_file_system(true).sort_by_file_name();
    let entries = tree.into_iter().filter_entry(|entry| entry.file_name() != "__pycache__");
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.io_error().is_some_and(is_gone) => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", root.display())),
        };
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if error.io_error().is_some_and(is_gone) => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot look at {}", entry.path().display()));
            }
        };
        if meta.is_file() && began.is_some_and(|began| Instant::changed(&meta) >= began) {
            continue;
        }
        let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
        digest.update(line(name, &meta, entry.path()));
    }
    Ok(units::hexadecimal(&digest.finalize()[..8]))
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

fn line(name: &Path, meta: &Metadata, path: &Path) -> Vec<u8> {
    let mut line = name.as_os_str().as_bytes().to_vec();
    let size = if meta.is_file() { meta.len() } else { 0 };
    line.extend(format!("\0{:o}\0{size}\0", meta.mode()).as_bytes());
    if meta.is_symlink() {
        line.extend(fs::read_link(path).unwrap_or_default().as_os_str().as_bytes());
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

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
        fs::remove_file(root.join("lib/b.py")).unwrap();
        std::os::unix::fs::symlink("c.py", root.join("lib/b.py")).unwrap();
        assert_ne!(of(root, None).unwrap(), generation);
    }
}
