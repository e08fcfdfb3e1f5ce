//! Ways in without a password: one-time login links, share links, and the end of a login that was made elsewhere.
//!
//! Opening the link shows a button, and the click is what counts: chat programs and mail scanners that look at a link
//! beforehand use nothing up.

use axum::Form;
use axum::extract::{Query, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use portal_control::Share;
use serde::Deserialize;

use crate::answer;
use crate::audit::{self, Outcome};
use crate::client::Client;
use crate::clock;
use crate::entry;
use crate::log_limit;
use crate::next::{escape, is_local};
use crate::pages::{LinkPage, page};
use crate::shares::Refusal;
use crate::state::State;

#[derive(Deserialize)]
pub struct Code {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    link: String,
}

#[derive(Deserialize)]
pub struct Arrival {
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

const USED: &str = "This link has been used already, or it has expired. Ask for a new one.";
const FOREIGN: &str = "This form was sent from another page. Open the link itself.";
const FAILED: &str = "The session could not be started; see the portal's log.";

/// `GET /leonardo/enter?code=…`: the button.
pub async fn code_page(Extract(state): Extract<State>, Query(Code { code }): Query<Code>) -> Response {
    state.credentials();
    if state.codes().knows(&code, clock::now()) {
        let question = "Log in to all services of this container with this browser?";
        page(StatusCode::OK, &LinkPage::button("/leonardo/enter", "code", &code, question, "Log in"))
    } else {
        page(StatusCode::GONE, &LinkPage::dead(USED))
    }
}

/// `POST /leonardo/enter`: the session.
pub async fn code(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Form(Code { code }): Form<Code>,
) -> Response {
    let client = Client(&headers);
    if client.is_same_origin() != Some(true) {
        return answer::plain(StatusCode::FORBIDDEN, FOREIGN);
    }
    // A login that has changed takes its links along, which is noticed here at the latest.
    state.credentials();
    let good = state.codes().redeem(&code, clock::now());
    audit::attempt(client, "one-time-link", "link", if good { Outcome::Accepted } else { Outcome::Refused });
    if !good {
        return page(StatusCode::GONE, &LinkPage::dead(USED));
    }
    entry::for_owner(&state, client, answer::see_other("/", StatusCode::SEE_OTHER)).unwrap_or_else(failed)
}

/// `GET /leonardo/share?link=…`: the button.
pub async fn share_page(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Query(Link { link }): Query<Link>,
) -> Response {
    let port = Client(&headers).port().unwrap_or_default();
    let checked = state.shares().check(&link, port, clock::now()).cloned();
    match checked.and_then(|share| still_there(&state, share)) {
        Ok(share) => {
            let question = format!("{} was shared with you.", share.service);
            page(StatusCode::OK, &LinkPage::button("/leonardo/share", "link", &link, &question, "Open"))
        }
        Err(refusal) => page(status(refusal), &LinkPage::dead(refusal.words())),
    }
}

/// `POST /leonardo/share`: a session for that service and nothing else.
pub async fn share(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Form(Link { link }): Form<Link>,
) -> Response {
    let client = Client(&headers);
    if client.is_same_origin() != Some(true) {
        return answer::plain(StatusCode::FORBIDDEN, FOREIGN);
    }
    let (port, now) = (client.port().unwrap_or_default(), clock::now());
    let checked = state.shares().check(&link, port, now).cloned();
    let redeemed = checked
        .and_then(|share| still_there(&state, share))
        .and_then(|_| state.shares().redeem(&link, port, now));
    match redeemed {
        Ok(share) => {
            audit::attempt(client, "share-link", &share.id, Outcome::Accepted);
            entry::for_guest(&state, client, &share, answer::see_other("/", StatusCode::SEE_OTHER))
                .unwrap_or_else(failed)
        }
        Err(refusal) => {
            audit::attempt(client, "share-link", "unknown", Outcome::Refused);
            page(status(refusal), &LinkPage::dead(refusal.words()))
        }
    }
}

/// Lifetime of a hand-over code, in seconds.
const HAND_OVER: u64 = 60;

/// Sends a visitor who has just proved to be the owner to `next` at another origin of ours (or at this one, if it is empty),
/// where the session begins.
pub fn hand_over(state: &State, origin: &str, next: &str) -> Response {
    // A login that has changed takes its codes along; this one belongs to the present login.
    state.credentials();
    match state.hand_overs().issue(HAND_OVER, clock::now()) {
        Ok(code) => {
            let path = format!("{origin}/leonardo/arrive?code={code}&next={}", escape(next));
            answer::see_other(&path, StatusCode::SEE_OTHER)
        }
        Err(error) => failed(error),
    }
}

/// `GET /leonardo/arrive?code=…&next=…`: the session. A code that is used up is one that a browser asks for again.
pub async fn arrive(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Query(Arrival { code, next }): Query<Arrival>,
) -> Response {
    let client = Client(&headers);
    let next = if is_local(&next) { next.as_str() } else { "/" };
    state.credentials();
    let good = state.hand_overs().redeem(&code, clock::now());
    let response = answer::see_other(next, StatusCode::SEE_OTHER);
    if good { entry::for_owner(&state, client, response).unwrap_or_else(failed) } else { response }
}

/// A link to one service does not open another one that has its port now.
fn still_there(state: &State, share: Share) -> Result<Share, Refusal> {
    if state.has_service(share.port, &share.service) { Ok(share) } else { Err(Refusal::OtherService) }
}

fn status(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Unknown | Refusal::OtherService => StatusCode::NOT_FOUND,
        Refusal::Expired | Refusal::UsedUp => StatusCode::GONE,
    }
}

/// Answers a visitor whose session could not be started.
#[allow(clippy::needless_pass_by_value, reason = "the shape that unwrap_or_else wants")]
pub fn failed(error: anyhow::Error) -> Response {
    log_limit::error(&error);
    answer::plain(StatusCode::INTERNAL_SERVER_ERROR, FAILED)
}
