//! The decision about every request to a proxied port.
//!
//! Caddy asks before it lets anything through. A `200` answer carries the `Cookie`, `Authorization` and `Referer` headers
//! that the application behind the gate may see: its own, never ours. Caddy replaces the visitor's by these and deletes
//! what is missing (`copy_headers`, Caddy 2.11.2 and newer). Any other answer goes to the visitor as it is. None of them
//! sets a cookie of ours: what begins a session leads through `/leonardo/arrive`.

use std::time::Instant;

use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::answer;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::clock;
use crate::cookies;
use crate::credentials::{COOKIE_PREFIX, Credentials, Scheme};
use crate::device;
use crate::enter;
use crate::exchange::{self, Found};
use crate::next::is_local;
use crate::sessions::Scope;
use crate::state::State;
use crate::throttle::Way;

/// Why a request is let through, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No login is asked for: authentication was turned off by name, or for this service.
    Open,
    /// A living session.
    Session,
    /// A program with token or password.
    Program,
    /// Somebody with a share link to this service, and nothing else.
    Guest,
    /// Nobody we know.
    Refused,
    /// Somebody we know or need not know, but another site's page made the browser ask.
    Foreign,
    /// A name that any page could have given this container's address; without a login, the name is all we know.
    UnknownHost,
    /// A browser asks whether a page elsewhere may send a request.
    Preflight,
    /// Too many wrong passwords or tokens from there: how many seconds to wait.
    Wait(u64),
}

impl Verdict {
    /// Whether the request goes on to the application.
    pub fn passes(self) -> bool {
        self.owns() || self == Self::Guest
    }

    /// Whether the visitor may see and change what belongs to the whole container.
    pub fn owns(self) -> bool {
        matches!(self, Self::Open | Self::Session | Self::Program)
    }
}

/// `GET /gate/verify`: may this visitor pass?
pub async fn verify(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = judge(&state, client);
    respond(&state, client, verdict, verdict.owns()).await
}

/// `GET /gate/open`: a service without a login still gets neither our cookie nor our token.
///
/// A page elsewhere may use it as any program may, except where it could not reach it without its visitor's browser.
pub async fn open(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = if !state.allows_host(client.host().unwrap_or_default()) {
        Verdict::UnknownHost
    } else if client.is_foreign()
        && client.changes()
        && client.authority().is_private()
        && !client.has_bearer()
    {
        Verdict::Foreign
    } else {
        Verdict::Open
    };
    respond(&state, client, verdict, false).await
}

async fn respond(state: &State, client: Client<'_>, verdict: Verdict, is_owner: bool) -> Response {
    let response = decide(state, client, verdict, is_owner);
    // What passes has only the headers that Caddy copies: it reads every one.
    if response.status() == StatusCode::OK { response } else { answer::protect(response).await }
}

/// The answer to Caddy. Only an owner's headers and addresses are compared with our secrets without a brake.
fn decide(state: &State, client: Client<'_>, verdict: Verdict, is_owner: bool) -> Response {
    // `PRI *`, `CONNECT host:port`: nothing that an application could be asked.
    if !client.uri().starts_with('/') {
        return answer::reason(StatusCode::BAD_REQUEST, "the address of the request is not a path");
    }
    let may_enter = verdict.passes() || (verdict == Verdict::Refused && client.is_browser_page());
    if !may_enter {
        return answer::refuse(verdict, client);
    }
    match exchange::look(state, client, client.uri(), is_owner) {
        Found::Ours(rest) if client.is_browser_page() && is_local(&rest) => {
            if verdict.owns() {
                answer::see_other(&rest, StatusCode::SEE_OTHER)
            } else {
                audit::attempt(client, "address", "token", Outcome::Accepted);
                enter::hand_over(state, "", &rest)
            }
        }
        Found::Ours(rest) if !client.is_websocket() && is_local(&rest) && verdict.passes() => {
            answer::see_other(&rest, StatusCode::TEMPORARY_REDIRECT)
        }
        Found::Ours(_) => answer::reason(
            StatusCode::BAD_REQUEST,
            "leave $WEB_TOKEN out of the address, or send Authorization: Bearer $WEB_TOKEN",
        ),
        Found::Wait(seconds) if verdict.passes() => answer::refuse(Verdict::Wait(seconds), client),
        Found::Nothing if verdict.passes() => pass(state, client, is_owner),
        Found::Nothing | Found::Wait(_) => answer::refuse(verdict, client),
    }
}

