//! `GET /leonardo/api/v1/status`: the container in one line, and its problems.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Requester;
use crate::app_state::AppState;
use crate::problems::problems;
use crate::response;
use crate::status::Status;

/// Returns the status and the problems that every page shows.
pub async fn status(State(state): State<AppState>, Extension(requester): Extension<Requester>) -> Response {
    let entries = match super::entries(&state, requester) {
        Ok(entries) => entries,
        Err(error) => return response::json_error(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    };
    let problems = problems(&state, &entries);
    let Status { level, text, .. } = Status::new(&entries, &problems);
    let ready = journal::is_ready(&entries);
    Json(json!({ "ready": ready, "level": level, "text": text, "problems": problems })).into_response()
}
