//! The page: the form, whose lines a script requests. Browsers without scripts are led to `plain=1`, which has the last lines.

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

/// Number of lines on the page without a script.
const LINES: usize = 500;

#[derive(Template)]
#[template(path = "logs.html")]
struct LogPage {
    frame: Frame,
    view: ShownView,
    logs: Vec<ListedLog>,
    page: Page,
    filter_error: Option<String>,
    error: Option<String>,
}

impl LogPage {
    /// True for the row that the view is about.
    fn is_marked(&self, row: &LogRow) -> bool {
        self.page
            .marked
            .as_ref()
            .is_some_and(|marked| (&marked.service, &marked.id) == (&row.service, &row.id))
    }
}

#[derive(Debug, Default)]
struct ShownView {
    services: Vec<String>,
    q: String,
    level: String,
    since: String,
    until: String,
    at: String,
    time: String,
    /// True if the page has lines and no script.
    is_plain: bool,
}

struct ListedLog {
    name: String,
    chosen: bool,
    is_empty: bool,
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
    let (services, is_plain) = (view.services.clone(), view.is_plain);
    let read = state.log_pages().read(move || {
        let page = is_plain.then(|| history::page(&logs, &request, LINES));
        (list(&logs, &services), page.unwrap_or_else(|| Ok(Page::default())))
    });
    let (listed, page) =
        read.await.unwrap_or_else(|| (Err("the logs could not be read".to_owned()), Ok(Page::default())));
    let (logs, mut error) = match listed {
        Ok(logs) => (logs, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let mut filter_error = None;
    let page = page.unwrap_or_else(|invalid| {
        let field = if invalid.field == "filter" { &mut filter_error } else { &mut error };
        *field = Some(invalid.message);
        Page::default()
    });
    render(StatusCode::OK, &LogPage { frame, view, logs, page, filter_error, error })
}

/// True for logs of the base image's programs.
fn is_of_image(log: &str) -> bool {
    log == "supervisord" || log.starts_with("quicktunnel-") || process_control::is_base_program(log)
}

/// Lists all logs: those of the user's programs first, empty ones last.
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
    let mut listed: Vec<ListedLog> = listed
        .into_iter()
        .map(|log| ListedLog {
            chosen: chosen.contains(&log.name),
            is_empty: log.bytes == 0,
            words: words(log.bytes, log.modified),
            name: log.name,
        })
        .collect();
    listed.sort_by_key(|log| (log.is_empty, is_of_image(&log.name)));
    Ok(listed)
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
                "plain" => view.is_plain = value == "1",
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
        self.url(&[("at", &format!("{}:{}", row.service, row.id))])
    }

    /// Returns the URL of this view for browsers without scripts; they scroll to the row that it is about, or to the end.
    fn plain_url(&self) -> String {
        self.url(&[("at", &self.at), ("time", &self.time), ("plain", "1")]) + "#shown"
    }

    /// Returns the URL of these logs and lines, with parameters that are not empty.
    fn url(&self, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.services.iter().map(|service| ("s", service)));
        let lines: [(&str, &str); 4] =
            [("q", &self.q), ("level", &self.level), ("since", &self.since), ("until", &self.until)];
        query.extend_pairs(lines.iter().chain(more).filter(|(_, value)| !value.is_empty()));
        format!("/leonardo/logs?{}", query.finish())
    }

    fn chosen(&self) -> String {
        match &self.services[..] {
            [] => "All logs".to_owned(),
            few if few.len() < 3 => few.join(", "),
            many => format!("{} logs", many.len()),
        }
    }

    /// True if it has only some lines of its logs.
    fn is_filtered(&self) -> bool {
        [&self.q, &self.level, &self.since, &self.until].iter().any(|text| !text.is_empty())
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
