//! A whole log as a file: rotated and compressed files too, from the oldest byte to the end.

use std::io;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use log_history::{Log, Position};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::LogPages;
use super::rendering::is_same_file;
use super::transports::Chunks;
use crate::app_state::AppState;
use crate::client::Client;
use crate::page_access::require_owner;
use crate::response;

/// Size of one read, in bytes.
const CHUNK: usize = 256 * 1024;

/// Query of a download.
#[derive(Deserialize)]
pub struct DownloadQuery {
    /// Name of the log.
    s: String,
}

/// `GET /leonardo/logs/download?s=NAME`: returns a log as a file of plain text.
pub async fn download(
    State(state): State<AppState>,
    Query(query): Query<DownloadQuery>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = require_owner(&state, Client(&headers)) {
        return *refusal;
    }
    let pages = state.log_pages().clone();
    let Some(permit) = pages.take_download() else {
        return response::json_error(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many logs are being downloaded; wait until one of them has ended",
        );
    };
    let logs = pages.logs().clone();
    let name = file_name(&query.s);
    match pages.read(move || logs.open(&query.s)).await {
        Some(Ok(log)) => {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(send(pages, log, permit, sender));
            (attachment(&name), Body::new(Chunks(receiver, |chunk| chunk))).into_response()
        }
        Some(Err(error)) => response::json_error(StatusCode::NOT_FOUND, &format!("{error:#}")),
        None => response::json_error(StatusCode::INTERNAL_SERVER_ERROR, "the log could not be read"),
    }
}

/// Headers of the file. A browser must not display it: a log can contain HTML.
fn attachment(name: &str) -> [(HeaderName, HeaderValue); 3] {
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
    ]
}

/// Returns the name of the file.
fn file_name(log: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '_' }
    };
    let name: String = log.chars().map(plain).take(100).collect();
    format!("{}.log", name.trim_start_matches('.'))
}

/// Sends a log up to the byte that is its last one now. An error must not look like its end.
async fn send(
    pages: LogPages,
    log: Log,
    _permit: OwnedSemaphorePermit,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    let (mut at, end, mut log) = (log.start(), log.end(), log);
    loop {
        let read = pages
            .read(move || {
                let mut buffer = Vec::new();
                let next = log.read_raw(at, &mut buffer, CHUNK);
                (log, next, buffer)
            })
            .await;
        let Some((back, next, mut buffer)) = read else {
            let _ = sender.send(Err(io::Error::other("the log could not be read"))).await;
            return;
        };
        log = back;
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                crate::log_limit::error(&error);
                let _ = sender.send(Err(io::Error::other(error))).await;
                return;
            }
        };
        let has_ended = cut(&mut buffer, next, end);
        if buffer.is_empty() || sender.send(Ok(buffer.into())).await.is_err() || has_ended {
            return;
        }
        at = next;
    }
}

/// Removes what follows the end, and returns whether it is reached.
fn cut(buffer: &mut Vec<u8>, next: Position, end: Position) -> bool {
    if !is_same_file(next, end) || next.offset < end.offset {
        return false;
    }
    let excess = usize::try_from(next.offset - end.offset).unwrap_or(usize::MAX);
    buffer.truncate(buffer.len().saturating_sub(excess));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_is_not_the_end_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("var/log/supervisor");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("app.log"), "line\n".repeat(CHUNK)).unwrap();
        let pages = LogPages::new(directory.path());
        let (permit, log) = (pages.take_download().unwrap(), pages.logs().open("app").unwrap());
        let (sender, mut chunks) = mpsc::channel(1);
        tokio::spawn(send(pages, log, permit, sender));
        assert!(chunks.recv().await.unwrap().is_ok());
        std::fs::write(path.join("app.log"), "other\n".repeat(CHUNK)).unwrap();
        let mut last = Ok(Bytes::new());
        while let Some(chunk) = chunks.recv().await {
            last = chunk;
        }
        assert!(last.unwrap_err().to_string().contains("no longer exists"));
    }

    #[test]
    fn the_name_of_the_file_is_plain() {
        for (log, name) in [
            ("caddy", "caddy.log"),
            ("a b\"\r\n/ä", "a_b_____.log"),
            ("../x", "_x.log"),
            ("supervisor:sync", "supervisor_sync.log"),
        ] {
            assert_eq!(file_name(log), name, "{log}");
        }
    }
}
