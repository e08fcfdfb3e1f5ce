//! A log of bounded size: whole lines are appended, and a new file follows before one exceeds its limit.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::missing_ok;

/// Older files that are kept.
#[derive(Debug, Clone, Copy)]
pub enum Keep {
    /// The newest files, from `.1` up to this number.
    Newest(u32),
    /// The first file since the start as `.2`, and the newest as `.1`.
    FirstAndNewest {
        /// Returns the line about the bytes that were dropped between the two files.
        note: fn(u64, &Path, &Path) -> Vec<u8>,
    },
}

/// Result of a write.
#[derive(Debug)]
pub struct Written {
    /// Number of bytes in the file now, which are whole lines.
    pub bytes: usize,
    /// The reason if this is not everything.
    pub error: Option<io::Error>,
}

/// Writer of a log.
#[derive(Debug)]
pub struct RotatingLog {
    path: PathBuf,
    limit: u64,
    keep: Keep,
    file: Option<File>,
    rotations: u32,
    /// Size of `.1` in bytes, if this writer has written it.
    previous_size: u64,
}

impl RotatingLog {
    /// Creates a writer; it opens nothing before the first line. A file larger than `limit` bytes has a single write in it.
    #[must_use]
    pub fn new(path: PathBuf, limit: u64, keep: Keep) -> Self {
        Self { path, limit, keep, file: None, rotations: 0, previous_size: 0 }
    }

    /// Path of the file that is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of an older file.
    #[must_use]
    pub fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Opens the file now, so that its error is known before the first line.
    pub fn open_now(&mut self) -> io::Result<()> {
        self.file = Some(self.open(None)?);
        Ok(())
    }

    /// True if a file, such as standard error, is the one that is open.
    #[must_use]
    pub fn is_same_file(&self, device: u64, inode: u64) -> bool {
        let meta = self.file.as_ref().and_then(|file| file.metadata().ok());
        meta.is_some_and(|meta| (meta.dev(), meta.ino()) == (device, inode))
    }

    /// Makes the next write open the path again if the open file was removed or renamed. Otherwise only a full file is
    /// compared with its path.
    pub fn reopen_if_replaced(&mut self) {
        if self.file.as_ref().is_some_and(|file| !self.is_in_place(file)) {
            self.file = None;
        }
    }

    /// Appends lines. Without a new file there is no room: a log that grows without limit is worse than a gap.
    pub fn write(&mut self, lines: &[u8]) -> Written {
        if lines.is_empty() {
            return Written { bytes: 0, error: None };
        }
        match self.file_with_room(lines.len() as u64) {
            Ok(file) => {
                let written = append(&file, lines);
                // After an error, the path may be another file by the time of the next write.
                self.file = Some(file).filter(|_| written.error.is_none());
                written
            }
            Err(error) => Written { bytes: 0, error: Some(error) },
        }
    }

    fn file_with_room(&mut self, more: u64) -> io::Result<File> {
        let is_full = |size: u64| size > 0 && size + more > self.limit;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open(None)?,
        };
        if is_full(file.metadata()?.len()) && !self.is_in_place(&file) {
            // Another process has moved it away: the files that are kept stay.
            file = self.open(file.metadata().ok())?;
        }
        let size = file.metadata()?.len();
        if is_full(size) { self.rotate(&file, size) } else { Ok(file) }
    }

    fn is_in_place(&self, open: &File) -> bool {
        let found = (fs::symlink_metadata(&self.path), open.metadata());
        matches!(found, (Ok(named), Ok(open)) if (named.dev(), named.ino()) == (open.dev(), open.ino()))
    }

    fn rotate(&mut self, old: &File, size: u64) -> io::Result<File> {
        let note = match self.keep {
            Keep::Newest(count) => {
                self.shift(count)?;
                None
            }
            Keep::FirstAndNewest { note } => {
                if self.rotations == 1 {
                    // Users remove logs to free space.
                    missing_ok(replace(&self.numbered(1), &self.numbered(2)))?;
                }
                replace(&self.path, &self.numbered(1))?;
                let dropped = if self.rotations > 1 { self.previous_size } else { 0 };
                (dropped > 0).then(|| note(dropped, &self.numbered(2), &self.numbered(1)))
            }
        };
        self.rotations += 1;
        self.previous_size = size;
        let file = self.open(old.metadata().ok())?;
        match note.map(|note| append(&file, &note)) {
            Some(Written { error: Some(error), .. }) => Err(error),
            _ => Ok(file),
        }
    }

    /// Renames from the oldest on, so that a kill in between leaves a gap in the numbers and nothing else; a gap is filled
    /// first.
    fn shift(&self, count: u32) -> io::Result<()> {
        let is_free = |number: &u32| fs::symlink_metadata(self.numbered(*number)).is_err();
        let free = (1..count).find(is_free).unwrap_or(count);
        for number in (1..free).rev() {
            replace(&self.numbered(number), &self.numbered(number + 1))?;
        }
        missing_ok(replace(&self.path, &self.numbered(1))).map(drop)
    }

    /// Opens the file at the path; a new one gets the readers of the one before it.
    fn open(&self, previous: Option<Metadata>) -> io::Result<File> {
        let previous = previous.or_else(|| fs::symlink_metadata(self.numbered(1)).ok());
        let mut file = match (open(OpenOptions::new().read(true), &self.path), previous) {
            (Err(error), Some(previous)) if error.kind() == ErrorKind::NotFound && previous.is_file() => {
                self.create(&previous)?
            }
            (Err(error), _) if error.kind() == ErrorKind::NotFound => {
                open(OpenOptions::new().read(true).create(true), &self.path)?
            }
            (opened, _) => opened?,
        };
        let size = file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        if last != *b"\n" {
            // Of a writer that was killed.
            file.write_all(b"\n")?;
        }
        Ok(file)
    }

    /// Creates the file under a temporary name: a program that waits for it opens it as soon as it has its name.
    fn create(&self, previous: &Metadata) -> io::Result<File> {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".new");
        let temporary = self.path.with_file_name(name);
        missing_ok(fs::remove_file(&temporary))?;
        let file = open(OpenOptions::new().read(true).create_new(true), &temporary)?;
        // Where this does not work, only root can read it, which is safe.
        let _ = fchown(&file, Some(previous.uid()), Some(previous.gid()));
        let mask = match self.keep {
            // Of all services: never for everyone.
            Keep::Newest(_) => 0o640,
            Keep::FirstAndNewest { .. } => 0o666,
        };
        let _ = file.set_permissions(Permissions::from_mode(previous.mode() & mask));
        fs::rename(&temporary, &self.path)?;
        Ok(file)
    }
}

