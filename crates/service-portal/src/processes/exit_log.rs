//! The last lines that a program wrote before its exit.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use kit::ReadPolicy;
use process_control::Exit;

use crate::unavailable;

/// Number of bytes that are read before the exit.
const TAIL_BYTES: u64 = 16 * 1024;

/// Returns the last lines before the exit as plain text; none if the portal cannot read the log. Only those of `/var/log` below
/// `root` are read: another place may be a network volume that does not respond.
///
/// The launcher records the size of the log at the exit. A log that is smaller was rotated since: supervisord names the old one
/// `.1`.
pub fn last_lines(root: &Path, exit: &Exit) -> Vec<String> {
    let is_read = |log: &&str| exit.log_size > 0 && journal::log_name(log).is_some();
    let Some(log) = exit.log.as_deref().filter(is_read) else { return Vec::new() };
    let log = log.trim_start_matches('/');
    let files = [root.join(log), root.join(format!("{log}.1"))];
    let read = files.iter().find_map(|path| read_before(path, exit.log_size));
    read.map(|bytes| unavailable::lines(&bytes)).unwrap_or_default()
}

/// Reads the end of a file's first `size` bytes, if it has as many.
fn read_before(path: &Path, size: u64) -> Option<Vec<u8>> {
    let opened = ReadPolicy::max_size(u64::MAX).no_follow().open(path).ok()?;
    if opened.meta().len() < size {
        return None;
    }
    let mut file = opened.into_file();
    let start = size.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.take(size - start).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_lines_before_the_exit_are_shown_also_from_a_rotated_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("var/log/x.log");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(dir.path().join("x.log"), "elsewhere\n").unwrap();
        let exit = |log_size| Exit {
            at: 1.0,
            sentence: String::new(),
            expected: false,
            log: Some("/var/log/x.log".to_owned()),
            log_size,
        };
        let last_lines = |exit: &Exit| super::last_lines(dir.path(), exit);
        assert_eq!(last_lines(&exit(4)), [""; 0]);
        assert_eq!(last_lines(&Exit { log: Some("/x.log".to_owned()), ..exit(4) }), [""; 0]);
        fs::write(&log, "one\ntwo\nof the next start\n").unwrap();
        assert_eq!(last_lines(&exit(8)), ["one", "two"]);
        fs::rename(&log, dir.path().join("var/log/x.log.1")).unwrap();
        fs::write(&log, "new\n").unwrap();
        assert_eq!(last_lines(&exit(8)), ["one", "two"]);
        assert_eq!(last_lines(&exit(0)), [""; 0]);
        fs::write(&log, format!("{}<b>\u{1b}[31mred\u{1b}[0m\n", "long line\n".repeat(5_000))).unwrap();
        let lines = last_lines(&exit(fs::metadata(&log).unwrap().len()));
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (20, "<b>red"));
    }
}
