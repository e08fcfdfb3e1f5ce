//! The decision about every request to a proxied port.
//!
//! Caddy asks before it lets anything through. A `200` answer carries the `Cookie` and `Authorization` headers that
//! the application behind the gate may see: its own, never ours. Caddy replaces the visitor's by these and deletes
//! what is missing (`copy_headers`, Caddy 2.11.2 and newer). Any other answer goes to the visitor as it is.

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
use crate::exchange::exchange;
use crate::sessions::Scope;
use crate::state::State;
use crate::throttle::Way;

/// Why a request is let through, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Authentication was turned off by name.
    Open,
    /// A living session.
    Session,
    /// A program with token or password.
    Program,
    /// Somebody with a share link to this service, and nothing else.
    Guest,
    /// Nobody we know.
    Refused,
    /// Somebody we know, but another site's page made the browser ask.
    Foreign,
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
    if let Some(response) = exchange(&state, client, client.uri(), verdict.owns()) {
        return response;
    }
    if verdict.passes() { pass(&state, &headers, verdict.owns()) } else { answer::refuse(verdict, client) }
}

/// `GET /gate/open`: a service without a login still does not get our cookie.
pub async fn open(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    pass(&state, &headers, false)
}

/// Decides about one request; looking at a session counts as using it, a wrong `Authorization` as guessing.
pub fn judge(state: &State, client: Client<'_>) -> Verdict {
    if !state.enable_auth() {
        return Verdict::Open;
    }
    let authorization = client.0.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let (scheme, name) = state.with_credentials(|known| match known {
        Some(known) => (authorization.and_then(|header| known.authorizes(header)), known.cookie().to_owned()),
        None => (None, String::new()),
    });
    // The session comes first: with one, an Authorization header is the application's own affair.
    if let Some(verdict) = session(state, client, &name) {
        return if client.is_cross_site() { Verdict::Foreign } else { verdict };
    }
    let Some(authorization) = authorization.filter(|header| Credentials::is_attempt(header)) else {
        return Verdict::Refused;
    };
    if scheme.is_some() {
        return attempt(state, client, scheme);
    }
    match state.was_right(authorization) {
        Some(former) if state.has_just_changed() => attempt(state, client, Some(former)),
        Some(_) => Verdict::Refused,
        None => attempt(state, client, None),
    }
}

/// What the visitor's cookies open here.
fn session(state: &State, client: Client<'_>, name: &str) -> Option<Verdict> {
    let cookies = client.cookies();
    let (address, now) = (client.address(), clock::now());
    let mut sessions = state.sessions();
    let mut opens = |name: &str, fits: &dyn Fn(&Scope) -> bool| {
        let tokens = cookies::values(&cookies, name);
        tokens
            .iter()
            .any(|token| sessions.touch(token, address, now).is_some_and(|session| fits(&session.scope)))
    };
    if opens(name, &|scope| *scope == Scope::Everything) {
        return Some(Verdict::Session);
    }
    let port = client.port()?;
    let here = |scope: &Scope| matches!(scope, Scope::Share { port: shared, .. } if *shared == port);
    opens(&format!("{name}_{port}"), &here).then_some(Verdict::Guest)
}

/// A program's attempt: slowed down like the form's, so that guessing is not quicker here.
fn attempt(state: &State, client: Client<'_>, scheme: Option<Scheme>) -> Verdict {
    let guesser = device::guesser(state, client, Way::Header);
    // A right token need not wait for what strangers elsewhere do.
    let wait = if scheme == Some(Scheme::Bearer) {
        device::wait_for_own(state, &guesser)
    } else {
        device::wait(state, &guesser)
    };
    if let Some(wait) = wait {
        audit::attempt(client, "header", "unknown", Outcome::Slowed);
        return Verdict::Wait(wait);
    }
    match scheme {
        // A browser that has once answered a Basic challenge repeats it for every page that asks.
        Some(Scheme::Basic) if client.is_cross_site() => Verdict::Foreign,
        Some(_) => {
            state.throttle().succeeded(&guesser);
            Verdict::Program
        }
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
fn pass(state: &State, headers: &HeaderMap, owns: bool) -> Response {
    let mut passed =
        state.with_credentials(|known| known.map(|known| own_headers(known, Client(headers), owns)));
    // A former token or password of ours is not the application's either.
    if owns
        && let Some(passed) = &mut passed
        && passed.get(header::AUTHORIZATION).is_some_and(|value| state.was_right(value.as_bytes()).is_some())
    {
        passed.remove(header::AUTHORIZATION);
    }
    // Without a readable login we do not know which cookie is ours, so nothing passes.
    match passed {
        Some(passed) => (StatusCode::OK, passed).into_response(),
        None => answer::refuse(Verdict::Refused, Client(headers)),
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
