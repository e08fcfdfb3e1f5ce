//! What commands inside the container ask over the control socket, which members of group `leonardo` may use.

use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use portal_control::{Ended, MadeCode, MadeShare, NewCode, NewShare, Problem, Share};

use crate::access::{enter_path, share_path};
use crate::clock;
use crate::sessions::Session;
use crate::state::State;

/// All routes.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/shares", get(shares).post(new_share))
        .route("/shares/{id}", delete(revoke))
        .route("/login-codes", post(new_code))
        .route("/sessions", get(sessions).delete(end_all))
        .with_state(state)
}

async fn shares(Extract(state): Extract<State>) -> Json<Vec<Share>> {
    Json(state.shares().list(clock::now()))
}

async fn new_share(Extract(state): Extract<State>, Json(wanted): Json<NewShare>) -> Response {
    let services = match state.registry().load() {
        Ok((services, _)) => services,
        Err(error) => return problem(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
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
        let what = if found.is_empty() { "there is no service" } else { "there is more than one service" };
        return problem(
            StatusCode::NOT_FOUND,
            format!("{what} {:?}; registered: {}", wanted.service, listed(&names)),
        );
    };
    let (name, port) = (&service.service_name, service.proxy_port);
    match state.shares().create(name, port, wanted.seconds, wanted.max_uses, clock::now()) {
        Ok((share, word)) => Json(MadeShare { share, path: share_path(&word) }).into_response(),
        Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}")),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

async fn revoke(Extract(state): Extract<State>, Path(id): Path<String>) -> Response {
    let ended = state.shares().revoke(&id).into();
    state.sessions().end_share(&id, clock::now());
    Json(Ended { ended }).into_response()
}

async fn new_code(Extract(state): Extract<State>, Json(wanted): Json<NewCode>) -> Response {
    // A login that has changed takes its links along; this one belongs to the present login.
    state.credentials();
    match state.codes().issue(wanted.seconds, clock::now()) {
        Ok(code) => Json(MadeCode { path: enter_path(&code) }).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    }
}

async fn sessions(Extract(state): Extract<State>) -> Json<Vec<Session>> {
    Json(state.sessions().list(clock::now()))
}

async fn end_all(Extract(state): Extract<State>) -> Json<Ended> {
    let login = state.credentials().map(|known| known.fingerprint()).unwrap_or_default();
    state.codes().forget();
    let now = clock::now();
    let mut sessions = state.sessions();
    let ended = sessions.list(now).len();
    sessions.end_all(&login, now);
    Json(Ended { ended })
}

fn problem(status: StatusCode, error: String) -> Response {
    (status, Json(Problem { error })).into_response()
}
