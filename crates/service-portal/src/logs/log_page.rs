//! The page: the form, and lines for readers without JavaScript, which the script takes over.

use std::collections::BTreeMap;
use std::time::SystemTime;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kit::units::format_bytes;
use kit::{duration, rfc3339};
use log_history::Logs;

use super::history::{self, Page, PageRequest, RowName};
use super::row::LogRow;
use super::view::{ViewRequest, moment, parse_time};
use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{self, Frame};
use crate::page_access::require_owner;
use crate::pages::render;

/// Number of lines on the page.
const LINES: usize = 500;

/// The page.
#[derive(Template)]
#[template(path = "logs.html")]
struct LogPage {
    frame: Frame,
    view: ShownView,
    logs: Vec<ListedLog>,
    rows: Vec<LogRow>,
    notices: Vec<String>,
    filter_error: Option<String>,
    error: Option<String>,
    /// True if the script can take over the rows.
    complete: bool,
    from: String,
    to: String,
    at_start: bool,
    at_end: bool,
    marked: Option<String>,
}

/// View as the URL has it.
#[derive(Debug, Default)]
struct ShownView {
    services: Vec<String>,
    q: String,
    level: String,
    since: String,
    until: String,
    at: String,
    time: String,
}

/// A log in the list.
struct ListedLog {
    name: String,
    chosen: bool,
    /// Size and time since the last line.
    words: String,
}

/// `GET /leonardo/logs`: shows the page.
pub async fn log_page(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let client = Client(&headers);
    let verdict = match require_owner(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    let view = ShownView::parse(query.as_deref().unwrap_or_default());
    let frame = Frame::new(&state, client, verdict, frame::Page::Logs);
    let (logs, request) = (state.log_pages().logs().clone(), view.request());
    // The script searches itself, with progress.
    let is_search = !(view.q.is_empty() && view.level.is_empty());
    let services = view.services.clone();
    let read =
        state.log_pages().read(move || (list(&logs, &services), history::page(&logs, &request, LINES)));
    let (listed, page) =
        read.await.unwrap_or_else(|| (Err("the logs could not be read".to_owned()), Ok(Page::default())));
    let (logs, mut error) = match listed {
        Ok(logs) => (logs, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let mut filter_error = None;
    let mut complete = !is_search;
    let page = page.unwrap_or_else(|invalid| {
        complete = true;
        let field = if invalid.field == "filter" { &mut filter_error } else { &mut error };
        *field = Some(invalid.message);
        Page::default()
    });
    render(
        StatusCode::OK,
        &LogPage {
            frame,
            view,
            logs,
            rows: page.rows,
            notices: page.notices,
            filter_error,
            error,
            complete,
            from: json(&page.from),
            to: json(&page.to),
            at_start: page.at_start,
            at_end: page.at_end,
            marked: page.marked.and_then(|marked| serde_json::to_string(&marked).ok()),
        },
    )
}

fn json(places: &BTreeMap<String, String>) -> String {
    serde_json::to_string(places).unwrap_or_default()
}

/// Lists all logs.
fn list(logs: &Logs, chosen: &[String]) -> Result<Vec<ListedLog>, String> {
    let listed = logs.names().map_err(|error| format!("{error:#}"))?;
    let now = SystemTime::now();
    let words = |bytes: u64, modified| {
        let age = now.duration_since(modified).map_or(0, |age| age.as_secs());
        if bytes == 0 {
            "empty".to_owned()
        } else {
            format!("{}, {} ago", format_bytes(bytes), duration::words(age))
        }
    };
    Ok(listed
        .into_iter()
        .map(|log| ListedLog {
            chosen: chosen.contains(&log.name),
            words: words(log.bytes, log.modified),
            name: log.name,
        })
        .collect())
}

impl ListedLog {
    /// Returns the URL of its view.
    fn link(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        format!("/leonardo/logs?{}", query.append_pair("s", &self.name).finish())
    }
}

impl ShownView {
    fn parse(query: &str) -> Self {
        let mut view = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "s" if !value.is_empty() => view.services.push(value),
                "q" => view.q = value,
                "level" => view.level = value,
                "since" => view.since = value,
                "until" => view.until = value,
                "at" => view.at = value,
                "time" => view.time = value,
                _ => {}
            }
        }
        view
    }

    fn request(&self) -> PageRequest {
        let around = self.at.split_once(':').filter(|(service, _)| !service.is_empty());
        // A name may contain a colon, a position has none before its length.
        let around = self.at.rsplit_once(':').filter(|(_, place)| place.contains('.')).or(around);
        PageRequest {
            view: ViewRequest {
                services: self.services.clone(),
                filter: self.q.clone(),
                level: Some(self.level.clone()),
                since: parse_time(&self.since),
                until: parse_time(&self.until),
                ..ViewRequest::default()
            },
            around: around.map(|(service, id)| RowName { service: service.into(), id: id.into() }),
            time: parse_time(&self.time),
            ..PageRequest::default()
        }
    }

    /// Returns the URL of a line in this view.
    fn link(&self, row: &LogRow) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.services.iter().map(|service| ("s", service)));
        let at = format!("{}:{}", row.service, row.id);
        for (name, value) in [
            ("q", &self.q),
            ("level", &self.level),
            ("since", &self.since),
            ("until", &self.until),
            ("at", &at),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        format!("/leonardo/logs?{}", query.finish())
    }

    /// Returns the chosen logs in words.
    fn chosen(&self) -> String {
        match &self.services[..] {
            [] => "all".to_owned(),
            few if few.len() < 3 => few.join(", "),
            many => format!("{} chosen", many.len()),
        }
    }

    fn download(&self) -> String {
        let service = self.services.first().map_or("", String::as_str);
        let mut query = form_urlencoded::Serializer::new(String::new());
        format!("/leonardo/logs/download?{}", query.append_pair("s", service).finish())
    }

    fn since_input(&self) -> String {
        input(&self.since)
    }

    fn until_input(&self) -> String {
        input(&self.until)
    }

    fn time_input(&self) -> String {
        input(&self.time)
    }
}

/// Returns a time as `<input type="datetime-local">` shows it, in UTC.
fn input(time: &str) -> String {
    parse_time(time).map_or_else(String::new, |time| rfc3339::seconds(moment(time)).replace('Z', ""))
}
