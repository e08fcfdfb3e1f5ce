//! The login form, and the way out.

use std::time::Instant;

use axum::Form;
use axum::extract::{Query, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use crate::answer;
use crate::client::Client;
use crate::cookies;
use crate::gate;
use crate::next::local_path;
use crate::pages::{LoginPage, page};
use crate::sessions::ABSOLUTE;
use crate::state::State;
use crate::throttle::Way as Tried;

#[derive(Deserialize)]
pub struct Way {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct Attempt {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`: the form, or straight on for somebody who is logged in.
pub async fn form(Extract(state): Extract<State>, Query(way): Query<Way>, headers: HeaderMap) -> Response {
    let next = local_path(&way.next);
    if gate::judge(&state, Client(&headers)).passes() {
        return answer::see_other(next, StatusCode::SEE_OTHER);
    }
    page(StatusCode::OK, &LoginPage { next, message: "" })
}

/// `POST /login`: a session for the right password, a slower answer for every wrong one.
pub async fn attempt(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Form(attempt): Form<Attempt>,
) -> Response {
    let client = Client(&headers);
    let next = local_path(&attempt.next);
    if client.is_same_origin() != Some(true) {
        return answer::plain(
            StatusCode::FORBIDDEN,
            "This form was sent from another page. Open the login page itself.",
        );
    }
    let (address, now) = (client.address(), Instant::now());
    if let Some(wait) = state.throttle().wait(Tried::Form, address, now) {
        log::warn!("login from {address} refused: too many failures, {} s to wait", wait.as_secs() + 1);
        return too_many(next, wait.as_secs() + 1);
    }
    let cookie = state.with_credentials(|known| {
        known
            .filter(|known| known.accepts(attempt.username.as_bytes(), attempt.password.as_bytes()))
            .map(|known| known.cookie().to_owned())
    });
    let Some(cookie) = cookie else {
        state.throttle().failed(Tried::Form, address, now);
        log::warn!("login from {address} refused: wrong user or password");
        let form = LoginPage { next, message: "Wrong user name or password." };
        return page(StatusCode::UNAUTHORIZED, &form);
    };
    state.throttle().succeeded(Tried::Form, address);
    let begun = state.sessions().begin(now);
    match begun {
        Ok(token) => {
            log::info!("login from {address} accepted");
            let mut response = answer::see_other(next, StatusCode::SEE_OTHER);
            set_cookie(&mut response, &cookie, &token, ABSOLUTE.as_secs(), client.is_https());
            response
        }
        Err(error) => {
            log::error!("login from {address} failed: {error:#}");
            answer::plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The session could not be started; see the portal's log.",
            )
        }
    }
}

/// `POST /leonardo/logout`: ends the visitor's session.
pub async fn logout(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    if client.is_same_origin() != Some(true) {
        return answer::plain(StatusCode::FORBIDDEN, "This form was sent from another page.");
    }
    let name = state.with_credentials(|known| known.map(|known| known.cookie().to_owned()));
    let mut response = answer::see_other("/leonardo/login", StatusCode::SEE_OTHER);
    if let Some(name) = name {
        for token in cookies::values(&client.cookies(), &name) {
            state.sessions().end(token);
        }
        set_cookie(&mut response, &name, "", 0, client.is_https());
    }
    response
}

fn too_many(next: &str, seconds: u64) -> Response {
    let form = LoginPage { next, message: "Too many failed attempts. Please wait a little and try again." };
    let mut response = page(StatusCode::TOO_MANY_REQUESTS, &form);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// `Secure` only for visitors by https: over plain http the browser would drop the cookie.
fn set_cookie(response: &mut Response, name: &str, value: &str, seconds: u64, https: bool) {
    let secure = if https { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
