//! Entries of one directory: their names, sorted, with their types.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use dirfd::FileType;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

/// aria2 keeps a file of this ending beside a download that has its final name already, and removes it at the end.
pub const ARIA2_SUFFIX: &[u8] = b".aria2";
/// Endings that browsers and download programs give to incomplete files.
const UNFINISHED: [&[u8]; 4] = [b".part", b".crdownload", ARIA2_SUFFIX, b".incomplete"];

/// Entries in the order of their names' bytes, each name once. A link of the storage that leads to something counts as a
/// regular file.
pub type Listing = Vec<(Box<[u8]>, FileType)>;

/// Names of a directory to scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// Every name.
    All,
    /// These.
    Only(BTreeSet<Vec<u8>>),
}

impl Names {
    /// Returns this name; with aria2's control file, also that of the download.
    pub fn one(name: &[u8]) -> Self {
        let download = name.strip_suffix(ARIA2_SUFFIX).filter(|download| !download.is_empty());
        Self::Only(download.into_iter().chain([name]).map(<[u8]>::to_vec).collect())
    }

    /// Adds other names.
    pub fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Only(names), Self::Only(more)) => names.extend(more),
            _ => *self = Self::All,
        }
    }
}

/// Returns why an entry of the storage is not linked under this name, or `None` if it may be.
pub fn waiting_reason(name: &[u8]) -> Option<&'static str> {
    if name.starts_with(b".") {
        return Some("its name begins with a dot");
    }
    let unfinished = UNFINISHED.iter().any(|ending| name.ends_with(ending));
    unfinished.then_some("its name is that of an unfinished download")
}

/// Lists the entries of a directory that have one of the names.
pub fn scan_target(directory: impl AsFd, names: &Names) -> nix::Result<Listing> {
    let mut listing = Listing::new();
    match names {
        Names::All => dirfd::for_each(&directory, |entry| {
            let name = entry.file_name().to_bytes();
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&directory, name)?,
                known => Some(known),
            };
            listing.extend(kind.map(|kind| (name.into(), kind)));
            Ok::<_, Errno>(())
        })?,
        Names::Only(names) => {
            for name in names {
                listing.extend(kind_of(&directory, name)?.map(|kind| (name.as_slice().into(), kind)));
            }
        }
    }
    listing.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    // Some file systems repeat a name while the directory changes.
    listing.dedup_by(|one, other| one.0 == other.0);
    Ok(listing)
}

/// Lists the entries of a source directory that can be linked and have one of the names: files and directories with final
/// names. Links to directories count as files.
pub fn scan_source(directory: impl AsFd, names: &Names) -> nix::Result<Listing> {
    let directory = directory.as_fd();
    let mut listing = match names {
        Names::All => scan_target(directory, names)?,
        Names::Only(asked) => {
            let control = asked.iter().map(|name| [name, ARIA2_SUFFIX].concat());
            scan_target(directory, &Names::Only(asked.iter().cloned().chain(control).collect()))?
        }
    };
    let downloads = listing.iter().filter_map(|(name, _)| name.strip_suffix(ARIA2_SUFFIX));
    let unfinished: BTreeSet<Vec<u8>> = downloads.map(<[u8]>::to_vec).collect();
    listing.retain_mut(|(name, kind)| {
        if waiting_reason(name).is_some() || unfinished.contains(&**name) {
            return false;
        }
        if *kind == FileType::Symlink && fstatat(directory, &**name, AtFlags::empty()).is_ok() {
            *kind = FileType::RegularFile;
        }
        matches!(kind, FileType::RegularFile | FileType::Directory)
    });
    Ok(listing)
}

/// Returns the kind of the entry with this name; `None` if it does not exist.
fn kind_of(directory: impl AsFd, name: &[u8]) -> nix::Result<Option<FileType>> {
    match dirfd::stat(directory, name) {
        // A name that no entry can have.
        Err(Errno::ENAMETOOLONG) => Ok(None),
        stat => Ok(stat?.map(|stat| dirfd::file_type(&stat))),
    }
}

#[cfg(test)]
pub fn listing(entries: &[(&str, FileType)]) -> Listing {
    let mut listing: Listing = entries.iter().map(|(name, kind)| (name.as_bytes().into(), *kind)).collect();
    listing.sort_by(|one, other| one.0.cmp(&other.0));
    listing
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::{fs, process::Command};

    use super::*;

    fn text(listing: &Listing) -> Vec<(String, FileType)> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        listing.iter().map(|(name, kind)| (text(name), *kind)).collect()
    }

    #[test]
    fn hidden_and_unfinished_names_wait_and_others_do_not() {
        for name in [".x", "a.part", "a.safetensors.crdownload", "a.aria2", "a b.incomplete", ".", ".part"] {
            assert!(waiting_reason(name.as_bytes()).is_some(), "{name}");
        }
        for name in ["a", "part", "a.part1", "a.partial", "-x", "a.PART", "x.part.gguf"] {
            assert_eq!(waiting_reason(name.as_bytes()), None, "{name}");
        }
    }

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
        let offered = |names: &Names| text(&scan_source(&directory, names).unwrap());
        let all = [
            ("-n", FileType::RegularFile),
            ("a", FileType::RegularFile),
            ("b", FileType::RegularFile),
            ("dir", FileType::Directory),
            ("good", FileType::RegularFile),
            ("line\nbreak", FileType::RegularFile),
            ("to-dir", FileType::RegularFile),
        ];
        let all = all.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(offered(&Names::All), all);
        let mut names = Names::one(b"absent");
        for entry in fs::read_dir(top.path()).unwrap() {
            names.join(Names::one(OsStr::as_bytes(&entry.unwrap().file_name())));
        }
        assert_eq!(offered(&names), all, "the same, asked for by name");
        assert_eq!(offered(&Names::one(b"big")), [], "although its control file was not asked for");
    }

    #[test]
    fn entries_are_listed_as_they_are() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join("file"), "").unwrap();
        fs::create_dir(top.path().join("dir.part")).unwrap();
        symlink("nowhere", top.path().join(".link")).unwrap();
        let directory = fs::File::open(top.path()).unwrap();
        let present = |names: &Names| text(&scan_target(&directory, names).unwrap());
        let link = (".link".to_owned(), FileType::Symlink);
        let all = [
            link.clone(),
            ("dir.part".to_owned(), FileType::Directory),
            ("file".to_owned(), FileType::RegularFile),
        ];
        assert_eq!(present(&Names::All), all);
        assert_eq!(
            present(&Names::Only([b".link".to_vec(), b"absent".to_vec(), vec![b'x'; 300]].into())),
            [link]
        );
    }
}
