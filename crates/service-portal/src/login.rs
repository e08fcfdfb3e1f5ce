//! The login form and the logout.
//!
//! A page of a service has the same origin as `/leonardo/` on its port: it could read a login form there, or replace it. So
//! the form is on the portal's port if that can be reached. The session then also holds for the service: by the cookie, if
//! the host is the same, otherwise by a handover code.

use std::time::Instant;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use kit::unix_time;
use serde::Deserialize;

use crate::app_state::AppState;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::client_network::session_network;
use crate::cookies;
use crate::gate;
use crate::host::Authority;
use crate::known_device;
use crate::login_handover;
use crate::origins::Origins;
use crate::pages::{LoginPage, PortalLinkPage, render};
use crate::response;
use crate::return_path::{percent_encode, safe_path};
use crate::session_start;
use crate::throttle::AttemptKind;
use crate::url_token;
use crate::verdict::Verdict;

const TOO_MANY_MESSAGE: &str = "Too many failed attempts. Try again later, or run portal-link in the container for a one-time \
                                login link.";

/// Query of the login form's URL.
#[derive(Deserialize)]
pub struct LoginQuery {
    #[serde(default)]
    next: String,
    /// Public port of the service that sent the visitor to the portal.
    #[serde(default)]
    port: String,
    /// Present if the form is requested on this port, because the portal's port cannot be reached.
    here: Option<String>,
}

/// Fields of the login form.
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

/// `GET /login`: shows the form, or redirects a visitor who is logged in.
pub async fn login_form(
    State(state): State<AppState>,
    uri: Uri,
    Query(query): Query<LoginQuery>,
    headers: HeaderMap,
) -> Response {
    let client = Client(&headers);
    let destination = Destination::new(&state, client, &query.port, &query.next);
    let verdict = gate::verdict_for(&state, client);
    if matches!(verdict, Verdict::UnknownHost | Verdict::CrossOrigin) {
        return response::refuse(verdict, client);
    }
    if let Some(response) = url_token::exchange_for_session(&state, client, &uri.to_string(), verdict) {
        return response;
    }
    if verdict.is_allowed() {
        return if verdict == Verdict::Open {
            destination.redirect()
        } else {
            destination.redirect_with_session(&state)
        };
    }
    if let Some(response) =
        session_start::restore(&state, client, || destination.redirect_with_session(&state))
    {
        return response.unwrap_or_else(session_start::session_error);
    }
    match Origins::new(&state, client).portal().filter(|_| query.here.is_none()) {
        Some(portal) => portal_link_page(&state, client, &portal, destination.next),
        None => destination.render_form(&state, client, StatusCode::OK, "", ""),
    }
}

/// `POST /login`: starts a session, or slows down further attempts after a wrong password.
pub async fn submit(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(attempt): Form<LoginForm>,
) -> Response {
    let client = Client(&headers);
    let destination = Destination::new(&state, client, &attempt.port, &attempt.next);
    if client.is_same_origin() != Some(true) && !is_valid_proof(&state, client, &attempt.proof) {
        return response::text_error(
            StatusCode::FORBIDDEN,
            "This form has expired or came from another page. Reload the login page.",
        );
    }
    let guesser = known_device::guesser(&state, client, AttemptKind::Form);
    if let Some(wait) = known_device::wait_seconds(&state, &guesser) {
        audit::log_attempt(client, "form", "unknown", Outcome::Slowed);
        return too_many(&state, client, &destination, &attempt.username, wait);
    }
    let (user, password) = (attempt.username.as_bytes(), attempt.password.as_bytes());
    if !state.credentials().is_some_and(|known| known.accepts(user, password)) {
        state.throttle().record_failure(guesser, Instant::now());
        audit::log_attempt(client, "form", "unknown", Outcome::Refused);
        return destination.render_form(
            &state,
            client,
            StatusCode::UNAUTHORIZED,
            &attempt.username,
            "Wrong user name or password.",
        );
    }
    state.throttle().record_success(&guesser);
    audit::log_attempt(client, "form", &attempt.username, Outcome::Accepted);
    session_start::start_owner_session(&state, client, destination.redirect_with_session(&state))
        .unwrap_or_else(session_start::session_error)
}

/// `POST /leonardo/logout`: ends a guest's session, and on the portal's port the owner's.
///
/// Not the owner's elsewhere: a page of a service could log the owner out and show a login form of its own.
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
            state.sessions().end(token);
        }
        session_start::set_cookie(&mut response, client, &name, "", 0);
    }
    response
}

/// Destination of a visitor after the login.
struct Destination<'a> {
    /// Origin of a service's port; `None` for the port of the form.
    origin: Option<String>,
    /// Port of the service, which the form sends again.
    port: &'a str,
    /// True if the session cookie is also sent to that origin, because it has the same host.
    has_cookie: bool,
    next: &'a str,
}

