//! Logs that are copied and truncated.

use super::*;

/// Output before a stop, and after the next start.
fn around_a_restart(before: &str, meanwhile: impl FnOnce(&Path)) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(dir.path());
    append(&dir.path().join("x.log"), before);
    let first = reader.text();
    let kept = serde_json::to_string(&reader.stream.checkpoint()).unwrap();
    meanwhile(dir.path());
    reader.resume(&kept);
    (first, reader.text())
}

#[test]
fn a_log_truncated_between_two_scans_is_continued_in_its_copy() {
    for new in ["3\n", "3 is longer than all that was there before\n", ""] {
        let shown = around_a_restart("1\n", |dir| {
            append(&dir.join("x.log"), "2\n");
            copy_and_cut(dir, 5);
            append(&dir.join("x.log"), new);
        });
        let new = new.trim_end();
        let joined = if new.is_empty() { "2".to_owned() } else { format!("2,{new}") };
        assert_eq!(shown, ("1".to_owned(), joined));
    }
}

#[test]
fn so_it_is_within_a_line_and_over_several_cuts() {
    let shown = around_a_restart("1\nhal", |dir| {
        append(&dir.join("x.log"), "f\n2\n");
        for number in 3..6 {
            copy_and_cut(dir, 9);
            append(&dir.join("x.log"), &format!("{number} is new\n"));
        }
    });
    assert_eq!(shown, ("1".to_owned(), "half,2,3 is new,4 is new,5 is new".to_owned()));
}

#[test]
fn so_it_is_if_the_log_was_deleted_after_that() {
    let shown = around_a_restart("1\n", |dir| {
        append(&dir.join("x.log"), "2\n");
        copy_and_cut(dir, 5);
        fs::remove_file(dir.join("x.log")).unwrap();
        append(&dir.join("x.log"), "3\n");
    });
    assert_eq!(shown, ("1".to_owned(), "2,3".to_owned()));
}

#[test]
fn so_it_is_if_the_log_was_renamed_after_that() {
    let shown = around_a_restart("1\n", |dir| {
        append(&dir.join("x.log"), "2\n");
        copy_and_cut(dir, 5);
        append(&dir.join("x.log"), "3\n");
        rename(dir, 5);
        append(&dir.join("x.log"), "4\n");
    });
    assert_eq!(shown, ("1".to_owned(), "2,3,4".to_owned()));
}

#[test]
fn a_log_that_repeats_itself_keeps_its_unread_lines() {
    // (read before, unread, written after the truncation)
    for (read, unread, after) in [(0, 1_000, 5), (10, 1_000, 5), (10, 1_000, 100), (100, 900, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
        append(&path, "");
        reader.text();
        let mut lines = 0;
        let mut read_all = |reader: &mut Reader| {
            lines += reader.text().split(',').filter(|line| *line == "tick").count();
            lines
        };
        append(&path, &"tick\n".repeat(read));
        read_all(&mut reader);
        append(&path, &"tick\n".repeat(unread));
        copy_and_cut(dir.path(), 5);
        append(&path, &"tick\n".repeat(after));
        assert_eq!(read_all(&mut reader), read + unread + after, "{read} {unread} {after}");
    }
}

#[test]
fn a_strange_file_among_the_rotated_ones_makes_nothing_come_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    assert_eq!(reader.text(), "1");
    fs::write(dir.path().join("x.log.3"), "of long ago, and longer than the log\n").unwrap();
    append(&path, "2\n");
    assert_eq!(reader.text(), "2");
}

#[test]
fn unread_copies_are_held_up_to_a_limit_and_the_rest_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "begin\n");
    assert_eq!(reader.text(), "begin");
    for number in 0..MAX_HELD + 2 {
        append(&path, &format!("{number:04}\n"));
        // Few are kept, so most have no name at the end.
        copy_and_cut(dir.path(), 2);
        let family = reader.directory.files_of("x.log").unwrap();
        reader.stream.rescan(&reader.directory, family, Instant::now()).unwrap();
    }
    assert_eq!(reader.text(), "0003,0004,0005,0006,0007,0008,0009");
    assert_eq!(reader.stream.take_gaps().bytes, 5 * 3);
}

