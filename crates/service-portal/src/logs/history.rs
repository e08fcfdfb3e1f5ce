//! Pages of lines: before or after a place, around a line or a time, or at the end.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use log_history::{Budget, Event, Line, Log, Logs, Order, Position, PositionGone, Query, search};
use serde::{Deserialize, Serialize};

use super::merge;
use super::rendering::{self, is_same_file};
use super::row::LogRow;
use super::view::{InvalidView, Place, View, ViewRequest};
use crate::app_state::AppState;
use crate::response;

pub const PAGE_LINES: usize = 300;
/// Bytes that a page reads of all logs, unless each has its least.
const MAX_BYTES: usize = 2 << 20;
/// Bytes of each log that a page reads, at least and at most.
const BYTES_OF_LOG: (usize, usize) = (16 * 1024, 512 * 1024);
/// Limits of a page whose lines are searched; the script continues.
const SEARCH_BYTES: u64 = 512 << 20;
const SEARCH_TIME: Duration = Duration::from_millis(400);

/// Request for a page. Without a place, it is the end.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PageRequest {
    /// Logs and lines.
    #[serde(flatten)]
    pub view: ViewRequest,
    /// Places before which the lines are.
    pub before: Option<BTreeMap<String, String>>,
    /// Places after which the lines are.
    pub after: Option<BTreeMap<String, String>>,
    /// Line in the middle of the page.
    pub around: Option<RowName>,
    /// Time in the middle of the page, in seconds since the epoch.
    pub time: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowName {
    /// Name of the log.
    pub service: String,
    /// Position of the row.
    #[serde(alias = "position")]
    pub id: String,
}

#[derive(Debug, Default, Serialize)]
pub struct Page {
    /// Rows in the order of their times.
    pub rows: Vec<LogRow>,
    /// Places before which older lines are.
    pub from: BTreeMap<String, String>,
    /// Places after which newer lines are; cursors of a live view.
    pub to: BTreeMap<String, String>,
    /// True if there are no older lines.
    pub at_start: bool,
    /// True if there are no newer lines.
    pub at_end: bool,
    /// The row that was asked for, or the first one at the time that was asked for.
    pub marked: Option<RowName>,
    /// Failures, as sentences.
    pub notices: Vec<String>,
}

/// `POST /leonardo/logs/history`: returns a page.
pub async fn history(State(state): State<AppState>, Json(request): Json<PageRequest>) -> Response {
    let logs = state.log_pages().logs().clone();
    let page = state.log_pages().read(move || page(&logs, &request, PAGE_LINES)).await;
    match page {
        Some(Ok(page)) => Json(page).into_response(),
        Some(Err(invalid)) => invalid.into_response(),
        None => response::json_error(StatusCode::INTERNAL_SERVER_ERROR, "the logs could not be read"),
    }
}

