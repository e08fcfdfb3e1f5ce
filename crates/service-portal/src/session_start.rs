//! Starts sessions and sets their cookies.

use std::time::Instant;

use anyhow::{Context, Result};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use kit::unix_time;

use crate::app_state::AppState;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::cookies;
use crate::known_device;
use crate::log_limit;
use crate::response;
use crate::sessions::{MAX_LIFETIME, Scope, SessionOrigin};

/// Starts a session for everything and adds its cookies to `response`.
pub fn start_owner_session(state: &AppState, client: Client<'_>, mut response: Response) -> Result<Response> {
    state.throttle().mark_known(client.address(), Instant::now());
    let device = known_device::issue_id(state, client);
    let origin = SessionOrigin { device: device.clone(), ..client.session_origin() };
    let now = unix_time::now();
    let token = state.sessions().create(origin, Scope::Everything, u64::MAX, now)?;
    set_owner_cookies(state, client, &mut response, &token, device.as_deref())?;
    Ok(response)
}

/// Restores the active session of a known device whose cookie another server of the host has overwritten or deleted;
/// `None` if it has none.
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

/// Starts a session for one service, after a share link, and adds its cookie to `response`.
pub fn start_guest_session(
    state: &AppState,
    client: Client<'_>,
    share: &portal_control::Share,
    mut response: Response,
) -> Result<Response> {
    let name = state.cookie_name().context(NO_LOGIN_MESSAGE)?;
    let scope = Scope::Share { port: share.port, service: share.service.clone(), share: share.id.clone() };
    let now = unix_time::now();
    let token = state.sessions().create(client.session_origin(), scope, share.expires, now)?;
    let seconds = share.expires.saturating_sub(now).min(MAX_LIFETIME);
    set_cookie(&mut response, client, &guest_cookie_name(&name, share.port), &token, seconds);
    Ok(response)
}

const NO_LOGIN_MESSAGE: &str = "there is no readable login";

fn set_owner_cookies(
    state: &AppState,
    client: Client<'_>,
    response: &mut Response,
    token: &str,
    device: Option<&str>,
) -> Result<()> {
    let name = state.cookie_name().context(NO_LOGIN_MESSAGE)?;
    set_cookie(response, client, &name, token, MAX_LIFETIME);
    if let Some(value) = device.and_then(|device| known_device::sign_id(state, device)) {
        set_cookie(response, client, &known_device::cookie_name(&name), &value, known_device::LIFETIME);
    }
    Ok(())
}

/// Returns the response if a session could not be started.
#[allow(clippy::needless_pass_by_value, reason = "the signature that unwrap_or_else needs")]
pub fn session_error(error: anyhow::Error) -> Response {
    log_limit::error(&error);
    response::text_error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The session could not be started; see the portal's log.",
    )
}

/// Returns the name of a guest's cookie. It contains the port, because all ports of a host share cookies.
pub fn guest_cookie_name(session: &str, port: u16) -> String {
    format!("{session}_{port}")
}

/// Adds a cookie to the response; a lifetime of 0 seconds deletes it.
///
/// Over https, the prefix of the name keeps servers without https from overwriting the cookie; over plain http, browsers
/// would reject it. The priority matters if a browser has too many cookies (Chromium).
pub fn set_cookie(response: &mut Response, client: Client<'_>, name: &str, value: &str, seconds: u64) {
    let (prefix, secure) = if client.is_https() { (cookies::HOST, "; Secure") } else { ("", "") };
    let cookie = format!(
        "{prefix}{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax; Priority=High{secure}"
    );
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
