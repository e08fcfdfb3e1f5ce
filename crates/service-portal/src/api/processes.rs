//! `/leonardo/api/v1/processes`: supervisord's programs, and their start, stop and restart.

use std::path::PathBuf;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use process_control::{Action, Refusal, RefusalKind};
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::app_state::AppState;
use crate::client::Client;
use crate::processes::{Performed, perform, programs};
use crate::response;

/// `GET /processes`: returns all programs.
pub async fn list(State(state): State<AppState>) -> Response {
    respond(programs(&state).await.map(|programs| json!({ "processes": programs })))
}

/// `POST /processes/NAME/start`.
pub async fn start(state: State<AppState>, headers: HeaderMap, name: Path<String>) -> Response {
    act(state, &headers, name, Action::Start).await
}

/// `POST /processes/NAME/stop`.
pub async fn stop(state: State<AppState>, headers: HeaderMap, name: Path<String>) -> Response {
    act(state, &headers, name, Action::Stop).await
}

/// `POST /processes/NAME/restart`.
pub async fn restart(state: State<AppState>, headers: HeaderMap, name: Path<String>) -> Response {
    act(state, &headers, name, Action::Restart).await
}

async fn act(
    State(state): State<AppState>,
    headers: &HeaderMap,
    Path(name): Path<String>,
    action: Action,
) -> Response {
    match perform(&state, Client(headers), action, &name).await {
        Ok(Performed { outcome, is_detached: true }) => (StatusCode::ACCEPTED, Json(outcome)).into_response(),
        performed => respond(performed.map(|performed| performed.outcome)),
    }
}

/// Lists at a time; others wait.
pub static LISTS: Semaphore = Semaphore::const_new(4);
/// Actions at a time. They may take long, and lists do not wait for them.
pub static ACTIONS: Semaphore = Semaphore::const_new(8);

/// Asks the program that is root, on a thread that may wait. One whose requester has gone counts until it is answered.
pub async fn ask<T: Send + 'static>(
    state: &AppState,
    permits: &'static Semaphore,
    question: impl FnOnce(PathBuf) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let socket = state.process_control().to_owned();
    let permit = permits.acquire().await.ok();
    let answer = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        question(socket)
    });
    answer
        .await
        .unwrap_or_else(|error| Err(Refusal { kind: RefusalKind::Unavailable, message: error.to_string() }))
}

fn respond(answer: Result<impl Serialize, Refusal>) -> Response {
    match answer {
        Ok(body) => Json(body).into_response(),
        Err(refusal) => response::json_error(status(refusal.kind), &refusal.message),
    }
}

fn status(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::Unknown => StatusCode::NOT_FOUND,
        RefusalKind::Protected | RefusalKind::Conflict => StatusCode::CONFLICT,
        RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        RefusalKind::Invalid => StatusCode::BAD_REQUEST,
    }
}
