mod copytruncate;
mod random;
mod while_stopped;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use log_history::log_directory::Selection;

use super::*;

struct Reader {
    directory: LogDirectory,
    stream: LogReader,
}

impl Reader {
    fn new(dir: &Path) -> Self {
        Self {
            directory: LogDirectory::new(dir.into(), Selection::Every),
            stream: LogReader::from_oldest("x.log"),
        }
    }

    /// Scans once and reads everything; returns the lines, joined by commas.
    fn text(&mut self) -> String {
        self.text_after(Duration::ZERO)
    }

    /// Does the same as long after the last scan.
    fn text_after(&mut self, pause: Duration) -> String {
        let files = self.directory.files_of("x.log").unwrap();
        let now = self.stream.looked.unwrap_or_else(Instant::now) + pause;
        self.stream.rescan(&self.directory, files, now).unwrap();
        let mut shown = Vec::new();
        let mut emit = |piece: Piece<'_>| shown.push(String::from_utf8(piece.text.to_vec()).unwrap());
        while self.stream.read(&self.directory, &mut [0; 400], Instant::now(), &mut emit).unwrap() {}
        shown.join(",")
    }

    /// Continues at a checkpoint, as after a restart.
    fn resume(&mut self, kept: &str) {
        let files = self.directory.files_of("x.log").unwrap();
        let position = serde_json::from_str(kept).unwrap();
        self.stream = LogReader::resume("x.log", position, &self.directory, &files).unwrap();
    }
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Renames as supervisord and logrotate do, with `keep` rotated files.
fn rename(dir: &Path, keep: u32) {
    for number in (1..keep).rev() {
        let _ = fs::rename(dir.join(format!("x.log.{number}")), dir.join(format!("x.log.{}", number + 1)));
    }
    fs::rename(dir.join("x.log"), dir.join("x.log.1")).unwrap();
}

fn copy_and_cut(dir: &Path, keep: u32) {
    let log = fs::read(dir.join("x.log")).unwrap();
    rename(dir, keep);
    fs::rename(dir.join("x.log.1"), dir.join("x.log")).unwrap();
    fs::write(dir.join("x.log.1"), log).unwrap();
    fs::OpenOptions::new().write(true).truncate(true).open(dir.join("x.log")).unwrap();
}

/// One line, rotated once, and the new file is read.
fn rotated_once() -> (tempfile::TempDir, Reader) {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    reader.text();
    rename(dir.path(), 1);
    append(&path, "new\n");
    assert_eq!(reader.text(), "new");
    (dir, reader)
}

#[test]
fn a_line_that_was_cut_by_a_rotation_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "one\ntw");
    assert_eq!(reader.text(), "one");
    rename(dir.path(), 1);
    append(&path, "o\nthree\n");
    assert_eq!(reader.text(), "two,three");
}

#[test]
fn several_rotations_between_two_looks_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    assert_eq!(reader.text(), "1");
    for number in 2..=5 {
        append(&path, &format!("rest of {}\n", number - 1));
        rename(dir.path(), 9);
        append(&path, &format!("{number}\n"));
    }
    assert_eq!(reader.text(), "rest of 1,2,rest of 2,3,rest of 3,4,rest of 4,5");
}

#[test]
fn a_writer_that_has_not_noticed_the_rotation_is_heard() {
    let (dir, mut reader) = rotated_once();
    append(&dir.path().join("x.log.1"), "late\n");
    assert_eq!(reader.text(), "late");
}

#[test]
fn such_a_writer_is_heard_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    reader.text();
    rename(dir.path(), 5);
    append(&path, "new\n");
    assert_eq!(reader.text(), "new");
    append(&dir.path().join("x.log.1"), "late\nhal");
    assert_eq!(reader.text(), "late");
    let kept = serde_json::to_string(&reader.stream.checkpoint()).unwrap();
    append(&dir.path().join("x.log.1"), "f\n");
    rename(dir.path(), 5);
    append(&path, "newer\n");
    reader.resume(&kept);
    assert_eq!(reader.text(), "half,newer");
}

