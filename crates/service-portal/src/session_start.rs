//! Beginning a session, whatever opened it: the cookies that the visitor gets.

use std::time::Instant;

use anyhow::{Context, Result};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::app_state::AppState;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::cookies;
use crate::known_device;
use crate::log_limit;
use crate::response;
use crate::sessions::{ABSOLUTE, Scope, SessionOrigin};
use crate::unix_time;

/// Begins a session for everything and puts its cookies on `response`.
pub fn start_owner_session(state: &AppState, client: Client<'_>, mut response: Response) -> Result<Response> {
    state.throttle().mark_known(client.address(), Instant::now());
    let device = known_device::issue_id(state, client);
    let visitor = SessionOrigin { device: device.clone(), ..client.session_origin() };
    let now = unix_time::now();
    let token = state.sessions().create(visitor, Scope::Everything, u64::MAX, now)?;
    set_owner_cookies(state, client, &mut response, &token, device.as_deref())?;
    Ok(response)
}

/// Gives a marked browser its living session back, if another server of the same host has overwritten or deleted the
/// cookie; nothing if it has none.
pub fn restore(
    state: &AppState,
    client: Client<'_>,
    response: impl FnOnce() -> Response,
) -> Option<Result<Response>> {
    let device = known_device::read_id(state, client)?;
    let token = state.sessions().restore(&device, client.address(), unix_time::now())?;
    audit::log_attempt(client, "mark", "its session", Outcome::Accepted);
    let mut response = response();
    let set = token.and_then(|token| set_owner_cookies(state, client, &mut response, &token, Some(&device)));
    Some(set.map(|()| response))
}

/// Begins a session for one service, through a share link, and puts its cookie on `response`.
pub fn start_guest_session(
    state: &AppState,
    client: Client<'_>,
    share: &portal_control::Share,
    mut response: Response,
) -> Result<Response> {
    let name = state.cookie_name().context(UNREADABLE)?;
    let scope = Scope::Share { port: share.port, service: share.service.clone(), share: share.id.clone() };
    let now = unix_time::now();
    let token = state.sessions().create(client.session_origin(), scope, share.expires, now)?;
    let seconds = share.expires.saturating_sub(now).min(ABSOLUTE);
    set_cookie(&mut response, client, &guest_cookie_name(&name, share.port), &token, seconds);
    Ok(response)
}

const UNREADABLE: &str = "there is no readable login";

fn set_owner_cookies(
    state: &AppState,
    client: Client<'_>,
    response: &mut Response,
    token: &str,
    device: Option<&str>,
) -> Result<()> {
    let name = state.cookie_name().context(UNREADABLE)?;
    set_cookie(response, client, &name, token, ABSOLUTE);
    if let Some(mark) = device.and_then(|device| known_device::sign_id(state, device)) {
        set_cookie(response, client, &known_device::cookie_name(&name), &mark, known_device::LIFE);
    }
    Ok(())
}

/// Answers a visitor whose session could not be started.
#[allow(clippy::needless_pass_by_value, reason = "the shape that unwrap_or_else wants")]
pub fn session_error(error: anyhow::Error) -> Response {
    log_limit::error(&error);
    response::text_error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The session could not be started; see the portal's log.",
    )
}

/// A guest's cookie has the service's port in its name: ports share a host, and so do their cookies.
pub fn guest_cookie_name(session: &str, port: u16) -> String {
    format!("{session}_{port}")
}

/// Adds a cookie; a life of 0 seconds takes it away.
///
/// By https, the name begins so that no server without https can overwrite the cookie; over plain http, the browser would
/// drop such a cookie. A browser that has too many cookies drops those of low priority first (Chromium).
pub fn set_cookie(response: &mut Response, client: Client<'_>, name: &str, value: &str, seconds: u64) {
    let (prefix, secure) = if client.is_https() { (cookies::HOST, "; Secure") } else { ("", "") };
    let cookie = format!(
        "{prefix}{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax; Priority=High{secure}"
    );
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
