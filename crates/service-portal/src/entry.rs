//! Beginning a session, whatever opened it: the cookies that the visitor gets.

use anyhow::{Context, Result};
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::client::Client;
use crate::clock;
use crate::device;
use crate::sessions::{ABSOLUTE, Scope};
use crate::state::State;

/// Begins a session for everything and puts its cookies on `response`.
pub fn for_owner(state: &State, client: Client<'_>, response: Response) -> Result<Response> {
    begin(state, client, Scope::Everything, u64::MAX, response)
}

/// Begins a session for one service, through a share link, and puts its cookie on `response`.
pub fn for_guest(
    state: &State,
    client: Client<'_>,
    share: &portal_control::Share,
    response: Response,
) -> Result<Response> {
    let scope = Scope::Share { port: share.port, share: share.id.clone() };
    begin(state, client, scope, share.expires, response)
}

fn begin(
    state: &State,
    client: Client<'_>,
    scope: Scope,
    ends: u64,
    mut response: Response,
) -> Result<Response> {
    let name = state
        .with_credentials(|known| known.map(|known| known.cookie().to_owned()))
        .context("there is no readable login")?;
    let now = clock::now();
    let mark = if scope == Scope::Everything { device::mark(state) } else { None };
    let own = cookie_name(&name, &scope);
    let token = state.sessions().begin(client.visitor(), scope, ends, now)?;
    set_cookie(&mut response, client, &own, &token, ends.saturating_sub(now).min(ABSOLUTE));
    if let Some(mark) = mark {
        set_cookie(&mut response, client, &device::cookie_name(&name), &mark, device::LIFE);
    }
    Ok(response)
}

/// A guest's cookie has the service's port in its name: ports share a host, and so do their cookies.
pub fn cookie_name(session: &str, scope: &Scope) -> String {
    match scope {
        Scope::Everything => session.to_owned(),
        Scope::Share { port, .. } => format!("{session}_{port}"),
    }
}

/// Adds a cookie; a life of 0 seconds takes it away. `Secure` only for visitors by https: over plain http the browser
/// would drop it.
pub fn set_cookie(response: &mut Response, client: Client<'_>, name: &str, value: &str, seconds: u64) {
    let secure = if client.is_https() { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
