//! The page and JSON error for a service that does not respond.
//!
//! Caddy requests it, with the port and the cause, after a service failed to respond to a request that had passed the gate;
//! visitors cannot request it. It shows the end of the service's log, but only for services behind the login.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use askama::Template;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use journal::LogOwner;
use kit::{ReadPolicy, unix_time};
use ports::Service;
use serde::Deserialize;
use serde_json::json;
use terminal::ESCAPE;

use crate::app_state::AppState;
use crate::client::Client;
use crate::log_limit;
use crate::origins::Origins;
use crate::pages::render;
use crate::service_state::{State as ServiceState, explanation, without_stale_states};

/// Header with Caddy's error message.
const CAUSE_HEADER: &str = "x-leonardo-cause";
/// Interval at which the page of a service that starts reloads, in seconds.
const RETRY_SECONDS: u64 = 3;
/// Maximum number of log lines on the page.
const MAX_LINES: usize = 20;
/// Number of bytes read from the end of the log; progress bars make long lines.
const TAIL_BYTES: u64 = 16 * 1024;
/// Maximum length of a line, in characters.
const MAX_LINE_LENGTH: usize = 400;

/// Query of Caddy's request.
#[derive(Deserialize)]
pub struct UnavailableQuery {
    port: u16,
}

/// Page for browsers. It has the origin of the service, so it shows nothing of other services; its links lead to the portal's
/// port, where the visitor has to be the owner.
#[derive(Template)]
#[template(path = "unavailable.html")]
struct UnavailablePage<'a> {
    /// Name of the image.
    title: &'a str,
    name: &'a str,
    port: u16,
    /// Origin of the portal; empty if it is unknown.
    portal: &'a str,
    /// Its program, if that is known.
    program: Option<LogOwner>,
    /// Its registered state.
    state_now: &'a ServiceState,
    /// Its state, as the end of a sentence that begins with the name.
    state: &'a str,
    /// Sentences about the state.
    details: &'a str,
    /// Name of its log; empty if a visitor without a login may read the page.
    log: &'a str,
    lines: &'a [String],
    retry_seconds: u64,
}

/// `GET /gate/unavailable?port=8188`: 503 if the service does not listen (yet), 502 if it closed the connection.
pub async fn unavailable(
    State(state): State<AppState>,
    Query(UnavailableQuery { port }): Query<UnavailableQuery>,
    headers: HeaderMap,
) -> Response {
    let service = registered(&state, port);
    let is_closed = !did_not_listen(&headers);
    let status = if is_closed { StatusCode::BAD_GATEWAY } else { StatusCode::SERVICE_UNAVAILABLE };
    let (words, details) = service
        .as_ref()
        .and_then(|service| explanation(service, unix_time::now()))
        .unwrap_or_else(|| unregistered_state(is_closed, port));
    let client = Client(&headers);
    let registered = service.as_ref().and_then(|service| service.status.as_ref());
    let state_now = ServiceState::new(registered, false, unix_time::now());
    let mut response = if client.is_browser_page() {
        let name = service.as_ref().map_or("The service", |service| &service.service_name);
        let log = service.as_ref().filter(|service| service.proxy_secure).and_then(Service::log_file);
        let lines = log.as_deref().map_or_else(Vec::new, |log| last_lines(&state.log_directory().join(log)));
        let log_name = log.as_deref().and_then(|log| log.strip_suffix(".log")).unwrap_or_default();
        let program = state.journal().programs_by_log().remove(log_name);
        let portal = Origins::new(&state, client).portal();
        let shown = UnavailablePage {
            title: state.title(),
            name,
            port,
            portal: portal.as_deref().unwrap_or_default(),
            program,
            state_now: &state_now,
            state: &words,
            details: &details,
            log: log_name,
            lines: &lines,
            retry_seconds: RETRY_SECONDS,
        };
        render(status, &shown)
    } else {
        let message = format!("the service {words}");
        let name = service.map(|service| service.service_name);
        (status, Json(json!({ "error": "unavailable", "message": message, "service": name, "port": port })))
            .into_response()
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    // Any other page waits with a script, which takes neither the focus nor the place in the log.
    if state_now.pending {
        response.headers_mut().insert("refresh", HeaderValue::from(RETRY_SECONDS));
    }
    response
}

fn registered(state: &AppState, port: u16) -> Option<Service> {
    state.service(port).map(without_stale_states)
}

/// Returns the words for a service that has not registered why it does not respond.
fn unregistered_state(is_closed: bool, port: u16) -> (String, String) {
    let (words, details) = if is_closed {
        (
            "closed the connection",
            format!(
                "The service on port {port} accepted the request and closed the connection without a response. \
                 It may have been restarted."
            ),
        )
    } else {
        (
            "is not responding yet",
            format!(
                "Nothing is listening behind port {port} yet. A service that was just started may need some time."
            ),
        )
    };
    (words.to_owned(), details)
}

/// True if no connection to the service could be opened. Go's network errors start with the operation, here "dial"; Caddy
/// does not try instances that it could not reach a moment ago.
fn did_not_listen(headers: &HeaderMap) -> bool {
    let cause = headers.get(CAUSE_HEADER).map_or(&b""[..], |cause| cause.as_bytes());
    cause.starts_with(b"dial ") || cause == b"no upstreams available"
}

/// Returns the last lines of a log as plain text; none if it cannot be read.
fn last_lines(path: &Path) -> Vec<String> {
    match read_tail(path) {
        Ok(end) => lines(&end),
        Err(error) => {
            log_limit::info(&error);
            Vec::new()
        }
    }
}

/// Reads the end of a regular file, from the start of a line; no link is followed.
fn read_tail(path: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let opened = ReadPolicy::max_size(u64::MAX).no_follow().open(path)?;
    let start = opened.meta().len().saturating_sub(TAIL_BYTES);
    let mut file = opened.into_file();
    file.seek(SeekFrom::Start(start)).with_context(cannot)?;
    let mut end = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut end).with_context(cannot)?;
    if start > 0
        && let Some(newline) = end.iter().position(|&byte| byte == b'\n')
    {
        end.drain(..=newline);
    }
    Ok(end)
}

