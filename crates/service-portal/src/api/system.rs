//! `GET /leonardo/api/v1/system`: the container's figures.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::app_state::AppState;
use crate::response;

/// Returns the latest sample.
pub async fn system(State(state): State<AppState>) -> Response {
    state.system().watch();
    match state.system().latest() {
        Some(sample) => Json(&*sample).into_response(),
        None => response::json_error(StatusCode::SERVICE_UNAVAILABLE, "nothing was measured yet"),
    }
}
