//! What a visitor wants to see: which logs, which lines of them, and from where.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log_history::{Level, LevelSet, Log, Logs, Pattern, Position, Query};
use serde::Deserialize;

/// Maximum length of a pattern, in bytes.
const MAX_PATTERN: usize = 1_000;
/// Maximum number of logs in one view.
pub const MAX_LOGS: usize = 200;

/// Choices of the level, with their words on the page.
pub const LEVELS: &[(&str, &str)] = &[
    ("", "All levels"),
    ("warning", "Warnings and errors"),
    ("error", "Errors"),
    ("info", "Without debug lines"),
];

/// View as the script requests it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ViewRequest {
    /// Names of logs; all if there is none.
    pub services: Vec<String>,
    /// Regular expression that lines match.
    pub filter: String,
    /// Least important level, see [`LEVELS`].
    pub level: Option<String>,
    /// Earliest time, in seconds since the epoch.
    pub since: Option<f64>,
    /// Time before which lines are, in seconds since the epoch.
    pub until: Option<f64>,
    /// Place in each log at which it continues.
    pub cursor: BTreeMap<String, String>,
}

/// Reason why a request is refused, and the field of the form that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidView {
    /// Reason for the visitor.
    pub message: String,
    /// `filter` or `view`.
    pub field: &'static str,
}

/// Checked view.
#[derive(Debug, Clone)]
pub struct View {
    /// Names of logs; all if there is none.
    pub services: Vec<String>,
    /// Lines that are shown.
    pub filter: Filter,
    /// Earliest time.
    pub since: Option<f64>,
    /// Time before which lines are.
    pub until: Option<f64>,
}

/// Lines that are shown.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Pattern that they match.
    pub pattern: Option<Pattern>,
    /// Levels that they name.
    pub levels: LevelSet,
}

impl View {
    /// Checks a request.
    pub fn new(request: &ViewRequest) -> Result<Self, InvalidView> {
        if request.services.len() > MAX_LOGS {
            let message = format!("choose at most {MAX_LOGS} logs, or all of them");
            return Err(InvalidView { message, field: "view" });
        }
        let time = |time: Option<f64>| time.filter(|time| time.is_finite());
        let mut services = request.services.clone();
        let mut seen = BTreeSet::new();
        services.retain(|name| seen.insert(name.clone()));
        Ok(Self {
            services,
            filter: Filter::new(&request.filter, request.level.as_deref().unwrap_or_default())?,
            since: time(request.since),
            until: time(request.until),
        })
    }

    /// Opens the logs of the view, with a message for each that cannot be opened.
    pub fn open(&self, logs: &Logs) -> (Vec<Log>, Vec<String>) {
        let (mut opened, mut notices) = (Vec::new(), Vec::new());
        let names = if self.services.is_empty() {
            match logs.names() {
                Ok(found) => {
                    if found.len() > MAX_LOGS {
                        notices.push(format!(
                            "the first {MAX_LOGS} of {} logs are shown; choose the ones that you need",
                            found.len()
                        ));
                    }
                    found.into_iter().map(|log| log.name).take(MAX_LOGS).collect()
                }
                Err(error) => {
                    notices.push(format!("{error:#}"));
                    Vec::new()
                }
            }
        } else {
            self.services.clone()
        };
        for name in names {
            match logs.open(&name) {
                Ok(log) => opened.push(log),
                // One that was removed since it was listed.
                Err(_) if self.services.is_empty() => {}
                Err(error) => notices.push(format!("{error:#}")),
            }
        }
        (opened, notices)
    }

    /// Returns the view as a search.
    pub fn query(&self) -> Query {
        Query {
            pattern: self.filter.pattern.clone(),
            levels: self.filter.levels,
            since: self.since,
            until: self.until,
            ..Query::default()
        }
    }
}

impl Filter {
    /// Compiles a filter. A pattern without capital letters ignores case.
    pub fn new(pattern: &str, level: &str) -> Result<Self, InvalidView> {
        let invalid = |message: String| InvalidView { message, field: "filter" };
        if pattern.len() > MAX_PATTERN {
            return Err(invalid(format!("the filter is longer than {MAX_PATTERN} bytes")));
        }
        let ignore_case = !has_capital(pattern);
        let pattern = (!pattern.is_empty()).then(|| Pattern::new(pattern, ignore_case)).transpose();
        let pattern = pattern.map_err(invalid)?;
        let some =
            |levels: &[Level]| levels.iter().fold(LevelSet::NONE, |levels, level| levels.with(Some(*level)));
        let levels = match level {
            "error" => some(&[Level::Error]),
            "warning" => some(&[Level::Error, Level::Warning]),
            "info" => some(&[Level::Error, Level::Warning, Level::Info]).with(None),
            "" | "debug" => LevelSet::ALL,
            _ => {
                let message = format!("{level:?} is not a level: error, warning, info or debug");
                return Err(InvalidView { message, field: "view" });
            }
        };
        Ok(Self { pattern, levels })
    }

