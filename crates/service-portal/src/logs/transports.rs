//! Ways of live messages to the browser: a WebSocket, a response that continues, and responses that end at once.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Json, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame as BodyFrame};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::view::ViewRequest;
use super::{MAX_REQUEST_BYTES, live};
use crate::app_state::AppState;
use crate::client::Client;
use crate::page_access::require_owner_form;

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
    if let Err(refusal) = require_owner_form(&state, Client(&headers)) {
        return *refusal;
    }
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
                tokio::pin!(sending);
                let sent = tokio::select! {
                    sent = &mut sending => sent.is_ok(),
                    // The visitor takes nothing, or is logged out.
                    _ = &mut ended => matches!(timeout(GRACE, &mut sending).await, Ok(Ok(()))),
                };
                if !sent {
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
    let _ = socket.send(Frame::Close(None)).await;
}

/// `POST /leonardo/logs/stream`: the same messages as lines of a response that continues.
pub async fn stream(
    State(state): State<AppState>,
    headers: HeaderMap,
    Json(request): Json<ViewRequest>,
) -> Response {
    if let Err(refusal) = require_owner_form(&state, Client(&headers)) {
        return *refusal;
    }
    lines(live::start(state, headers, request).0)
}

/// `POST /leonardo/logs/poll`: the messages up to the first rows; without rows, after some seconds.
pub async fn poll(
    State(state): State<AppState>,
    headers: HeaderMap,
    Json(request): Json<ViewRequest>,
) -> Response {
    if let Err(refusal) = require_owner_form(&state, Client(&headers)) {
        return *refusal;
    }
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
    (NDJSON, Body::new(Chunks(messages, |message: String| (message + "\n").into()))).into_response()
}

/// Body that ends with its channel.
pub struct Chunks<T>(pub mpsc::Receiver<T>, pub fn(T) -> Bytes);

impl<T> hyper::body::Body for Chunks<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let convert = self.1;
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(BodyFrame::data(convert(chunk)))))
    }
}
