//! The gate: decides about every request to a proxied port.
//!
//! Caddy sends a subrequest before it forwards a request. A `200` response has the `Cookie`, `Authorization` and `Referer`
//! headers that the service may see, without our secrets. Caddy replaces the visitor's headers by these and deletes missing
//! ones (`copy_headers`, Caddy 2.11.2 and newer). Any other response goes to the visitor as it is. None of them sets a
//! cookie: sessions start at `/leonardo/arrive`.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kit::unix_time;

use crate::app_state::AppState;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::cookies;
use crate::credentials::{AuthScheme, COOKIE_PREFIX, Credentials};
use crate::error_page;
use crate::known_device;
use crate::login_handover;
use crate::response;
use crate::return_path::is_local;
use crate::service_streams;
use crate::sessions::Scope;
use crate::throttle::AttemptKind;
use crate::url_token::{self, TokenSearch};
use crate::verdict::Verdict;

/// `GET /gate/verify`: decides for a service behind the login. The response to an allowed websocket is the websocket itself.
pub async fn verify(State(state): State<AppState>, request: Request) -> Response {
    let client = Client(request.headers());
    let verdict = verdict_for(&state, client);
    let response = respond(&state, client, verdict, verdict.is_owner()).await;
    if response.status() == StatusCode::OK && client.is_websocket() && client.method() == Method::GET {
        return service_streams::open(state, request, response.headers()).await;
    }
    response
}

/// `GET /gate/open`: decides for a service without a login, which does not see our cookies and token either.
///
/// Pages of other origins can use it as any program can, unless they reach it only through their visitor's browser.
pub async fn open(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = if !state.allows_host(client.host().unwrap_or_default()) {
        Verdict::UnknownHost
    } else if client.is_cross_origin()
        && client.is_mutating()
        && client.authority().is_private()
        && !client.has_bearer()
    {
        Verdict::CrossOrigin
    } else {
        Verdict::Open
    };
    respond(&state, client, verdict, false).await
}

async fn respond(state: &AppState, client: Client<'_>, verdict: Verdict, is_owner: bool) -> Response {
    let mut response = build_response(state, client, verdict, is_owner);
    if client.is_browser_page() {
        response = error_page::as_page(state, response);
    }
    // A forwarded request gets only the headers that Caddy copies, which are all in the response.
    if response.status() == StatusCode::OK {
        response
    } else {
        response::add_security_headers(response).await
    }
}

/// Returns the response to Caddy. Only for an owner, headers and URLs are compared with our secrets without a limit.
fn build_response(state: &AppState, client: Client<'_>, verdict: Verdict, is_owner: bool) -> Response {
    // Caddy would open a websocket over HTTP/2 (RFC 8441) itself, which does not end with the session.
    if client.method() == Method::CONNECT {
        return response::json_error(StatusCode::BAD_REQUEST, "CONNECT is not supported");
    }
    // `PRI *` is not a request to a service.
    if !client.uri().starts_with('/') {
        return response::json_error(StatusCode::BAD_REQUEST, "the request target is not a path");
    }
    let may_enter = verdict.is_allowed() || (verdict == Verdict::Refused && client.is_browser_page());
    if !may_enter {
        return response::refuse(verdict, client);
    }
    match url_token::find_token(state, client, client.uri(), is_owner) {
        TokenSearch::Ours(rest) if client.is_browser_page() && is_local(&rest) => {
            if verdict.is_owner() {
                response::redirect(&rest, StatusCode::SEE_OTHER)
            } else {
                audit::log_attempt(client, "address", "token", Outcome::Accepted);
                login_handover::start_handover(state, "", &rest)
            }
        }
        TokenSearch::Ours(rest) if !client.is_websocket() && is_local(&rest) && verdict.is_allowed() => {
            response::redirect(&rest, StatusCode::TEMPORARY_REDIRECT)
        }
        TokenSearch::Ours(_) => response::json_error(
            StatusCode::BAD_REQUEST,
            "remove $WEB_TOKEN from the URL, or send Authorization: Bearer $WEB_TOKEN",
        ),
        TokenSearch::Wait(seconds) if verdict.is_allowed() => {
            response::refuse(Verdict::Wait(seconds), client)
        }
        TokenSearch::Nothing if verdict.is_allowed() => pass_through(state, client, is_owner),
        TokenSearch::Nothing | TokenSearch::Wait(_) => response::refuse(verdict, client),
    }
}

