//! `/leonardo/api/v1/logs`: names of the logs, and their lines.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kit::duration;
use log_history::{Budget, Event, Line, Log, LogInfo, Logs, Order, Pattern, Position, safe_text, search};
use serde::Serialize;
use serde_json::json;

use crate::app_state::AppState;
use crate::response;

/// Lines of a response, unless the request says otherwise.
const DEFAULT_LINES: usize = 100;
const MAX_LINES: usize = 1_000;
/// Limits of a search; its cursor continues it.
const SEARCH_BYTES: u64 = 512 << 20;
const SEARCH_TIME: Duration = Duration::from_secs(1);
/// Bytes of a line that are read to see whether it has ended.
const TAIL_BYTES: usize = 64 << 10;
/// Maximum length of a pattern in bytes: each character of a class such as `\W` takes 20 kB until it is compiled.
const MAX_PATTERN: usize = 1_000;
/// Bytes of text after which a response ends; its cursor continues it. A client that reads slowly leaves them in memory.
const MAX_TEXT: usize = 128 << 10;
/// Characters of a wrong value that an error repeats.
const SHOWN: usize = 100;

#[derive(Serialize)]
struct LogEntry {
    name: String,
    bytes: u64,
    modified: f64,
}

#[derive(Debug, Serialize)]
struct LogLines {
    lines: Vec<LogLine>,
    /// Where the next request continues.
    cursor: String,
    /// False if a limit was reached before all matching lines were found.
    complete: bool,
    /// True if lines after the cursor of the request no longer exist.
    missing: bool,
    /// Files that could not be read.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LogLine {
    time: Option<f64>,
    text: String,
}

/// Parameters of a request for lines.
#[derive(Debug, Default)]
struct LogQuery {
    lines: Option<usize>,
    since: Option<f64>,
    until: Option<f64>,
    pattern: Option<Pattern>,
    cursor: Option<Position>,
}

/// `GET /logs`: lists the logs.
pub async fn list(State(state): State<AppState>) -> Response {
    let logs = state.log_pages().logs().clone();
    let entry = |LogInfo { name, bytes, modified }: LogInfo| LogEntry {
        modified: modified.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        name,
        bytes,
    };
    match state.log_pages().read(move || logs.names()).await {
        Some(Ok(names)) => {
            let entries: Vec<LogEntry> = names.into_iter().map(entry).collect();
            Json(json!({ "logs": entries })).into_response()
        }
        Some(Err(error)) => response::json_error(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}")),
        None => unreadable(),
    }
}

/// `GET /logs/NAME`: returns the last lines, those since a time, or those after a cursor.
pub async fn lines(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let logs = state.log_pages().logs().clone();
    match state.log_pages().read(move || answer(&logs, &name, &parameters)).await {
        Some(Ok(lines)) => Json(lines).into_response(),
        Some(Err((status, message))) => response::json_error(status, &message),
        None => unreadable(),
    }
}

/// Returns what a request asks for, or the status and message of its error. Compiling a pattern takes time too.
fn answer(
    logs: &Logs,
    name: &str,
    parameters: &[(String, String)],
) -> Result<LogLines, (StatusCode, String)> {
    let query = LogQuery::parse(parameters, journal::unix_time())
        .map_err(|message| (StatusCode::BAD_REQUEST, message))?;
    let unknown = "no log has this name; see /leonardo/api/v1/logs";
    let mut log = logs.open(name).map_err(|_| (StatusCode::NOT_FOUND, unknown.to_owned()))?;
    read_lines(&mut log, query).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}")))
}

fn unreadable() -> Response {
    response::json_error(StatusCode::SERVICE_UNAVAILABLE, "the logs could not be read")
}

