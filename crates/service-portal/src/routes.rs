//! Routes of the portal.
//!
//! Caddy forwards all requests to the portal's port and `/leonardo/*` of every other port, so pages use absolute paths below
//! `/leonardo/`. `/gate/*` is only for subrequests: Caddy's configuration responds with 404 to visitors.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};

use crate::api;
use crate::app_state::AppState;
use crate::error_page::error_pages;
use crate::frame;
use crate::gate;
use crate::request_guard::guard;
use crate::{
    access_page, assets, boot_page, frame_page, link_redemption, login, login_handover, logs, processes,
    qr_page, response, selftest_page, services_page, system, unavailable,
};

/// Maximum size of a form, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Returns all routes.
pub fn router(state: AppState) -> Router {
    let subrequests =
        Router::new().route("/gate/verify", get(gate::verify)).route("/gate/open", get(gate::open));
    let pages = Router::new()
        .route("/gate/unavailable", get(unavailable::unavailable))
        .route("/", get(services_page::services))
        .route("/leonardo/", get(services_page::services))
        .route("/login", get(login::login_form).post(login::submit))
        .route("/leonardo/login", get(login::login_form).post(login::submit))
        .route("/leonardo/logout", post(login::logout))
        .route("/leonardo/identity", get(login::identity))
        .route("/leonardo/arrive", get(login_handover::finish_handover))
        .route(
            "/leonardo/enter",
            get(link_redemption::login_link_page).post(link_redemption::redeem_login_link),
        )
        .route(
            "/leonardo/share",
            get(link_redemption::share_link_page).post(link_redemption::redeem_share_link),
        )
        .route("/leonardo/processes", get(processes::overview).post(processes::act_form))
        .route("/leonardo/processes/act", post(processes::act_json))
        .route("/leonardo/boot", get(boot_page::boot_page))
        .route("/leonardo/selftest", get(selftest_page::show).post(selftest_page::run))
        .route("/leonardo/access", get(access_page::overview))
        .route("/leonardo/access/end", post(access_page::end_session))
        .route("/leonardo/access/end-all", post(access_page::end_all))
        .route("/leonardo/access/revoke", post(access_page::revoke_share))
        .route("/leonardo/access/share", post(access_page::create_share))
        .route("/leonardo/access/token", post(access_page::create_token))
        .route("/leonardo/access/revoke-token", post(access_page::revoke_token))
        .route("/leonardo/access/phone", post(access_page::create_phone_link))
        .merge(api::router(&state))
        .route("/leonardo/system", get(system::page))
        .route("/leonardo/system/history", get(system::history))
        .route("/leonardo/metrics", api::checked(&state, api::Needs::State, get(system::metrics)))
        .route("/leonardo/state.json", get(services_page::state_json))
        .route("/leonardo/health-check", get(async || response::text_error(StatusCode::OK, "ok")))
        .route("/leonardo/ready", get(ready))
        .route("/leonardo/frame", get(frame_page::frame))
        .route("/leonardo/qr", get(qr_page::qr))
        .merge(logs::routes(&state))
        .route("/leonardo/assets/{*name}", get(assets::asset))
        .fallback(async || response::text_error(StatusCode::NOT_FOUND, "Page not found."))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(state.clone(), error_pages))
        .layer(map_response(response::add_security_headers));
    subrequests.merge(pages).layer(from_fn_with_state(state.clone(), guard)).with_state(state)
}

async fn ready(State(state): State<AppState>) -> Response {
    if journal::is_ready(&frame::entries(&state)) {
        response::text_error(StatusCode::OK, "ready")
    } else {
        response::text_error(StatusCode::SERVICE_UNAVAILABLE, "still starting")
    }
}