/// Returns the verdict about a request. A session counts as used, a wrong `Authorization` header as a failed attempt.
pub fn verdict_for(state: &AppState, client: Client<'_>) -> Verdict {
    if !state.enable_auth() {
        return verdict_without_login(state, client);
    }
    let Some(known) = state.credentials() else { return Verdict::Refused };
    // With a session, an Authorization header is for the service.
    if let Some(verdict) = session_verdict(state, client, known.cookie()) {
        return if client.is_cross_origin() { Verdict::CrossOrigin } else { verdict };
    }
    let authorization = client.0.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some(authorization) = authorization.filter(|header| Credentials::is_our_scheme(header)) else {
        return if client.is_preflight() { Verdict::Preflight } else { Verdict::Refused };
    };
    if let Some(scope) = state.use_api_token(&known, authorization, client.address()) {
        // Nothing is recorded: a success would let its holder guess passwords from this address without a limit.
        return Verdict::ApiToken(scope);
    }
    header_verdict(state, client, known.matching_scheme(authorization), authorization)
}

/// Returns the verdict with `WEB_ENABLE_AUTH=false`; requests made by pages of other origins are refused as with a session.
fn verdict_without_login(state: &AppState, client: Client<'_>) -> Verdict {
    if !state.allows_host(client.host().unwrap_or_default()) {
        Verdict::UnknownHost
    } else if client.is_cross_origin() && !client.is_preflight() && !client.has_bearer() {
        Verdict::CrossOrigin
    } else {
        Verdict::Open
    }
}

/// True while the login with which a connection was opened is valid. Compares secrets without the throttle: failed attempts of
/// others do not end the connection, nor keep it open.
pub fn is_still_allowed(state: &AppState, client: Client<'_>) -> bool {
    if !state.enable_auth() {
        return verdict_without_login(state, client).is_allowed();
    }
    let Some(known) = state.credentials() else { return false };
    let authorization = client.0.get(header::AUTHORIZATION);
    session_verdict(state, client, known.cookie()).is_some()
        || authorization.is_some_and(|value| known.matching_scheme(value.as_bytes()).is_some())
}

/// Returns the verdict for the session in the visitor's cookies.
fn session_verdict(state: &AppState, client: Client<'_>, name: &str) -> Option<Verdict> {
    let cookies = client.cookies();
    let (address, now) = (client.address(), unix_time::now());
    // Other servers may have added cookies with the same name: one valid session is enough.
    let has_session = |name: &str, matches: &dyn Fn(&Scope) -> bool| {
        let mut sessions = state.sessions();
        let tokens = cookies::values(&cookies, name);
        tokens
            .iter()
            .any(|token| sessions.touch(token, address, now).is_some_and(|session| matches(&session.scope)))
    };
    if has_session(name, &|scope| *scope == Scope::Everything) {
        return Some(Verdict::Session);
    }
    let port = client.port()?;
    let is_for_this_service = |scope: &Scope| match scope {
        Scope::Share { port: shared, service, .. } => *shared == port && state.has_service(port, service),
        Scope::Everything => false,
    };
    has_session(&format!("{name}_{port}"), &is_for_this_service).then_some(Verdict::Guest)
}

