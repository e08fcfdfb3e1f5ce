//! Lines of a log as rows.

use std::collections::BTreeMap;

use log_history::{Line, Position};
use terminal::screen::{Row, Screen};

use super::row::LogRow;
use super::view::Filter;

/// Rows of a screen in which programs move up.
pub const SCREEN_ROWS: usize = 50;

/// Returns true if two positions are in the same file. The rest of a file's key changes once the file has enough bytes.
pub fn is_same_file(one: Position, other: Position) -> bool {
    let file = |position: Position| position.to_string().split('-').next().unwrap_or_default().to_owned();
    one.file == other.file || file(one) == file(other)
}

/// Feeds bytes, and passes rows on as they change.
pub fn feed(screen: &mut Screen, bytes: &[u8], offset: u64, mut on: impl FnMut(Row)) {
    let mut at = 0;
    while at < bytes.len() {
        let taken = screen.feed(&bytes[at..], offset + at as u64);
        screen.take_changes().into_iter().for_each(&mut on);
        if taken == 0 {
            break;
        }
        at += taken;
    }
}

/// Text of the rows of a page in bytes, of which the last are kept: with a few bytes, a program moves the cursor to column
/// 16,384, and makes a row of that length.
const MAX_BYTES: usize = 4 << 20;

fn length(row: &Row) -> usize {
    row.spans.iter().map(|span| span.text.len()).sum()
}

/// Renders lines that follow each other, and returns the rows with the cursor at which a live view continues.
pub fn contiguous(service: &str, lines: &[Line]) -> (Vec<LogRow>, Option<String>) {
    let (mut rows, mut cursor) = (Vec::new(), None);
    for lines in lines.chunk_by(|one, next| is_same_file(one.position, next.position)) {
        let mut screen = Screen::new(SCREEN_ROWS);
        // The last state of each row, in the order of their beginnings.
        let mut last = BTreeMap::new();
        let mut bytes = 0;
        let mut keep = |row: Row| {
            bytes += length(&row);
            bytes -= last.insert(row.id, row).as_ref().map_or(0, length);
            while bytes > MAX_BYTES
                && let Some((_, first)) = last.pop_first()
            {
                bytes -= length(&first);
            }
        };
        for line in lines {
            feed(&mut screen, &line.bytes, line.position.offset, &mut keep);
            if line.ended {
                feed(&mut screen, b"\n", line.position.offset + line.bytes.len() as u64, &mut keep);
            }
        }
        let Some((first, end)) = lines.first().zip(lines.last()) else { continue };
        let file = first.position.file;
        let time = |offset: u64| {
            let next = lines.partition_point(|line| line.position.offset <= offset);
            next.checked_sub(1).and_then(|index| lines[index].time)
        };
        let format = |offset: u64| Position { file, offset }.to_string();
        cursor = Some(cursor_of(&screen, end.end));
        rows.extend(last.into_values().map(|row| {
            let time = time(row.id);
            LogRow::new(service, row, format, time)
        }));
    }
    (rows, cursor)
}

/// Returns the cursor of a screen that has got every byte before `next`: the rows that can still change are rendered again.
pub fn cursor_of(screen: &Screen, next: Position) -> String {
    let first = screen.rows().first().map_or(next.offset, |row| row.id.min(next.offset));
    let begin = Position { offset: first, ..next };
    match next.offset - first {
        0 => begin.to_string(),
        length => format!("{begin}:{length}"),
    }
}

/// Returns the last row that a line alone leaves on a terminal; nothing if it is blank.
pub fn single(service: &str, line: &Line) -> Option<LogRow> {
    let mut screen = Screen::new(1);
    let mut last = None;
    feed(&mut screen, &line.bytes, line.position.offset, |row| last = Some(row));
    let file = line.position.file;
    let format = |offset: u64| Position { file, offset }.to_string();
    last.map(|mut row| {
        row.id = line.position.offset;
        LogRow::new(service, row, format, line.time)
    })
}

/// True if a line is shown; control sequences do not count.
pub fn is_shown(filter: &Filter, line: &[u8]) -> bool {
    if line.iter().all(|byte| *byte >= b' ' || *byte == b'\t') {
        return filter.matches(line);
    }
    filter.matches(plain(line).as_bytes())
}

/// Returns the text that a line leaves on a terminal.
pub fn plain(line: &[u8]) -> String {
    let mut screen = Screen::new(1);
    let mut text = String::new();
    feed(&mut screen, line, 0, |row| text = row.text());
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use log_history::Logs;

    use super::*;

    #[test]
    fn a_few_bytes_that_make_long_rows_do_not_fill_the_memory() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("var/log/supervisor");
        fs::create_dir_all(&logs).unwrap();
        // Each moves to the last column, writes a character, and begins the next row.
        fs::write(logs.join("x.log"), "\u{1b}[16383Cx\u{1b}E".repeat(4_000) + "the end\n").unwrap();
        let mut log = Logs::new(dir.path()).open("x").unwrap();
        let start = log.start();
        let lines = log.lines_after(start, 300, 512 * 1024).unwrap();
        let (rows, _) = contiguous("x", &lines);
        let shown = serde_json::to_string(&rows).unwrap();
        assert!(shown.len() < 2 * MAX_BYTES, "{}", shown.len());
        assert!(shown.contains("the end"));
    }
}
