//! The last lines that a program wrote before its exit.

use std::path::Path;

use kit::ReadPolicy;
use log_history::line_time;
use process_control::Exit;

/// Returns the last lines before the exit; none if the portal cannot read the log. Only those of `/var/log` below `root` are
/// read: another place may be a network volume that does not respond.
///
/// The launcher records the size of the log at the exit. A log that is smaller or younger was rotated since: supervisord names
/// the old one `.1`.
pub fn last_lines(root: &Path, exit: &Exit) -> Vec<String> {
    let is_read = |log: &&str| exit.log_size > 0 && journal::log_name(log).is_some();
    let Some(log) = exit.log.as_deref().filter(is_read) else { return Vec::new() };
    let log = log.trim_start_matches('/');
    let files = [root.join(log), root.join(format!("{log}.1"))];
    files.iter().find_map(|path| lines_of(path, exit)).unwrap_or_default()
}

/// Returns the lines of a file, if it can be the log of the exit.
fn lines_of(path: &Path, exit: &Exit) -> Option<Vec<String>> {
    let opened = ReadPolicy::max_size(u64::MAX).no_follow().open(path).ok()?;
    let is_younger = opened.meta().created().is_ok_and(|created| line_time::seconds(created) > exit.at);
    if is_younger || opened.meta().len() < exit.log_size {
        return None;
    }
    log_history::last_lines(&opened.into_file(), exit.log_size).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_lines_before_the_exit_are_shown_also_from_a_rotated_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("var/log/x.log");
        let rotated = dir.path().join("var/log/x.log.1");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(dir.path().join("x.log"), "elsewhere\n").unwrap();
        fs::write(&log, "one\ntwo\nof the next start\n").unwrap();
        let created = |path: &Path| line_time::seconds(fs::metadata(path).unwrap().created().unwrap());
        let at = created(&log);
        let exit = |log_size| Exit {
            at,
            sentence: String::new(),
            expected: false,
            log: Some("/var/log/x.log".to_owned()),
            log_size,
        };
        let last_lines = |exit: &Exit| super::last_lines(dir.path(), exit);
        assert_eq!(last_lines(&Exit { log: Some("/x.log".to_owned()), ..exit(4) }), [""; 0]);
        assert_eq!(last_lines(&exit(8)), ["one", "two"]);
        assert_eq!(last_lines(&exit(0)), [""; 0]);
        fs::rename(&log, &rotated).unwrap();
        assert_eq!(last_lines(&exit(8)), ["one", "two"]);
        fs::write(&log, "new\n").unwrap();
        while created(&log) <= at {
            fs::remove_file(&log).unwrap();
            fs::write(&log, "another file that has grown\n").unwrap();
        }
        assert_eq!(last_lines(&exit(8)), ["one", "two"]);
        fs::rename(&log, &rotated).unwrap();
        assert_eq!(last_lines(&exit(8)), [""; 0]);
    }
}
