//! The page of processes: every program of supervisord, with its last exit and its actions.
//!
//! The portal has no access to supervisord. It asks `process-control`, which knows five requests.

mod action;
mod exit_log;
mod view;

use askama::Template;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit::unix_time;
use process_control::{Action, Program, Refusal};
use serde::Deserialize;
use serde_json::json;

use crate::api::processes::{LISTS, ask};
use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{Frame, Page};
use crate::page_access::{require_owner, require_owner_form};
use crate::pages::render;
use crate::response;
use crate::verdict::Verdict;
use action::{ActionRequest, caution, meant, parse_action};
use view::{Section, sections};

pub use action::{Performed, perform};

/// Seconds after which a browser without scripts continues, while the portal or the proxy restarts.
const RETURN_SECONDS: &str = "4; url=/leonardo/processes";

#[derive(Template)]
#[template(path = "processes.html")]
struct ProcessesPage {
    frame: Frame,
    /// Programs of the user, then those of the base image.
    sections: Vec<Section>,
    /// Reason why there are none.
    unavailable: Option<String>,
    /// Result of the action that the page answers.
    result: Option<Performed>,
}

/// Question before an action with a consequence.
#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    frame: Frame,
    action: Action,
    name: String,
    caution: Option<String>,
}

/// Query of the page: an action to confirm, and its program.
#[derive(Deserialize)]
pub struct PageQuery {
    confirm: Option<String>,
    name: Option<String>,
}

pub async fn programs(state: &AppState) -> Result<Vec<Program>, Refusal> {
    ask(state, &LISTS, |socket| process_control::list(&socket)).await
}

/// `GET /leonardo/processes`: shows the page, or asks before an action.
pub async fn overview(
    State(state): State<AppState>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    let client = Client(&headers);
    let verdict = match require_owner(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    let action = query.confirm.and_then(|action| parse_action(&action));
    if let Some((action, name)) = action.zip(query.name)
        && let programs = programs(&state).await.unwrap_or_default()
        && meant(&programs, &name).next().is_some()
    {
        let caution = caution(meant(&programs, &name), action);
        let frame = Frame::new(&state, client, verdict, Page::Processes).with_closed_problems();
        return render(StatusCode::OK, &ConfirmPage { frame, action, name, caution });
    }
    show(&state, client, verdict, None).await
}

async fn show(state: &AppState, client: Client<'_>, verdict: Verdict, result: Option<Performed>) -> Response {
    let (programs, unavailable) = match programs(state).await {
        Ok(programs) => (programs, None),
        Err(refusal) => (Vec::new(), Some(refusal.message)),
    };
    let root = state.log_root().to_owned();
    let sections = state.log_pages().read(move || sections(&programs, unix_time::now(), &root)).await;
    let page = ProcessesPage {
        frame: Frame::new(state, client, verdict, Page::Processes),
        sections: sections.unwrap_or_default(),
        unavailable,
        result,
    };
    render(StatusCode::OK, &page)
}

/// `POST /leonardo/processes`: carries out an action of a form, and shows the page with the result.
pub async fn act_form(State(state): State<AppState>, headers: HeaderMap, body: Bytes) -> Response {
    let client = Client(&headers);
    let verdict = match require_owner_form(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    let Some(request) = ActionRequest::from_form(&body) else {
        return response::text_error(StatusCode::UNPROCESSABLE_ENTITY, "This action is unknown.");
    };
    let known = programs(&state).await.unwrap_or_default();
    if !request.confirmed && caution(meant(&known, &request.name), request.action).is_some() {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("confirm", &request.action.to_string())
            .append_pair("name", &request.name)
            .finish();
        return response::redirect(&format!("/leonardo/processes?{query}"), StatusCode::SEE_OTHER);
    }
    let performed = perform(&state, client, request.action, &request.name).await;
    let result = performed.unwrap_or_else(Performed::from);
    let is_detached = result.is_detached;
    let mut page = show(&state, client, verdict, Some(result)).await;
    if is_detached {
        page.headers_mut().insert("refresh", HeaderValue::from_static(RETURN_SECONDS));
    }
    page
}

/// `POST /leonardo/processes/act`: carries out an action of the page's script; the body and the response are JSON.
pub async fn act_json(State(state): State<AppState>, headers: HeaderMap, body: Bytes) -> Response {
    let client = Client(&headers);
    if let Err(refusal) = require_owner_form(&state, client) {
        return *refusal;
    }
    let Some(request) = ActionRequest::from_json(&body) else {
        return response::json_error(StatusCode::UNPROCESSABLE_ENTITY, "This action is unknown.");
    };
    let performed = perform(&state, client, request.action, &request.name).await;
    let Performed { outcome, is_detached } = performed.unwrap_or_else(Performed::from);
    let body = json!({
        "ok": outcome.ok,
        "finished": outcome.finished,
        "detached": is_detached,
        "message": outcome.message,
    });
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}
