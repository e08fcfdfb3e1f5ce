//! A login that was made at one port continues at another: a single-use code carries it there.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use crate::app_state::AppState;
use crate::client::Client;
use crate::response;
use crate::return_path::{is_local, percent_encode};
use crate::session_start;
use crate::unix_time;

#[derive(Deserialize)]
pub struct HandoverQuery {
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// Lifetime of a hand-over code, in seconds.
const HAND_OVER: u64 = 60;

/// Sends a visitor who has just proved to be the owner to `next` at another origin of ours (or at this one, if it is empty),
/// where the session begins.
pub fn start_handover(state: &AppState, origin: &str, next: &str) -> Response {
    // A login that has changed takes its codes along; this one belongs to the present login.
    state.credentials();
    match state.handover_codes().issue(HAND_OVER, unix_time::now()) {
        Ok(code) => {
            let path = format!("{origin}/leonardo/arrive?code={code}&next={}", percent_encode(next));
            response::redirect(&path, StatusCode::SEE_OTHER)
        }
        Err(error) => session_start::session_error(error),
    }
}

/// `GET /leonardo/arrive?code=…&next=…`: the session. A code that is used up is one that a browser asks for again.
pub async fn finish_handover(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(HandoverQuery { code, next }): Query<HandoverQuery>,
) -> Response {
    let client = Client(&headers);
    let next = if is_local(&next) { next.as_str() } else { "/" };
    state.credentials();
    let good = state.handover_codes().redeem(&code, unix_time::now());
    let response = response::redirect(next, StatusCode::SEE_OTHER);
    if good {
        session_start::start_owner_session(&state, client, response)
            .unwrap_or_else(session_start::session_error)
    } else {
        response
    }
}
