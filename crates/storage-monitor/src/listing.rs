//! The names in one directory, sorted and packed: storages hold hundreds of thousands.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

use dirfd::FileType;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use crate::changes::Names;
use crate::names::{CONTROL, waits};

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

impl Kind {
    fn of(found: FileType) -> Self {
        match found {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// Entries of a directory in the order of their names' bytes.
///
/// The names lie in pieces, because one large piece would be held twice while it grows.
#[derive(Debug, Default)]
pub struct Listing {
    names: Vec<Vec<u8>>,
    entries: Vec<Entry>,
}

/// As many bytes of names as lie in one piece; positions in it are 16 bits wide.
const PIECE: usize = 1 << 16;

#[derive(Debug, Clone, Copy)]
struct Entry {
    piece: u16,
    start: u16,
    length: u8,
    kind: Kind,
    met: Option<Kind>,
}

impl Entry {
    fn name(self, names: &[Vec<u8>]) -> &[u8] {
        &names[usize::from(self.piece)][usize::from(self.start)..][..usize::from(self.length)]
    }
}

/// Visits each entry of a directory, in no order.
pub fn each(directory: impl AsFd, mut visit: impl FnMut(&[u8], Kind) -> io::Result<()>) -> io::Result<()> {
    let directory = directory.as_fd();
    dirfd::for_each(directory, |entry| {
        let name = entry.file_name().to_bytes();
        let kind = match entry.file_type() {
            FileType::Unknown => kind_of(directory, name)?,
            known => Some(Kind::of(known)),
        };
        kind.map_or(Ok(()), |kind| visit(name, kind))
    })
}

/// Returns what the entry of this name is, if there is one.
pub fn kind_of(directory: impl AsFd, name: &[u8]) -> io::Result<Option<Kind>> {
    match dirfd::stat(directory, name) {
        Ok(stat) => Ok(stat.as_ref().map(dirfd::file_type).map(Kind::of)),
        // A name that nothing can have.
        Err(Errno::ENAMETOOLONG) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Listing {
    /// What a storage directory has to offer: files and directories under their final names. A link counts as a file if
    /// it leads somewhere; it is never gone into.
    pub fn offered(directory: impl AsFd, names: &Names) -> io::Result<Self> {
        let directory = directory.as_fd();
        let mut listing = Self::default();
        let mut unfinished = BTreeSet::new();
        let mut offer = |name: &[u8], mut kind: Kind| {
            if let Some(download) = name.strip_suffix(CONTROL) {
                unfinished.insert(download.to_vec());
            }
            if waits(name).is_some() {
                return Ok(());
            }
            if kind == Kind::Link && fstatat(directory, name, AtFlags::empty()).is_ok() {
                kind = Kind::File;
            }
            if matches!(kind, Kind::File | Kind::Directory) { listing.push(name, kind) } else { Ok(()) }
        };
        match names {
            Names::All => each(directory, offer)?,
            Names::Only(names) => {
                for name in names {
                    let control = [name, CONTROL].concat();
                    for name in [name, &control] {
                        if let Some(kind) = kind_of(directory, name)? {
                            offer(name, kind)?;
                        }
                    }
                }
            }
        }
        listing.sort();
        if !unfinished.is_empty() {
            listing.retain(|name| !unfinished.contains(name));
        }
        Ok(listing)
    }

    /// Adds an entry; [`Listing::sort`] has to follow.
    pub fn push(&mut self, name: &[u8], kind: Kind) -> io::Result<()> {
        // The kernel allows 255 bytes (NAME_MAX); a listing of 4 GB of names is none.
        let too_large = |_| io::Error::from(io::ErrorKind::InvalidData);
        let length = u8::try_from(name.len()).map_err(too_large)?;
        if self.names.last().is_none_or(|piece| piece.len() + name.len() >= PIECE) {
            self.names.push(Vec::new());
        }
        let piece = u16::try_from(self.names.len() - 1).map_err(too_large)?;
        let Some(names) = self.names.last_mut() else { return Ok(()) };
        let start = u16::try_from(names.len()).map_err(too_large)?;
        names.extend_from_slice(name);
        grow(&mut self.entries, 1);
        self.entries.push(Entry { piece, start, length, kind, met: None });
        Ok(())
    }

    /// Brings the entries into order.
    pub fn sort(&mut self) {
        let Self { names, entries } = self;
        entries.sort_unstable_by(|one, other| one.name(names).cmp(other.name(names)));
        // Some file systems repeat a name while the directory changes.
        entries.dedup_by(|one, other| one.name(names) == other.name(names));
    }

    /// The entries, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Kind)> {
        self.entries.iter().map(|entry| (entry.name(&self.names), entry.kind))
    }

    /// The entry with this index.
    pub fn get(&self, index: usize) -> Option<(&[u8], Kind)> {
        self.entries.get(index).map(|entry| (entry.name(&self.names), entry.kind))
    }

    /// Notes what has the name of an entry where the entries lead to; says whether there is an entry of that name.
    pub fn meet(&mut self, name: &[u8], kind: Kind) -> bool {
        let Self { names, entries } = self;
        let found = entries.binary_search_by(|entry| entry.name(names).cmp(name));
        found.is_ok_and(|index| {
            entries[index].met = Some(kind);
            true
        })
    }

    /// What the entry with this index has met.
    pub fn met(&self, index: usize) -> Option<Kind> {
        self.entries.get(index)?.met
    }

    fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let Self { names, entries } = self;
        entries.retain(|entry| keep(entry.name(names)));
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

/// Makes room by an eighth: twice the room of a large directory would be most of all memory.
fn grow<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact((list.len() / 8).max(more).max(64));
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
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
        let directory = fs::File::open(top.path()).unwrap();
        let offered = |names: &Names| {
            let listing = Listing::offered(&directory, names).unwrap();
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            listing.iter().map(|(name, kind)| (text(name), kind)).collect::<Vec<_>>()
        };
        let all = [
            ("-n", Kind::File),
            ("a", Kind::File),
            ("b", Kind::File),
            ("dir", Kind::Directory),
            ("good", Kind::File),
            ("line\nbreak", Kind::File),
            ("to-dir", Kind::File),
        ];
        let all = all.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(offered(&Names::All), all);
        let mut names = Names::one(b"absent");
        for entry in fs::read_dir(top.path()).unwrap() {
            names.join(Names::one(OsStr::as_bytes(&entry.unwrap().file_name())));
        }
        assert_eq!(offered(&names), all, "the same, asked for by name");
        assert_eq!(offered(&Names::one(b"big")), [], "although nobody asked about its control file");
    }

    #[test]
    fn an_entry_knows_what_it_has_met() {
        let mut listing = Listing::of(&[("a", Kind::File), ("b", Kind::File)]);
        assert_eq!([&b"b"[..], b"c", b""].map(|name| listing.meet(name, Kind::Link)), [true, false, false]);
        assert_eq!([0, 1, 2].map(|index| listing.met(index)), [None, Some(Kind::Link), None]);
    }
}