/// Opens a log for appending, created if it is missing. A link, or anything else that is not a file, is an error.
pub fn open_append(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().create(true), path)
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.append(true).mode(0o640).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Appends lines; after an error, half a line is removed, which would be the beginning of the next one.
fn append(mut file: &File, lines: &[u8]) -> Written {
    let mut bytes = 0;
    let error = loop {
        match file.write(&lines[bytes..]) {
            Ok(0) => break io::Error::from(ErrorKind::WriteZero),
            Ok(count) => bytes += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
        if bytes == lines.len() {
            return Written { bytes, error: None };
        }
    };
    let whole = lines[..bytes].iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let half = (bytes - whole) as u64;
    if half > 0
        && let Ok(meta) = file.metadata()
    {
        let _ = file.set_len(meta.len().saturating_sub(half));
    }
    Written { bytes: whole, error: Some(error) }
}

/// Gives a file a name that another one may have. That one is removed first: a rename over it would have ext4 write its
/// successor to the disk at once (`auto_da_alloc`, ext4(5)).
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    missing_ok(fs::remove_file(to))?;
    fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_full_disk_leaves_whole_lines_and_the_log_goes_on_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        // A file system of two pages; this needs root.
        let mount = |args: &[&str]| Command::new(args[0]).args(&args[1..]).arg(dir.path()).status().unwrap();
        assert!(mount(&["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs"]).success());
        let path = dir.path().join("a.log");
        let mut log = RotatingLog::new(path.clone(), 1 << 20, Keep::Newest(1));
        let filler = dir.path().join("filler");
        fs::write(&filler, [0; 4_096]).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        let first = log.write(line.repeat(5).as_bytes());
        fs::remove_file(&filler).unwrap();
        let second = log.write(b"last\n");
        let text = fs::read_to_string(&path).unwrap();
        assert!(mount(&["umount", "--lazy"]).success());
        assert_eq!((first.bytes, second.bytes), (4_000, 5));
        assert_eq!(first.error.unwrap().kind(), ErrorKind::StorageFull);
        assert!(second.error.is_none() && text == line.repeat(4) + "last\n");
    }

    #[test]
    fn a_file_exceeds_the_limit_only_by_a_single_write() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = RotatingLog::new(dir.path().join("a.log"), 10, Keep::Newest(4));
        for lines in ["1234\n", "5678\n", "9\n", "longer than all\n", "1\n"] {
            assert!(log.write(lines.as_bytes()).error.is_none());
        }
        let older = [3, 2, 1].map(|number| fs::read_to_string(log.numbered(number)).unwrap());
        assert_eq!(older, ["1234\n5678\n", "9\n", "longer than all\n"]);
        assert_eq!(fs::read_to_string(log.path()).unwrap(), "1\n");
    }

    #[test]
    fn an_older_file_that_a_user_removed_does_not_end_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::FirstAndNewest { note: |_, _, _| Vec::new() };
        let mut log = RotatingLog::new(dir.path().join("a.log"), 5, keep);
        for lines in ["1234\n", "5678\n"] {
            assert!(log.write(lines.as_bytes()).error.is_none());
        }
        fs::remove_file(log.numbered(1)).unwrap();
        assert!(log.write(b"9\n").error.is_none());
        let found = [log.numbered(1), log.path().to_owned()].map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(found, ["5678\n", "9\n"]);
    }

    #[test]
    fn a_new_file_has_the_readers_of_the_one_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = RotatingLog::new(dir.path().join("a.log"), 5, Keep::Newest(1));
        assert!(log.write(b"1234\n").error.is_none());
        for (mode, expected) in [(0o600, 0o600), (0o4666, 0o640)] {
            fs::set_permissions(log.path(), Permissions::from_mode(mode)).unwrap();
            assert!(log.write(b"5678\n").error.is_none());
            assert_eq!(fs::metadata(log.path()).unwrap().mode() & 0o7777, expected);
        }
    }
}