impl LogQuery {
    /// Parses the parameters; an error names the parameter. `now` is in seconds since the epoch.
    fn parse(parameters: &[(String, String)], now: f64) -> Result<Self, String> {
        let mut query = Self::default();
        for (name, value) in parameters {
            let shown = |text: &str| text.chars().take(SHOWN).collect::<String>();
            let wrong = |form: &str| format!("{name} must be {form}, not {:?}", shown(value));
            match name.as_str() {
                "lines" => {
                    let lines = value.parse().ok().filter(|lines| (1..=MAX_LINES).contains(lines));
                    query.lines = Some(lines.ok_or_else(|| wrong("a number from 1 to 1000"))?);
                }
                "since" | "until" => {
                    let time = moment(value, now);
                    let time =
                        time.ok_or_else(|| wrong("seconds since the epoch, or a time ago such as 15m"))?;
                    *(if name == "since" { &mut query.since } else { &mut query.until }) = Some(time);
                }
                "pattern" if value.len() > MAX_PATTERN => {
                    return Err(format!("pattern must have at most {MAX_PATTERN} bytes"));
                }
                "pattern" => {
                    let pattern = Pattern::new(value, false);
                    query.pattern = Some(pattern.map_err(|_| wrong("a regular expression"))?);
                }
                "cursor" => {
                    let cursor = value.parse();
                    query.cursor = Some(cursor.map_err(|_| wrong("the cursor of an earlier response"))?);
                }
                _ => return Err(format!("there is no parameter {:?}", shown(name))),
            }
        }
        Ok(query)
    }
}

/// Parses `1795954211.5`, or `15m` for that time ago.
fn moment(text: &str, now: f64) -> Option<f64> {
    let ago = || Some(now - duration::parse(text)?.as_secs_f64());
    text.parse().ok().filter(|seconds: &f64| seconds.is_finite()).or_else(ago)
}

