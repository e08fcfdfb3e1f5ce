//! The entries of an image's tree, as this container found them before its programs changed them.
//!
//! The lower layers of an image cannot be seen from inside. Inodes that changed since the container started can
//! (`ctime`, which no program can set back). Such an entry is *touched*: its origin and its former state are unknown.
//! In a directory that is touched, names may have come and gone.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use dirfd::FileType;
use dirfd::walk::{self, Descend, Entry};
use nix::fcntl::readlinkat;
use nix::sys::stat::SFlag;
use sha2::{Digest, Sha256};

use crate::ensure_beneath::open_root;
use crate::reserved_names;
use crate::volume_clock::Timestamp;

/// Maximum size of files whose content is hashed, in bytes: a release may change a file and keep its size.
const HASHED: i64 = 64 << 10;
/// Granularity of times on coarse volumes (FAT), rounded up or down.
const TIME_STEP_SECONDS: u32 = 2;
/// Bits that `fix-perms` sets: the group's permissions and set-group-id.
const OF_THE_GROUP: u32 = 0o2070;
/// Directories that Python writes at run time and can write again.
pub const PYCACHE: &str = "__pycache__";

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Digest of its path.
    pub path: u64,
    /// Digest of the path of its directory.
    pub parent: u64,
    /// Size of a file, digest of a link's target, or device number.
    pub content: u64,
    /// Digest of the content of a small untouched file, else 0.
    pub bytes: u64,
    /// Modification time of a file, in seconds.
    pub modified: u32,
    /// Type and permissions, without the bits that `fix-perms` changes.
    pub mode: u16,
    /// True if the container may have changed or created it.
    pub touched: bool,
}

/// Origin of an entry of a tree, or of a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// From the image, and not written since.
    Image,
    /// The image has the name with other content.
    Changed,
    /// From the image or from the first programs of the container.
    Unknown,
    /// From a program or the user; the image has no such name.
    Added,
}

/// All entries of a tree, in the order of their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(Vec<Row>);

/// Decides if an entry is the image's: by the listing, or without one, by time.
#[derive(Debug)]
pub struct ImageBase {
    /// Listing of the image.
    pub listing: Option<Listing>,
    /// Without a listing, files written at this time or later are not the image's.
    pub unlisted_since: Timestamp,
}

impl ImageBase {
    /// Judges an entry that has its name now, in the tree or in a copy.
    pub fn provenance(&self, entry: &Entry<'_>) -> Provenance {
        match &self.listing {
            Some(listing) => listing.provenance(entry),
            None if !entry.is_directory() && Timestamp::modify_time(&entry.stat) >= self.unlisted_since => {
                Provenance::Changed
            }
            None => Provenance::Image,
        }
    }
}

impl Listing {
    /// Looks at the tree at `root`; `first_start` is when the container's first program could begin to change it.
    pub fn take(root: &Path, first_start: Option<Timestamp>) -> Result<Self> {
        let is_touched = |changed: Timestamp| first_start.is_some_and(|first_start| changed >= first_start);
        let mode = narrow(SFlag::S_IFDIR.bits());
        let mut rows = vec![Row {
            path: digest(b""),
            parent: 0,
            content: 0,
            bytes: 0,
            modified: 0,
            mode,
            touched: false,
        }];
        let mut directories = vec![(0, root.to_owned())];
        walk::walk_tree::<io::Error>(open_root(root)?, &mut |entry| {
            let is_at_top = entry.name.as_os_str() == entry.base;
            if entry.base == PYCACHE || is_at_top && reserved_names::all().contains(&entry.base) {
                return Ok(Descend::Skip);
            }
            if entry.is_directory() {
                directories.push((rows.len(), root.join(entry.name)));
            }
            let mut row = Row { touched: is_touched(Timestamp::change_time(&entry.stat)), ..Row::of(entry) };
            if !row.touched && entry.kind() == FileType::RegularFile && entry.stat.st_size <= HASHED {
                // A file that cannot be read, or changes meanwhile, counts as touched.
                match bytes(entry) {
                    Ok((digest, changed)) if !is_touched(changed) => row.bytes = digest,
                    _ => row.touched = true,
                }
            }
            rows.push(row);
            Ok(Descend::Enter)
        })
        .with_context(|| format!("cannot read {}", root.display()))?;
        // Programs may have removed an entry between the stat of a directory and its listing.
        for (row, directory) in directories {
            let meta = directory.symlink_metadata();
            rows[row].touched = meta.map_or(true, |meta| is_touched(Timestamp::changed(&meta)));
        }
        rows.sort_unstable_by_key(|row| row.path);
        Ok(Self(rows))
    }

