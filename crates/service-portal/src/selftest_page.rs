//! The self-test: a button, and the result as a table. `process-control` runs it, because it needs root.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use process_control::Refusal;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::api::processes::ask;
use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{Frame, Page};
use crate::page_access::{require_owner, require_owner_form};
use crate::pages::render;

/// Self-tests at a time: `process-control` refuses a second one.
static RUNS: Semaphore = Semaphore::const_new(2);

#[derive(Template)]
#[template(path = "selftest.html")]
struct SelftestPage {
    frame: Frame,
    result: Option<Selftest>,
    /// Reason why there is no result.
    refusal: Option<String>,
}

/// Output of `selftest --json`.
#[derive(Deserialize)]
struct Selftest {
    passed: usize,
    warned: usize,
    failed: usize,
    skipped: usize,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    verdict: String,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    seen: String,
    remedy: Option<String>,
}

impl Check {
    /// Returns the class of the badge.
    fn class(&self) -> &'static str {
        match self.verdict.as_str() {
            "pass" => "good",
            "warn" => "warn",
            "fail" => "bad",
            _ => "muted",
        }
    }
}

/// `GET /leonardo/selftest`: the button.
pub async fn show(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    match require_owner(&state, client) {
        Ok(verdict) => {
            let frame = Frame::new(&state, client, verdict, Page::Boot);
            render(StatusCode::OK, &SelftestPage { frame, result: None, refusal: None })
        }
        Err(refusal) => *refusal,
    }
}

/// `POST /leonardo/selftest`: runs the self-test and shows the result.
pub async fn run(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = match require_owner_form(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    let answer = ask(&state, &RUNS, |socket| process_control::selftest(&socket)).await;
    let (result, refusal) = match answer.map(sorted) {
        Ok(Some(result)) => (Some(result), None),
        Ok(None) => (None, Some("the self-test printed no result".to_owned())),
        Err(Refusal { message, .. }) => (None, Some(message)),
    };
    let frame = Frame::new(&state, client, verdict, Page::Boot);
    render(StatusCode::OK, &SelftestPage { frame, result, refusal })
}

/// Reads the result, with the worst checks first.
fn sorted(result: serde_json::Value) -> Option<Selftest> {
    let mut result: Selftest = serde_json::from_value(result).ok()?;
    let order = |verdict: &str| ["fail", "warn", "pass", "skip"].iter().position(|known| *known == verdict);
    result.checks.sort_by_key(|check| order(&check.verdict));
    Some(result)
}
