//! The API for programs, `/leonardo/api/v1/*`; `openapi.json` describes it.
//!
//! [`endpoints`] is the one table of its routes. Each names what it needs, and [`authorize`] is the one place that compares
//! this with the requester: an API token reads what the table says, and nothing else of the portal lets it in, because
//! [`Verdict::ApiToken`] is neither allowed nor the owner.
//!
//! Versioning: within v1, endpoints, parameters and fields are only added. Clients must ignore fields that they do not know.

mod access;
mod boot;
mod logs;
pub mod processes;
mod services;
mod status;
mod system;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use journal::Entry;
use tokio::sync::Semaphore;

use crate::api_tokens::TokenScope;
use crate::app_state::AppState;
use crate::assets;
use crate::client::Client;
use crate::gate;
use crate::response;
use crate::verdict::Verdict;

const PREFIX: &str = "/leonardo/api/v1";

/// Permission that an endpoint needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it has no data of this container.
    Nothing,
    /// A token that reads the state.
    State,
    /// A token that reads the text of logs, which may contain secrets.
    LogText,
    /// The owner: it changes something, or shows who has access.
    Owner,
    /// The owner, and logins that can be managed.
    Login,
}

/// One path with its method: POST if it needs the owner, otherwise GET.
pub struct Endpoint {
    /// Path below `/leonardo/api/v1`.
    pub path: &'static str,
    pub needs: Needs,
    handler: MethodRouter<AppState>,
}

/// Sender of an authorized request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    Owner,
    /// A program with an API token.
    Token(TokenScope),
}

impl Requester {
    /// True if it may see the text of logs.
    pub fn reads_logs(self) -> bool {
        self != Self::Token(TokenScope::Read)
    }
}

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        read("/openapi.json", Needs::Nothing, description),
        read("/status", Needs::State, status::status),
        read("/services", Needs::State, services::services),
        read("/processes", Needs::State, processes::list),
        act("/processes/{name}/start", processes::start),
        act("/processes/{name}/stop", processes::stop),
        act("/processes/{name}/restart", processes::restart),
        read("/logs", Needs::State, logs::list),
        read("/logs/{name}", Needs::LogText, logs::lines),
        read("/boot", Needs::State, boot::boot),
        read("/system", Needs::State, system::system),
        read("/access", Needs::Login, access::access),
    ]
}

fn read<H: Handler<T, AppState>, T: 'static>(path: &'static str, needs: Needs, handler: H) -> Endpoint {
    Endpoint { path, needs, handler: get(handler) }
}

fn act<H: Handler<T, AppState>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint { path, needs: Needs::Owner, handler: post(handler) }
}

/// Returns the routes of the API.
pub fn router(state: &AppState) -> Router<AppState> {
    let add = |router: Router<AppState>, endpoint: Endpoint| {
        let handler = checked(state, endpoint.needs, endpoint.handler);
        router.route(&format!("{PREFIX}{}", endpoint.path), handler)
    };
    let unknown = axum::routing::any(async || {
        response::json_error(StatusCode::NOT_FOUND, "no such endpoint; see /leonardo/api/v1/openapi.json")
    });
    let unknown = checked(state, Needs::State, unknown);
    endpoints()
        .into_iter()
        .fold(Router::new(), add)
        .route("/leonardo/api", unknown.clone())
        .route("/leonardo/api/{*path}", unknown)
}

/// Returns a handler that only those reach who may do what is needed.
pub fn checked(state: &AppState, needs: Needs, handler: MethodRouter<AppState>) -> MethodRouter<AppState> {
    handler.layer(from_fn_with_state((state.clone(), needs), check))
}

/// Requests of API tokens that are answered at a time; others wait. Most of them need a thread, or connections to services.
static SEATS: Semaphore = Semaphore::const_new(8);

/// Middleware of every endpoint.
async fn check(
    State((state, needs)): State<(AppState, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    match authorize(&state, Client(request.headers()), needs, request.method()) {
        Ok(requester) => {
            let _seat = match requester {
                Requester::Token(_) => SEATS.acquire().await.ok(),
                Requester::Owner => None,
            };
            request.extensions_mut().insert(requester);
            in_format(next.run(request).await)
        }
        Err(refusal) => *refusal,
    }
}

/// Returns an error of the framework in the API's format, with the methods that the endpoint has.
fn in_format(response: Response) -> Response {
    let is_json = |kind: &HeaderValue| kind.as_bytes() == b"application/json";
    if response.status().as_u16() < 400 || response.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
        return response;
    }
    let message = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => "the endpoint does not have this method",
        _ => "the request is malformed",
    };
    let mut error = response::json_error(response.status(), message);
    if let Some(allowed) = response.headers().get(header::ALLOW) {
        error.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    error
}

/// Returns who makes the request, if the requester may do what is needed; otherwise the refusal.
///
/// On other ports than the portal's own, a page of a service has the origin of the API, and could use its visitor's session.
fn authorize(
    state: &AppState,
    client: Client<'_>,
    needs: Needs,
    method: &Method,
) -> Result<Requester, Box<Response>> {
    if needs == Needs::Nothing {
        return Ok(Requester::Owner);
    }
    let refuse = |status, message| Err(Box::new(response::json_error(status, message)));
    if client.port() != Some(ports::PORTAL) {
        return refuse(StatusCode::FORBIDDEN, "the API is available on the portal's own port only");
    }
    let reads = [Method::GET, Method::HEAD].contains(method);
    match gate::verdict_for(state, client) {
        Verdict::ApiToken(scope) => match (needs, scope) {
            (Needs::State, _) | (Needs::LogText, TokenScope::ReadLogs) if reads => {
                Ok(Requester::Token(scope))
            }
            (Needs::LogText, TokenScope::Read) if reads => {
                refuse(StatusCode::FORBIDDEN, "this token does not have the scope read+logs")
            }
            _ => refuse(StatusCode::FORBIDDEN, "this token only reads; use $WEB_TOKEN"),
        },
        Verdict::Open if needs == Needs::Login => {
            refuse(StatusCode::FORBIDDEN, "WEB_ENABLE_AUTH=false: there are no sessions or tokens to manage")
        }
        // A browser adds cookies and passwords to requests of any page by itself, but never a token.
        verdict
            if verdict.is_owner()
                && !reads
                && !client.has_bearer()
                && client.is_same_origin() != Some(true) =>
        {
            refuse(
                StatusCode::FORBIDDEN,
                "send Authorization: Bearer $WEB_TOKEN; a session is only for the portal's own pages",
            )
        }
        verdict if verdict.is_owner() => Ok(Requester::Owner),
        verdict => Err(Box::new(response::refuse_program(verdict, client))),
    }
}

/// Returns the journal of the boot. The output of a user's script, which its restricted entry quotes, counts as text of a log.
fn entries(state: &AppState, requester: Requester) -> anyhow::Result<Vec<Entry>> {
    let journal = state.journal();
    if requester.reads_logs() { journal.read() } else { journal.read_unrestricted() }
}

async fn description(headers: HeaderMap) -> Response {
    assets::content("openapi.json", &headers)
}