    /// Returns the listing of these rows, or nothing if they are not in order.
    pub fn from_sorted(rows: Vec<Row>) -> Option<Self> {
        rows.is_sorted_by_key(|row| row.path).then_some(Self(rows))
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// Returns the row of the path with this digest.
    pub fn find(&self, path: u64) -> Option<&Row> {
        self.0.binary_search_by_key(&path, |row| row.path).ok().and_then(|at| self.0.get(at))
    }

    /// Returns the row of this path, relative to the tree's root.
    pub fn named(&self, name: &Path) -> Option<&Row> {
        self.find(digest(name.as_os_str().as_bytes()))
    }

    /// Judges an entry that has its name now, in the tree or in a copy. Of a directory, its name counts alone.
    pub fn provenance(&self, entry: &Entry<'_>) -> Provenance {
        let now = Row::of(entry);
        match self.find(now.path) {
            None => Provenance::Added,
            Some(row) if row.touched => Provenance::Unknown,
            Some(row) if row.has_content_of(&now) && !row.has_other_bytes(&now, entry) => Provenance::Image,
            Some(_) => Provenance::Changed,
        }
    }
}

impl Row {
    fn of(entry: &Entry<'_>) -> Self {
        let name = entry.name.as_os_str().as_bytes();
        let content = match entry.kind() {
            FileType::RegularFile => entry.stat.st_size.unsigned_abs(),
            // A link that vanished meanwhile has an empty target.
            FileType::Symlink => {
                digest(readlinkat(entry.directory, entry.base).unwrap_or_default().as_bytes())
            }
            FileType::BlockDevice | FileType::CharacterDevice => entry.stat.st_rdev,
            _ => 0,
        };
        Self {
            path: digest(name),
            parent: digest(entry.name.parent().map(Path::as_os_str).map_or(b"", OsStr::as_bytes)),
            content,
            bytes: 0,
            // Times are compared within a few seconds of each other, also where this wraps.
            modified: u32::try_from(entry.stat.st_mtime & i64::from(u32::MAX)).unwrap_or(0),
            mode: narrow(entry.stat.st_mode & !OF_THE_GROUP),
            touched: false,
        }
    }

    /// The kind of the entry.
    pub fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(u32::from(self.mode) & SFlag::S_IFMT.bits())
    }

    /// True if both have the same content, apart from permissions.
    fn has_content_of(&self, other: &Self) -> bool {
        let apart =
            self.modified.wrapping_sub(other.modified).min(other.modified.wrapping_sub(self.modified));
        let is_file = self.kind() == SFlag::S_IFREG;
        self.kind() == other.kind()
            && self.content == other.content
            && (!is_file || apart <= TIME_STEP_SECONDS)
    }

    /// True if a small file whose time differs slightly, after a write or on a rounding volume, has other content.
    fn has_other_bytes(&self, now: &Self, entry: &Entry<'_>) -> bool {
        let is_comparable = self.kind() == SFlag::S_IFREG && self.content <= HASHED.unsigned_abs();
        is_comparable
            && self.modified != now.modified
            && bytes(entry).map_or(true, |(digest, _)| digest != self.bytes)
    }
}

/// Reads a small file; returns the digest of its content and its change time afterwards.
fn bytes(entry: &Entry<'_>) -> io::Result<(u64, Timestamp)> {
    let file = dirfd::open_file(entry.directory, entry.base)?.ok_or(io::ErrorKind::NotFound)?;
    let mut content = Vec::new();
    (&file).take(HASHED.unsigned_abs()).read_to_end(&mut content)?;
    Ok((digest(&content), Timestamp::changed(&file.metadata()?)))
}

