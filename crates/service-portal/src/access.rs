//! The page on which the owner sees who is in, and shows others out: sessions, share links, a link for the phone.

use axum::Form;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kit::settings::words;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;

use crate::answer;
use crate::client::Client;
use crate::clock;
use crate::cookies;
use crate::gate::{self, Verdict};
use crate::links;
use crate::pages::{AccessPage, PhonePage, SessionLine, ShareLine, page};
use crate::sessions::{Scope, Session};
use crate::state::State;

const HOUR: u64 = 3_600;
/// How long a link for the phone waits, in seconds.
const PHONE: u64 = 600;

#[derive(Deserialize)]
pub struct Id {
    id: String,
}

#[derive(Deserialize)]
pub struct Wanted {
    port: u16,
    hours: u64,
    #[serde(default)]
    max_uses: String,
}

/// `GET /leonardo/access`: everything at a glance.
pub async fn overview(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    match owner(&state, Client(&headers)) {
        Ok(()) => show(&state, Client(&headers), None),
        Err(refusal) => *refusal,
    }
}

/// `POST /leonardo/access/end`: ends one session.
pub async fn end(Extract(state): Extract<State>, headers: HeaderMap, Form(Id { id }): Form<Id>) -> Response {
    changing(&state, Client(&headers), |state| {
        state.sessions().end_id(&id, clock::now());
    })
}

/// `POST /leonardo/access/end-all`: ends every session, this one too.
pub async fn end_all(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    changing(&state, Client(&headers), |state| {
        let login = state.credentials().map(|known| known.fingerprint()).unwrap_or_default();
        state.sessions().end_all(&login, clock::now());
        state.codes().forget();
    })
}

/// `POST /leonardo/access/revoke`: ends a share link and its sessions.
pub async fn revoke(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Form(Id { id }): Form<Id>,
) -> Response {
    changing(&state, Client(&headers), |state| {
        state.shares().revoke(&id);
        state.sessions().end_share(&id, clock::now());
    })
}

/// `POST /leonardo/access/share`: makes a link and shows it, once.
pub async fn share(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Form(wanted): Form<Wanted>,
) -> Response {
    let client = Client(&headers);
    if let Err(refusal) = owner_changes(&state, client) {
        return *refusal;
    }
    let services = state.registry().load().map(|(services, _)| services).unwrap_or_default();
    let Some(service) = services.into_iter().find(|service| service.proxy_port == wanted.port) else {
        return answer::plain(StatusCode::NOT_FOUND, "There is no such service any more.");
    };
    let max_uses = match wanted.max_uses.trim() {
        "" => None,
        number => match number.parse() {
            Ok(uses) => Some(uses),
            Err(_) => {
                return answer::plain(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "The number of uses is not a number.",
                );
            }
        },
    };
    let seconds = wanted.hours.saturating_mul(HOUR);
    let made =
        state.shares().create(&service.service_name, service.proxy_port, seconds, max_uses, clock::now());
    match made {
        Ok((_, word)) => {
            let origin =
                links::origin(service.proxy_port, state.env(), client.authority()).unwrap_or_default();
            show(&state, client, Some(format!("{origin}{}", share_path(&word))))
        }
        Err(error) => {
            log::warn!("no share link was made: {error:#}");
            answer::plain(StatusCode::UNPROCESSABLE_ENTITY, "A link lives between an hour and a year.")
        }
    }
}

/// `POST /leonardo/access/phone`: a one-time login link as a QR code.
pub async fn phone(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    if let Err(refusal) = owner_changes(&state, client) {
        return *refusal;
    }
    let issued = state.codes().issue(PHONE, clock::now());
    let code = issued.map(|code| {
        format!("{}://{}{}", client.scheme(), client.host().unwrap_or_default(), enter_path(&code))
    });
    match code.and_then(|url| Ok((QrCode::new(&url)?, url))) {
        Ok((code, url)) => {
            let svg = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
            page(StatusCode::OK, &PhonePage { url, svg, minutes: PHONE / 60 })
        }
        Err(error) => {
            log::error!("no link for a phone: {error:#}");
            answer::plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The link could not be made; see the portal's log.",
            )
        }
    }
}

