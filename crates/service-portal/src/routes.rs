//! Which address leads where.
//!
//! Caddy sends the whole portal port and `/leonardo/*` of every other port here, so pages use absolute paths below
//! `/leonardo/`. `/gate/*` is for Caddy alone; its configuration answers 404 to everybody else.

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
use crate::pages::{PortalPage, render};
use crate::request_guard::guard;
use crate::service_links::{self, Link};
use crate::storage_status::{Storage, storage_status};
use crate::url_token;
use crate::verdict::Verdict;
use crate::{access_page, handover, link_redemption, login, response, unavailable};

/// No form is larger, in bytes.
const LARGEST_BODY: usize = 16 * 1024;

/// Bad registry files that are named at most; whoever has more needs the log, not the page.
const SHOWN: usize = 20;

/// All routes.
pub fn router(state: AppState) -> Router {
    let questions =
        Router::new().route("/gate/verify", get(gate::verify)).route("/gate/open", get(gate::open));
    let pages = Router::new()
        .route("/gate/unavailable", get(unavailable::unavailable))
        .route("/", get(portal))
        .route("/leonardo/", get(portal))
        .route("/login", get(login::login_form).post(login::submit))
        .route("/leonardo/login", get(login::login_form).post(login::submit))
        .route("/leonardo/logout", post(login::logout))
        .route("/leonardo/identity", get(login::identity))
        .route("/leonardo/arrive", get(handover::finish_handover))
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
        .fallback(async || response::text_error(StatusCode::NOT_FOUND, "There is no such page."))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(map_response(response::add_security_headers));
    questions.merge(pages).layer(from_fn_with_state(state.clone(), guard)).with_state(state)
}

/// What the page of links shows.
struct PortalView {
    links: Vec<Link>,
    ready: bool,
    boot: String,
    problems: Vec<String>,
    storage: Option<Storage>,
}

/// A service's pages could read what its port shows of the others: there, the owner gets the links alone.
async fn view(state: &AppState, client: Client<'_>, verdict: Verdict) -> PortalView {
    let whole = whole_view(state, client).await;
    if client.port() == Some(ports::PORTAL) || verdict == Verdict::Program {
        return whole;
    }
    let boot = if whole.ready { "Ready" } else { "Still starting…" }.to_owned();
    PortalView { boot, problems: Vec::new(), storage: None, ..whole }
}

async fn whole_view(state: &AppState, client: Client<'_>) -> PortalView {
    let (services, rejected) = state.registry().load().unwrap_or_else(|error| {
        log_limit::error(&error);
        Default::default()
    });
    let entries = entries(state);
    let mut now = state.journal().down_programs();
    now.extend(journal::proxy_problem(state.proxy_problem()));
    let mut problems: Vec<String> =
        now.into_iter().map(|trouble| format!("{}: {}", trouble.setting, trouble.message)).collect();
    problems.extend(boot_problems::list(&entries));
    problems.extend(
        rejected.iter().take(SHOWN).map(|file| format!("service file {}: {}", file.file, file.reason)),
    );
    problems.extend(state.unsaved_warning());
    PortalView {
        links: service_links::service_links(services, state.env(), client.authority()).await,
        ready: journal::is_ready(&entries),
        boot: boot_status::status_line(&entries),
        problems,
        storage: storage_status(state.storage()),
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
    let PortalView { links, boot, problems, storage, .. } = view(&state, client, verdict).await;
    let can_log_out = verdict == Verdict::Session && client.port() == Some(ports::PORTAL);
    render(
        StatusCode::OK,
        &PortalPage { links, boot, storage, problems, has_login: verdict != Verdict::Open, can_log_out },
    )
}

async fn state_json(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = gate::verdict_for(&state, client);
    if !verdict.is_owner() {
        return not_the_owner(verdict, client);
    }
    let PortalView { links, ready, boot, problems, storage } = view(&state, Client(&headers), verdict).await;
    let told = json!({
        "ready": ready,
        "boot": boot,
        "problems": problems,
        "storage": storage,
        "services": links,
    });
    Json(told).into_response()
}

/// A guest has come through a link to one service, and the rest is not for guests.
fn not_the_owner(verdict: Verdict, client: Client<'_>) -> Response {
    match verdict {
        Verdict::Guest => response::text_error(StatusCode::FORBIDDEN, "This link opens its service alone."),
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

/// Part of the program, so a browser may keep it for an hour.
fn asset(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], content).into_response()
}
