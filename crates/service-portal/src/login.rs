//! The login form, and the way out.
//!
//! A service's page shares the origin of its port with what is below `/leonardo/` there, so the password is typed on the
//! portal's port alone where that can be reached: a page of the service could read the form, or put another one in its
//! place. The session then goes to the service: by the cookie, if the host is the same, else by a code that is good once.

use std::time::Instant;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::app_state::AppState;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::client_network::session_network;
use crate::cookies;
use crate::gate;
use crate::handover;
use crate::host::Authority;
use crate::known_device;
use crate::pages::{LoginPage, PortalLinkPage, render};
use crate::response;
use crate::return_path::{percent_encode, safe_path};
use crate::service_links;
use crate::session_start;
use crate::throttle::AttemptKind;
use crate::unix_time;
use crate::url_token;
use crate::verdict::Verdict;

const TOO_MANY: &str = "Too many failed attempts. Wait a little and try again. Or run portal-link inside the container: it \
                        prints a link that logs one browser in.";

#[derive(Deserialize)]
pub struct LoginQuery {
    #[serde(default)]
    next: String,
    /// The service that sent the visitor to the portal, by its public port.
    #[serde(default)]
    port: String,
    /// Present if the form is wanted on this port, because the portal's cannot be reached.
    here: Option<String>,
}

#[derive(Deserialize)]
pub struct LoginForm {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    proof: String,
}

/// `GET /login`: the form, or straight on for somebody who is logged in.
pub async fn login_form(
    State(state): State<AppState>,
    uri: Uri,
    Query(way): Query<LoginQuery>,
    headers: HeaderMap,
) -> Response {
    let client = Client(&headers);
    let goal = Destination::new(&state, client, &way.port, &way.next);
    let verdict = gate::verdict_for(&state, client);
    if matches!(verdict, Verdict::UnknownHost | Verdict::CrossOrigin) {
        return response::refuse(verdict, client);
    }
    if let Some(response) = url_token::exchange_for_session(&state, client, &uri.to_string(), verdict) {
        return response;
    }
    if verdict.is_allowed() {
        return if verdict == Verdict::Open { goal.redirect() } else { goal.redirect_with_session(&state) };
    }
    if let Some(response) = session_start::restore(&state, client, || goal.redirect_with_session(&state)) {
        return response.unwrap_or_else(session_start::session_error);
    }
    match service_links::portal_origin(state.env(), client).filter(|_| way.here.is_none()) {
        Some(portal) => portal_link_page(&state, client, &portal, goal.next),
        None => goal.render_form(&state, client, StatusCode::OK, ""),
    }
}

/// `POST /login`: a session for the right password, a slower answer for every wrong one.
pub async fn submit(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(attempt): Form<LoginForm>,
) -> Response {
    let client = Client(&headers);
    let goal = Destination::new(&state, client, &attempt.port, &attempt.next);
    if client.is_same_origin() != Some(true) && !is_valid_proof(&state, client, &attempt.proof) {
        return response::text_error(
            StatusCode::FORBIDDEN,
            "This form was sent from another page, or it is old. Open the login page itself.",
        );
    }
    let guesser = known_device::guesser(&state, client, AttemptKind::Form);
    if let Some(wait) = known_device::wait_seconds(&state, &guesser) {
        audit::log_attempt(client, "form", "unknown", Outcome::Slowed);
        return too_many(&state, client, &goal, wait);
    }
    let (user, password) = (attempt.username.as_bytes(), attempt.password.as_bytes());
    if !state.credentials().is_some_and(|known| known.accepts(user, password)) {
        state.throttle().record_failure(guesser, Instant::now());
        audit::log_attempt(client, "form", "unknown", Outcome::Refused);
        return goal.render_form(&state, client, StatusCode::UNAUTHORIZED, "Wrong user name or password.");
    }
    state.throttle().record_success(&guesser);
    audit::log_attempt(client, "form", &attempt.username, Outcome::Accepted);
    session_start::start_owner_session(&state, client, goal.redirect_with_session(&state))
        .unwrap_or_else(session_start::session_error)
}

/// `POST /leonardo/logout`: ends a guest's session, and on the portal's own port the owner's.
///
/// A page of a service can send this form, too: it could log the owner out to show a login form of its own.
pub async fn logout(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    if client.is_same_origin() != Some(true) {
        return response::text_error(StatusCode::FORBIDDEN, "This form was sent from another page.");
    }
    let name = state.cookie_name().unwrap_or_default();
    let mut response = response::redirect("/leonardo/login", StatusCode::SEE_OTHER);
    let owner = (client.port() == Some(ports::PORTAL)).then(|| name.clone());
    let guest = client.port().map(|port| session_start::guest_cookie_name(&name, port));
    for name in owner.into_iter().chain(guest) {
        for token in cookies::values(&client.cookies(), &name) {
            state.sessions().end(token, unix_time::now());
        }
        session_start::set_cookie(&mut response, client, &name, "", 0);
    }
    response
}