/// Where a share link leads on its service's port.
pub fn share_path(word: &str) -> String {
    format!("/leonardo/share?link={word}")
}

/// Where a one-time login link leads.
pub fn enter_path(code: &str) -> String {
    format!("/leonardo/enter?code={code}")
}

/// Lets the owner through, and nobody who has only one service.
///
/// Only on the portal's own port: a page of a service has the same origin as what is below `/leonardo/` on its port, so a
/// script that somebody smuggled into a service could otherwise make itself a login with its visitor's session.
fn owner(state: &State, client: Client<'_>) -> Result<(), Box<Response>> {
    if client.port() != Some(ports::PORTAL) {
        return Err(Box::new(answer::plain(
            StatusCode::FORBIDDEN,
            "Open this page on the portal's own port.",
        )));
    }
    match gate::judge(state, client) {
        // What was made now would still be good when the login is turned on again.
        Verdict::Open => Err(Box::new(answer::plain(
            StatusCode::FORBIDDEN,
            "WEB_ENABLE_AUTH=false: there are no logins to see or share.",
        ))),
        verdict if verdict.owns() => Ok(()),
        Verdict::Guest => {
            Err(Box::new(answer::plain(StatusCode::FORBIDDEN, "This link opens its service alone.")))
        }
        verdict => Err(Box::new(answer::refuse(verdict, client))),
    }
}

/// The same for what changes something: only a form of our own may.
fn owner_changes(state: &State, client: Client<'_>) -> Result<(), Box<Response>> {
    owner(state, client)?;
    if client.is_same_origin() == Some(true) {
        Ok(())
    } else {
        Err(Box::new(answer::plain(StatusCode::FORBIDDEN, "This form was sent from another page.")))
    }
}

fn changing(state: &State, client: Client<'_>, change: impl FnOnce(&State)) -> Response {
    if let Err(refusal) = owner_changes(state, client) {
        return *refusal;
    }
    change(state);
    answer::see_other("/leonardo/access", StatusCode::SEE_OTHER)
}

fn show(state: &State, client: Client<'_>, made: Option<String>) -> Response {
    let now = clock::now();
    let name = state.cookie_name().unwrap_or_default();
    let cookies = client.cookies();
    let own = cookies::values(&cookies, &name);
    let own: Option<String> = {
        let mut sessions = state.sessions();
        own.iter()
            .find_map(|token| sessions.touch(token, client.address(), now).map(|session| session.id.clone()))
    };
    let sessions = state.sessions().list(now);
    let sessions = sessions.into_iter().map(|session| session_line(session, own.as_deref(), now)).collect();
    let shares = state.shares().list(now).into_iter().map(|share| share_line(share, now)).collect();
    let services = state.registry().load().map(|(services, _)| services).unwrap_or_default();
    page(StatusCode::OK, &AccessPage { sessions, shares, services, made })
}

fn session_line(session: Session, own: Option<&str>, now: u64) -> SessionLine {
    let opens = match &session.scope {
        Scope::Everything => "everything".to_owned(),
        Scope::Share { port, .. } => format!("port {port}, through a link"),
    };
    SessionLine {
        is_own: own == Some(session.id.as_str()),
        used: words(now.saturating_sub(session.used)),
        began: words(now.saturating_sub(session.began)),
        address: session.address.to_string(),
        agent: session.agent,
        id: session.id,
        opens,
    }
}

fn share_line(share: portal_control::Share, now: u64) -> ShareLine {
    let uses =
        share.max_uses.map_or_else(|| share.uses.to_string(), |most| format!("{} of {most}", share.uses));
    let ends = words(share.expires.saturating_sub(now));
    ShareLine { id: share.id, service: share.service, port: share.port, ends, uses }
}
