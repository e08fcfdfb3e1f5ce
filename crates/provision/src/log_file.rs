//! The log of provisioning: bounded, and never a reason for the script to wait or to fail.
//!
//! Three files at most: `provisioning.log`, where it goes on; `.1`, what came last before it; `.2`, how the run began. What
//! was between `.2` and `.1` is dropped and counted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kit::units;

/// The size of one file, in bytes.
pub const LIMIT: u64 = 32_000_000;

/// A log that is appended to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    limit: u64,
    /// How often this run has begun a new file.
    rotations: u32,
    /// The size of `.1`, in bytes.
    before: u64,
    /// Whether the last line lacks its end, because there was no room for it.
    torn: bool,
    lost: u64,
    trouble: Option<String>,
}

impl LogFile {
    /// Opens the log; if that is not possible, everything that is written is counted as lost.
    pub fn open(path: &Path, limit: u64) -> Self {
        let mut log = Self {
            path: path.to_owned(),
            file: None,
            size: 0,
            limit,
            rotations: 0,
            before: 0,
            torn: false,
            lost: 0,
            trouble: None,
        };
        if let Err(error) = log.reopen(None) {
            log.trouble = Some(error.to_string());
        }
        log
    }

    /// Appends whole lines; what cannot be written is counted.
    pub fn write(&mut self, lines: &[u8]) {
        let length = lines.len() as u64;
        if self.size > 0
            && self.size + length > self.limit
            && let Err(error) = self.rotate()
        {
            // Without a new file there is no room for it: a log that grows without limit is worse than a gap.
            self.lost += length;
            self.trouble = Some(error.to_string());
            return;
        }
        match self.append(lines) {
            Ok(()) => {}
            Err((written, error)) => {
                self.lost += length - written;
                self.torn = self.torn || written > 0;
                self.trouble = Some(error.to_string());
            }
        }
    }

    /// How many bytes could not be written, and why.
    pub fn loss_message(&self) -> Option<String> {
        let reason = self.trouble.as_deref()?;
        (self.lost > 0).then(|| {
            format!(
                "{} of output could not be written to {}: {reason}",
                units::format_bytes(self.lost),
                self.path.display()
            )
        })
    }

    /// Whether a file, such as standard error, is this log.
    pub fn is_same_file(&self, device: u64, inode: u64) -> bool {
        let meta = self.file.as_ref().and_then(|file| file.metadata().ok());
        meta.is_some_and(|meta| (meta.dev(), meta.ino()) == (device, inode))
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        let Some(file) = &mut self.file else { return Err((0, io::Error::other("it is not open"))) };
        if self.torn {
            file.write_all(b"\n").map_err(|error| (0, error))?;
            self.torn = false;
        }
        let mut written = 0;
        while written < lines.len() {
            match file.write(&lines[written..]) {
                Ok(0) => return Err((written as u64, io::Error::from(io::ErrorKind::WriteZero))),
                Ok(count) => {
                    written += count;
                    self.size += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written as u64, error)),
            }
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = self.path.clone();
        let numbered = |number: u32| {
            let mut name = path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let old = self.file.as_ref().map(File::metadata).transpose()?;
        if !self.is_in_its_place(old.as_ref())? {
            // Somebody has taken it away, or put another there: what is kept of before stays.
            return self.reopen(old);
        }
        // The first one is the run's beginning, and stays.
        let dropped = if self.rotations > 1 { self.before } else { 0 };
        if self.rotations == 1 {
            renamed(&numbered(1), &numbered(2))?;
        }
        renamed(&self.path, &numbered(1))?;
        self.before = self.size;
        self.rotations += 1;
        self.reopen(old)?;
        if dropped > 0 {
            let line = format!(
                "{} provision: dropped another {} of output, from between {} and {}\n",
                kit::clock::written(std::time::SystemTime::now()),
                units::format_bytes(dropped),
                numbered(2).display(),
                numbered(1).display()
            );
            self.append(line.as_bytes()).map_err(|(_, error)| error)?;
        }
        Ok(())
    }

    /// Whether what is at the path is the file that is open.
    fn is_in_its_place(&self, open: Option<&fs::Metadata>) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) => Ok(open.is_some_and(|open| (open.dev(), open.ino()) == (found.dev(), found.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the file at the path, which gets owner and mode of the one before it.
    fn reopen(&mut self, like: Option<fs::Metadata>) -> io::Result<()> {
        self.file = None;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&self.path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        if let Some(old) = like {
            nix::unistd::fchown(&file, Some(old.uid().into()), Some(old.gid().into()))?;
            file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        }
        self.size = meta.len();
        self.file = Some(file);
        Ok(())
    }
}

/// Gives a file a name that another may have. That one is removed first: a rename over it would have file systems write
/// out what is dropped a moment later (ext4(5), `auto_da_alloc`).
fn renamed(from: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::rename(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept_and_what_was_between_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.log");
        fs::write(&path, "earlier\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let mut log = LogFile::open(&path, 300);
        for number in 10..99 {
            log.write(format!("line number {number}\n").as_bytes());
        }
        assert_eq!(log.loss_message(), None);
        let read = |suffix: &str| fs::read_to_string(dir.path().join(format!("p.log{suffix}"))).unwrap();
        assert!(read(".2").starts_with("earlier\nline number 10\n"));
        assert!(read("").ends_with("line number 98\n"));
        assert!(read("").contains("of output, from between "));
        assert!(read(".1").contains("line number "));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o604);
    }

    #[test]
    fn a_log_that_is_taken_away_begins_anew_and_what_was_kept_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.log");
        let mut log = LogFile::open(&path, 50);
        let write = |log: &mut LogFile, numbers: std::ops::Range<u32>| {
            numbers.for_each(|number| log.write(format!("line number {number}\n").as_bytes()));
        };
        write(&mut log, 10..20);
        let read = |suffix: &str| fs::read_to_string(dir.path().join(format!("p.log{suffix}"))).unwrap();
        let kept = (read(".1"), read(".2"));
        fs::remove_file(&path).unwrap();
        write(&mut log, 20..21);
        assert_eq!((read(".1"), read(".2")), kept);
        assert_eq!((read("").as_str(), log.loss_message()), ("line number 20\n", None));
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        fs::write(&path, "another\n").unwrap();
        write(&mut log, 21..24);
        assert_eq!(read(""), "another\nline number 23\n");
        assert_eq!((read(".1"), read(".2")), kept);
    }

    #[test]
    fn a_log_that_cannot_be_begun_anew_does_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.log");
        fs::create_dir(dir.path().join("p.log.1")).unwrap();
        let mut log = LogFile::open(&path, 50);
        for number in 10..30 {
            log.write(format!("line number {number}\n").as_bytes());
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 45);
        let loss = log.loss_message().unwrap();
        assert!(loss.starts_with("255 bytes of output could not be written to "), "{loss}");
    }

    #[test]
    fn a_link_or_a_directory_in_its_place_loses_the_output_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, link) = (dir.path().join("victim"), dir.path().join("link"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        for path in [link, dir.path().to_owned()] {
            let mut log = LogFile::open(&path, 100);
            log.write(b"12345\n");
            assert!(log.loss_message().unwrap().starts_with("6 bytes of output could not be written to "));
        }
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    }
}