/// Reads lines: forwards from a cursor or a time, otherwise the last ones.
fn read_lines(log: &mut Log, query: LogQuery) -> anyhow::Result<LogLines> {
    let LogQuery { lines, since, until, pattern, cursor } = query;
    let forwards = cursor.is_some() || since.is_some();
    let missing = cursor.is_some_and(|cursor| log.lines_after(cursor, 1, 1).is_err());
    let from = cursor.map(|cursor| vec![if missing { log.start() } else { cursor }]);
    let end = log.end();
    let query = log_history::Query {
        pattern,
        since,
        until,
        order: if forwards { Order::OldestFirst } else { Order::NewestFirst },
        from,
        ..log_history::Query::default()
    };
    let budget = Budget {
        hits: lines.unwrap_or(DEFAULT_LINES),
        bytes: SEARCH_BYTES,
        deadline: Some(Instant::now() + SEARCH_TIME),
    };
    let mut found: Vec<(Position, LogLine)> = Vec::new();
    let mut bytes = 0;
    let ended = search(std::slice::from_mut(log), &query, &budget, |event| {
        if let Event::Hit { line: Line { position, time, bytes: text, .. }, .. } = event {
            let text = safe_text::sanitize(&text);
            bytes += text.len();
            found.push((position, LogLine { time, text }));
        }
        if bytes < MAX_TEXT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let mut cursor = ended.from.first().copied().unwrap_or(end);
    if !forwards {
        found.reverse();
        cursor = end;
    }
    // A line without its newline will be longer: the next request returns the whole.
    let tail = log.lines_before(log.end(), 1, TAIL_BYTES)?.pop();
    if let Some(tail) = tail.filter(|tail| !tail.ended && !tail.truncated && tail.end == cursor) {
        cursor = tail.position;
        found.retain(|(position, _)| !forwards || *position != tail.position);
    }
    Ok(LogLines {
        lines: found.into_iter().map(|(_, line)| line).collect(),
        cursor: cursor.to_string(),
        complete: ended.complete,
        missing,
        problems: ended.problems.into_iter().map(|(file, why)| format!("{file}: {why}")).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use super::*;

    /// Returns texts, cursor and whether lines are missing or incomplete.
    fn read(root: &Path, parameters: &[(&str, &str)]) -> (Vec<String>, String, bool, bool) {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let query = LogQuery::parse(&parameters, 1_000.0).unwrap();
        let read = read_lines(&mut Logs::new(root).open("sync").unwrap(), query).unwrap();
        (read.lines.into_iter().map(|line| line.text).collect(), read.cursor, read.missing, read.complete)
    }

    fn append(root: &Path, text: &str) {
        let path = root.join("var/log/sync.log");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_last_lines_are_read_and_a_cursor_continues_after_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/log/supervisor")).unwrap();
        append(dir.path(), "one\ntwo\nthree\n");
        let (lines, cursor, ..) = read(dir.path(), &[("lines", "2")]);
        assert_eq!(lines, ["two", "three"]);
        assert_eq!(read(dir.path(), &[("cursor", &cursor)]).0, [""; 0]);
        append(dir.path(), "four\nfi");
        let (lines, cursor, missing, _) = read(dir.path(), &[("cursor", &cursor)]);
        assert_eq!(
            (lines.as_slice(), missing),
            (&["four".to_owned()][..], false),
            "a line that has not ended waits"
        );
        assert_eq!(read(dir.path(), &[("lines", "1")]).0, ["fi"], "among the last lines it is shown");
        append(dir.path(), "ve\n\u{1b}[31msix\u{202e}\n");
        let (lines, cursor, ..) = read(dir.path(), &[("cursor", &cursor), ("lines", "1")]);
        assert_eq!(lines, ["five"]);
        let (lines, cursor, ..) = read(dir.path(), &[("cursor", &cursor), ("lines", "1")]);
        assert_eq!(lines, ["six\\u{202e}"]);
        assert_eq!(read(dir.path(), &[("pattern", "^t[wh]")]).0, ["two", "three"]);
        fs::remove_file(dir.path().join("var/log/sync.log")).unwrap();
        append(dir.path(), "another file\n");
        let (lines, _, missing, _) = read(dir.path(), &[("cursor", &cursor)]);
        assert_eq!((lines, missing), (vec!["another file".to_owned()], true));
    }

    #[test]
    fn long_lines_end_a_response_and_its_cursor_continues() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/log/supervisor")).unwrap();
        append(dir.path(), &format!("{}\n", "\u{1}".repeat(10_000)).repeat(100));
        let (mut cursor, mut total, mut requests, mut is_complete) = (String::new(), 0, 0, false);
        while !is_complete {
            let start = if cursor.is_empty() { ("since", "0") } else { ("cursor", cursor.as_str()) };
            let (lines, next, missing, complete) = read(dir.path(), &[start, ("lines", "1000")]);
            assert!(!missing && lines.iter().map(String::len).sum::<usize>() < 2 * MAX_TEXT);
            (cursor, total, requests, is_complete) = (next, total + lines.len(), requests + 1, complete);
        }
        assert!(total == 100 && requests > 1, "{total} {requests}");
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (name, value, message) in [
            ("lines", "0", "lines must be a number from 1 to 1000, not \"0\""),
            ("lines", "1001", "lines must be a number from 1 to 1000, not \"1001\""),
            ("since", "nan", "since must be seconds since the epoch, or a time ago such as 15m, not \"nan\""),
            ("until", "x", "until must be seconds since the epoch, or a time ago such as 15m, not \"x\""),
            ("pattern", "(", "pattern must be a regular expression, not \"(\""),
            ("pattern", &r"\W".repeat(16_000), "pattern must have at most 1000 bytes"),
            ("cursor", "../x", "cursor must be the cursor of an earlier response, not \"../x\""),
            ("line", "5", "there is no parameter \"line\""),
        ] {
            let parsed = LogQuery::parse(&[(name.to_owned(), value.to_owned())], 0.0);
            assert_eq!(parsed.unwrap_err(), message);
        }
        assert_eq!((moment("15m", 1_000.0), moment("7.5", 1_000.0)), (Some(100.0), Some(7.5)));
    }
}
