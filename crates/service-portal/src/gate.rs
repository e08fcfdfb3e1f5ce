//! The decision about every request to a proxied port.
//!
//! Caddy asks before it lets anything through. A `200` answer carries the `Cookie`, `Authorization` and `Referer` headers
//! that the application behind the gate may see: its own, never ours. Caddy replaces the visitor's by these and deletes
//! what is missing (`copy_headers`, Caddy 2.11.2 and newer). Any other answer goes to the visitor as it is. None of them
//! sets a cookie of ours: what begins a session leads through `/leonardo/arrive`.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app_state::AppState;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::cookies;
use crate::credentials::{AuthScheme, COOKIE_PREFIX, Credentials};
use crate::handover;
use crate::known_device;
use crate::response;
use crate::return_path::is_local;
use crate::sessions::Scope;
use crate::throttle::AttemptKind;
use crate::unix_time;
use crate::url_token::{self, TokenSearch};
use crate::verdict::Verdict;

/// `GET /gate/verify`: may this visitor pass?
pub async fn verify(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = verdict_for(&state, client);
    respond(&state, client, verdict, verdict.is_owner()).await
}

/// `GET /gate/open`: a service without a login still gets neither our cookie nor our token.
///
/// A page elsewhere may use it as any program may, except where it could not reach it without its visitor's browser.
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
    let response = build_response(state, client, verdict, is_owner);
    // What passes has only the headers that Caddy copies: it reads every one.
    if response.status() == StatusCode::OK {
        response
    } else {
        response::add_security_headers(response).await
    }
}

/// The answer to Caddy. Only an owner's headers and addresses are compared with our secrets without a brake.
fn build_response(state: &AppState, client: Client<'_>, verdict: Verdict, is_owner: bool) -> Response {
    // `PRI *`, `CONNECT host:port`: nothing that an application could be asked.
    if !client.uri().starts_with('/') {
        return response::json_error(StatusCode::BAD_REQUEST, "the address of the request is not a path");
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
                handover::start_handover(state, "", &rest)
            }
        }
        TokenSearch::Ours(rest) if !client.is_websocket() && is_local(&rest) && verdict.is_allowed() => {
            response::redirect(&rest, StatusCode::TEMPORARY_REDIRECT)
        }
        TokenSearch::Ours(_) => response::json_error(
            StatusCode::BAD_REQUEST,
            "leave $WEB_TOKEN out of the address, or send Authorization: Bearer $WEB_TOKEN",
        ),
        TokenSearch::Wait(seconds) if verdict.is_allowed() => {
            response::refuse(Verdict::Wait(seconds), client)
        }
        TokenSearch::Nothing if verdict.is_allowed() => pass_through(state, client, is_owner),
        TokenSearch::Nothing | TokenSearch::Wait(_) => response::refuse(verdict, client),
    }
}

/// Decides about one request; looking at a session counts as using it, a wrong `Authorization` as guessing.
pub fn verdict_for(state: &AppState, client: Client<'_>) -> Verdict {
    if !state.enable_auth() {
        return verdict_without_login(state, client);
    }
    let Some(known) = state.credentials() else { return Verdict::Refused };
    // The session comes first: with one, an Authorization header is the application's own affair.
    if let Some(verdict) = session_verdict(state, client, known.cookie()) {
        return if client.is_cross_origin() { Verdict::CrossOrigin } else { verdict };
    }
    let authorization = client.0.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some(authorization) = authorization.filter(|header| Credentials::is_our_scheme(header)) else {
        return if client.is_preflight() { Verdict::Preflight } else { Verdict::Refused };
    };
    header_verdict(state, client, known.matching_scheme(authorization), authorization)
}

/// Decides with `WEB_ENABLE_AUTH=false`: requests that a page elsewhere makes a browser send are refused as with a session.
fn verdict_without_login(state: &AppState, client: Client<'_>) -> Verdict {
    if !state.allows_host(client.host().unwrap_or_default()) {
        Verdict::UnknownHost
    } else if client.is_cross_origin() && !client.is_preflight() && !client.has_bearer() {
        Verdict::CrossOrigin
    } else {
        Verdict::Open
    }
}

