//! The page of processes: every program of supervisord, with its last exit and its actions.
//!
//! The portal has no access to supervisord. It asks `process-control`, which knows four requests.

mod exit_log;
mod request;
mod results;
mod view;

use std::path::PathBuf;

use askama::Template;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit::unix_time;
use process_control::{Program, Refusal};
use serde::Deserialize;
use serde_json::json;

use crate::api::processes::ask;
use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{Frame, Page};
use crate::page_access::{require_owner, require_owner_form};
use crate::pages::render;
use crate::requester;
use crate::response;
use crate::verdict::Verdict;
use request::{ActionRequest, cuts_connections};
use results::ActionResult;
use view::{Section, sections};

/// Seconds after which a browser without scripts continues, while the portal or the proxy restarts.
const RETURN_SECONDS: &str = "4; url=/leonardo/processes";

/// The page.
#[derive(Template)]
#[template(path = "processes.html")]
struct ProcessesPage {
    frame: Frame,
    /// Programs of the user, then those of the base image.
    sections: Vec<Section>,
    /// Reason why there are none.
    unavailable: Option<String>,
    /// Result of the last action.
    result: Option<ActionResult>,
    /// Action that the user has to confirm.
    confirmation: Option<Confirmation>,
}

/// Question before an action with a consequence.
struct Confirmation {
    action: String,
    name: String,
    caution: String,
}

/// Query of the page.
#[derive(Default, Deserialize)]
pub struct PageQuery {
    /// Id of a result that is shown.
    result: Option<u64>,
    /// Action to confirm, and its program.
    confirm: Option<String>,
    name: Option<String>,
}

/// Returns all programs.
pub async fn programs(state: &AppState) -> Result<Vec<Program>, Refusal> {
    ask(state, |socket| process_control::list(&socket)).await
}

/// `GET /leonardo/processes`: shows the page.
pub async fn overview(
    State(state): State<AppState>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    let client = Client(&headers);
    match require_owner(&state, client) {
        Ok(verdict) => show(&state, client, verdict, query).await,
        Err(refusal) => *refusal,
    }
}

async fn show(state: &AppState, client: Client<'_>, verdict: Verdict, query: PageQuery) -> Response {
    let (programs, unavailable) = match programs(state).await {
        Ok(programs) => (programs, None),
        Err(refusal) => (Vec::new(), Some(refusal.message)),
    };
    let confirmation = query.confirm.zip(query.name).and_then(|(action, name)| {
        let is_known = programs.iter().any(|program| program.name == name);
        let plain = || is_known.then(|| "Its connections are cut until it runs again.".to_owned());
        let caution = request::caution(&programs, &name).or_else(plain)?;
        let action = request::parse_action(&action)?.to_string();
        Some(Confirmation { action, name, caution })
    });
    let root = state.log_root().to_owned();
    let sections = state.log_pages().read(move || sections(&programs, unix_time::now(), &root)).await;
    let page = ProcessesPage {
        frame: Frame::new(state, client, verdict, Page::Processes),
        sections: sections.unwrap_or_default(),
        unavailable,
        result: query.result.and_then(results::get),
        confirmation,
    };
    render(StatusCode::OK, &page)
}

/// `POST /leonardo/processes`: carries out an action of a form, and returns to the page with the result.
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
    if !request.confirmed
        && request.action != process_control::Action::Start
        && request::caution(&known, &request.name).is_some()
    {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("confirm", &request.action.to_string())
            .append_pair("name", &request.name)
            .finish();
        return response::redirect(&format!("/leonardo/processes?{query}"), StatusCode::SEE_OTHER);
    }
    let detached = cuts_connections(&known, &request.name);
    let result = perform(&state, client, request, detached).await;
    if detached {
        // The redirect could not be followed while the proxy or the portal restarts.
        let id = results::keep(result);
        let mut page =
            show(&state, client, verdict, PageQuery { result: Some(id), ..PageQuery::default() }).await;
        page.headers_mut().insert("refresh", HeaderValue::from_static(RETURN_SECONDS));
        return page;
    }
    let id = results::keep(result);
    response::redirect(&format!("/leonardo/processes?result={id}"), StatusCode::SEE_OTHER)
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
    let cuts_connections = cuts_connections(&programs(&state).await.unwrap_or_default(), &request.name);
    let result = perform(&state, client, request, cuts_connections).await;
    let body = json!({ "ok": result.ok, "finished": result.finished, "message": result.message });
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}

/// Carries out an action. One that cuts this connection is only begun, so that there is a response to it.
async fn perform(
    state: &AppState,
    client: Client<'_>,
    request: ActionRequest,
    cuts_connections: bool,
) -> ActionResult {
    let ActionRequest { action, name, .. } = request;
    let requester = requester::describe(state, client);
    let begun = ActionResult::begun(action, &name);
    let act = move |socket: PathBuf| process_control::act(&socket, action, &name, &requester);
    if cuts_connections {
        let state = state.clone();
        tokio::spawn(async move {
            // Until the response is on its way: nothing reports that.
            tokio::time::sleep(request::RESPONSE_TIME).await;
            ask(&state, act).await
        });
        return begun;
    }
    ask(state, act).await.into()
}