/// Destination of a visitor after the login.
struct Destination<'a> {
    /// The origin of a service's port; nothing for the port of the form.
    origin: Option<String>,
    /// The service's port, as the form repeats it.
    port: &'a str,
    /// True if the cookie reaches that origin: it has the same host.
    has_cookie: bool,
    next: &'a str,
}

impl<'a> Destination<'a> {
    /// Only the portal leads to other ports, and only to those of registered services.
    fn new(state: &AppState, client: Client<'_>, port: &'a str, next: &'a str) -> Self {
        let number = port.parse().ok().filter(|_| client.port() == Some(ports::PORTAL));
        let number = number.filter(|&number| state.is_registered(number));
        let origin =
            number.and_then(|number| service_links::public_origin(number, state.env(), client.authority()));
        let host = origin.as_deref().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        let has_cookie =
            host.is_none_or(|host| Authority::parse(host).canonical() == client.authority().canonical());
        Self { port: if origin.is_some() { port } else { "" }, origin, has_cookie, next: safe_path(next) }
    }

    /// Goes there with the session that the visitor has now.
    fn redirect_with_session(&self, state: &AppState) -> Response {
        if self.has_cookie {
            self.redirect()
        } else {
            handover::start_handover(state, self.origin(), self.next)
        }
    }

    fn redirect(&self) -> Response {
        response::redirect(&format!("{}{}", self.origin(), self.next), StatusCode::SEE_OTHER)
    }

    fn origin(&self) -> &str {
        self.origin.as_deref().unwrap_or_default()
    }

    /// The form. On a service's port, it has an origin of its own, so that no page of the service can read it; its request
    /// then names no origin, and is known by a proof.
    fn render_form(
        &self,
        state: &AppState,
        client: Client<'_>,
        status: StatusCode,
        message: &str,
    ) -> Response {
        let is_portal = client.port() == Some(ports::PORTAL);
        let proof = if is_portal { String::new() } else { sign_proof(state, client) };
        let shown = LoginPage { next: self.next, port: self.port, message, proof: &proof };
        let mut response = render(status, &shown);
        if !is_portal {
            response::sandbox(&mut response);
        } else if let Some(origin) = &self.origin {
            response::allow_origin(&mut response, origin);
        }
        response
    }
}

/// The way to the form on the portal's port. A script of ours goes there if that port is found to be this portal's, and
/// else to the form on this one.
fn portal_link_page(state: &AppState, client: Client<'_>, portal: &str, next: &str) -> Response {
    let next = percent_encode(next);
    let port = client.port().unwrap_or_default();
    let nonce = web_login::instance().unwrap_or_default();
    let shown = PortalLinkPage {
        host: portal.split_once("://").map_or(portal, |(_, host)| host),
        href: &format!("{portal}/leonardo/login?port={port}&next={next}"),
        here: &format!("/leonardo/login?here=1&next={next}"),
        nonce: &nonce,
        identity: &state.key().sign(IDENTITY, &nonce),
    };
    let mut response = render(StatusCode::OK, &shown);
    response::allow_origin(&mut response, portal);
    response
}

/// Keeps the signature of an answer from being used as anything else.
const IDENTITY: &str = "identity";

#[derive(Deserialize)]
pub struct IdentityQuery {
    #[serde(default)]
    nonce: String,
}

/// `GET /leonardo/identity?nonce=…` on the portal's own port: proves to a page of ours at another port that this is the same
/// container.
pub async fn identity(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(IdentityQuery { nonce }): Query<IdentityQuery>,
) -> Response {
    let plain = !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if Client(&headers).port() != Some(ports::PORTAL) || !plain || nonce.len() > 64 {
        return response::text_error(StatusCode::NOT_FOUND, "There is no such page.");
    }
    ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], state.key().sign(IDENTITY, &nonce)).into_response()
}

/// Lifetime of a form, in seconds.
const FORM: u64 = 3_600;

/// Returns a signature that proves that a form was sent to this visitor's network lately.
fn sign_proof(state: &AppState, client: Client<'_>) -> String {
    state.key().sign(&purpose(client), &unix_time::now().to_string())
}

fn is_valid_proof(state: &AppState, client: Client<'_>, proof: &str) -> bool {
    let sent = state.key().verify(&purpose(client), proof).and_then(|word| word.parse::<u64>().ok());
    sent.is_some_and(|sent| unix_time::now() < sent + FORM)
}

fn purpose(client: Client<'_>) -> String {
    format!("form {:?} {}", client.port(), session_network(client.address()))
}

fn too_many(state: &AppState, client: Client<'_>, goal: &Destination<'_>, seconds: u64) -> Response {
    let mut response = goal.render_form(state, client, StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
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
            if let Ok(attempt) = serde_urlencoded::from_bytes::<LoginForm>(&form) {
                proptest::prop_assert_eq!((attempt.username.as_str(), attempt.password.as_str()), ("ada", "p&w"));
            }
        }
    }
}