/// Decides about one request; looking at a session counts as using it, a wrong `Authorization` as guessing.
pub fn judge(state: &State, client: Client<'_>) -> Verdict {
    if !state.enable_auth() {
        return without_login(state, client);
    }
    let Some(known) = state.credentials() else { return Verdict::Refused };
    // The session comes first: with one, an Authorization header is the application's own affair.
    if let Some(verdict) = session(state, client, known.cookie()) {
        return if client.is_foreign() { Verdict::Foreign } else { verdict };
    }
    let authorization = client.0.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some(authorization) = authorization.filter(|header| Credentials::is_attempt(header)) else {
        return if client.is_preflight() { Verdict::Preflight } else { Verdict::Refused };
    };
    attempt(state, client, known.authorizes(authorization), authorization)
}

/// Decides with `WEB_ENABLE_AUTH=false`: requests that a page elsewhere makes a browser send are refused as with a session.
fn without_login(state: &State, client: Client<'_>) -> Verdict {
    if !state.allows_host(client.host().unwrap_or_default()) {
        Verdict::UnknownHost
    } else if client.is_foreign() && !client.is_preflight() && !client.has_bearer() {
        Verdict::Foreign
    } else {
        Verdict::Open
    }
}

/// What the visitor's cookies open here.
fn session(state: &State, client: Client<'_>, name: &str) -> Option<Verdict> {
    let cookies = client.cookies();
    let (address, now) = (client.address(), clock::now());
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
fn attempt(state: &State, client: Client<'_>, scheme: Option<Scheme>, authorization: &[u8]) -> Verdict {
    let guesser = device::guesser(state, client, Way::Header);
    // A right token need not wait for what strangers elsewhere do. A password does: it is the form's.
    let wait = match scheme {
        Some(Scheme::Bearer) => device::wait_for_own(state, &guesser),
        Some(Scheme::Basic) | None => device::wait(state, &guesser),
    };
    if let Some(wait) = wait {
        audit::attempt(client, "header", "unknown", Outcome::Slowed);
        return Verdict::Wait(wait);
    }
    match scheme {
        // A browser that has once answered a Basic challenge repeats it for every page that asks.
        Some(Scheme::Basic) if client.is_foreign() => Verdict::Foreign,
        Some(_) => {
            state.throttle().succeeded(&guesser);
            state.throttle().know(client.address(), Instant::now());
            Verdict::Program
        }
        // Late, not guessing.
        None if state.was_right(authorization) => Verdict::Refused,
        None => {
            state.throttle().failed(guesser, Instant::now());
            audit::attempt(client, "header", "unknown", Outcome::Refused);
            Verdict::Refused
        }
    }
}

/// `200` with the headers that the application may see.
///
/// Only for an owner is `Authorization` compared: to everybody else, whether it disappears on the way would tell whether
/// it was right, without a brake.
fn pass(state: &State, client: Client<'_>, is_owner: bool) -> Response {
    // Without a readable login we do not know which cookie is ours, so nothing passes.
    let Some(known) = state.credentials() else { return answer::refuse(Verdict::Refused, client) };
    let mut passed = own_headers(&known, client, is_owner);
    // A former token or password of ours is not the application's either.
    if is_owner && passed.get(header::AUTHORIZATION).is_some_and(|value| state.was_right(value.as_bytes())) {
        passed.remove(header::AUTHORIZATION);
    }
    if let Some(referer) = own_referer(state, client, is_owner) {
        passed.insert(header::REFERER, referer);
    }
    (StatusCode::OK, passed).into_response()
}

/// The address of the page that asks, without our token; nothing where that cannot be looked for, or has to wait.
fn own_referer(state: &State, client: Client<'_>, is_owner: bool) -> Option<HeaderValue> {
    let referer = client.0.get(header::REFERER)?;
    match exchange::look(state, client, referer.to_str().ok()?, is_owner) {
        Found::Nothing => Some(referer.clone()),
        Found::Ours(rest) => HeaderValue::try_from(rest).ok(),
        Found::Wait(_) => None,
    }
}

/// The application's own `Cookie` and `Authorization` headers.
fn own_headers(known: &Credentials, client: Client<'_>, owns: bool) -> HeaderMap {
    let mut own = HeaderMap::new();
    if let Some(cookies) = cookies::without(&client.cookies(), COOKIE_PREFIX)
        && let Ok(value) = HeaderValue::from_bytes(&cookies)
    {
        own.insert(header::COOKIE, value);
    }
    if let Some(value) = client.0.get(header::AUTHORIZATION)
        && (!owns || known.authorizes(value.as_bytes()).is_none())
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
        assert_eq!(own_headers(&known, Client(&ours), true), headers(&[("cookie", "theme=dark")]));
        let theirs = headers(&[("cookie", "leonardo_0badcafe=x"), ("authorization", "Bearer app-token")]);
        assert_eq!(
            own_headers(&known, Client(&theirs), true),
            headers(&[("authorization", "Bearer app-token")])
        );
    }
}
