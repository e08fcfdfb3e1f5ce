//! A directory with logs, without following symbolic links.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::missing_ok;
use nix::errno::Errno;
use nix::fcntl::open;
use nix::sys::stat::Mode;

use crate::file_id::FileId;
use crate::file_name::{self, Compression, RotationName};
use crate::log_files::{LogFile, LogFiles};
use crate::safe_text;

/// Logs of a directory that are followed.
#[derive(Debug, Clone, Copy)]
pub enum Selection {
    /// All `*.log` but our own.
    Every,
    /// These names.
    These(&'static [&'static str]),
}

impl Selection {
    fn matches(self, base: &str) -> bool {
        match self {
            Self::Every => file_name::service_name(base).is_some(),
            Self::These(names) => names.contains(&base),
        }
    }
}

/// A directory by its path, which may be missing or replaced.
#[derive(Debug, Clone)]
pub struct LogDirectory {
    path: PathBuf,
    selection: Selection,
    /// Names that are logs of their own, even if they look like rotated files.
    pub own: BTreeSet<String>,
    /// Files that belong to a log by their identity, with the name of that log.
    pub owners: BTreeMap<FileId, String>,
}

/// Logs in a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files of each log, by its name, such as `caddy.log`.
    pub families: BTreeMap<String, LogFiles>,
    /// Names that cannot be read, with the reason.
    pub refused: BTreeMap<String, String>,
    /// All files of logs.
    pub ids: BTreeSet<FileId>,
}

impl Listing {
    /// Returns the current file of each log.
    pub fn bases(&self) -> impl Iterator<Item = &LogFile> {
        self.families.values().filter_map(|family| family.base.as_ref())
    }
}

