//! One log of a live view: reads what is new, and renders it.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Result;
use log_history::{Change, Line, Log, Logs, Position, PositionGone};
use memchr::{memchr_iter, memrchr};
use terminal::screen::{Row, Screen};

use super::MAX_ROWS;
use super::rendering::{self, SCREEN_ROWS, cursor_of, is_same_file};
use super::row::LogRow;
use super::view::{After, Filter, Place};

/// With more new bytes than this, only the end is rendered.
const FLOOD_BYTES: u64 = 256 * 1024;
/// Size of one read, in bytes.
const CHUNK: usize = 256 * 1024;
/// Lines that are rendered after lines were skipped.
const TAIL_LINES: usize = 100;
/// Bytes that are rendered after lines were skipped.
const TAIL_BYTES: usize = 96 * 1024;
/// Bytes in which skipped lines are counted, or searched for the filter, in one read.
const SCAN_BYTES: u64 = 32 << 20;
/// Bytes of found lines that are kept, and of one of them: more than a row shows.
const KEPT_BYTES: usize = 1 << 20;
const KEPT_LINE: usize = 64 * 1024;
/// Bytes of a cursor that are rendered again.
const MAX_REPEATED: u64 = 1 << 20;
/// Number of reads whose times are kept: each row of a batch can be of another one.
const KEPT_TIMES: usize = MAX_ROWS;
/// Number of old lines whose times are read.
const OLD_LINES: usize = 10_000;

/// A log and the terminal that shows it.
pub struct LiveLog {
    service: String,
    log: Log,
    screen: Screen,
    /// Next byte to read.
    next: Position,
    /// When bytes from an offset on were read.
    times: VecDeque<(u64, f64)>,
    /// True if the next read may find lines that are not new.
    is_behind: bool,
    was_gone: bool,
}

/// What one read has found.
#[derive(Debug, Default)]
pub struct Update {
    /// New and changed rows.
    pub rows: Vec<LogRow>,
    /// Number of lines that are not in `rows`, if they were counted, and their bytes.
    pub skipped: Option<(Option<u64>, u64)>,
    /// What happened to the log; true if it has new content.
    pub notices: Vec<(String, bool)>,
    /// True if there is more to read now.
    pub has_more: bool,
}

impl LiveLog {
    /// Opens a log at a cursor, or at its last line.
    pub fn open(logs: &Logs, service: &str, cursor: Option<&str>) -> Result<Self> {
        let log = logs.open(service)?;
        let end = log.end();
        let mut live = Self {
            service: service.to_owned(),
            screen: Screen::new(SCREEN_ROWS),
            next: end,
            times: VecDeque::new(),
            is_behind: true,
            was_gone: false,
            log,
        };
        match cursor.and_then(Place::parse) {
            Some(Place { position, after: After::Bytes(length) }) if length <= MAX_REPEATED => {
                live.next = position;
                live.repeat(length)?;
            }
            Some(place) => live.next = place.resolve(&mut live.log).unwrap_or(place.position),
            None => {
                // An unfinished line continues.
                if let Some(last) = live.log.lines_before(end, 1, 1)?.first().filter(|line| !line.ended) {
                    live.next = last.position;
                }
            }
        }
        Ok(live)
    }

    /// Continues at the first byte: the log is new.
    pub fn at_start(mut self) -> Self {
        self.next = self.log.start();
        self
    }

    /// Returns the name of the log.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// True if the last read has found that it was removed.
    pub fn is_gone(&self) -> bool {
        self.was_gone
    }

    /// Returns where the log continues.
    pub fn cursor(&self) -> String {
        cursor_of(&self.screen, self.next)
    }

    /// Renders bytes that the visitor has seen, so that what follows continues their rows.
    fn repeat(&mut self, length: u64) -> Result<()> {
        let mut buffer = Vec::new();
        let end = match self.log.read_raw(self.next, &mut buffer, usize::try_from(length).unwrap_or(CHUNK)) {
            Ok(end) => end,
            // The next read reports that the position is gone.
            Err(error) if error.is::<PositionGone>() => return Ok(()),
            Err(error) => return Err(error),
        };
        // It can be a copy: the log was compressed or truncated since.
        if end.offset == self.next.offset + length {
            rendering::feed(&mut self.screen, &buffer, self.next.offset, drop);
            self.next = end;
        }
        Ok(())
    }