#[test]
fn the_half_of_a_line_whose_rest_was_cut_away_is_not_put_before_another() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\nhal");
    assert_eq!(reader.text(), "1");
    fs::write(&path, "").unwrap();
    append(&path, "new\n");
    assert_eq!(reader.text(), "hal,new");
}

#[test]
fn a_dated_file_is_no_copy_as_soon_as_it_holds_other_lines_than_a_log_that_was_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (path, dated) = (dir.path().join("x.log"), dir.path().join("x-20261128.log"));
    let mut reader = Reader::new(dir.path());
    let strangers = |reader: &mut Reader| {
        let shown = reader.text();
        let family = reader.directory.files_of("x.log").unwrap();
        (shown, reader.stream.release_unrelated(&family).unwrap())
    };
    append(&path, "epoch 1\nepoch 2\n");
    assert_eq!(strangers(&mut reader), ("epoch 1,epoch 2".to_owned(), vec![]));
    for part in ["", "epoch 1\n"] {
        append(&dated, part);
        assert_eq!(strangers(&mut reader), (String::new(), vec![]), "a copy in the making");
    }
    append(&path, "epoch 3\n");
    assert_eq!(strangers(&mut reader), ("epoch 3".to_owned(), vec![]), "a copy from before that");
    append(&dated, "epoch 2 of another run\n");
    assert_eq!(strangers(&mut reader), (String::new(), vec!["x-20261128.log".to_owned()]));
    reader.directory.own.insert("x-20261128.log".to_owned());
    // Written after the log was truncated for another copy, which is gone already.
    fs::write(&path, "new\n").unwrap();
    fs::write(dir.path().join("x-20261129.log"), "epoch 4\n").unwrap();
    assert_eq!(strangers(&mut reader), ("epoch 4,new".to_owned(), vec![]));
}

#[test]
fn an_unreadable_compressed_file_is_matched_with_a_read_one_or_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    // Like xz(1), which keeps the modification time.
    let compress = |name: &str, number: u32| {
        let modified = fs::metadata(dir.path().join(name)).unwrap().modified().unwrap();
        fs::remove_file(dir.path().join(name)).unwrap();
        let packed = fs::File::create(dir.path().join(format!("x.log.{number}.xz"))).unwrap();
        packed.set_modified(modified).unwrap();
    };
    append(&path, "1\n");
    assert_eq!(reader.text(), "1");
    for (numbers, is_gap) in [(2..3, false), (3..4, false), (4..6, true)] {
        for number in numbers {
            rename(dir.path(), 1);
            append(&path, "next\n");
            compress("x.log.1", number);
        }
        assert_eq!(reader.text(), "next");
        assert_eq!(reader.stream.take_gaps().maybe_files, is_gap);
    }
    // A compressed file beside its original is the same log, regardless of its time.
    fs::File::create(dir.path().join("x.log.9.xz")).unwrap();
    assert_eq!(reader.text(), "");
    fs::remove_file(&path).unwrap();
    append(&path, "last\n");
    assert_eq!((reader.text().as_str(), reader.stream.take_gaps()), ("last", Gaps::default()));
}

#[test]
fn a_file_that_is_compressed_directly_from_the_log_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut reader) = (dir.path().join("x.log"), Reader::new(dir.path()));
    append(&path, "1\n");
    assert_eq!(reader.text(), "1");
    for number in 2..5 {
        let packed = dir.path().join(format!("x.log.{number}.gz"));
        // Like Python's logging handler, whose output is incomplete for a while.
        fs::write(&packed, "begun").unwrap();
        assert_eq!(reader.text(), "");
        let gzip = std::process::Command::new("gzip").arg("-c").arg(&path).output().unwrap();
        fs::write(&packed, gzip.stdout).unwrap();
        fs::remove_file(&path).unwrap();
        append(&path, &format!("{number}\n"));
        assert_eq!(reader.text(), number.to_string());
    }
    assert_eq!(reader.stream.take_gaps(), Gaps::default());
}
