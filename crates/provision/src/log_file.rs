//! The log of provisioning: bounded, and never a reason for the script to wait or to fail.
//!
//! At most three files: `provisioning.log` is written, `.1` is the one before it, and `.2` is the beginning of the run. What
//! was between `.2` and `.1` is dropped and counted.

use std::path::Path;
use std::time::SystemTime;

use kit::rotating_log::{Keep, RotatingLog};
use kit::{rfc3339, units};

/// Maximum size of one file in bytes.
pub const LIMIT: u64 = 32_000_000;

/// Writer of the log, which counts what it cannot write.
#[derive(Debug)]
pub struct LogFile {
    log: RotatingLog,
    lost_bytes: u64,
    last_error: Option<String>,
}

impl LogFile {
    /// Opens the log; if that fails, everything is lost that is written before it can be opened.
    pub fn open(path: &Path, limit: u64) -> Self {
        let mut log = RotatingLog::new(path.to_owned(), limit, Keep::FirstAndNewest { note: dropped_line });
        let last_error = log.open_now().err().map(|error| error.to_string());
        Self { log, lost_bytes: 0, last_error }
    }

    /// Appends lines, and counts the bytes that cannot be written.
    pub fn write(&mut self, lines: &[u8]) {
        let written = self.log.write(lines);
        if let Some(error) = written.error {
            self.lost_bytes += (lines.len() - written.bytes) as u64;
            self.last_error = Some(error.to_string());
        }
    }

    /// Returns the number of bytes that could not be written, with the reason; nothing if everything was written.
    pub fn loss_message(&self) -> Option<String> {
        let reason = self.last_error.as_deref()?;
        (self.lost_bytes > 0).then(|| {
            format!(
                "{} of output could not be written to {}: {reason}",
                units::format_bytes(self.lost_bytes),
                self.log.path().display()
            )
        })
    }

    /// True if a file, such as standard error, is this log.
    pub fn is_same_file(&self, device: u64, inode: u64) -> bool {
        self.log.is_same_file(device, inode)
    }
}

fn dropped_line(bytes: u64, first: &Path, newest: &Path) -> Vec<u8> {
    let time = rfc3339::seconds(SystemTime::now());
    let (bytes, first, newest) = (units::format_bytes(bytes), first.display(), newest.display());
    format!("{time} provision: dropped another {bytes} of output, from between {first} and {newest}\n").into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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
    fn a_removed_log_is_recreated_and_older_parts_stay() {
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
    fn a_log_that_cannot_be_rotated_does_not_grow() {
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

    #[test]
    fn a_log_that_cannot_be_opened_at_first_gets_the_lines_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.log");
        fs::create_dir(&path).unwrap();
        let mut log = LogFile::open(&path, 100);
        log.write(b"lost\n");
        fs::remove_dir(&path).unwrap();
        log.write(b"kept\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept\n");
        let loss = log.loss_message().unwrap();
        assert!(loss.starts_with("5 bytes of output") && loss.contains("Is a directory"), "{loss}");
    }
}