/// What the visitor's cookies open here.
fn session_verdict(state: &AppState, client: Client<'_>, name: &str) -> Option<Verdict> {
    let cookies = client.cookies();
    let (address, now) = (client.address(), unix_time::now());
    // A neighbour may have added cookies under the same name: one that fits is enough.
    let opens = |name: &str, fits: &dyn Fn(&Scope) -> bool| {
        let mut sessions = state.sessions();
        let tokens = cookies::values(&cookies, name);
        tokens
            .iter()
            .any(|token| sessions.touch(token, address, now).is_some_and(|session| fits(&session.scope)))
    };
    if opens(name, &|scope| *scope == Scope::Everything) {
        return Some(Verdict::Session);
    }
    let port = client.port()?;
    let here = |scope: &Scope| match scope {
        Scope::Share { port: shared, service, .. } => *shared == port && state.has_service(port, service),
        Scope::Everything => false,
    };
    opens(&format!("{name}_{port}"), &here).then_some(Verdict::Guest)
}

/// A program's attempt: slowed down like the form's, so that guessing is not quicker here.
fn header_verdict(
    state: &AppState,
    client: Client<'_>,
    scheme: Option<AuthScheme>,
    authorization: &[u8],
) -> Verdict {
    let guesser = known_device::guesser(state, client, AttemptKind::Header);
    // A right token need not wait for what strangers elsewhere do. A password does: it is the form's.
    let wait = match scheme {
        Some(AuthScheme::Bearer) => known_device::own_wait_seconds(state, &guesser),
        Some(AuthScheme::Basic) | None => known_device::wait_seconds(state, &guesser),
    };
    if let Some(wait) = wait {
        audit::log_attempt(client, "header", "unknown", Outcome::Slowed);
        return Verdict::Wait(wait);
    }
    match scheme {
        // A browser that has once answered a Basic challenge repeats it for every page that asks.
        Some(AuthScheme::Basic) if client.is_cross_origin() => Verdict::CrossOrigin,
        Some(_) => {
            state.throttle().record_success(&guesser);
            state.throttle().mark_known(client.address(), Instant::now());
            Verdict::Program
        }
        // Late, not guessing.
        None if state.was_valid_before(authorization) => Verdict::Refused,
        None => {
            state.throttle().record_failure(guesser, Instant::now());
            audit::log_attempt(client, "header", "unknown", Outcome::Refused);
            Verdict::Refused
        }
    }
}

/// `200` with the headers that the application may see.
///
/// Only for an owner is `Authorization` compared: to everybody else, whether it disappears on the way would tell whether
/// it was right, without a brake.
fn pass_through(state: &AppState, client: Client<'_>, is_owner: bool) -> Response {
    // Without a readable login we do not know which cookie is ours, so nothing passes.
    let Some(known) = state.credentials() else { return response::refuse(Verdict::Refused, client) };
    let mut passed = application_headers(&known, client, is_owner);
    // A former token or password of ours is not the application's either.
    if is_owner
        && passed.get(header::AUTHORIZATION).is_some_and(|value| state.was_valid_before(value.as_bytes()))
    {
        passed.remove(header::AUTHORIZATION);
    }
    if let Some(referer) = application_referer(state, client, is_owner) {
        passed.insert(header::REFERER, referer);
    }
    (StatusCode::OK, passed).into_response()
}

/// The address of the page that asks, without our token; nothing where that cannot be looked for, or has to wait.
fn application_referer(state: &AppState, client: Client<'_>, is_owner: bool) -> Option<HeaderValue> {
    let referer = client.0.get(header::REFERER)?;
    match url_token::find_token(state, client, referer.to_str().ok()?, is_owner) {
        TokenSearch::Nothing => Some(referer.clone()),
        TokenSearch::Ours(rest) => HeaderValue::try_from(rest).ok(),
        TokenSearch::Wait(_) => None,
    }
}

/// The application's own `Cookie` and `Authorization` headers.
fn application_headers(known: &Credentials, client: Client<'_>, owns: bool) -> HeaderMap {
    let mut own = HeaderMap::new();
    if let Some(cookies) = cookies::remove_prefixed(&client.cookies(), COOKIE_PREFIX)
        && let Ok(value) = HeaderValue::from_bytes(&cookies)
    {
        own.insert(header::COOKIE, value);
    }
    if let Some(value) = client.0.get(header::AUTHORIZATION)
        && (!owns || known.matching_scheme(value.as_bytes()).is_none())
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
    fn an_application_sees_its_own_headers_and_never_ours() {
        let known = credentials("ada", "secret", "token");
        let ours =
            headers(&[("cookie", "leonardo_0badcafe=x; theme=dark"), ("authorization", "Bearer token")]);
        assert_eq!(application_headers(&known, Client(&ours), true), headers(&[("cookie", "theme=dark")]));
        let theirs = headers(&[("cookie", "leonardo_0badcafe=x"), ("authorization", "Bearer app-token")]);
        assert_eq!(
            application_headers(&known, Client(&theirs), true),
            headers(&[("authorization", "Bearer app-token")])
        );
    }
}