    /// Reads what is new.
    pub fn read(&mut self, filter: &Filter, now: f64) -> Result<Update> {
        let mut update = Update::default();
        match self.log.refresh()? {
            Change::Truncated => self.continue_with_new_content(&mut update),
            Change::Gone => {
                update.notices.push(("was removed; new lines appear when it is back".to_owned(), false));
                self.was_gone = true;
            }
            Change::None | Change::Grown | Change::Rotated => {}
        }
        if self.log.is_gone() {
            return Ok(update);
        }
        if std::mem::take(&mut self.was_gone) {
            update.notices.push(("is back".to_owned(), true));
            self.restart(self.log.start());
        }
        match self.read_new(filter, now, &mut update) {
            // Truncated before this view was opened.
            Err(error) if error.is::<PositionGone>() && is_same_file(self.next, self.log.end()) => {
                self.continue_with_new_content(&mut update);
                update.has_more = true;
                Ok(update)
            }
            Err(error) if error.is::<PositionGone>() => {
                let text = "lines are missing: they were removed before they could be shown".to_owned();
                update.notices.push((text, true));
                self.restart(self.log.start());
                update.has_more = true;
                Ok(update)
            }
            read => read.map(|()| update),
        }
    }

    fn continue_with_new_content(&mut self, update: &mut Update) {
        update.notices.push(("was truncated: it continues with its new content".to_owned(), true));
        self.restart(Position { offset: 0, ..self.log.end() });
    }

    fn restart(&mut self, at: Position) {
        self.screen = Screen::new(SCREEN_ROWS);
        self.times.clear();
        self.next = at;
    }

    fn read_new(&mut self, filter: &Filter, now: f64, update: &mut Update) -> Result<()> {
        let end = self.log.end();
        let is_behind = std::mem::take(&mut self.is_behind);
        if is_behind {
            for line in self.log.lines_after(self.next, OLD_LINES, CHUNK)? {
                if let Some(time) = line.time.filter(|_| is_same_file(line.position, self.next)) {
                    self.remember_time(line.position.offset, time);
                }
            }
        }
        if self.log.bytes_between(self.next, end) > FLOOD_BYTES {
            if filter.is_empty() {
                self.skip_to_tail(end, update)?;
            } else {
                return self.search_lines(filter, (!is_behind).then_some(now), update);
            }
        }
        let mut changed = Changed::default();
        let mut rest = 2 * FLOOD_BYTES;
        let mut buffer = Vec::new();
        while rest > 0 {
            buffer.clear();
            let read = self.log.read_raw(self.next, &mut buffer, CHUNK)?;
            if !is_same_file(read, self.next) {
                if !changed.rows.is_empty() {
                    // Shown before the notice.
                    update.has_more = true;
                    break;
                }
                update.notices.push(("was rotated".to_owned(), false));
                self.restart(Position { offset: 0, ..read });
            }
            if buffer.is_empty() {
                break;
            }
            let begin = read.offset - buffer.len() as u64;
            self.remember_time(begin, now);
            rendering::feed(&mut self.screen, &buffer, begin, |row| changed.keep(row, filter));
            self.next = read;
            rest = rest.saturating_sub(buffer.len() as u64);
        }
        update.has_more |= rest == 0;
        self.show(changed, update);
        Ok(())
    }

    fn remember_time(&mut self, offset: u64, time: f64) {
        if self.times.back().is_none_or(|(begin, known)| *begin < offset && known.total_cmp(&time).is_ne()) {
            self.times.push_back((offset, time));
        }
        if self.times.len() > KEPT_TIMES {
            self.times.pop_front();
        }
    }

    fn time_of(&self, offset: u64) -> Option<f64> {
        let next = self.times.partition_point(|(begin, _)| *begin <= offset);
        self.times.get(next.saturating_sub(1)).map(|(_, time)| *time)
    }

    /// Adds changed rows to the update.
    fn show(&self, changed: Changed, update: &mut Update) {
        if changed.dropped > 0 {
            let (lines, bytes) = update.skipped.unwrap_or((Some(0), 0));
            update.skipped = Some((lines.map(|lines| lines + changed.dropped), bytes));
        }
        let file = self.next;
        let format = |offset: u64| Position { offset, ..file }.to_string();
        for (id, row) in changed.rows {
            update.rows.push(LogRow::new(&self.service, row, format, self.time_of(id)));
        }
    }

    /// Continues at the last lines, and counts those before them.
    fn skip_to_tail(&mut self, end: Position, update: &mut Update) -> Result<()> {
        let tail = self.log.lines_before(end, TAIL_LINES, TAIL_BYTES)?;
        let Some(start) = tail.first().map(|line| line.position) else { return Ok(()) };
        let bytes = self.log.bytes_between(self.next, start);
        if bytes == 0 {
            return Ok(());
        }
        let lines = if bytes > SCAN_BYTES { None } else { Some(self.count_lines(bytes)?) };
        update.skipped = Some((lines, bytes));
        self.restart(start);
        for line in tail {
            if let Some(time) = line.time {
                self.times.push_back((line.position.offset, time));
            }
        }
        Ok(())
    }