    /// True if every line is shown.
    pub fn is_empty(&self) -> bool {
        self.pattern.is_none() && self.levels == LevelSet::ALL
    }

    /// True if a line with this text is shown.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.levels.contains(Level::detect(text))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

/// True if a pattern has a capital letter that stands for itself, unlike those of `\S` and `(?P<name>…)`.
fn has_capital(pattern: &str) -> bool {
    let mut is_escape = false;
    pattern.replace("(?P<", "(").chars().any(|letter| {
        let is_itself = !std::mem::take(&mut is_escape);
        is_escape = is_itself && letter == '\\';
        is_itself && letter.is_uppercase()
    })
}

/// Returns a time that a form or a URL has: RFC 3339, or without a zone, which is UTC then.
pub fn parse_time(text: &str) -> Option<f64> {
    let text = text.trim().replace(['t', ' '], "T");
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(&text);
    let full =
        if text.len() == "2026-11-24T00:25".len() { format!("{text}:00Z") } else { format!("{text}Z") };
    let time = humantime::parse_rfc3339(&full).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs_f64())
}

/// Returns the moment of a time in seconds since the epoch.
pub fn moment(time: f64) -> SystemTime {
    Duration::try_from_secs_f64(time)
        .map_or(UNIX_EPOCH, |time| UNIX_EPOCH.checked_add(time).unwrap_or(UNIX_EPOCH))
}

/// Place in a log, as URLs and cursors have it: `POSITION` is before that byte, `POSITION+` after the line that begins there,
/// `POSITION:LENGTH` that many bytes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Position of a byte that begins a row.
    pub position: Position,
    /// Rest of the log behind the position.
    pub after: After,
}

/// Part of the log behind a position that belongs to the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Nothing,
    /// The line that begins there.
    Line,
    Bytes(u64),
}

impl Place {
    /// Parses a place; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (position, after) = if let Some(position) = text.strip_suffix('+') {
            (position, After::Line)
        } else if let Some((position, length)) = text.split_once(':') {
            (position, After::Bytes(length.parse().ok()?))
        } else {
            (text, After::Nothing)
        };
        let position: Position = position.parse().ok()?;
        if let After::Bytes(length) = after {
            position.offset.checked_add(length)?;
        }
        Some(Self { position, after })
    }

    /// Returns the position that the place means.
    pub fn resolve(self, log: &mut Log) -> anyhow::Result<Position> {
        Ok(match self.after {
            After::Nothing => self.position,
            After::Bytes(length) => Position { offset: self.position.offset + length, ..self.position },
            After::Line => {
                log.lines_after(self.position, 1, 1)?.first().map_or(self.position, |line| line.end)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_ignores_case_without_capitals_and_names_what_is_invalid() {
        let filter = |pattern: &str, level: &str| Filter::new(pattern, level).unwrap();
        for pattern in ["error", r"error\S*", r"(?P<what>error)", r"error\W"] {
            assert!(filter(pattern, "").matches(b"an ERROR:"), "{pattern}");
        }
        for pattern in ["Error", r"\\?Error"] {
            assert!(!filter(pattern, "").matches(b"an ERROR"), "{pattern}");
        }
        assert!(filter("", "error").matches(b"ERROR x") && !filter("", "error").matches(b"INFO x"));
        assert!(filter("", "info").matches(b"x") && !filter("", "warning").matches(b"x"));
        assert!(filter("", "").is_empty() && !filter("", "error").is_empty());
        for (pattern, level, field) in [
            ("(", "", "filter"),
            (&"x".repeat(1_001), "", "filter"),
            ("((a{100}){100}){100}", "", "filter"),
            ("", "loud", "view"),
        ] {
            let invalid = Filter::new(pattern, level).unwrap_err();
            assert_eq!(invalid.field, field, "{pattern:.20}");
            assert!(!invalid.message.is_empty());
        }
    }

    #[test]
    fn times_of_forms_and_urls_are_read() {
        let expected = Some(1_795_479_958.0);
        for text in
            ["2026-11-24T00:25:58Z", "2026-11-24T00:25:58", "2026-11-24 00:25:58", "2026-11-24T00:25:58.000Z"]
        {
            assert_eq!(parse_time(text), expected, "{text}");
        }
        assert_eq!(parse_time("2026-11-24T00:25"), Some(1_795_479_900.0));
        for text in ["", "now", "2026-99-24T00:25:58Z", "2026-11-24T00:25:58+01:00", "1"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn places_are_positions_lines_and_bytes() {
        let position: Position = "a-b.7".parse().unwrap();
        for (text, after) in
            [("a-b.7", After::Nothing), ("a-b.7+", After::Line), ("a-b.7:12", After::Bytes(12))]
        {
            assert_eq!(Place::parse(text), Some(Place { position, after }), "{text}");
        }
        for text in ["", "+", "a-b.7:", "a-b.7:-1", "a-b.7:18446744073709551615", "a-b.7++", "../x"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
