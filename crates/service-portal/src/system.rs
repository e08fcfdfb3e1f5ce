//! The system page, its history, and the metrics for Prometheus.

mod chart;
mod figures;
mod metrics;

use std::path::Path;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit::Env;
use serde::Deserialize;
use system_metrics::Paths;

use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{Frame, Page};
use crate::page_access::require_owner;
use crate::pages::render;
use crate::response;
use figures::Figures;

pub use figures::gauges;
pub use metrics::metrics;

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPage {
    frame: Frame,
    /// `None` before the first sample.
    figures: Option<Figures>,
}

/// Number of points that the page has already.
#[derive(Debug, Deserialize)]
pub struct Since {
    #[serde(default)]
    after: u64,
}

/// Returns the places to measure. `init` has put the workspace into the environment.
pub fn paths(env: &Env) -> Paths {
    let workspace = env.get("WORKSPACE").filter(|path| !path.is_empty());
    Paths::new(workspace.map_or(Path::new("/workspace"), Path::new))
}

/// `GET /leonardo/system`: shows the page.
pub async fn page(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = match require_owner(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    state.system().watch();
    let sample = state.system().latest();
    let figures = sample.map(|sample| state.system().with_history(|history| Figures::new(&sample, history)));
    render(StatusCode::OK, &SystemPage { frame: Frame::new(&state, client, verdict, Page::System), figures })
}

/// `GET /leonardo/system/history?after=N`: returns the points after the first N as JSON.
pub async fn history(
    State(state): State<AppState>,
    headers: HeaderMap,
    since: Result<Query<Since>, axum::extract::rejection::QueryRejection>,
) -> Response {
    if let Err(refusal) = require_owner(&state, Client(&headers)) {
        return *refusal;
    }
    let Ok(Query(Since { after })) = since else {
        return response::json_error(StatusCode::BAD_REQUEST, "after must be a number");
    };
    state.system().watch();
    match state.system().with_history(|history| serde_json::to_string(&history.since(after))) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            log::error!("cannot serialize the history: {error}");
            response::json_error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the history could not be read; see the portal's log",
            )
        }
    }
}
