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
use crate::client::Client;
use crate::cookies;
use crate::credentials::Credentials;
use crate::state::State;

/// Why a request is let through, or that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Authentication was turned off by name.
    Open,
    /// A living session.
    Session,
    /// A program with token or password.
    Program,
    /// Nobody we know.
    Refused,
}

/// `GET /gate/verify`: may this visitor pass?
pub async fn verify(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    match judge(&state, Client(&headers)) {
        Verdict::Refused => answer::refuse(Client(&headers)),
        _ => pass(&state, &headers),
    }
}

/// `GET /gate/open`: a service without a login still does not get our cookie.
pub async fn open(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    pass(&state, &headers)
}

/// Decides about one request; looking at a session counts as using it.
pub fn judge(state: &State, client: Client<'_>) -> Verdict {
    if !state.enable_auth() {
        return Verdict::Open;
    }
    let authorization = client.0.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let (program, tokens) = state.with_credentials(|known| match known {
        Some(known) => (
            authorization.is_some_and(|header| known.authorizes(header).is_some()),
            cookies::values(&client.cookies(), known.cookie()),
        ),
        None => (false, Vec::new()),
    });
    if program {
        return Verdict::Program;
    }
    // A browser sends cookies with a websocket that any page opens, so the page's origin decides (hazard H15).
    let foreign_socket = client.is_websocket() && client.is_same_origin() == Some(false);
    let now = Instant::now();
    let mut sessions = state.sessions();
    if !foreign_socket && tokens.iter().any(|token| sessions.touch(token, now)) {
        Verdict::Session
    } else {
        Verdict::Refused
    }
}

/// `200` with the headers that the application may see.
fn pass(state: &State, headers: &HeaderMap) -> Response {
    let passed = state.with_credentials(|known| known.map(|known| own_headers(known, Client(headers))));
    // Without a readable login we do not know which cookie is ours, so nothing passes.
    match passed {
        Some(passed) => (StatusCode::OK, passed).into_response(),
        None => answer::refuse(Client(headers)),
    }
}

/// The application's own `Cookie` and `Authorization` headers.
fn own_headers(known: &Credentials, client: Client<'_>) -> HeaderMap {
    let mut own = HeaderMap::new();
    if let Some(cookies) = cookies::without(&client.cookies(), known.cookie())
        && let Ok(value) = HeaderValue::from_bytes(&cookies)
    {
        own.insert(header::COOKIE, value);
    }
    if let Some(value) = client.0.get(header::AUTHORIZATION)
        && known.authorizes(value.as_bytes()).is_none()
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
        let known = credentials("ada", "secret", "token").unwrap();
        let ours =
            headers(&[("cookie", "leonardo_0badcafe=x; theme=dark"), ("authorization", "Bearer token")]);
        assert_eq!(own_headers(&known, Client(&ours)), headers(&[("cookie", "theme=dark")]));
        let theirs = headers(&[("cookie", "leonardo_0badcafe=x"), ("authorization", "Bearer app-token")]);
        assert_eq!(own_headers(&known, Client(&theirs)), headers(&[("authorization", "Bearer app-token")]));
    }
}
