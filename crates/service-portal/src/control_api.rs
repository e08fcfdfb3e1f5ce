//! Control API for commands inside the container, on a socket that members of group `leonardo` can use.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use kit::unix_time;
use portal_control::{
    CreateLoginCode, CreateShare, CreatedLoginCode, CreatedShare, ErrorBody, RevokedCount, Share,
};

use crate::access_page::{login_link_path, share_link_path};
use crate::app_state::AppState;
use crate::login_codes::MAX_LIFETIME;
use crate::sessions::Session;

/// Returns the routes of the control API.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/shares", get(list_shares).post(create_share))
        .route("/shares/{id}", delete(revoke_share))
        .route("/login-codes", post(create_login_code))
        .route("/sessions", get(list_sessions).delete(end_all_sessions))
        .with_state(state)
}

async fn list_shares(State(state): State<AppState>) -> Json<Vec<Share>> {
    Json(state.shares().list(unix_time::now()))
}

async fn create_share(State(state): State<AppState>, Json(wanted): Json<CreateShare>) -> Response {
    let services = match state.registry().load() {
        Ok((services, _)) => services,
        Err(error) => return error_response(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    };
    let found: Vec<_> = services
        .iter()
        .filter(|service| {
            service.service_name.eq_ignore_ascii_case(&wanted.service)
                || service.proxy_port.to_string() == wanted.service
        })
        .collect();
    let [service] = found.as_slice() else {
        let names: Vec<String> = services
            .iter()
            .map(|service| format!("{} ({})", service.service_name, service.proxy_port))
            .collect();
        let what = if found.is_empty() { "no service" } else { "more than one service" };
        return error_response(
            StatusCode::NOT_FOUND,
            format!("{what} named {:?}; registered: {}", wanted.service, join_or_none(&names)),
        );
    };
    let (name, port) = (&service.service_name, service.proxy_port);
    match state.shares().create(name, port, wanted.seconds, wanted.max_uses, unix_time::now()) {
        Ok((share, word)) => Json(CreatedShare { share, path: share_link_path(&word) }).into_response(),
        Err(error) => error_response(StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}")),
    }
}

fn join_or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

async fn revoke_share(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    let ended = state.shares().revoke(&id).into();
    state.sessions().end_share(&id);
    Json(RevokedCount { ended }).into_response()
}

async fn create_login_code(State(state): State<AppState>, Json(wanted): Json<CreateLoginCode>) -> Response {
    // Rereads the login: a change invalidates the codes issued before, and this one belongs to the new login.
    state.credentials();
    let now = unix_time::now();
    match state.login_codes().issue(wanted.seconds, now) {
        Ok(code) => {
            let expires = now + wanted.seconds.min(MAX_LIFETIME);
            Json(CreatedLoginCode { path: login_link_path(&code), expires }).into_response()
        }
        Err(error) => error_response(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    }
}

async fn list_sessions(State(state): State<AppState>) -> Json<Vec<Session>> {
    Json(state.sessions().list(unix_time::now()))
}

async fn end_all_sessions(State(state): State<AppState>) -> Json<RevokedCount> {
    let login = state.credentials().map(|known| known.fingerprint()).unwrap_or_default();
    state.login_codes().clear();
    let now = unix_time::now();
    let mut sessions = state.sessions();
    let ended = sessions.list(now).len();
    sessions.end_all(&login);
    Json(RevokedCount { ended })
}

fn error_response(status: StatusCode, error: String) -> Response {
    (status, Json(ErrorBody { error })).into_response()
}
