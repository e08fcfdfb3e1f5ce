//! Redemption of one-time login links and share links.
//!
//! Opening a link shows a button, and only clicking the button redeems the link: chat programs and mail scanners that fetch
//! links do not use them up.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kit::unix_time;
use portal_control::Share;
use serde::Deserialize;

use crate::app_state::AppState;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::pages::{LinkPage, render};
use crate::response;
use crate::session_start;
use crate::shares::ShareError;

/// Code of a one-time login link, in a query or a form.
#[derive(Deserialize)]
pub struct CodeForm {
    #[serde(default)]
    code: String,
}

/// Secret word of a share link, in a query or a form.
#[derive(Deserialize)]
pub struct LinkForm {
    #[serde(default)]
    link: String,
}

const USED_MESSAGE: &str = "This link has already been used or has expired. Ask for a new one.";
const CROSS_ORIGIN_MESSAGE: &str = "This form was sent from another page. Open the link itself.";

/// `GET /leonardo/enter?code=…`: shows the button.
pub async fn login_link_page(
    State(state): State<AppState>,
    Query(CodeForm { code }): Query<CodeForm>,
) -> Response {
    state.credentials();
    if state.login_codes().is_valid(&code, unix_time::now()) {
        let question = "Log in to all services of this container with this browser?";
        render(
            StatusCode::OK,
            &LinkPage::confirmation(state.title(), "/leonardo/enter", "code", &code, question, "Log in"),
        )
    } else {
        render(StatusCode::GONE, &LinkPage::error(state.title(), USED_MESSAGE))
    }
}

/// `POST /leonardo/enter`: starts a session for everything.
pub async fn redeem_login_link(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(CodeForm { code }): Form<CodeForm>,
) -> Response {
    let client = Client(&headers);
    if client.is_same_origin() != Some(true) {
        return response::text_error(StatusCode::FORBIDDEN, CROSS_ORIGIN_MESSAGE);
    }
    // Rereads the login, because a change invalidates the links issued before.
    state.credentials();
    let is_valid = state.login_codes().redeem(&code, unix_time::now());
    audit::log_attempt(
        client,
        "one-time-link",
        "link",
        if is_valid { Outcome::Accepted } else { Outcome::Refused },
    );
    if !is_valid {
        return render(StatusCode::GONE, &LinkPage::error(state.title(), USED_MESSAGE));
    }
    session_start::start_owner_session(&state, client, response::redirect("/", StatusCode::SEE_OTHER))
        .unwrap_or_else(session_start::session_error)
}

/// `GET /leonardo/share?link=…`: shows the button.
pub async fn share_link_page(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(LinkForm { link }): Query<LinkForm>,
) -> Response {
    let port = Client(&headers).port().unwrap_or_default();
    let checked = state.shares().check(&link, port, unix_time::now()).cloned();
    match checked.and_then(|share| require_service(&state, share)) {
        Ok(share) => {
            let question = format!("{} was shared with you.", share.service);
            render(
                StatusCode::OK,
                &LinkPage::confirmation(state.title(), "/leonardo/share", "link", &link, &question, "Open"),
            )
        }
        Err(error) => render(status_code(error), &LinkPage::error(state.title(), error.message())),
    }
}

/// `POST /leonardo/share`: starts a session for one service.
pub async fn redeem_share_link(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(LinkForm { link }): Form<LinkForm>,
) -> Response {
    let client = Client(&headers);
    if client.is_same_origin() != Some(true) {
        return response::text_error(StatusCode::FORBIDDEN, CROSS_ORIGIN_MESSAGE);
    }
    let (port, now) = (client.port().unwrap_or_default(), unix_time::now());
    let checked = state.shares().check(&link, port, now).cloned();
    let redeemed = checked
        .and_then(|share| require_service(&state, share))
        .and_then(|_| state.shares().redeem(&link, port, now));
    match redeemed {
        Ok(share) => {
            audit::log_attempt(client, "share-link", &share.id, Outcome::Accepted);
            session_start::start_guest_session(
                &state,
                client,
                &share,
                response::redirect("/", StatusCode::SEE_OTHER),
            )
            .unwrap_or_else(session_start::session_error)
        }
        Err(error) => {
            audit::log_attempt(client, "share-link", "unknown", Outcome::Refused);
            render(status_code(error), &LinkPage::error(state.title(), error.message()))
        }
    }
}

/// Refuses a link if another service uses the port now.
fn require_service(state: &AppState, share: Share) -> Result<Share, ShareError> {
    if state.has_service(share.port, &share.service) { Ok(share) } else { Err(ShareError::OtherService) }
}

fn status_code(error: ShareError) -> StatusCode {
    match error {
        ShareError::Unknown | ShareError::OtherService => StatusCode::NOT_FOUND,
        ShareError::Expired | ShareError::UsedUp => StatusCode::GONE,
    }
}