impl<'a> Destination<'a> {
    /// Creates the destination. Only the portal redirects to other ports, and only to those of registered services.
    fn new(state: &AppState, client: Client<'_>, port: &'a str, next: &'a str) -> Self {
        let number = port.parse().ok().filter(|_| client.port() == Some(ports::PORTAL));
        let number = number.filter(|&number| state.is_registered(number));
        let origin = number.and_then(|number| Origins::new(state, client).of(number));
        let host = origin.as_deref().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        let has_cookie =
            host.is_none_or(|host| Authority::parse(host).canonical() == client.authority().canonical());
        Self { port: if origin.is_some() { port } else { "" }, origin, has_cookie, next: safe_path(next) }
    }

    /// Redirects to the destination, with a handover code if the cookie is not sent there.
    fn redirect_with_session(&self, state: &AppState) -> Response {
        if self.has_cookie {
            self.redirect()
        } else {
            login_handover::start_handover(state, self.origin(), self.next)
        }
    }

    fn redirect(&self) -> Response {
        response::redirect(&format!("{}{}", self.origin(), self.next), StatusCode::SEE_OTHER)
    }

    fn origin(&self) -> &str {
        self.origin.as_deref().unwrap_or_default()
    }

    /// Renders the form. On a service's port it has an opaque origin, so that no page of the service can read it. Its request
    /// then has no usable `Origin`, and a signed proof is checked instead.
    fn render_form(
        &self,
        state: &AppState,
        client: Client<'_>,
        status: StatusCode,
        username: &str,
        message: &str,
    ) -> Response {
        let is_portal = client.port() == Some(ports::PORTAL);
        let proof = if is_portal { String::new() } else { sign_proof(state, client) };
        let (title, container) = (state.title(), state.container_name());
        let shown = LoginPage {
            title,
            container,
            next: self.next,
            port: self.port,
            username,
            message,
            proof: &proof,
        };
        let mut response = render(status, &shown);
        if !is_portal {
            response::sandbox(&mut response);
        } else if let Some(origin) = &self.origin {
            response::allow_origin(&mut response, origin);
        }
        response
    }
}

/// Renders the link to the form on the portal's port. A script follows it if that port belongs to this portal, otherwise it
/// opens the form on this port.
fn portal_link_page(state: &AppState, client: Client<'_>, portal: &str, next: &str) -> Response {
    let next = percent_encode(next);
    let port = client.port().unwrap_or_default();
    let nonce = web_login::instance().unwrap_or_default();
    let shown = PortalLinkPage {
        title: state.title(),
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

/// Purpose of the signature.
const IDENTITY: &str = "identity";

/// Query of [`identity`].
#[derive(Deserialize)]
pub struct IdentityQuery {
    #[serde(default)]
    nonce: String,
}

/// `GET /leonardo/identity?nonce=…` on the portal's port: proves to the portal's page at another port that it is the same
/// container.
pub async fn identity(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(IdentityQuery { nonce }): Query<IdentityQuery>,
) -> Response {
    let is_word = !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if Client(&headers).port() != Some(ports::PORTAL) || !is_word || nonce.len() > 64 {
        return response::text_error(StatusCode::NOT_FOUND, "Page not found.");
    }
    ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], state.key().sign(IDENTITY, &nonce)).into_response()
}

/// Lifetime of a form, in seconds.
const FORM_LIFETIME: u64 = 3_600;

/// Returns a signed time stamp: the form was sent to this visitor's network at that time.
fn sign_proof(state: &AppState, client: Client<'_>) -> String {
    state.key().sign(&purpose(client), &unix_time::now().to_string())
}

/// True if the proof is valid for this visitor and has not expired.
fn is_valid_proof(state: &AppState, client: Client<'_>, proof: &str) -> bool {
    let sent = state.key().verify(&purpose(client), proof).and_then(|word| word.parse::<u64>().ok());
    sent.is_some_and(|sent| unix_time::now() < sent + FORM_LIFETIME)
}

/// Returns the purpose of the signature, which binds it to the port and the visitor's network.
fn purpose(client: Client<'_>) -> String {
    format!("form {:?} {}", client.port(), session_network(client.address()))
}

/// Renders the form with the message that there were too many failed attempts.
fn too_many(
    state: &AppState,
    client: Client<'_>,
    destination: &Destination<'_>,
    username: &str,
    seconds: u64,
) -> Response {
    let mut response =
        destination.render_form(state, client, StatusCode::TOO_MANY_REQUESTS, username, TOO_MANY_MESSAGE);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_form_is_parsed_or_rejected(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut form = b"username=ada&password=p%26w&".to_vec();
            form.extend(&bytes);
            if let Ok(attempt) = serde_urlencoded::from_bytes::<LoginForm>(&form) {
                proptest::prop_assert_eq!((attempt.username.as_str(), attempt.password.as_str()), ("ada", "p&w"));
            }
        }
    }
}
