//! The names in one directory, sorted and packed: storages hold hundreds of thousands.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;

use crate::names::{CONTROL, waits};

/// As much of a directory as the kernel hands out at once, in bytes.
const CHUNK: usize = 32 << 10;

/// What an entry is, as far as linking it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file, or (in a storage) a link that leads to something.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A socket, a pipe or a device.
    Other,
}

/// The entries of a directory in the order of their names' bytes.
#[derive(Debug, Default)]
pub struct Listing {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    length: u8,
    kind: Kind,
}

impl Entry {
    fn name(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..][..usize::from(self.length)]
    }
}

impl Listing {
    /// All entries, as they are.
    pub fn read(directory: impl AsFd) -> io::Result<Self> {
        let directory = directory.as_fd();
        let mut listing = Self::default();
        let mut chunk = vec![MaybeUninit::uninit(); CHUNK];
        let mut stream = RawDir::new(directory, &mut chunk);
        while let Some(entry) = stream.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                known => known,
            };
            listing.push(name.to_bytes(), kind_of(kind))?;
        }
        listing.sort();
        Ok(listing)
    }

    /// What a storage directory has to offer: files and directories under their final names. A link counts as a file if
    /// it leads somewhere; it is never gone into.
    pub fn offered(directory: impl AsFd) -> io::Result<Self> {
        let directory = directory.as_fd();
        let mut listing = Self::read(directory)?;
        let Self { bytes, entries } = &mut listing;
        let mut unfinished: Vec<&[u8]> =
            entries.iter().filter_map(|entry| entry.name(bytes).strip_suffix(CONTROL)).collect();
        unfinished.sort_unstable();
        entries.retain_mut(|entry| {
            let name = entry.name(bytes);
            if waits(name).is_some() || unfinished.binary_search(&name).is_ok() {
                return false;
            }
            if entry.kind == Kind::Link
                && statat(directory, OsStr::from_bytes(name), AtFlags::empty()).is_ok()
            {
                entry.kind = Kind::File;
            }
            matches!(entry.kind, Kind::File | Kind::Directory)
        });
        Ok(listing)
    }

    fn push(&mut self, name: &[u8], kind: Kind) -> io::Result<()> {
        // The kernel allows 255 bytes (NAME_MAX); a listing of 4 GB of names is none.
        let too_large = |_| io::Error::from(io::ErrorKind::InvalidData);
        let start = u32::try_from(self.bytes.len()).map_err(too_large)?;
        let length = u8::try_from(name.len()).map_err(too_large)?;
        self.bytes.extend_from_slice(name);
        self.entries.push(Entry { start, length, kind });
        Ok(())
    }

    fn sort(&mut self) {
        let Self { bytes, entries } = self;
        entries.sort_unstable_by(|one, other| one.name(bytes).cmp(other.name(bytes)));
        // Some file systems repeat a name while the directory changes.
        entries.dedup_by(|one, other| one.name(bytes) == other.name(bytes));
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Kind)> {
        self.entries.iter().map(|entry| (entry.name(&self.bytes), entry.kind))
    }

    /// The entry with this index.
    pub fn get(&self, index: usize) -> Option<(&[u8], Kind)> {
        self.entries.get(index).map(|entry| (entry.name(&self.bytes), entry.kind))
    }

    /// Leaves out what `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let Self { bytes, entries } = self;
        entries.retain(|entry| keep(entry.name(bytes)));
    }

    #[cfg(test)]
    pub fn of(entries: &[(&str, Kind)]) -> Self {
        let mut listing = Self::default();
        for (name, kind) in entries {
            listing.push(name.as_bytes(), *kind).unwrap();
        }
        listing.sort();
        listing
    }
}

fn kind_of(found: FileType) -> Kind {
    match found {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn a_storage_offers_what_is_complete_and_leads_somewhere() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        for name in ["b", "a", ".hidden", "x.part", "big", "big.aria2", "-n", "line\nbreak"] {
            fs::write(path(name), "").unwrap();
        }
        fs::create_dir(path("dir")).unwrap();
        symlink("a", path("good")).unwrap();
        symlink("dir", path("to-dir")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        symlink("loop", path("loop")).unwrap();
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let listing = Listing::offered(fs::File::open(top.path()).unwrap()).unwrap();
        let found: Vec<_> =
            listing.iter().map(|(name, kind)| (String::from_utf8_lossy(name), kind)).collect();
        assert_eq!(
            found,
            [
                ("-n".into(), Kind::File),
                ("a".into(), Kind::File),
                ("b".into(), Kind::File),
                ("dir".into(), Kind::Directory),
                ("good".into(), Kind::File),
                ("line\nbreak".into(), Kind::File),
                ("to-dir".into(), Kind::File),
            ]
        );
    }
}
