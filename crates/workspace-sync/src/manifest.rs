//! `.sync_manifest`: what the image brought that a copy was made from, so that the user's work in the copy is known.
//!
//! It is the image's listing, and not a list of the copy: what programs made while the copy was still being made is the
//! user's. Earlier versions wrote the names of the copy alone, eight bytes for each; these are still read.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::listing::{self, Listing, Provenance};
use crate::reserved_names::MANIFEST;
use crate::walk::Entry;

/// For four million entries; a workspace may hold anything under our names.
const LONGEST: u64 = 128 << 20;

/// What is known about the image that a copy was made from.
#[derive(Debug, PartialEq, Eq)]
pub enum Manifest {
    /// Its entries.
    Listing(Listing),
    /// The names that the copy had when it was whole, as digests.
    Names(Vec<u64>),
    /// Nothing: the file is missing or damaged.
    Nothing,
}

impl Manifest {
    /// The manifest in this directory.
    pub fn read(directory: impl AsFd) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(directory, MANIFEST, flags, Mode::empty()) {
            Err(nix::Error::ENOENT | nix::Error::ELOOP) => return Ok(Self::Nothing),
            opened => File::from(opened.with_context(|| format!("cannot open {MANIFEST}"))?),
        };
        let cannot = || format!("cannot read {MANIFEST}");
        if !file.metadata().with_context(cannot)?.is_file() {
            return Ok(Self::Nothing);
        }
        let mut content = Vec::new();
        (&file).take(LONGEST + 1).read_to_end(&mut content).with_context(cannot)?;
        Ok(if content.len() as u64 > LONGEST { Self::Nothing } else { Self::parse(&content) })
    }

    fn parse(content: &[u8]) -> Self {
        if let Some(listing) = Listing::parse(content) {
            return Self::Listing(listing);
        }
        let (digests, rest) = content.as_chunks::<8>();
        let digests: Vec<u64> = digests.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        if rest.is_empty() && digests.is_sorted() { Self::Names(digests) } else { Self::Nothing }
    }

    /// Judges an entry of the copy, which was whole at `completed_at`. Without a listing, what is neither a new name nor
    /// written since counts as the image's.
    pub fn provenance(&self, entry: &Entry<'_>, completed_at: u64) -> Provenance {
        let listed = match self {
            Self::Listing(listing) => return listing.provenance(entry),
            Self::Names(names) => {
                names.binary_search(&listing::digest(entry.name.as_os_str().as_bytes())).is_ok()
            }
            Self::Nothing => true,
        };
        let is_later = u64::try_from(entry.modified().0).is_ok_and(|written| written > completed_at);
        if !listed {
            Provenance::Added
        } else if is_later && !entry.is_directory() {
            Provenance::Changed
        } else {
            Provenance::Image
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::tests::{set_time, tree};
    use crate::walk::{self, Next};
    use std::fs;
    use std::io;

    #[test]
    fn every_form_is_read_and_damage_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let read = || Manifest::read(File::open(dir.path()).unwrap()).unwrap();
        let file = dir.path().join(MANIFEST);
        assert_eq!(read(), Manifest::Nothing);
        tree(dir.path());
        let listing = Listing::take(dir.path(), None).unwrap();
        fs::write(&file, listing.render()).unwrap();
        assert_eq!(read(), Manifest::Listing(listing));
        fs::write(&file, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]).unwrap();
        assert_eq!(read(), Manifest::Names(vec![1, 2]));
        fs::write(&file, [0; 12]).unwrap();
        assert_eq!(read(), Manifest::Nothing, "a torn one");
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(), Manifest::Nothing, "a volume must not fill the memory");
    }

    #[test]
    fn without_a_listing_new_names_and_later_times_are_the_users() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        set_time(&dir.path().join("lib/b.py"), 3_000);
        let mut digests =
            ["lib", "lib/a.py", "lib/b.py"].map(|name| listing::digest(name.as_bytes())).to_vec();
        digests.sort_unstable();
        let judged = |manifest: &Manifest, wanted: &str| {
            let mut found = None;
            walk::each::<io::Error>(File::open(dir.path()).unwrap(), &mut |entry| {
                if entry.name.as_os_str() == wanted {
                    found = Some(manifest.provenance(entry, 2_000));
                }
                Ok(Next::Enter)
            })
            .unwrap();
            found.unwrap()
        };
        let old = Manifest::Names(digests);
        let listed = ["lib", "lib/a.py", "lib/b.py", "file"].map(|name| judged(&old, name));
        assert_eq!(listed, [Provenance::Image, Provenance::Image, Provenance::Changed, Provenance::Added]);
        let unlisted = ["lib", "lib/b.py", "file"].map(|name| judged(&Manifest::Nothing, name));
        assert_eq!(unlisted, [Provenance::Image, Provenance::Changed, Provenance::Image]);
    }
}