/// Returns the last lines that are not blank, without terminal control sequences.
pub fn lines(text: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = text
        .rsplit(|&byte| byte == b'\n')
        // A progress bar overwrites its line: only the last state counts.
        .map(|line| plain(terminal::last_state(line)))
        .filter(|line| !line.trim().is_empty())
        .take(MAX_LINES)
        .collect();
    lines.reverse();
    lines
}

/// Returns a line without control sequences, control characters and changes of direction.
fn plain(line: &[u8]) -> String {
    let mut text = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == ESCAPE {
            rest = terminal::after_sequence(rest);
        } else {
            text.push(if byte == b'\t' { b' ' } else { byte });
            rest = behind;
        }
    }
    let is_visible = |character: &char| !character.is_control() && !terminal::changes_direction(*character);
    String::from_utf8_lossy(&text).chars().filter(is_visible).take(MAX_LINE_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_shown_as_plain_text() {
        for (line, shown) in [
            ("\u{1b}[1;31mred\u{1b}[0m alert", "red alert"),
            ("\u{1b}]0;title\u{7}text \u{1b}]8;;http://x\u{1b}\\link", "text link"),
            ("a\tb\u{0}\u{8}c\u{202e}d", "a bcd"),
            ("<script>alert(1)</script>", "<script>alert(1)</script>"),
            ("\u{1b}[never ends", "ever ends"),
            ("\u{1b}(B\u{1b}[mreset \u{1b}Pq#0\u{1b}\\image", "reset image"),
        ] {
            assert_eq!(plain(line.as_bytes()), shown, "{line:?}");
        }
        assert_eq!(plain(&b"x".repeat(1_000)).len(), MAX_LINE_LENGTH);
    }

    #[test]
    fn the_last_lines_and_the_last_state_of_a_progress_bar_are_shown() {
        let text: Vec<String> = (0..100).map(|number| format!("line {number}\n\n")).collect();
        let shown = lines((text.concat() + "10%\r50%\r100%\r\n").as_bytes());
        assert_eq!((shown.len(), shown[0].as_str(), shown[19].as_str()), (20, "line 81", "100%"));
        assert_eq!(lines(b""), [""; 0]);
    }

    #[test]
    fn only_the_end_of_a_regular_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        std::fs::write(&log, "first\nlast\n").unwrap();
        assert_eq!(last_lines(&log), ["first", "last"]);
        std::fs::write(&log, format!("{}\nlast\n", "x".repeat(100_000))).unwrap();
        assert_eq!(last_lines(&log), ["last"]);
        std::os::unix::fs::symlink(&log, dir.path().join("link.log")).unwrap();
        assert_eq!(last_lines(&dir.path().join("link.log")), [""; 0]);
        assert_eq!(last_lines(dir.path()), [""; 0]);
    }

    #[test]
    fn only_a_failed_dial_means_that_the_service_did_not_listen() {
        let check = |cause: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CAUSE_HEADER, cause.parse().unwrap());
            did_not_listen(&headers)
        };
        assert!(check("dial tcp 127.0.0.1:18188: connect: connection refused"));
        assert!(check("no upstreams available"));
        assert!(!check("EOF") && !check("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer"));
        assert!(!did_not_listen(&HeaderMap::new()));
    }

    #[test]
    fn names_and_log_lines_are_escaped() {
        let lines = ["<script>alert(1)</script>".to_owned()];
        let shown = UnavailablePage {
            title: "<u>",
            name: "<b>",
            port: 8188,
            portal: "http://gpu.lan:1111",
            program: None,
            state_now: &ServiceState::new(None, false, 0),
            state: "failed: <i>",
            details: "It failed 5 s ago.",
            log: "a",
            lines: &lines,
            retry_seconds: RETRY_SECONDS,
        };
        let html = shown.render().unwrap();
        assert!(
            !html.contains("<script>alert")
                && !html.contains("<u>")
                && !html.contains("<b><b>")
                && !html.contains("<i>"),
            "{html}"
        );
        assert!(html.contains("&#60;script&#62;alert(1)"), "{html}");
    }
}