/// Returns the verdict for an `Authorization` header; attempts are slowed down as at the login form.
fn header_verdict(
    state: &AppState,
    client: Client<'_>,
    scheme: Option<AuthScheme>,
    authorization: &[u8],
) -> Verdict {
    let guesser = known_device::guesser(state, client, AttemptKind::Header);
    // A valid token does not wait because of other addresses' failures. A password does, as at the login form.
    let wait = match scheme {
        Some(AuthScheme::Bearer) => known_device::own_wait_seconds(state, &guesser),
        Some(AuthScheme::Basic) | None => known_device::wait_seconds(state, &guesser),
    };
    if let Some(wait) = wait {
        audit::log_attempt(client, "header", "unknown", Outcome::Slowed);
        return Verdict::Wait(wait);
    }
    match scheme {
        // A browser that has answered a Basic challenge repeats the header for pages of every origin.
        Some(AuthScheme::Basic) if client.is_cross_origin() => Verdict::CrossOrigin,
        Some(_) => {
            state.throttle().record_success(&guesser);
            state.throttle().mark_known(client.address(), Instant::now());
            Verdict::Program
        }
        // Valid until the login changed or the token expired, so not a guess.
        None if state.was_valid_before(authorization) => Verdict::Refused,
        None => {
            state.throttle().record_failure(guesser, Instant::now());
            audit::log_attempt(client, "header", "unknown", Outcome::Refused);
            Verdict::Refused
        }
    }
}

/// Returns `200` with the headers that the service may see.
///
/// `Authorization` is compared only for an owner: for others, a missing header would reveal without a limit that a guess was
/// right.
fn pass_through(state: &AppState, client: Client<'_>, is_owner: bool) -> Response {
    // Without a readable login our cookie is unknown, so nothing is forwarded.
    let Some(known) = state.credentials() else { return response::refuse(Verdict::Refused, client) };
    let mut passed = service_headers(&known, client, is_owner);
    // The service must not see a former token or password either.
    if is_owner
        && passed.get(header::AUTHORIZATION).is_some_and(|value| state.was_valid_before(value.as_bytes()))
    {
        passed.remove(header::AUTHORIZATION);
    }
    if let Some(referer) = service_referer(state, client, is_owner) {
        passed.insert(header::REFERER, referer);
    }
    (StatusCode::OK, passed).into_response()
}

/// Returns the `Referer` without our token; `None` if it cannot be searched now.
fn service_referer(state: &AppState, client: Client<'_>, is_owner: bool) -> Option<HeaderValue> {
    let referer = client.0.get(header::REFERER)?;
    match url_token::find_token(state, client, referer.to_str().ok()?, is_owner) {
        TokenSearch::Nothing => Some(referer.clone()),
        TokenSearch::Ours(rest) => HeaderValue::try_from(rest).ok(),
        TokenSearch::Wait(_) => None,
    }
}

/// Returns the `Cookie` and `Authorization` headers without ours.
fn service_headers(known: &Credentials, client: Client<'_>, is_owner: bool) -> HeaderMap {
    let mut own = HeaderMap::new();
    if let Some(cookies) = cookies::remove_prefixed(&client.cookies(), COOKIE_PREFIX)
        && let Ok(value) = HeaderValue::from_bytes(&cookies)
    {
        own.insert(header::COOKIE, value);
    }
    if let Some(value) = client.0.get(header::AUTHORIZATION)
        && (!is_owner || known.matching_scheme(value.as_bytes()).is_none())
    {
        own.insert(header::AUTHORIZATION, value.clone());
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::headers;
    use crate::credentials::tests::credentials;

    #[test]
    fn a_service_sees_its_own_headers_and_not_ours() {
        let known = credentials("ada", "secret", "token");
        let ours =
            headers(&[("cookie", "leonardo_0badcafe=x; theme=dark"), ("authorization", "Bearer token")]);
        assert_eq!(service_headers(&known, Client(&ours), true), headers(&[("cookie", "theme=dark")]));
        let theirs = headers(&[("cookie", "leonardo_0badcafe=x"), ("authorization", "Bearer app-token")]);
        assert_eq!(
            service_headers(&known, Client(&theirs), true),
            headers(&[("authorization", "Bearer app-token")])
        );
    }
}
