//! The page and JSON error for a service that does not respond.
//!
//! Caddy requests it, with the port and the cause, after a service failed to respond to a request that had passed the gate;
//! visitors cannot request it. It shows the end of the service's log, but only for services behind the login.

use std::path::Path;

use anyhow::Context;
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

/// Returns the last lines of a regular file; none if it cannot be read. No link is followed.
fn last_lines(path: &Path) -> Vec<String> {
    let read = || -> anyhow::Result<Vec<String>> {
        let opened = ReadPolicy::max_size(u64::MAX).no_follow().open(path)?;
        let end = opened.meta().len();
        let lines = log_history::last_lines(&opened.into_file(), end);
        lines.with_context(|| format!("cannot read {}", path.display()))
    };
    read().unwrap_or_else(|error| {
        log_limit::info(&error);
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        std::fs::write(&log, "first\nlast\n").unwrap();
        assert_eq!(last_lines(&log), ["first", "last"]);
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
