//! Continues a login at another port, or at the same one without the token in the URL, by a single-use code.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kit::unix_time;
use serde::Deserialize;

use crate::app_state::AppState;
use crate::client::Client;
use crate::response;
use crate::return_path::{is_local, percent_encode};
use crate::session_start;

/// Query of [`finish_handover`].
#[derive(Deserialize)]
pub struct HandoverQuery {
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// Lifetime of a handover code, in seconds.
const CODE_LIFETIME: u64 = 60;

/// Redirects a visitor who has just logged in to `next` at `origin` (empty for the present one), where the session starts.
pub fn start_handover(state: &AppState, origin: &str, next: &str) -> Response {
    // Rereads the login: a change invalidates the codes issued before, and this one belongs to the new login.
    state.credentials();
    match state.handover_codes().issue(CODE_LIFETIME, unix_time::now()) {
        Ok(code) => {
            let path = format!("{origin}/leonardo/arrive?code={code}&next={}", percent_encode(next));
            response::redirect(&path, StatusCode::SEE_OTHER)
        }
        Err(error) => session_start::session_error(error),
    }
}

/// `GET /leonardo/arrive?code=…&next=…`: starts the session. A used code only redirects: browsers repeat such requests.
pub async fn finish_handover(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(HandoverQuery { code, next }): Query<HandoverQuery>,
) -> Response {
    let client = Client(&headers);
    let next = if is_local(&next) { next.as_str() } else { "/" };
    state.credentials();
    let is_valid = state.handover_codes().redeem(&code, unix_time::now());
    let response = response::redirect(next, StatusCode::SEE_OTHER);
    if is_valid {
        session_start::start_owner_session(&state, client, response)
            .unwrap_or_else(session_start::session_error)
    } else {
        response
    }
}