impl LogDirectory {
    /// Names a directory; nothing is opened.
    #[must_use]
    pub fn new(path: PathBuf, selection: Selection) -> Self {
        Self { path, selection, own: BTreeSet::new(), owners: BTreeMap::new() }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory that has the path now; a symbolic link in its place is an error.
    pub fn open(&self) -> io::Result<OwnedFd> {
        Ok(open(&self.path, dirfd::DIRECTORY, Mode::empty())?)
    }

    /// Returns the files of one log in a consistent state: a listing in the middle of a rotation can have a file under two
    /// names or under none.
    pub fn files_of(&self, base: &str) -> io::Result<LogFiles> {
        stable(|| Ok(self.list_once(Some(base))?.families.remove(base).unwrap_or_default()))
    }

    /// Returns all logs, like [`LogDirectory::files_of`]; a missing directory has none.
    pub fn list(&self) -> io::Result<Listing> {
        stable(|| self.list_once(None))
    }

    /// Lists all logs, or one: a directory can have thousands of files, and a page opens each log.
    fn list_once(&self, only: Option<&str>) -> io::Result<Listing> {
        let stem = only.map_or("", |base| base.strip_suffix(".log").unwrap_or(base));
        let Some(opened) = missing_ok(self.open())? else { return Ok(Listing::default()) };
        let mut listing = Listing::default();
        let mut entries = Vec::new();
        for entry in fs::read_dir(dirfd::fd_path(&opened))? {
            let entry = entry?;
            match entry.file_name().into_string() {
                Ok(name) if name.starts_with(stem) => entries.push((name, entry)),
                Ok(_) => {}
                Err(name) => {
                    let shown = safe_text::sanitize(name.as_encoded_bytes());
                    if self.selection.matches(&shown) {
                        listing.refused.insert(shown, "its name is not UTF-8".to_owned());
                    }
                }
            }
        }
        // A symbolic link or directory is not a log, and has no rotated files.
        let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
        let names: BTreeSet<String> =
            entries.iter().filter(|(_, entry)| is_file(entry)).map(|(name, _)| name.clone()).collect();
        let is_rotated = |name: &str, base: &str| names.contains(base) && !self.own.contains(name);
        let mut ages: BTreeMap<FileId, Age> = BTreeMap::new();
        for (name, entry) in entries {
            let Some((base, role, packing)) = file_name::classify(&name, is_rotated) else { continue };
            // A compressed file beside its original is incomplete.
            let is_begun =
                packing != Compression::Plain && names.contains(file_name::strip_compression(&name).0);
            if only.is_some_and(|only| only != base) || !self.selection.matches(&base) || is_begun {
                continue;
            }
            // Without following links; a file may be gone in the meantime.
            let Ok(meta) = entry.metadata() else { continue };
            if !meta.is_file() {
                if role != RotationName::Other {
                    listing.refused.insert(name, "it is not a regular file".to_owned());
                }
                continue;
            }
            let file = LogFile { name, id: FileId::from_metadata(&meta), role, packing };
            listing.ids.insert(file.id);
            if role == RotationName::Base && self.owners.get(&file.id).is_some_and(|owner| *owner != base) {
                continue;
            }
            let family = listing.families.entry(base).or_default();
            if role == RotationName::Base {
                family.base = Some(file);
            } else {
                ages.insert(file.id, (meta.mtime(), meta.mtime_nsec()));
                family.rotated.push(file);
            }
        }
        // Only files of unknown kinds are not a log.
        listing.families.retain(|_, family| family.files().any(|file| file.role != RotationName::Other));
        for family in listing.families.values_mut() {
            sort(&mut family.rotated, &ages);
        }
        Ok(listing)
    }

    /// Opens a file for reading; nothing if it is not the one that was listed.
    pub fn open_file(&self, name: &str, meant: FileId) -> io::Result<Option<File>> {
        let file = match dirfd::open_file(self.open()?, name) {
            Ok(Some(file)) => file,
            Ok(None) | Err(Errno::ELOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let meta = file.metadata()?;
        Ok((meta.is_file() && FileId::from_metadata(&meta) == meant).then_some(file))
    }
}

/// Modification time of a file in seconds and nanoseconds.
type Age = (i64, i64);

/// Sorts the newest first: by numbers, or by modification time.
///
/// Most numbers count the rotations, but `x.log.1128` may be newer than `x.log.1127`. A single file can look newer because
/// its writer still has it open, so times count only if most pairs of neighbours contradict their numbers.
fn sort(rotated: &mut [LogFile], ages: &BTreeMap<FileId, Age>) {
    let number =
        |file: &LogFile| if let RotationName::Number(number) = file.role { Some(number) } else { None };
    let modified = |file: &LogFile| ages.get(&file.id);
    rotated.sort_by(|one, other| number(one).cmp(&number(other)).then_with(|| other.name.cmp(&one.name)));
    let pairs = rotated.windows(2).map(|pair| modified(&pair[0]).cmp(&modified(&pair[1])));
    let (wrong, right): (Vec<_>, Vec<_>) =
        pairs.filter(|order| order.is_ne()).partition(|order| *order == Ordering::Less);
    if wrong.len() > right.len() || rotated.iter().any(|file| number(file).is_none()) {
        rotated.sort_by_key(|file| Reverse(modified(file)));
    }
}

/// Repeats a query until two answers are equal; after too many attempts, returns the last one.
fn stable<T: PartialEq>(ask: impl Fn() -> io::Result<T>) -> io::Result<T> {
    const MAX_ATTEMPTS: usize = 16;
    let mut last = ask()?;
    for _ in 0..MAX_ATTEMPTS {
        let next = ask()?;
        if next == last {
            break;
        }
        last = next;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn regular_files_are_grouped_by_log_and_everything_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let files =
            ["a.log", "a.log.2", "a.log.10", "a.log.1", "a.log.old", "b.log.1.gz", "logtail.log", "a.txt"];
        let unfinished = ["a.log.2.gz", "c.log.pid"];
        for name in files.iter().chain(&unfinished) {
            fs::write(path(name), "").unwrap();
        }
        for (day, name) in (1..).zip(["a.log.10", "a.log.2", "a.log.1", "a.log.old"]) {
            let file = File::options().append(true).open(path(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(day * 86_400)).unwrap();
        }
        fs::create_dir(path("a.log.d")).unwrap();
        fs::create_dir(path("d.log")).unwrap();
        symlink("/etc/passwd", path("l.log")).unwrap();
        nix::unistd::mkfifo(&path("p.log"), Mode::S_IRWXU).unwrap();
        for name in [&b"\xff.log"[..], b"\xff.txt"] {
            fs::write(dir.path().join(OsStr::from_bytes(name)), "").unwrap();
        }
        let listing = LogDirectory::new(dir.path().into(), Selection::Every).list().unwrap();
        let refused: Vec<_> =
            listing.refused.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        let no_file = "it is not a regular file";
        assert_eq!(
            refused,
            [
                ("\\xff.log", "its name is not UTF-8"),
                ("d.log", no_file),
                ("l.log", no_file),
                ("p.log", no_file)
            ]
        );
        let families: Vec<_> = listing
            .families
            .iter()
            .map(|(name, family)| {
                let names: Vec<_> = family.rotated.iter().map(|file| file.name.as_str()).collect();
                (name.as_str(), family.base.is_some(), names)
            })
            .collect();
        let a = ("a.log", true, vec!["a.log.old", "a.log.1", "a.log.2", "a.log.10"]);
        assert_eq!(families, [a, ("b.log", false, vec!["b.log.1.gz"])]);
    }

    #[test]
    fn the_newest_of_dated_files_was_changed_last() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["x.log.1", "x.log-27112026", "x.log-01122026.gz", "x-20261202.log", "x.log"];
        for (day, name) in (1..).zip(names) {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(day * 86_400)).unwrap();
        }
        let listing = LogDirectory::new(dir.path().into(), Selection::Every).list().unwrap();
        let names =
            |family: &LogFiles| family.rotated.iter().map(|file| file.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            listing.families.iter().map(|(name, family)| (name.as_str(), names(family))).collect::<Vec<_>>(),
            [(
                "x.log",
                ["x-20261202.log", "x.log-01122026.gz", "x.log-27112026", "x.log.1"]
                    .map(str::to_owned)
                    .to_vec()
            )]
        );
    }

    #[test]
    fn a_link_is_never_opened_and_a_file_only_if_it_is_the_one_meant() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("a.log"), "x").unwrap();
        symlink("a.log", real.join("l.log")).unwrap();
        symlink(&real, dir.path().join("link")).unwrap();
        let id = FileId::from_metadata(&fs::metadata(real.join("a.log")).unwrap());
        let directory = LogDirectory::new(real.clone(), Selection::Every);
        assert!(directory.open_file("a.log", id).unwrap().is_some());
        assert!(directory.open_file("l.log", id).unwrap().is_none());
        fs::remove_file(real.join("a.log")).unwrap();
        assert!(directory.open_file("a.log", id).unwrap().is_none());
        assert!(LogDirectory::new(dir.path().join("link"), Selection::Every).open().is_err());
    }
}
