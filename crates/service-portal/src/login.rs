//! The login form, and the way out.

use std::time::Instant;

use axum::Form;
use axum::extract::{Query, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use serde::Deserialize;

use crate::answer;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::clock;
use crate::cookies;
use crate::device;
use crate::entry;
use crate::exchange::exchange;
use crate::gate;
use crate::next::local_path;
use crate::pages::{LoginPage, page};
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
pub async fn form(
    Extract(state): Extract<State>,
    uri: Uri,
    Query(way): Query<Way>,
    headers: HeaderMap,
) -> Response {
    let (client, next) = (Client(&headers), local_path(&way.next));
    let verdict = gate::judge(&state, client);
    if let Some(response) = exchange(&state, client, &uri.to_string(), verdict.owns()) {
        return response;
    }
    if verdict.passes() {
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
    let guesser = device::guesser(&state, client, Tried::Form);
    if let Some(wait) = device::wait(&state, &guesser) {
        audit::attempt(client, "form", "unknown", Outcome::Slowed);
        return too_many(next, wait);
    }
    let (user, password) = (attempt.username.as_bytes(), attempt.password.as_bytes());
    if !state.with_credentials(|known| known.is_some_and(|known| known.accepts(user, password))) {
        state.throttle().failed(guesser, Instant::now());
        audit::attempt(client, "form", "unknown", Outcome::Refused);
        let form = LoginPage { next, message: "Wrong user name or password." };
        return page(StatusCode::UNAUTHORIZED, &form);
    }
    state.throttle().succeeded(&guesser);
    audit::attempt(client, "form", &attempt.username, Outcome::Accepted);
    entry::for_owner(&state, client, answer::see_other(next, StatusCode::SEE_OTHER)).unwrap_or_else(|error| {
        log::error!("{error:#}");
        answer::plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The session could not be started; see the portal's log.",
        )
    })
}

/// `POST /leonardo/logout`: ends the visitor's session, or a guest's.
pub async fn logout(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    if client.is_same_origin() != Some(true) {
        return answer::plain(StatusCode::FORBIDDEN, "This form was sent from another page.");
    }
    let name =
        state.with_credentials(|known| known.map(|known| known.cookie().to_owned())).unwrap_or_default();
    let mut response = answer::see_other("/leonardo/login", StatusCode::SEE_OTHER);
    let guest = client.port().map(|port| format!("{name}_{port}"));
    for name in std::iter::once(name).chain(guest) {
        for token in cookies::values(&client.cookies(), &name) {
            state.sessions().end(token, clock::now());
        }
        entry::set_cookie(&mut response, client, &name, "", 0);
    }
    response
}

fn too_many(next: &str, seconds: u64) -> Response {
    let form = LoginPage { next, message: "Too many failed attempts. Please wait a little and try again." };
    let mut response = page(StatusCode::TOO_MANY_REQUESTS, &form);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_form_is_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut form = b"username=ada&password=p%26w&".to_vec();
            form.extend(&bytes);
            if let Ok(attempt) = serde_urlencoded::from_bytes::<Attempt>(&form) {
                proptest::prop_assert_eq!((attempt.username.as_str(), attempt.password.as_str()), ("ada", "p&w"));
            }
        }
    }
}
