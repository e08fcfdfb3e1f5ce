//! `logtail.log`: the stream with times, in a few files of bounded size.

use std::io;
use std::path::{Path, PathBuf};

use kit::rotating_log::{Keep, RotatingLog};

/// Maximum size of one file in bytes.
const MAX_BYTES: u64 = 10_000_000;
/// Number of older files that are kept.
const RETAINED: u32 = 4;

/// Writer of the merged log.
#[derive(Debug)]
pub struct MergedLog {
    log: RotatingLog,
    buffer: Vec<u8>,
    /// Number of lines dropped since the last successful write.
    missing: usize,
}

impl MergedLog {
    /// Creates the writer of the log at a path; it opens nothing before the first line.
    pub fn new(path: PathBuf) -> Self {
        Self::with_limit(path, MAX_BYTES)
    }

    fn with_limit(path: PathBuf, limit: u64) -> Self {
        let log = RotatingLog::new(path, limit, Keep::Newest(RETAINED));
        Self { log, buffer: Vec::new(), missing: 0 }
    }

    pub fn path(&self) -> &Path {
        self.log.path()
    }

    /// Lines to be written; callers append to them.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Number of lines dropped since the last successful write.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Writes as many buffered lines as possible and empties the buffer. After dropped lines, `gap` makes a line with their
    /// number, which is written first.
    pub fn write(&mut self, gap: impl FnOnce(usize) -> Vec<u8>) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let own = if self.missing > 0 { gap(self.missing) } else { Vec::new() };
        let begin = own.len();
        self.buffer.splice(..0, own);
        self.log.reopen_if_replaced();
        let written = self.log.write(&self.buffer);
        if written.bytes >= begin {
            self.missing = 0;
        }
        if written.error.is_some() {
            self.missing += memchr::memchr_iter(b'\n', &self.buffer[written.bytes.max(begin)..]).count();
        }
        self.buffer.clear();
        written.error.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let mut record = MergedLog::with_limit(path.clone(), 4);
        for number in 0..7 {
            write(&mut record, &format!("{number} x\n")).unwrap();
        }
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let kept: Vec<_> = (1..=RETAINED).map(|number| text(&record.log.numbered(number))).collect();
        assert_eq!((text(&path).as_str(), kept.concat().as_str()), ("6 x\n", "5 x\n4 x\n3 x\n2 x\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_record_that_cannot_be_rotated_does_not_grow_and_what_is_older_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logtail.log");
        let mut record = MergedLog::with_limit(path.clone(), 4);
        for number in 1..=RETAINED {
            fs::write(record.log.numbered(number), number.to_string()).unwrap();
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
        let kept = (2..=RETAINED).map(|number| fs::read_to_string(record.log.numbered(number)).unwrap());
        assert_eq!(kept.collect::<Vec<_>>(), ["1", "2", "3"]);
    }

    #[test]
    fn a_removed_or_truncated_merged_log_is_continued() {
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
        let mut record = MergedLog::with_limit(path.clone(), 4);
        for number in [2, 3, RETAINED] {
            fs::write(record.log.numbered(number), number.to_string()).unwrap();
        }
        write(&mut record, "1 x\n").unwrap();
        write(&mut record, "2 x\n").unwrap();
        let kept = (1..=RETAINED).map(|number| fs::read_to_string(record.log.numbered(number)).unwrap());
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
        let mut record = MergedLog::with_limit(path.clone(), 4);
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
