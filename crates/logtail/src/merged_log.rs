//! `logtail.log`: the stream with times, in a few files of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::{Gid, fchown};

use crate::file_id::FileId;

/// A file is followed by the next one when it has this many bytes.
const MAX_BYTES: u64 = 10_000_000;
/// So many older files are kept.
const RETAINED: u32 = 4;

/// The writer's end.
#[derive(Debug)]
pub struct MergedLog {
    path: PathBuf,
    size: u64,
    file: Option<File>,
    buffer: Vec<u8>,
    /// Lines that could not be written since the last that could.
    missing: usize,
}

impl MergedLog {
    /// The record at a path; nothing is opened before the first line.
    pub fn new(path: PathBuf) -> Self {
        Self { path, size: MAX_BYTES, file: None, buffer: Vec::new(), missing: 0 }
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

    /// Writes whole lines, as many as there is room for; of those left out, `gap` makes the line that tells later.
    pub fn write(&mut self, gap: impl FnOnce(usize) -> Vec<u8>) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let own = if self.missing > 0 { gap(self.missing) } else { Vec::new() };
        let begin = own.len();
        self.buffer.splice(..0, own);
        let (written, result) = self.try_write();
        if written >= begin {
            self.missing = 0;
        }
        if result.is_err() {
            self.missing += memchr::memchr_iter(b'\n', &self.buffer[written.max(begin)..]).count();
        }
        self.buffer.clear();
        result
    }

    /// How much is in the file now, in bytes, and why it is not everything.
    fn try_write(&mut self) -> (usize, io::Result<()>) {
        let (file, length) = match self.ready() {
            Ok(ready) => ready,
            Err(error) => return (0, Err(error)),
        };
        if let Err(error) = (&file).write_all(&self.buffer) {
            let end = file.metadata().map_or(length, |meta| meta.len());
            let written = usize::try_from(end.saturating_sub(length)).unwrap_or(0).min(self.buffer.len());
            let whole = memchr::memrchr(b'\n', &self.buffer[..written]).map_or(0, |last| last + 1);
            // Half a line would be taken for a whole one, or for the beginning of the next.
            let _ = file.set_len(length + whole as u64);
            return (whole, Err(error));
        }
        self.file = Some(file);
        (self.buffer.len(), Ok(()))
    }

    /// The file to write to, with its length.
    fn ready(&mut self) -> io::Result<(File, u64)> {
        // Somebody may have removed it, or cut it.
        let mut file = match self.file.take().filter(|file| self.is_in_place(file)) {
            Some(file) => file,
            None => self.open()?,
        };
        let mut length = file.metadata()?.len();
        if length >= self.size {
            self.rotate()?;
            file = self.open()?;
            length = file.metadata()?.len();
        }
        Ok((file, length))
    }