#[test]
fn lines_before_a_copytruncate_are_read_from_the_copies() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    assert_eq!(reader.text(), "1");
    append(&path, "2\n");
    copy_and_cut(dir.path(), 5);
    append(&path, "a longer line than those before\n");
    assert_eq!(reader.text(), "2,a longer line than those before");
    append(&path, "3\n");
    copy_and_cut(dir.path(), 5);
    append(&path, "4\n");
    copy_and_cut(dir.path(), 5);
    append(&path, "5\n");
    assert_eq!(reader.text(), "3,4,5");
    copy_and_cut(dir.path(), 5);
    assert_eq!(reader.text(), "", "all of the copy was read before");
}

#[test]
fn a_copy_that_was_seen_before_the_cut_is_not_read_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n2\n");
    assert_eq!(reader.text(), "1,2");
    fs::copy(&path, dir.path().join("x.log.1")).unwrap();
    append(&path, "3\n");
    assert_eq!(reader.text(), "3");
    fs::write(&path, "").unwrap();
    append(&path, "4\n");
    assert_eq!(reader.text(), "4");
}

#[test]
fn a_restart_continues_at_its_position_under_any_name_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    rename(dir.path(), 5);
    append(&path, "2\n3 is not comple");
    assert_eq!(reader.text(), "1,2");
    let kept = serde_json::to_string(&reader.stream.checkpoint()).unwrap();
    append(&path, "te\n");
    rename(dir.path(), 5);
    append(&path, "4\n");
    rename(dir.path(), 5);
    append(&path, "5\n");
    reader.resume(&kept);
    assert_eq!(reader.text(), "3 is not complete,4,5");
}

#[test]
fn a_line_that_a_rotation_cut_is_whole_also_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "one\nt");
    assert_eq!(reader.text(), "one");
    for part in ["w", "o"] {
        rename(dir.path(), 5);
        append(&path, part);
        assert_eq!(reader.text(), "");
    }
    let kept = serde_json::to_string(&reader.stream.checkpoint()).unwrap();
    append(&path, " is whole\n");
    let files = reader.directory.files_of("x.log").unwrap();
    let position = serde_json::from_str(&kept).unwrap();
    let resumed = LogReader::resume("x.log", position, &reader.directory, &files).unwrap();
    assert_eq!(reader.text(), "two is whole");
    reader.stream = resumed;
    assert_eq!(reader.text(), "two is whole");
}

#[test]
fn such_a_writer_is_heard_over_several_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    reader.text();
    let mut writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    for number in 2..7 {
        rename(dir.path(), 9);
        append(&path, &format!("{number}\n"));
        assert_eq!(reader.text(), number.to_string());
        writer.write_all(format!("late {number}\n").as_bytes()).unwrap();
        assert_eq!(reader.text(), format!("late {number}"));
    }
    let kept = serde_json::to_string(&reader.stream.checkpoint()).unwrap();
    writer.write_all(b"end\n").unwrap();
    reader.resume(&kept);
    assert_eq!(reader.text(), "end");
}

#[test]
fn a_log_that_was_taken_away_or_cut_during_a_pause_may_lack_lines() {
    let away = |path: &Path| fs::rename(path, path.with_extension("elsewhere")).unwrap();
    let cut = |path: &Path| fs::write(path, "").unwrap();
    for change in [&away as &dyn Fn(&Path), &cut] {
        for (pause, said) in [(Duration::ZERO, false), (MAX_SCAN_INTERVAL, true)] {
            let dir = tempfile::tempdir().unwrap();
            let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
            append(&path, "1\n");
            assert_eq!(reader.text_after(pause), "1");
            assert_eq!(
                (reader.text_after(pause), reader.stream.take_gaps()),
                (String::new(), Gaps::default())
            );
            change(&path);
            append(&path, "2\n");
            assert_eq!(reader.text_after(pause), "2");
            assert_eq!(reader.stream.take_gaps().maybe_files, said, "{pause:?}");
        }
    }
}

