//! A whole log as a file: rotated and compressed files too, from the oldest byte to the end.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::anyhow;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use log_history::{Change, Log, Position};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::LogPages;
use super::rendering::is_same_file;
use super::transports::Chunks;
use crate::app_state::AppState;
use crate::client::Client;
use crate::page_access::require_owner;
use crate::response;

/// Size of one read, in bytes.
const CHUNK: usize = 256 * 1024;
/// Time after which a download ends whose visitor takes nothing: others wait, and deleted files use space.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);

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
            let (sender, receiver) = mpsc::channel(2);
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
    let Ok(last) = sender.clone().reserve_owned().await else { return };
    if let Err(error) = send_all(&pages, log, &sender).await {
        let _ = last.send(Err(error));
    }
}

async fn send_all(
    pages: &LogPages,
    mut log: Log,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let (mut at, end, mut known) = (log.start(), log.end(), BTreeMap::new());
    loop {
        let read = move || {
            let mut buffer = Vec::new();
            let mut next = log.read_raw(at, &mut buffer, CHUNK);
            if buffer.is_empty() && matches!(log.refresh(), Ok(Change::Truncated)) {
                next = Err(anyhow!("the log was truncated while it was downloaded"));
            }
            let problems = log.problems();
            (log, next, buffer, problems)
        };
        let read = pages.read(read).await.ok_or_else(|| io::Error::other("the log could not be read"))?;
        let (back, next, mut buffer, problems) = read;
        log = back;
        let next = next.map_err(|error| {
            crate::log_limit::error(&error);
            io::Error::other(error)
        })?;
        let has_ended = cut(&mut buffer, next, end);
        let gaps = problems.iter().filter(|(path, _)| !known.contains_key(*path));
        let gaps = gaps.map(|(path, reason)| format!("\n[the portal cannot read {path}: {reason}]\n"));
        let chunk = [gaps.collect::<Vec<_>>().concat().into_bytes(), buffer].concat();
        known = problems;
        if chunk.is_empty() {
            return Ok(());
        }
        match timeout(SEND_TIMEOUT, sender.send(Ok(chunk.into()))).await {
            Ok(Ok(())) if has_ended => return Ok(()),
            Ok(Ok(())) => at = next,
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(io::Error::other("nothing was read for a minute")),
        }
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
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Downloads a log whose directory is changed after the first chunk.
    async fn downloaded(change: impl FnOnce(&Path)) -> (String, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("var/log/supervisor");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("app.log.2"), "oldest\n".repeat(CHUNK)).unwrap();
        fs::write(path.join("app.log.1"), "older\n").unwrap();
        fs::write(path.join("app.log"), "new\n").unwrap();
        let pages = LogPages::new(directory.path());
        let (permit, log) = (pages.take_download().unwrap(), pages.logs().open("app").unwrap());
        let (sender, mut chunks) = mpsc::channel(2);
        tokio::spawn(send(pages, log, permit, sender));
        let mut text = chunks.recv().await.unwrap().unwrap().to_vec();
        change(&path);
        while let Some(chunk) = chunks.recv().await {
            match chunk {
                Ok(chunk) => text.extend(chunk),
                Err(error) => return (String::from_utf8(text).unwrap(), Some(error.to_string())),
            }
        }
        (String::from_utf8(text).unwrap(), None)
    }

    #[tokio::test]
    async fn an_error_is_not_the_end_of_the_file_and_a_gap_is_named() {
        let oldest = "oldest\n".repeat(CHUNK);
        assert_eq!(downloaded(|_| {}).await, (format!("{oldest}older\nnew\n"), None));
        let (text, error) = downloaded(|logs| fs::remove_file(logs.join("app.log.1")).unwrap()).await;
        let end = text.strip_prefix(&oldest).unwrap();
        assert!(end.contains("app.log.1: it was removed]\n") && end.ends_with("]\nnew\n"), "{end}");
        assert_eq!(error, None);
        let (_, error) = downloaded(|logs| fs::write(logs.join("app.log"), "").unwrap()).await;
        assert!(error.unwrap().contains("was truncated"));
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
