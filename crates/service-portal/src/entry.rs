//! Beginning a session, whatever opened it: the cookies that the visitor gets.

use std::time::Instant;

use anyhow::{Context, Result};
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::clock;
use crate::cookies;
use crate::device;
use crate::sessions::{ABSOLUTE, Scope, Visitor};
use crate::state::State;

/// Begins a session for everything and puts its cookies on `response`.
pub fn for_owner(state: &State, client: Client<'_>, mut response: Response) -> Result<Response> {
    state.throttle().know(client.address(), Instant::now());
    let device = device::id(state, client);
    let visitor = Visitor { device: device.clone(), ..client.visitor() };
    let now = clock::now();
    let token = state.sessions().begin(visitor, Scope::Everything, u64::MAX, now)?;
    set_owner(state, client, &mut response, &token, device.as_deref())?;
    Ok(response)
}

/// Gives a marked browser its living session back, if another server of the same host has overwritten or deleted the
/// cookie; nothing if it has none.
pub fn restore(
    state: &State,
    client: Client<'_>,
    response: impl FnOnce() -> Response,
) -> Option<Result<Response>> {
    let device = device::known(state, client)?;
    let token = state.sessions().restore(&device, client.address(), clock::now())?;
    audit::attempt(client, "mark", "its session", Outcome::Accepted);
    let mut response = response();
    let set = token.and_then(|token| set_owner(state, client, &mut response, &token, Some(&device)));
    Some(set.map(|()| response))
}

/// Begins a session for one service, through a share link, and puts its cookie on `response`.
pub fn for_guest(
    state: &State,
    client: Client<'_>,
    share: &portal_control::Share,
    mut response: Response,
) -> Result<Response> {
    let name = state.cookie_name().context(UNREADABLE)?;
    let scope = Scope::Share { port: share.port, service: share.service.clone(), share: share.id.clone() };
    let now = clock::now();
    let token = state.sessions().begin(client.visitor(), scope, share.expires, now)?;
    let seconds = share.expires.saturating_sub(now).min(ABSOLUTE);
    set_cookie(&mut response, client, &guest_name(&name, share.port), &token, seconds);
    Ok(response)
}

const UNREADABLE: &str = "there is no readable login";

fn set_owner(
    state: &State,
    client: Client<'_>,
    response: &mut Response,
    token: &str,
    device: Option<&str>,
) -> Result<()> {
    let name = state.cookie_name().context(UNREADABLE)?;
    set_cookie(response, client, &name, token, ABSOLUTE);
    if let Some(mark) = device.and_then(|device| device::mark(state, device)) {
        set_cookie(response, client, &device::cookie_name(&name), &mark, device::LIFE);
    }
    Ok(())
}

/// A guest's cookie has the service's port in its name: ports share a host, and so do their cookies.
pub fn guest_name(session: &str, port: u16) -> String {
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