impl IntoResponse for InvalidView {
    fn into_response(self) -> Response {
        let body =
            serde_json::json!({ "error": "bad request", "message": self.message, "field": self.field });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

pub fn page(logs: &Logs, request: &PageRequest, limit: usize) -> Result<Page, InvalidView> {
    let view = View::new(&request.view)?;
    let (opened, mut notices) = view.open(logs);
    // The rest of a view was announced with its first page.
    if request.before.is_some() || request.after.is_some() {
        notices.clear();
    }
    let mut reading = Reading { view, logs: opened, notices, marked: None };
    let mut page = match (&request.before, &request.after) {
        (Some(before), _) => {
            let places = reading.places(before, Log::end);
            reading.half(&places, Order::NewestFirst, limit)
        }
        (None, Some(after)) => {
            let places = reading.places(after, Log::start);
            reading.half(&places, Order::OldestFirst, limit)
        }
        (None, None) => match reading.middle(request) {
            Some(middle) => {
                let older = reading.half(&middle, Order::NewestFirst, limit / 2);
                let newer = reading.half(&middle, Order::OldestFirst, limit / 2);
                let first = newer.rows.first();
                let name = |row: &LogRow| RowName { service: row.service.clone(), id: row.id.clone() };
                reading.marked = reading.marked.or_else(|| first.map(name));
                let rows = older.rows.into_iter().chain(newer.rows).collect();
                Page { rows, from: older.from, at_start: older.at_start, ..newer }
            }
            None => {
                let end = reading.end();
                let page = reading.half(&end, Order::NewestFirst, limit);
                Page { at_end: true, ..page }
            }
        },
    };
    page.marked = reading.marked;
    page.notices = reading.notices;
    Ok(page)
}

/// Logs that are read for a page.
struct Reading {
    view: View,
    logs: Vec<Log>,
    notices: Vec<String>,
    marked: Option<RowName>,
}

impl Reading {
    /// Returns the positions of places, or `other` for logs without one.
    fn places(&mut self, places: &BTreeMap<String, String>, other: fn(&Log) -> Position) -> Vec<Position> {
        let mut positions = Vec::new();
        for log in &mut self.logs {
            let place = places.get(log.name()).and_then(|place| Place::parse(place));
            let resolved = place.map(|place| place.resolve(log));
            positions.push(match resolved {
                Some(Ok(position)) => position,
                Some(Err(error)) => {
                    self.notices.push(format!("{error:#}"));
                    log.start()
                }
                None => other(log),
            });
        }
        positions
    }

    /// Returns where the lines end that may be shown.
    fn end(&mut self) -> Vec<Position> {
        let until = self.view.until;
        self.logs
            .iter_mut()
            .map(|log| until.and_then(|time| log.end_before(time).ok()).unwrap_or_else(|| log.end()))
            .collect()
    }

    /// Returns the positions in the middle of the page; `None` if the end is requested.
    fn middle(&mut self, request: &PageRequest) -> Option<Vec<Position>> {
        let (mut time, mut known) = (request.time, None);
        if let Some(RowName { service, id }) = &request.around {
            let index = self.logs.iter().position(|log| log.name() == service);
            let place = Place::parse(id);
            let line = match index.zip(place) {
                Some((index, place)) => self.logs[index].lines_after(place.position, 1, 1),
                None => Ok(Vec::new()),
            };
            match line {
                Ok(lines) if !lines.is_empty() => {
                    time = lines[0].time;
                    known = index.map(|index| (index, lines[0].position));
                    self.marked =
                        Some(RowName { service: service.clone(), id: lines[0].position.to_string() });
                }
                Ok(_) => self.notices.push(format!("there is no line {service}:{id}")),
                Err(error) => self.notices.push(format!("{error:#}")),
            }
        }
        if time.is_none() && known.is_none() {
            return None;
        }
        let mut positions = Vec::new();
        for (index, log) in self.logs.iter_mut().enumerate() {
            positions.push(match known {
                Some((known, position)) if known == index => position,
                _ => time.and_then(|time| log.position_at(time).ok()).unwrap_or_else(|| log.end()),
            });
        }
        Some(positions)
    }

    /// Reads the lines on one side of the positions.
    fn half(&mut self, positions: &[Position], order: Order, limit: usize) -> Page {
        let found = if self.view.filter.is_empty() {
            self.neighbours(positions, order, limit)
        } else {
            self.search(positions, order, limit)
        };
        let names = |places: Vec<String>| -> BTreeMap<String, String> {
            self.logs.iter().map(|log| log.name().to_owned()).zip(places).collect()
        };
        let positions = positions.iter().map(Position::to_string).collect();
        let (from, to) = match order {
            Order::NewestFirst => (names(found.reached), names(found.cursors.unwrap_or(positions))),
            Order::OldestFirst => (names(positions), names(found.cursors.unwrap_or(found.reached))),
        };
        let rows = merge::by_time(found.rows, |row: &LogRow| row.time);
        let is_older = order == Order::NewestFirst;
        Page {
            rows,
            from,
            to,
            at_start: is_older && found.is_complete,
            at_end: !is_older && found.is_complete,
            ..Page::default()
        }
    }

    /// Reads the lines next to the positions.
    fn neighbours(&mut self, positions: &[Position], order: Order, limit: usize) -> Found {
        let is_older = order == Order::NewestFirst;
        let bytes = (MAX_BYTES / self.logs.len().max(1)).clamp(BYTES_OF_LOG.0, BYTES_OF_LOG.1);
        let mut read = Vec::new();
        for (log, at) in self.logs.iter_mut().zip(positions) {
            let lines = if is_older {
                log.lines_before(*at, limit, bytes)
            } else {
                log.lines_after(*at, limit, bytes)
            };
            let mut lines = lines.unwrap_or_else(|error| {
                self.notices.push(format!("{error:#}"));
                Vec::new()
            });
            let begin = self.view.since.and_then(|since| log.position_at(since).ok());
            let is_early =
                |line: &Line| begin.is_some_and(|begin| log.bytes_between(line.position, begin) > 0);
            let is_late =
                |line: &Line| line.time.zip(self.view.until).is_some_and(|(time, until)| time >= until);
            let is_over = if is_older {
                lines.first().is_some_and(is_early)
            } else {
                lines.last().is_some_and(is_late)
            };
            lines.retain(|line| !is_early(line) && !is_late(line));
            let has_more = !is_over
                && match (lines.first(), lines.last()) {
                    (Some(first), _) if is_older => {
                        let start = log.start();
                        first.position.offset != start.offset || !is_same_file(first.position, start)
                    }
                    (_, Some(last)) => log.bytes_between(last.end, log.end()) > 0,
                    _ => false,
                };
            read.push((lines, has_more));
        }
        let more: Vec<bool> = read.iter().map(|(_, has_more)| *has_more).collect();
        let lists = read.into_iter().enumerate();
        let lists: Vec<Vec<(usize, Line)>> =
            lists.map(|(index, (lines, _))| lines.into_iter().map(|line| (index, line)).collect()).collect();
        let merged = merge::by_time(lists, |(_, line)| line.time);
        let kept =
            kept_range(&merged.iter().map(|(log, _)| *log).collect::<Vec<_>>(), &more, limit, is_older);
        let is_complete = kept.len() == merged.len() && !more.contains(&true);
        let mut lines: Vec<Vec<Line>> = positions.iter().map(|_| Vec::new()).collect();
        let mut reached = positions.to_vec();
        for (index, (log, line)) in merged.into_iter().enumerate() {
            if kept.contains(&index) {
                lines[log].push(line);
            }
        }
        let (mut rows, mut cursors) = (Vec::new(), Vec::new());
        for (index, lines) in lines.iter().enumerate() {
            if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
                reached[index] = if is_older { first.position } else { last.end };
            }
            let (rendered, cursor) = rendering::contiguous(self.logs[index].name(), lines);
            rows.push(rendered);
            let behind = if is_older { positions[index] } else { reached[index] };
            cursors.push(cursor.unwrap_or_else(|| behind.to_string()));
        }
        let reached = reached.iter().map(Position::to_string).collect();
        Found { rows, reached, cursors: Some(cursors), is_complete }
    }

    /// Searches lines that the filter shows, from the positions on.
    fn search(&mut self, positions: &[Position], order: Order, limit: usize) -> Found {
        let mut positions = positions.to_vec();
        for (log, at) in self.logs.iter_mut().zip(&mut positions) {
            // Nothing is left before a place that is gone; the other logs are searched all the same.
            if let Err(error) = log.read_raw(*at, &mut Vec::new(), 1)
                && error.is::<PositionGone>()
            {
                self.notices.push(format!("{error:#}"));
                *at = log.start();
            }
        }
        let query = Query { order, from: Some(positions.clone()), ..self.view.query() };
        let deadline = Some(Instant::now() + SEARCH_TIME);
        let budget = Budget { hits: limit, bytes: SEARCH_BYTES, deadline };
        let names: Vec<String> = self.logs.iter().map(|log| log.name().to_owned()).collect();
        let mut rows: Vec<Vec<LogRow>> = names.iter().map(|_| Vec::new()).collect();
        let ended = search(&mut self.logs, &query, &budget, |event| {
            if let Event::Hit { log, line } = event {
                rows[log].extend(rendering::single(&names[log], &line));
            }
            ControlFlow::Continue(())
        });
        if order == Order::NewestFirst {
            rows.iter_mut().for_each(|rows| rows.reverse());
        }
        let (reached, is_complete) = match ended {
            Ok(ended) => {
                let problems = ended.problems.into_iter();
                self.notices.extend(problems.map(|(file, reason)| format!("cannot search {file}: {reason}")));
                (ended.from, ended.complete)
            }
            Err(error) => {
                self.notices.push(format!("{error:#}"));
                (positions, true)
            }
        };
        Found { rows, reached: reached.iter().map(Position::to_string).collect(), cursors: None, is_complete }
    }
}

/// Rows on one side of a page.
struct Found {
    rows: Vec<Vec<LogRow>>,
    /// Place in each log at which this side continues.
    reached: Vec<String>,
    /// Place in each log at which a live view continues.
    cursors: Option<Vec<String>>,
    /// True if no more lines are on this side.
    is_complete: bool,
}

/// Returns which of the merged lines a page shows: at most `limit`, and none beyond the last one that was read of a log that has
/// more. `logs` has the log of each line.
fn kept_range(logs: &[usize], has_more: &[bool], limit: usize, is_older: bool) -> std::ops::Range<usize> {
    let incomplete = (0..has_more.len()).filter(|log| has_more[*log]);
    if is_older {
        let firsts = incomplete.filter_map(|log| logs.iter().position(|of| *of == log));
        firsts.max().unwrap_or(0).max(logs.len().saturating_sub(limit))..logs.len()
    } else {
        let lasts = incomplete.filter_map(|log| logs.iter().rposition(|of| *of == log));
        0..lasts.min().map_or(logs.len(), |last| last + 1).min(limit)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::UNIX_EPOCH;

    use log_history::file_id::FileId;
    use log_history::time_index::{self, Recorder};

    use super::*;

    #[test]
    fn lines_of_an_interval_at_the_end_of_the_range_are_shown_with_and_without_a_filter() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("var/log/supervisor");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("x.log"), "1\n2\n3\n").unwrap();
        let id = FileId::from_metadata(&fs::metadata(path.join("x.log")).unwrap());
        let mut recorder = Recorder::new(time_index::directory(directory.path()));
        for (offset, second) in [(0, 10), (2, 20), (4, 30)] {
            recorder.note(id, offset, UNIX_EPOCH + Duration::from_secs(second));
        }
        recorder.save();
        for (since, until, expected) in [
            (None, Some(20.5), &["1", "2"][..]),
            (None, Some(20.0), &["1"]),
            (Some(20.5), None, &["2", "3"]),
            (Some(21.0), None, &["3"]),
            (Some(10.9), Some(30.1), &["1", "2", "3"]),
        ] {
            for filter in ["", "[0-9]"] {
                let view = ViewRequest { filter: filter.to_owned(), since, until, ..ViewRequest::default() };
                let request = PageRequest { view, ..PageRequest::default() };
                let page = page(&Logs::new(directory.path()), &request, 9).unwrap();
                let texts: Vec<&str> = page.rows.iter().map(|row| row.spans[0].text.as_str()).collect();
                assert_eq!(texts, expected, "{filter} {since:?} {until:?}");
            }
        }
    }

    #[test]
    fn lines_beyond_what_was_read_of_a_log_are_not_shown() {
        // Log 0 has more lines before its first one, so those of log 1 before that one must wait.
        assert_eq!(kept_range(&[1, 1, 0, 1, 0], &[true, false], 10, true), 2..5);
        assert_eq!(kept_range(&[1, 1, 0, 1, 0], &[false, false], 10, true), 0..5);
        assert_eq!(kept_range(&[1, 1, 0, 1, 0], &[true, true], 2, true), 3..5);
        assert_eq!(kept_range(&[0, 1, 0, 1, 1], &[true, false], 10, false), 0..3);
        assert_eq!(kept_range(&[0, 1, 0, 1, 1], &[false, false], 4, false), 0..4);
        assert_eq!(kept_range(&[], &[true], 4, false), 0..0);
    }
}
