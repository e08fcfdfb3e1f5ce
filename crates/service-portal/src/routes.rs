//! Which address leads where.
//!
//! Caddy sends the whole portal port and `/leonardo/*` of every other port here, so pages use absolute paths below
//! `/leonardo/`. `/gate/*` is for Caddy alone; its configuration answers 404 to everybody else.

use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use journal::Entry;
use serde_json::json;

use crate::boot_line;
use crate::client::Client;
use crate::complaints;
use crate::exchange;
use crate::gate::{self, Verdict};
use crate::guard::guard;
use crate::links::{self, Link};
use crate::log_limit;
use crate::pages::{PortalPage, page};
use crate::state::State;
use crate::storage::{Storage, storage};
use crate::{access, answer, enter, login, unavailable};

/// No form is larger, in bytes.
const LARGEST_BODY: usize = 16 * 1024;

/// Bad registry files that are named at most; whoever has more needs the log, not the page.
const SHOWN: usize = 20;

/// All routes.
pub fn router(state: State) -> Router {
    let questions =
        Router::new().route("/gate/verify", get(gate::verify)).route("/gate/open", get(gate::open));
    let pages = Router::new()
        .route("/gate/unavailable", get(unavailable::unavailable))
        .route("/", get(portal))
        .route("/leonardo/", get(portal))
        .route("/login", get(login::form).post(login::attempt))
        .route("/leonardo/login", get(login::form).post(login::attempt))
        .route("/leonardo/logout", post(login::logout))
        .route("/leonardo/identity", get(login::identity))
        .route("/leonardo/arrive", get(enter::arrive))
        .route("/leonardo/enter", get(enter::code_page).post(enter::code))
        .route("/leonardo/share", get(enter::share_page).post(enter::share))
        .route("/leonardo/access", get(access::overview))
        .route("/leonardo/access/end", post(access::end))
        .route("/leonardo/access/end-all", post(access::end_all))
        .route("/leonardo/access/revoke", post(access::revoke))
        .route("/leonardo/access/share", post(access::share))
        .route("/leonardo/access/phone", post(access::phone))
        .route("/leonardo/state.json", get(state_json))
        .route("/leonardo/health-check", get(async || answer::plain(StatusCode::OK, "ok")))
        .route("/leonardo/ready", get(ready))
        .route("/leonardo/style.css", get(async || asset("text/css", include_str!("../assets/style.css"))))
        .route("/leonardo/portal.js", get(async || script(include_str!("../assets/portal.js"))))
        .route("/leonardo/login.js", get(async || script(include_str!("../assets/login.js"))))
        .fallback(async || answer::plain(StatusCode::NOT_FOUND, "There is no such page."))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(map_response(answer::protect));
    questions.merge(pages).layer(from_fn_with_state(state.clone(), guard)).with_state(state)
}

/// What the page of links shows.
struct View {
    links: Vec<Link>,
    ready: bool,
    boot: String,
    problems: Vec<String>,
    storage: Option<Storage>,
}

/// A service's pages could read what its port shows of the others: there, the owner gets the links alone.
async fn view(state: &State, client: Client<'_>, verdict: Verdict) -> View {
    let whole = whole_view(state, client).await;
    if client.port() == Some(ports::PORTAL) || verdict == Verdict::Program {
        return whole;
    }
    let boot = if whole.ready { "Ready" } else { "Still starting…" }.to_owned();
    View { boot, problems: Vec::new(), storage: None, ..whole }
}

async fn whole_view(state: &State, client: Client<'_>) -> View {
    let (services, rejected) = state.registry().load().unwrap_or_else(|error| {
        log_limit::error(&error);
        Default::default()
    });
    let entries = entries(state);
    let mut now = state.journal().down();
    now.extend(journal::proxy_problem(state.proxy_problem()));
    let mut problems: Vec<String> =
        now.into_iter().map(|trouble| format!("{}: {}", trouble.setting, trouble.message)).collect();
    problems.extend(complaints::of(&entries));
    problems.extend(
        rejected.iter().take(SHOWN).map(|file| format!("service file {}: {}", file.file, file.reason)),
    );
    problems.extend(state.unsaved());
    View {
        links: links::links(services, state.env(), client.authority()).await,
        ready: journal::is_ready(&entries),
        boot: boot_line::of(&entries),
        problems,
        storage: storage(state.storage()),
    }
}

fn entries(state: &State) -> Vec<Entry> {
    state.journal().read().unwrap_or_else(|error| {
        log_limit::error(&error);
        Vec::new()
    })
}

async fn portal(Extract(state): Extract<State>, uri: Uri, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = gate::judge(&state, client);
    if let Some(response) = exchange::log_in(&state, client, &uri.to_string(), verdict) {
        return response;
    }
    if !verdict.owns() {
        return not_the_owner(verdict, client);
    }
    let View { links, boot, problems, storage, .. } = view(&state, client, verdict).await;
    let can_log_out = verdict == Verdict::Session && client.port() == Some(ports::PORTAL);
    page(
        StatusCode::OK,
        &PortalPage { links, boot, storage, problems, has_login: verdict != Verdict::Open, can_log_out },
    )
}

async fn state_json(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = gate::judge(&state, client);
    if !verdict.owns() {
        return not_the_owner(verdict, client);
    }
    let View { links, ready, boot, problems, storage } = view(&state, Client(&headers), verdict).await;
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
        Verdict::Guest => answer::plain(StatusCode::FORBIDDEN, "This link opens its service alone."),
        verdict => answer::refuse(verdict, client),
    }
}

async fn ready(Extract(state): Extract<State>) -> Response {
    if journal::is_ready(&entries(&state)) {
        answer::plain(StatusCode::OK, "ready")
    } else {
        answer::plain(StatusCode::SERVICE_UNAVAILABLE, "still starting")
    }
}

fn script(content: &'static str) -> Response {
    asset("text/javascript", content)
}

/// Part of the program, so a browser may keep it for an hour.
fn asset(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], content).into_response()
}
