//! The page of services: links with states, and the state of the container.
//!
//! It exists on every port. On a service's port, where the service could read it, it shows only the links.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{self, Frame, Page};
use crate::gate;
use crate::log_limit;
use crate::origins::Origins;
use crate::page_access::not_the_owner;
use crate::pages::render;
use crate::problems;
use crate::service_address::ServiceAddress;
use crate::service_links::{self, Link};
use crate::status::{self, Status};
use crate::storage_status::storage_status;
use crate::system;
use crate::url_token;
use crate::verdict::Verdict;

#[derive(Template)]
#[template(path = "services.html")]
struct ServicesPage {
    frame: Frame,
    /// Services with their states.
    links: Vec<Link>,
    /// Current activity of late boot.
    activity: Option<String>,
    /// Main figures of the system.
    gauges: Option<String>,
    /// Summary of the storage monitor.
    storage: Option<String>,
    /// Sentence about missing tunnels that is no problem.
    tunnel_note: Option<String>,
}

/// `GET /leonardo/`: shows the page.
pub async fn services(State(state): State<AppState>, uri: Uri, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = gate::verdict_for(&state, client);
    if let Some(response) = url_token::exchange_for_session(&state, client, &uri.to_string(), verdict) {
        return response;
    }
    if !verdict.is_owner() {
        return not_the_owner(verdict, client);
    }
    let frame = Frame::new(&state, client, verdict, Page::Services);
    let origins = Origins::new(&state, client);
    let mut shown = ServicesPage {
        links: links(&state, &origins).await,
        activity: None,
        gauges: None,
        storage: None,
        tunnel_note: None,
        frame,
    };
    if shown.frame.is_portal {
        state.system().watch();
        shown.activity = status::activity(&frame::entries(&state));
        shown.gauges =
            state.system().latest().map(|sample| system::gauges(&sample)).filter(|line| !line.is_empty());
        shown.storage = storage_status(state.storage()).map(|storage| storage.summary);
        shown.tunnel_note = origins.tunnels().note();
    } else {
        let addresses = shown.links.iter_mut().flat_map(|link| &mut link.addresses);
        addresses.for_each(ServiceAddress::hide_reason);
    }
    render(StatusCode::OK, &shown)
}

/// `GET /leonardo/state.json`: returns the state for programs, and on a service's port only its links to their pages.
pub async fn state_json(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = gate::verdict_for(&state, client);
    if !verdict.is_owner() {
        return not_the_owner(verdict, client);
    }
    let entries = frame::entries(&state);
    let has_details = client.port() == Some(ports::PORTAL) || verdict == Verdict::Program;
    let problems = if has_details { problems::problems(&state, &entries) } else { Vec::new() };
    let status =
        if has_details { Status::new(&entries, &problems) } else { Status::without_details(&entries) };
    let body = json!({
        "ready": journal::is_ready(&entries),
        "status": status,
        "activity": status::activity(&entries).filter(|_| has_details),
        "problems": problems,
        "storage": storage_status(state.storage()).filter(|_| has_details),
        "services": links(&state, &Origins::new(&state, client)).await,
    });
    Json(body).into_response()
}

async fn links(state: &AppState, origins: &Origins<'_>) -> Vec<Link> {
    let (services, _) = state.registry().load().unwrap_or_else(|error| {
        log_limit::error(&error);
        Default::default()
    });
    let mut links = service_links::service_links(services, origins, &state.journal().programs_by_log()).await;
    let exists = |log: &String| state.log_directory().join(format!("{log}.log")).is_file();
    links.iter_mut().for_each(|link| link.log = link.log.take().filter(exists));
    links
}
