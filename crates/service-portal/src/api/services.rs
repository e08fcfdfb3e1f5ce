//! `GET /leonardo/api/v1/services`: services with their states and addresses.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app_state::AppState;
use crate::client::Client;
use crate::origins::Origins;
use crate::response;
use crate::service_links;

/// Returns all registered services, and the registry files that are invalid.
pub async fn services(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let (services, rejected) = match state.registry().load() {
        Ok(loaded) => loaded,
        Err(error) => return response::json_error(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    };
    let invalid: Vec<_> =
        rejected.iter().map(|file| json!({ "file": file.file, "reason": file.reason })).collect();
    let client = Client(&headers);
    let links = service_links::service_links(
        services,
        &Origins::new(&state, client),
        &state.journal().programs_by_log(),
    )
    .await;
    Json(json!({ "services": links, "invalid": invalid })).into_response()
}
