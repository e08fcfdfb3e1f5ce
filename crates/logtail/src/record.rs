//! `logtail.log`: the stream with times, in a few files of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::{Gid, fchown};

/// A file is followed by the next one when it has this many bytes.
const SIZE: u64 = 10_000_000;
/// So many older files are kept.
const KEPT: u32 = 4;

/// The writer's end.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    size: u64,
    file: Option<(File, u64)>,
    buffer: Vec<u8>,
    /// Lines that could not be written since the last that could.
    missing: usize,
}

impl Record {
    /// The record at a path; nothing is opened before the first line.
    pub fn new(path: PathBuf) -> Self {
        Self { path, size: SIZE, file: None, buffer: Vec::new(), missing: 0 }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What waits to be written; lines are appended here.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Lines that are missing at the moment.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Writes whole lines or none; after a failure these are left out, and `gap` makes the line that says so later.
    pub fn write(&mut self, gap: impl FnOnce(usize) -> Vec<u8>) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let lines = self.buffer.iter().filter(|&&byte| byte == b'\n').count();
        if self.missing > 0 {
            self.buffer.splice(..0, gap(self.missing));
        }
        let written = self.try_write();
        if written.is_err() {
            self.missing += lines;
            self.file = None;
        } else {
            self.missing = 0;
        }
        self.buffer.clear();
        written
    }

    fn try_write(&mut self) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|(_, length)| *length >= self.size) {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.file = Some(self.open()?);
        }
        let Some((file, length)) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(&self.buffer) {
            // Half a line would be taken for a whole one, or for the beginning of the next.
            let _ = file.set_len(*length);
            return Err(error);
        }
        *length += self.buffer.len() as u64;
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640).custom_flags(O_NOFOLLOW | O_NONBLOCK);
        let file = options.open(&self.path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if meta.len() == 0 {
            self.resemble_last(&file);
        }
        Ok((file, meta.len()))
    }

    /// Who could read the last file can read this one. Where that does not work, root alone can, which is safe.
    fn resemble_last(&self, file: &File) {
        if let Ok(last) = fs::symlink_metadata(self.older(1)).or_else(|_| fs::symlink_metadata(&self.path)) {
            let _ = fchown(file, None, Some(Gid::from_raw(last.gid())));
            let _ = file.set_permissions(fs::Permissions::from_mode(last.mode() & 0o640));
        }
    }

    /// From the oldest on, so that a kill in between leaves a gap in the numbers and nothing else.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let present = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        for number in (1..KEPT).rev() {
            present(fs::rename(self.older(number), self.older(number + 1)))?;
        }
        present(fs::rename(&self.path, self.older(1)))
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(record: &mut Record, text: &str) -> io::Result<()> {
        record.buffer().extend_from_slice(text.as_bytes());
        record.write(|missing| format!("{missing} missing\n").into_bytes())
    }

    #[test]
    fn the_oldest_lines_go_and_readers_stay_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut record = Record { size: 4, ..Record::new(path.clone()) };
        for number in 0..7 {
            write(&mut record, &format!("{number} x\n")).unwrap();
        }
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let kept: Vec<_> = (1..=KEPT).map(|number| text(&record.older(number))).collect();
        assert_eq!((text(&path).as_str(), kept.concat().as_str()), ("6 x\n", "5 x\n4 x\n3 x\n2 x\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_is_in_its_place_is_not_written_to_and_missing_lines_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        std::os::unix::fs::symlink(dir.path().join("victim"), &path).unwrap();
        let mut record = Record::new(path.clone());
        assert!(write(&mut record, "1\n2\n").is_err());
        assert!(write(&mut record, "3\n").is_err());
        assert_eq!((record.missing(), dir.path().join("victim").exists()), (3, false));
        fs::remove_file(&path).unwrap();
        write(&mut record, "4\n").unwrap();
        assert_eq!((record.missing(), fs::read_to_string(&path).unwrap().as_str()), (0, "3 missing\n4\n"));
    }
}