    fn is_in_place(&self, file: &File) -> bool {
        let ids = (fs::symlink_metadata(&self.path), file.metadata());
        matches!(ids, (Ok(named), Ok(open)) if FileId::from_metadata(&named) == FileId::from_metadata(&open))
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).custom_flags(O_NOFOLLOW | O_NONBLOCK);
        let mut file = match options.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(&mut options)?,
            opened => opened?,
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if meta.len() > 0 {
            let mut last = [0];
            file.read_exact_at(&mut last, meta.len() - 1)?;
            if last != *b"\n" {
                // Of a writer that was killed.
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    }

    /// A new file has its readers before it has its name: one who waits for it opens it at once.
    fn create(&self, options: &mut OpenOptions) -> io::Result<File> {
        let temporary = self.path.with_extension("log.new");
        present(fs::remove_file(&temporary))?;
        let file = options.create_new(true).mode(0o640).open(&temporary)?;
        self.resemble_last(&file);
        fs::rename(&temporary, &self.path)?;
        Ok(file)
    }

    /// Who could read the last file can read this one. Where that does not work, root alone can, which is safe.
    fn resemble_last(&self, file: &File) {
        if let Ok(last) = fs::symlink_metadata(self.older(1)) {
            let _ = fchown(file, None, Some(Gid::from_raw(last.gid())));
            let _ = file.set_permissions(fs::Permissions::from_mode(last.mode() & 0o640));
        }
    }

    /// From the oldest on, so that a kill in between leaves a gap in the numbers and nothing else; a gap is filled first.
    fn rotate(&self) -> io::Result<()> {
        let is_free = |number: &u32| fs::symlink_metadata(self.older(*number)).is_err();
        let free = (1..RETAINED).find(is_free).unwrap_or(RETAINED);
        if free == RETAINED {
            // A rename over it would have ext4 write its successor to the disk at once (auto_da_alloc, ext4(5)).
            present(fs::remove_file(self.older(RETAINED)))?;
        }
        for number in (1..free).rev() {
            fs::rename(self.older(number), self.older(number + 1))?;
        }
        present(fs::rename(&self.path, self.older(1)))
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

/// What is not there is as good as gone.
fn present(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

    use super::*;

    fn write(record: &mut MergedLog, text: &str) -> io::Result<()> {
        record.buffer().extend_from_slice(text.as_bytes());
        record.write(|missing| format!("{missing} missing\n").into_bytes())
    }

    #[test]
    fn the_oldest_lines_go_and_readers_stay_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut record = MergedLog { size: 4, ..MergedLog::new(path.clone()) };
        for number in 0..7 {
            write(&mut record, &format!("{number} x\n")).unwrap();
        }
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let kept: Vec<_> = (1..=RETAINED).map(|number| text(&record.older(number))).collect();
        assert_eq!((text(&path).as_str(), kept.concat().as_str()), ("6 x\n", "5 x\n4 x\n3 x\n2 x\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_record_that_cannot_be_rotated_does_not_grow_and_what_is_older_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        let mut record = MergedLog { size: 4, ..MergedLog::new(path.clone()) };
        for number in 1..=RETAINED {
            fs::write(record.older(number), number.to_string()).unwrap();
        }
        write(&mut record, "1 x\n").unwrap();
        // A mount point cannot be renamed; this needs root.
        let mount =
            |args: &[&str]| Command::new(args[0]).args(&args[1..]).arg(&path).status().unwrap().success();
        assert!(mount(&["mount", "--bind", path.to_str().unwrap()]));
        let written: Vec<_> = (0..6).map(|_| write(&mut record, "2 x\n").is_ok()).collect();
        assert!(mount(&["umount"]));
        assert_eq!((written, record.missing()), (vec![false; 6], 6));
        assert_eq!(fs::read_to_string(&path).unwrap(), "1 x\n");
        let kept = (2..=RETAINED).map(|number| fs::read_to_string(record.older(number)).unwrap());
        assert_eq!(kept.collect::<Vec<_>>(), ["1", "2", "3"]);
    }

    #[test]
    fn a_record_that_somebody_removes_or_cuts_is_written_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        let mut record = MergedLog::new(path.clone());
        write(&mut record, "1\n").unwrap();
        fs::remove_file(&path).unwrap();
        write(&mut record, "2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
        fs::write(&path, "").unwrap();
        write(&mut record, "3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
    }

    #[test]
    fn a_gap_that_a_kill_left_is_filled_and_no_older_file_is_pushed_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        let mut record = MergedLog { size: 4, ..MergedLog::new(path.clone()) };
        for number in [2, 3, RETAINED] {
            fs::write(record.older(number), number.to_string()).unwrap();
        }
        write(&mut record, "1 x\n").unwrap();
        write(&mut record, "2 x\n").unwrap();
        let kept = (1..=RETAINED).map(|number| fs::read_to_string(record.older(number)).unwrap());
        assert_eq!(kept.collect::<Vec<_>>(), ["1 x\n", "2", "3", "4"]);
    }

    #[test]
    fn half_a_line_that_a_kill_left_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        fs::write(&path, "1\n2 is ha").unwrap();
        write(&mut MergedLog::new(path.clone()), "2 is half\n").unwrap();
        write(&mut MergedLog::new(path.clone()), "3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2 is ha\n2 is half\n3\n");
    }

    #[test]
    fn a_new_file_has_its_readers_before_it_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        let mut record = MergedLog { size: 4, ..MergedLog::new(path.clone()) };
        write(&mut record, "1 x\n").unwrap();
        let events = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        events.add_watch(dir.path(), AddWatchFlags::IN_ALL_EVENTS).unwrap();
        write(&mut record, "2 x\n").unwrap();
        let events = events.read_events().unwrap().into_iter();
        let of_name = events.filter(|event| event.name.as_deref() == path.file_name());
        let masks: Vec<_> = of_name.map(|event| event.mask).collect();
        assert!(masks.contains(&AddWatchFlags::IN_MOVED_TO), "{masks:?}");
        assert!(!masks.contains(&AddWatchFlags::IN_CREATE), "{masks:?}");
        assert!(!masks.contains(&AddWatchFlags::IN_ATTRIB), "{masks:?}");
    }

    #[test]
    fn what_is_in_its_place_is_not_written_to_and_missing_lines_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        std::os::unix::fs::symlink(dir.path().join("victim"), &path).unwrap();
        let mut record = MergedLog::new(path.clone());
        assert!(write(&mut record, "1\n2\n").is_err());
        assert!(write(&mut record, "3\n").is_err());
        assert_eq!((record.missing(), dir.path().join("victim").exists()), (3, false));
        fs::remove_file(&path).unwrap();
        write(&mut record, "4\n").unwrap();
        assert_eq!((record.missing(), fs::read_to_string(&path).unwrap().as_str()), (0, "3 missing\n4\n"));
    }
}