    /// Counts the lines in the next bytes.
    fn count_lines(&mut self, bytes: u64) -> Result<u64> {
        let (mut at, mut rest, mut lines) = (self.next, bytes, 0);
        let mut buffer = Vec::new();
        while rest > 0 {
            buffer.clear();
            let wanted = usize::try_from(rest).unwrap_or(CHUNK).min(CHUNK);
            at = self.log.read_raw(at, &mut buffer, wanted)?;
            if buffer.is_empty() {
                break;
            }
            lines += memchr_iter(b'\n', &buffer).count() as u64;
            rest = rest.saturating_sub(buffer.len() as u64);
        }
        Ok(lines)
    }

    /// True if the log continues in another file behind the end of this one.
    fn is_over(&mut self, end: Position) -> Result<bool> {
        Ok(!is_same_file(self.log.read_raw(end, &mut Vec::new(), 1)?, end))
    }

    /// Searches many lines for the filter, each on its own. With `now`, they are new.
    fn search_lines(&mut self, filter: &Filter, now: Option<f64>, update: &mut Update) -> Result<()> {
        let (mut found, mut kept_bytes, mut dropped, mut dropped_bytes) = (VecDeque::new(), 0, 0, 0);
        let (mut at, mut read_bytes) = (self.next, 0);
        // Its beginning was read as an unfinished line.
        if let Some(last) = self.log.lines_before(at, 1, 1)?.first().filter(|line| !line.ended) {
            at = last.position;
        }
        let mut buffer = Vec::new();
        while read_bytes < SCAN_BYTES {
            buffer.clear();
            let read = self.log.read_raw(at, &mut buffer, CHUNK)?;
            if buffer.is_empty() {
                break;
            }
            // The rest of the last line belongs to the next read, unless the file has no more.
            let whole = match memrchr(b'\n', &buffer) {
                Some(newline) => newline + 1,
                None if buffer.len() < CHUNK && !self.is_over(read)? => break,
                None => buffer.len(),
            };
            let mut begin = read.offset - buffer.len() as u64;
            for bytes in buffer[..whole].split_inclusive(|byte| *byte == b'\n') {
                let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                if rendering::is_shown(filter, text) {
                    let kept = &text[..text.len().min(KEPT_LINE)];
                    kept_bytes += kept.len();
                    found.push_back((Position { offset: begin, ..read }, kept.to_vec()));
                }
                while found.len() > MAX_ROWS || kept_bytes > KEPT_BYTES {
                    let Some((_, text)) = found.pop_front() else { break };
                    kept_bytes -= text.len();
                    dropped += 1;
                    dropped_bytes += text.len() as u64;
                }
                begin += bytes.len() as u64;
            }
            read_bytes += whole as u64;
            at = Position { offset: begin, ..read };
        }
        self.restart(at);
        update.has_more = read_bytes >= SCAN_BYTES;
        self.is_behind = update.has_more;
        update.skipped = (dropped > 0).then_some((Some(dropped), dropped_bytes));
        for (position, bytes) in found {
            let time = now.or_else(|| self.log.time_at(position, &bytes));
            let line = Line { position, end: position, time, bytes, truncated: false, ended: true };
            update.rows.extend(rendering::single(&self.service, &line));
        }
        Ok(())
    }
}

/// Last states of rows that are shown.
#[derive(Default)]
struct Changed {
    rows: BTreeMap<u64, Row>,
    /// Number of rows that were too many.
    dropped: u64,
}

impl Changed {
    fn keep(&mut self, row: Row, filter: &Filter) {
        if !filter.is_empty() && !filter.matches(row.text().as_bytes()) {
            self.rows.remove(&row.id);
            return;
        }
        self.rows.insert(row.id, row);
        if self.rows.len() > MAX_ROWS {
            self.rows.pop_first();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_caught_up_has_its_own_time_and_the_rest_of_a_rotated_file_comes_before_the_notice() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join("var/log/supervisor").join(name);
        fs::create_dir_all(path("")).unwrap();
        let old = "2026-11-24T00:25:58Z needle\n".to_owned() + &"hay\n".repeat(100_000);
        fs::write(path("app.log"), &old).unwrap();
        let filter = Filter::new("needle", "").unwrap();
        let logs = Logs::new(directory.path());
        let mut live = LiveLog::open(&logs, "app", None).unwrap().at_start();
        let times: Vec<_> = live.read(&filter, 9.0).unwrap().rows.iter().map(|row| row.time).collect();
        assert_eq!(times, [Some(1_795_479_958.0)]);
        fs::write(path("app.log"), old + "last needle\n").unwrap();
        fs::rename(path("app.log"), path("app.log.1")).unwrap();
        fs::write(path("app.log"), "new needle\n").unwrap();
        let rotated = ("was rotated".to_owned(), false);
        for (text, notices) in [("last needle", vec![]), ("new needle", vec![rotated])] {
            let update = live.read(&filter, 10.0).unwrap();
            let texts: Vec<&str> = update.rows.iter().map(|row| row.spans[0].text.as_str()).collect();
            assert_eq!((texts, update.notices, update.rows[0].time), (vec![text], notices, Some(10.0)));
        }
    }
}
