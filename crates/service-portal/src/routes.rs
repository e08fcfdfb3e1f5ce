//! Routes of the portal, and the page of services.
//!
//! Caddy forwards all requests to the portal's port and `/leonardo/*` of every other port, so pages use absolute paths below
//! `/leonardo/`. `/gate/*` is only for subrequests: Caddy's configuration responds with 404 to visitors.

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use journal::Entry;
use serde_json::json;

use crate::app_state::AppState;
use crate::boot_problems;
use crate::boot_status;
use crate::client::Client;
use crate::gate;
use crate::log_limit;
use crate::origins::Origins;
use crate::pages::{PortalPage, render};
use crate::request_guard::guard;
use crate::service_links::{self, Link};
use crate::storage_status::{Storage, storage_status};
use crate::url_token;
use crate::verdict::Verdict;
use crate::{access_page, link_redemption, login, login_handover, response, unavailable};

/// Maximum size of a form, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Maximum number of invalid registry files on the page; the log has all of them.
const MAX_LISTED: usize = 20;

/// Returns all routes.
pub fn router(state: AppState) -> Router {
    let subrequests =
        Router::new().route("/gate/verify", get(gate::verify)).route("/gate/open", get(gate::open));
    let pages = Router::new()
        .route("/gate/unavailable", get(unavailable::unavailable))
        .route("/", get(portal))
        .route("/leonardo/", get(portal))
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
        .route("/leonardo/access", get(access_page::overview))
        .route("/leonardo/access/end", post(access_page::end_session))
        .route("/leonardo/access/end-all", post(access_page::end_all))
        .route("/leonardo/access/revoke", post(access_page::revoke_share))
        .route("/leonardo/access/share", post(access_page::create_share))
        .route("/leonardo/access/phone", post(access_page::create_phone_link))
        .route("/leonardo/state.json", get(state_json))
        .route("/leonardo/health-check", get(async || response::text_error(StatusCode::OK, "ok")))
        .route("/leonardo/ready", get(ready))
        .route("/leonardo/style.css", get(async || asset("text/css", include_str!("../assets/style.css"))))
        .route("/leonardo/portal.js", get(async || script(include_str!("../assets/portal.js"))))
        .route("/leonardo/login.js", get(async || script(include_str!("../assets/login.js"))))
        .fallback(async || response::text_error(StatusCode::NOT_FOUND, "Page not found."))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(map_response(response::add_security_headers));
    subrequests.merge(pages).layer(from_fn_with_state(state.clone(), guard)).with_state(state)
}

/// Content of the page of services.
struct PortalView {
    links: Vec<Link>,
    ready: bool,
    boot: String,
    problems: Vec<String>,
    storage: Option<Storage>,
    tunnel_note: Option<String>,
}

/// Returns the content that the visitor may see. On a service's port, where its pages could read it, only the links.
async fn view(state: &AppState, client: Client<'_>, verdict: Verdict) -> PortalView {
    let full = full_view(state, client).await;
    if client.port() == Some(ports::PORTAL) || verdict == Verdict::Program {
        return full;
    }
    let boot = if full.ready { "Ready" } else { "Still starting…" }.to_owned();
    PortalView { boot, problems: Vec::new(), storage: None, tunnel_note: None, ..full }
}

async fn full_view(state: &AppState, client: Client<'_>) -> PortalView {
    let (services, rejected) = state.registry().load().unwrap_or_else(|error| {
        log_limit::error(&error);
        Default::default()
    });
    let entries = entries(state);
    let mut current = state.journal().down_programs();
    current.extend(journal::proxy_problem(state.proxy_problem()));
    let mut problems: Vec<String> =
        current.into_iter().map(|problem| format!("{}: {}", problem.setting, problem.message)).collect();
    problems.extend(boot_problems::list(&entries));
    problems.extend(
        rejected.iter().take(MAX_LISTED).map(|file| format!("service file {}: {}", file.file, file.reason)),
    );
    problems.extend(state.unsaved_warning());
    let origins = Origins::new(state, client);
    problems.extend(origins.tunnels().problems().iter().map(ToString::to_string));
    PortalView {
        links: service_links::service_links(services, &origins).await,
        ready: journal::is_ready(&entries),
        boot: boot_status::status_line(&entries),
        problems,
        storage: storage_status(state.storage()),
        tunnel_note: origins.tunnels().note(),
    }
}

fn entries(state: &AppState) -> Vec<Entry> {
    state.journal().read().unwrap_or_else(|error| {
        log_limit::error(&error);
        Vec::new()
    })
}

async fn portal(State(state): State<AppState>, uri: Uri, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = gate::verdict_for(&state, client);
    if let Some(response) = url_token::exchange_for_session(&state, client, &uri.to_string(), verdict) {
        return response;
    }
    if !verdict.is_owner() {
        return not_the_owner(verdict, client);
    }
    let PortalView { links, boot, problems, storage, tunnel_note, .. } = view(&state, client, verdict).await;
    let can_log_out = verdict == Verdict::Session && client.port() == Some(ports::PORTAL);
    render(
        StatusCode::OK,
        &PortalPage {
            links,
            boot,
            storage,
            tunnel_note,
            problems,
            has_login: verdict != Verdict::Open,
            can_log_out,
        },
    )
}

async fn state_json(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = gate::verdict_for(&state, client);
    if !verdict.is_owner() {
        return not_the_owner(verdict, client);
    }
    let PortalView { links, ready, boot, problems, storage, .. } =
        view(&state, Client(&headers), verdict).await;
    let body = json!({
        "ready": ready,
        "boot": boot,
        "problems": problems,
        "storage": storage,
        "services": links,
    });
    Json(body).into_response()
}

/// Returns the response for a visitor who is not the owner; guests have access to one service only.
fn not_the_owner(verdict: Verdict, client: Client<'_>) -> Response {
    match verdict {
        Verdict::Guest => {
            response::text_error(StatusCode::FORBIDDEN, "This link gives access to one service only.")
        }
        verdict => response::refuse(verdict, client),
    }
}

async fn ready(State(state): State<AppState>) -> Response {
    if journal::is_ready(&entries(&state)) {
        response::text_error(StatusCode::OK, "ready")
    } else {
        response::text_error(StatusCode::SERVICE_UNAVAILABLE, "still starting")
    }
}

fn script(content: &'static str) -> Response {
    asset("text/javascript", content)
}

/// Returns an embedded file, which browsers can cache for an hour.
fn asset(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], content).into_response()
}