/// Kind and permissions fit (inode(7)).
fn narrow(mode: u32) -> u16 {
    u16::try_from(mode & 0xffff).unwrap_or(0)
}

/// Returns the first eight bytes of SHA-256.
pub fn digest(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes).iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::time::{Duration, UNIX_EPOCH};

    /// The present tick of the clock is over when this returns, and the next one is the answer.
    pub fn next_tick(root: &Path) -> Timestamp {
        let now = || Timestamp::now(File::open(root).unwrap()).unwrap();
        let before = now();
        kit::wait::until(Duration::from_secs(10), "the next tick", || Some(now()).filter(|&now| now > before))
            .unwrap()
    }

    /// A tree with a file, a link, a directory and compiled Python.
    pub fn tree(root: &Path) {
        fs::create_dir_all(root.join("lib/__pycache__")).unwrap();
        for name in ["file", "lib/a.py", "lib/b.py", "lib/__pycache__/a.pyc"] {
            fs::write(root.join(name), name).unwrap();
            set_time(&root.join(name), 1_000);
        }
        symlink("file", root.join("link")).unwrap();
    }

    pub fn set_time(file: &Path, seconds: u64) {
        File::open(file).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    fn provenances(listing: &Listing, root: &Path) -> Vec<(PathBuf, Provenance)> {
        let mut all = Vec::new();
        walk::walk_tree::<io::Error>(File::open(root).unwrap(), &mut |entry| {
            all.push((entry.name.to_owned(), listing.provenance(entry)));
            Ok(if entry.base == PYCACHE { Descend::Skip } else { Descend::Enter })
        })
        .unwrap();
        all.retain(|(_, provenance)| *provenance != Provenance::Image);
        all
    }

    #[test]
    fn each_entry_is_told_to_be_the_images_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        tree(root);
        fs::write(root.join("same-size"), "image").unwrap();
        set_time(&root.join("same-size"), 1_000);
        let first_start = next_tick(root);
        fs::write(root.join("lib/b.py"), "touched").unwrap();
        fs::write(root.join("early"), "").unwrap();
        let listing = Listing::take(root, Some(first_start)).unwrap();
        let is = |name: &str, provenance| (PathBuf::from(name), provenance);
        let early = [
            is("early", Provenance::Unknown),
            is("lib/__pycache__", Provenance::Added),
            is("lib/b.py", Provenance::Unknown),
        ];
        assert_eq!(provenances(&listing, root), early, "nobody knows how they were");

        fs::write(root.join("mine"), "").unwrap();
        fs::write(root.join("file"), "FILE").unwrap();
        fs::remove_file(root.join("link")).unwrap();
        symlink("mine", root.join("link")).unwrap();
        // A volume that rounds, and a write of the same size within the volume's step.
        set_time(&root.join("lib/a.py"), 1_002);
        fs::write(root.join("same-size"), "OTHER").unwrap();
        set_time(&root.join("same-size"), 1_001);
        let now = [
            is("early", Provenance::Unknown),
            is("file", Provenance::Changed),
            is("lib/__pycache__", Provenance::Added),
            is("lib/b.py", Provenance::Unknown),
            is("link", Provenance::Changed),
            is("mine", Provenance::Added),
            is("same-size", Provenance::Changed),
        ];
        assert_eq!(provenances(&listing, root), now);
        fs::remove_file(root.join("file")).unwrap();
        fs::create_dir(root.join("file")).unwrap();
        assert!(provenances(&listing, root).contains(&is("file", Provenance::Changed)));
    }

    #[test]
    fn without_a_listing_files_of_later_times_are_the_users() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        set_time(&dir.path().join("lib/b.py"), 3_000);
        let base = ImageBase { listing: None, unlisted_since: Timestamp(3_000, 0) };
        let mut users = Vec::new();
        walk::walk_tree::<io::Error>(File::open(dir.path()).unwrap(), &mut |entry| {
            if base.provenance(entry) == Provenance::Changed && entry.kind() == FileType::RegularFile {
                users.push(entry.name.to_owned());
            }
            Ok(Descend::Enter)
        })
        .unwrap();
        assert_eq!(users, [PathBuf::from("lib/b.py")]);
    }
}
