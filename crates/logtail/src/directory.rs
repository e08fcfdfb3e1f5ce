//! A directory with logs; nothing in it is followed to another place.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::identity::FileId;
use crate::names;
use crate::plan::Family;
use crate::safe;

/// Which files of a directory count.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// Every `*.log` but our own.
    Every,
    /// These names.
    These(&'static [&'static str]),
}

impl Which {
    fn takes(self, base: &str) -> bool {
        match self {
            Self::Every => names::service(base).is_some(),
            Self::These(names) => names.contains(&base),
        }
    }
}

/// A directory by its path; it may be missing, or become another one.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    which: Which,
}

/// What is in a directory at the moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The logs by the name of their base, such as `caddy.log`.
    pub families: BTreeMap<String, Family>,
    /// What is called like a log and is none, and why it is not read.
    pub refused: BTreeMap<String, String>,
}

/// A directory that is open: its names cannot be steered elsewhere any more.
pub struct Opened(File);

impl Directory {
    pub fn new(path: PathBuf, which: Which) -> Self {
        Self { path, which }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory that has the path now; a link in its place is refused.
    pub fn open(&self) -> io::Result<Opened> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        OpenOptions::new().read(true).custom_flags(flags.bits()).open(&self.path).map(Opened)
    }

    /// The files of one log, in a state that they had at one moment: a listing in the middle of a rotation can show a file
    /// under two names or under none.
    pub fn family(&self, base: &str) -> io::Result<Family> {
        let one =
            || -> io::Result<Family> { Ok(self.list_once()?.families.remove(base).unwrap_or_default()) };
        settled(one)
    }

    /// Everything that counts, like [`Directory::family`]; a directory that is not there has nothing.
    pub fn list(&self) -> io::Result<Listing> {
        settled(|| self.list_once())
    }

    fn list_once(&self) -> io::Result<Listing> {
        let opened = match self.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            opened => opened?,
        };
        let mut listing = Listing::default();
        for entry in fs::read_dir(opened.path())? {
            let entry = entry?;
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    let shown = safe::text(name.as_encoded_bytes());
                    if self.which.takes(&shown) {
                        listing.refused.insert(shown, "its name is no text (UTF-8)".to_owned());
                    }
                    continue;
                }
            };
            let base = names::base(&name).unwrap_or(&name);
            if !self.which.takes(base) {
                continue;
            }
            // Not followed; a file that went in the meantime is not there.
            let Ok(meta) = entry.metadata() else { continue };
            if !meta.is_file() {
                listing.refused.insert(name, "it is not a regular file".to_owned());
                continue;
            }
            let family = listing.families.entry(base.to_owned()).or_default();
            match names::rotation(&name, base) {
                Some(number) => family.rotated.push((number, FileId::of(&meta))),
                None => family.base = Some(FileId::of(&meta)),
            }
        }
        for family in listing.families.values_mut() {
            family.rotated.sort_unstable();
        }
        Ok(listing)
    }

    /// Opens a file of the directory for reading, if it still is the one that was meant.
    pub fn open_file(&self, name: &str, meant: FileId) -> io::Result<Option<File>> {
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let file = match openat(&self.open()?.0, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ELOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let meta = file.metadata()?;
        Ok((meta.is_file() && FileId::of(&meta) == meant).then_some(file))
    }
}

/// Asks until two answers are the same; after many that are not, the last one has to do.
fn settled<T: PartialEq>(ask: impl Fn() -> io::Result<T>) -> io::Result<T> {
    const TRIES: usize = 16;
    let mut last = ask()?;
    for _ in 0..TRIES {
        let next = ask()?;
        if next == last {
            break;
        }
        last = next;
    }
    Ok(last)
}

impl Opened {
    /// A path to this very directory, whatever its name leads to.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn regular_files_are_grouped_by_log_and_everything_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a.log", "a.log.2", "a.log.10", "a.log.1", "b.log.1", "logtail.log", "a.txt"] {
            fs::write(path(name), "").unwrap();
        }
        fs::create_dir(path("d.log")).unwrap();
        symlink("/etc/passwd", path("l.log")).unwrap();
        nix::unistd::mkfifo(&path("p.log"), Mode::S_IRWXU).unwrap();
        for name in [&b"\xff.log"[..], b"\xff.txt"] {
            fs::write(dir.path().join(OsStr::from_bytes(name)), "").unwrap();
        }
        let listing = Directory::new(dir.path().into(), Which::Every).list().unwrap();
        let refused: Vec<_> =
            listing.refused.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        let no_file = "it is not a regular file";
        assert_eq!(
            refused,
            [
                ("\\xff.log", "its name is no text (UTF-8)"),
                ("d.log", no_file),
                ("l.log", no_file),
                ("p.log", no_file)
            ]
        );
        let families: Vec<_> = listing
            .families
            .iter()
            .map(|(name, family)| {
                let numbers: Vec<_> = family.rotated.iter().map(|&(number, _)| number).collect();
                (name.as_str(), family.base.is_some(), numbers)
            })
            .collect();
        assert_eq!(families, [("a.log", true, vec![1, 2, 10]), ("b.log", false, vec![1])]);
    }

    #[test]
    fn a_link_is_never_opened_and_a_file_only_if_it_is_the_one_meant() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("a.log"), "x").unwrap();
        symlink("a.log", real.join("l.log")).unwrap();
        symlink(&real, dir.path().join("link")).unwrap();
        let id = FileId::of(&fs::metadata(real.join("a.log")).unwrap());
        let directory = Directory::new(real.clone(), Which::Every);
        assert!(directory.open_file("a.log", id).unwrap().is_some());
        assert!(directory.open_file("l.log", id).unwrap().is_none());
        fs::remove_file(real.join("a.log")).unwrap();
        assert!(directory.open_file("a.log", id).unwrap().is_none());
        assert!(Directory::new(dir.path().join("link"), Which::Every).open().is_err());
    }
}
