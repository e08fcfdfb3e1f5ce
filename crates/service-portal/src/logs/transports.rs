//! Ways of live messages to the browser: a WebSocket, a response that continues, and responses that end at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Json, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame as BodyFrame};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::view::ViewRequest;
use super::{MAX_REQUEST_BYTES, live};
use crate::app_state::AppState;

/// Time within which the request must arrive over a WebSocket.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the last message after the end.
const GRACE: Duration = Duration::from_secs(1);
/// Time that a poll waits for rows.
const POLL_TIMEOUT: Duration = Duration::from_secs(10);

/// `GET /leonardo/logs/socket`: opens a WebSocket, whose first message is the visitor's request.
pub async fn socket(
    State(state): State<AppState>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .max_message_size(MAX_REQUEST_BYTES)
        .max_frame_size(MAX_REQUEST_BYTES)
        .write_buffer_size(0)
        .on_upgrade(move |socket| serve(socket, state, headers))
}

async fn serve(mut socket: WebSocket, state: AppState, headers: HeaderMap) {
    let Ok(Some(Ok(Frame::Text(request)))) = timeout(REQUEST_TIMEOUT, socket.recv()).await else { return };
    let Ok(request) = serde_json::from_str::<ViewRequest>(&request) else { return };
    let (mut messages, mut ended) = live::start(state, headers, request);
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else { break };
                let sending = socket.send(Frame::Text(message.into()));
                if !matches!(within_grace(&mut ended, sending).await, Some(Ok(()))) {
                    return;
                }
            }
            // Answers pings, and notices the end.
            received = socket.recv() => match received {
                Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                _ => return,
            },
        }
    }
    let _ = timeout(GRACE, socket.send(Frame::Close(None))).await;
}

/// Sends something; `None` if that takes long after the end, because the visitor takes nothing, or is logged out.
async fn within_grace<T>(ended: &mut oneshot::Receiver<()>, sending: impl Future<Output = T>) -> Option<T> {
    let too_late = async {
        // A receiver must not be polled again.
        if !ended.is_terminated() {
            let _ = ended.await;
        }
        sleep(GRACE).await;
    };
    tokio::select! {
        sent = sending => Some(sent),
        () = too_late => None,
    }
}

/// `POST /leonardo/logs/stream`: the same messages as lines of a response that continues.
pub async fn stream(
    State(state): State<AppState>,
    headers: HeaderMap,
    Json(request): Json<ViewRequest>,
) -> Response {
    lines(live::start(state, headers, request).0)
}

/// `POST /leonardo/logs/poll`: the messages up to the first rows; without rows, after some seconds.
pub async fn poll(
    State(state): State<AppState>,
    headers: HeaderMap,
    Json(request): Json<ViewRequest>,
) -> Response {
    let (mut messages, _ended) = live::start(state, headers, request);
    let mut body = String::new();
    let collect = async {
        while let Some(message) = messages.recv().await {
            let is_last = message.starts_with("{\"type\":\"rows\"");
            body.push_str(&message);
            body.push('\n');
            if is_last {
                break;
            }
        }
    };
    let _ = timeout(POLL_TIMEOUT, collect).await;
    (NDJSON, body).into_response()
}

/// Headers of messages as lines. Proxies must not collect them.
const NDJSON: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "application/x-ndjson"), (HeaderName::from_static("x-accel-buffering"), "no")];

/// Returns a response whose body is messages as lines, as they come.
pub fn lines(messages: mpsc::Receiver<String>) -> Response {
    (NDJSON, Body::new(Chunks(messages, |message: String| Ok((message + "\n").into())))).into_response()
}

/// Body that ends with its channel; an error cuts the connection.
pub struct Chunks<T>(pub mpsc::Receiver<T>, pub fn(T) -> io::Result<Bytes>);

impl<T> hyper::body::Body for Chunks<T> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<BodyFrame<Bytes>>>> {
        let convert = self.1;
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| convert(chunk).map(BodyFrame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_after_the_end_has_little_time() {
        let (running, mut ended) = oneshot::channel::<()>();
        drop(running);
        for round in 0..2 {
            let slow = sleep(GRACE / 10);
            assert_eq!(within_grace(&mut ended, slow).await, Some(()), "{round}");
        }
        assert_eq!(within_grace(&mut ended, std::future::pending::<()>()).await, None);
    }
}
