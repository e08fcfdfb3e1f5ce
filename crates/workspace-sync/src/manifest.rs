//! `.sync_manifest`: which names a copy had when it was whole, so that what was added later can be told apart.
//!
//! The file is eight bytes for each entry, a digest of its path, in ascending order: half a megabyte for a large
//! environment.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;

use crate::walk::{self, Next};

/// The file's name in the root of a copy.
pub const NAME: &str = ".sync_manifest";

/// For sixteen million entries; a workspace may hold anything under our names.
const LONGEST: u64 = 128 << 20;

/// The file's content for the tree at `root`; names in `keep`, at the top, are not the tree's.
pub fn of(root: impl AsFd, keep: &[&OsStr]) -> Result<Vec<u8>> {
    let mut digests = Vec::new();
    walk::each::<io::Error>(root, &mut |entry| {
        if entry.name.as_os_str() == entry.base && keep.contains(&entry.base) {
            return Ok(Next::Skip);
        }
        digests.push(digest(entry.name));
        Ok(Next::Enter)
    })
    .context("cannot list the copy")?;
    digests.sort_unstable();
    Ok(digests.iter().flat_map(|digest| digest.to_be_bytes()).collect())
}

/// The names of a whole copy.
#[derive(Debug)]
pub struct Manifest(Vec<u64>);

impl Manifest {
    /// The manifest in this directory, or nothing if there is none or it is damaged.
    pub fn read(directory: impl AsFd) -> Result<Option<Self>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(directory, NAME, flags, Mode::empty()) {
            Err(nix::Error::ENOENT | nix::Error::ELOOP) => return Ok(None),
            opened => File::from(opened.with_context(|| format!("cannot open {NAME}"))?),
        };
        let cannot = || format!("cannot read {NAME}");
        if !file.metadata().with_context(cannot)?.is_file() {
            return Ok(None);
        }
        let mut content = Vec::new();
        (&file).take(LONGEST + 1).read_to_end(&mut content).with_context(cannot)?;
        if content.len() as u64 > LONGEST {
            return Ok(None);
        }
        let (digests, rest) = content.as_chunks::<8>();
        let digests: Vec<u64> = digests.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        Ok((rest.is_empty() && digests.is_sorted()).then_some(Self(digests)))
    }

    /// Whether the copy had an entry of this name, relative to its root.
    #[must_use]
    pub fn has(&self, name: &Path) -> bool {
        self.0.binary_search(&digest(name)).is_ok()
    }
}

fn digest(name: &Path) -> u64 {
    let digest = Sha256::digest(name.as_os_str().as_bytes());
    digest.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_there_is_told_from_what_came_later() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("envs/base")).unwrap();
        fs::write(dir.path().join("envs/base/python"), "").unwrap();
        fs::write(dir.path().join(NAME), of(File::open(dir.path()).unwrap(), &[OsStr::new(NAME)]).unwrap())
            .unwrap();
        fs::write(dir.path().join("envs/mine"), "").unwrap();
        let read = || Manifest::read(File::open(dir.path()).unwrap()).unwrap();
        let manifest = read().unwrap();
        let has = ["envs", "envs/base", "envs/base/python", "envs/mine", "python", NAME]
            .map(|name| manifest.has(Path::new(name)));
        assert_eq!(has, [true, true, true, false, false, false]);
        let whole = fs::read(dir.path().join(NAME)).unwrap();
        assert_eq!(whole.len(), 24);
        fs::write(dir.path().join(NAME), &whole[..20]).unwrap();
        assert!(read().is_none(), "a torn one tells nothing");
        File::create(dir.path().join(NAME)).unwrap().set_len(1 << 40).unwrap();
        assert!(read().is_none(), "a volume must not fill the memory");
    }
}
