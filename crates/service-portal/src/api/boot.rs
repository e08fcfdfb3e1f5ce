//! `GET /leonardo/api/v1/boot`: stages of the boot.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Requester;
use crate::app_state::AppState;
use crate::boot_report::BootReport;
use crate::response;

pub async fn boot(State(state): State<AppState>, Extension(requester): Extension<Requester>) -> Response {
    match super::entries(&state, requester) {
        Ok(entries) => Json(BootReport::new(&entries, journal::unix_time())).into_response(),
        Err(error) => response::json_error(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}