#[test]
fn half_a_line_in_a_file_that_goes_is_still_shown() {
    let (dir, mut reader) = rotated_once();
    append(&dir.path().join("x.log.1"), "late");
    assert_eq!(reader.text(), "");
    fs::remove_file(dir.path().join("x.log.1")).unwrap();
    assert_eq!(reader.text(), "");
    let mut shown = Vec::new();
    reader.stream.finish(&mut |piece| shown.extend_from_slice(piece.text));
    assert_eq!(shown, b"late");
}

#[test]
fn a_deleted_log_and_its_successor_are_both_read() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    reader.text();
    append(&path, "2\n");
    fs::remove_file(&path).unwrap();
    assert_eq!(reader.text(), "2");
    append(&path, "3\n");
    assert_eq!(reader.text(), "3");
}

#[test]
fn who_still_writes_to_a_deleted_log_is_heard_until_he_is_quiet_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    reader.text();
    let mut writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    append(&path, "new\n");
    assert_eq!(reader.text(), "new");
    writer.write_all(b"late\n").unwrap();
    assert_eq!(reader.text(), "late");
    let files = || LogDirectory::new(dir.path().into(), Selection::Every).files_of("x.log").unwrap();
    reader.stream.rescan(&reader.directory, files(), Instant::now() + DELETED_GRACE / 2).unwrap();
    writer.write_all(b"later\n").unwrap();
    assert_eq!(reader.text(), "later");
    reader.stream.rescan(&reader.directory, files(), Instant::now() + DELETED_GRACE).unwrap();
    assert!(reader.stream.late.is_empty());
}

#[test]
fn unread_files_beyond_the_limit_are_released_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    for _ in 0..MAX_HELD + 2 {
        append(&path, "1234567\n");
        rename(dir.path(), 20);
        let files = reader.directory.files_of("x.log").unwrap();
        reader.stream.rescan(&reader.directory, files, Instant::now()).unwrap();
    }
    append(&path, "end\n");
    assert_eq!(reader.text(), format!("{}end", "1234567,".repeat(MAX_HELD - 1)));
    assert_eq!(reader.stream.take_gaps().bytes, 8 * 3);
}

#[test]
fn possibly_missed_files_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    let mut perhaps = |kept: u32, rotations: u32, restart: bool| {
        append(&path, "1\n");
        reader.text();
        let position = serde_json::to_string(&reader.stream.checkpoint()).unwrap();
        for _ in 0..rotations {
            rename(dir.path(), kept);
            append(&path, "2\n");
        }
        if restart {
            reader.resume(&position);
        }
        reader.text();
        reader.stream.take_gaps().maybe_files
    };
    for restart in [false, true] {
        // A single retained file may or may not have been the only one.
        let one = [1, 2, 4].map(|rotations| perhaps(1, rotations, restart));
        let three = [3, 5].map(|rotations| perhaps(3, rotations, restart));
        assert_eq!((one, three), ([false, true, true], [false, true]), "{restart}");
    }
}

#[test]
fn halves_of_lines_around_files_that_were_given_up_are_not_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\nbegi");
    assert_eq!(reader.text(), "1");
    for _ in 0..=MAX_HELD {
        rename(dir.path(), 20);
        append(&path, "n of\nsome");
        let files = reader.directory.files_of("x.log").unwrap();
        reader.stream.rescan(&reader.directory, files, Instant::now()).unwrap();
    }
    append(&path, "thing\n");
    let mut shown = Vec::new();
    let mut emit = |piece: Piece<'_>| {
        shown.push((String::from_utf8(piece.text.to_vec()).unwrap(), piece.continues, piece.ended));
    };
    while reader.stream.read(&reader.directory, &mut [0; 400], Instant::now(), &mut emit).unwrap() {}
    let piece = |text: &str, continues, ended| (text.to_owned(), continues, ended);
    assert_eq!(shown[..2], [piece("begi", false, false), piece("n of", true, true)]);
    assert_eq!(reader.stream.take_gaps().bytes, 9, "one file");
    assert_eq!(shown.last(), Some(&piece("something", false, true)));
}
