//! The access page, on which the owner lists and ends sessions and share links, and creates links.

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kit::duration::words;
use kit::unix_time;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;

use crate::app_state::AppState;
use crate::client::Client;
use crate::cookies;
use crate::frame::{Frame, Page};
use crate::origins::Origins;
use crate::page_access::{require_owner, require_owner_form};
use crate::pages::{AccessPage, PhonePage, SessionLine, ShareLine, render};
use crate::response;
use crate::sessions::{Scope, Session};
use crate::verdict::Verdict;

const HOUR: u64 = 3_600;
/// Lifetime of a login link for a phone, in seconds.
const PHONE_LINK_LIFETIME: u64 = 600;

/// Public id of a session or share link.
#[derive(Deserialize)]
pub struct IdForm {
    id: String,
}

/// Fields of the form for a new share link.
#[derive(Deserialize)]
pub struct ShareForm {
    port: u16,
    hours: u64,
    #[serde(default)]
    max_uses: String,
}

/// `GET /leonardo/access`: lists sessions and share links.
pub async fn overview(State(state): State<AppState>, headers: HeaderMap) -> Response {
    match require_manager(&state, Client(&headers)) {
        Ok(verdict) => render_overview(&state, Client(&headers), verdict, None),
        Err(refusal) => *refusal,
    }
}

/// `POST /leonardo/access/end`: ends one session.
pub async fn end_session(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(IdForm { id }): Form<IdForm>,
) -> Response {
    change_and_redirect(&state, Client(&headers), |state| {
        state.sessions().end_by_id(&id, unix_time::now());
    })
}

/// `POST /leonardo/access/end-all`: ends every session, including this one.
pub async fn end_all(State(state): State<AppState>, headers: HeaderMap) -> Response {
    change_and_redirect(&state, Client(&headers), |state| {
        let login = state.credentials().map(|known| known.fingerprint()).unwrap_or_default();
        state.sessions().end_all(&login, unix_time::now());
        state.login_codes().clear();
    })
}

/// `POST /leonardo/access/revoke`: revokes a share link and ends its sessions.
pub async fn revoke_share(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(IdForm { id }): Form<IdForm>,
) -> Response {
    change_and_redirect(&state, Client(&headers), |state| {
        state.shares().revoke(&id);
        state.sessions().end_share(&id, unix_time::now());
    })
}

/// `POST /leonardo/access/share`: creates a share link and shows it once.
pub async fn create_share(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(form): Form<ShareForm>,
) -> Response {
    let client = Client(&headers);
    let verdict = match require_manager_form(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    let services = state.registry().load().map(|(services, _)| services).unwrap_or_default();
    let Some(service) = services.into_iter().find(|service| service.proxy_port == form.port) else {
        return response::text_error(StatusCode::NOT_FOUND, "This service is no longer registered.");
    };
    let max_uses = match form.max_uses.trim() {
        "" => None,
        number => match number.parse() {
            Ok(uses) => Some(uses),
            Err(_) => {
                return response::text_error(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "The number of uses is not a number.",
                );
            }
        },
    };
    let seconds = form.hours.saturating_mul(HOUR);
    let created =
        state.shares().create(&service.service_name, service.proxy_port, seconds, max_uses, unix_time::now());
    match created {
        Ok((_, word)) => {
            let origin = Origins::new(&state, client).of(service.proxy_port).unwrap_or_default();
            let url = format!("{origin}{}", share_link_path(&word));
            render_overview(&state, client, verdict, Some(url))
        }
        Err(error) => {
            log::warn!("cannot create a share link: {error:#}");
            response::text_error(
                StatusCode::UNPROCESSABLE_ENTITY,
                "A link must expire within one hour to one year.",
            )
        }
    }
}

/// Returns the portal's origin for a phone: the visitor's, or a tunnel if that is a name of the visitor's own machine.
fn phone_origin(state: &AppState, client: Client<'_>) -> String {
    let authority = client.authority();
    let is_loopback = authority.address().is_some_and(|address| address.is_loopback());
    let tunnels = state.tunnels();
    let tunnel = tunnels.url(ports::PORTAL).filter(|_| authority.is_localhost() || is_loopback);
    let visited = || format!("{}://{}", client.scheme(), client.host().unwrap_or_default());
    tunnel.map_or_else(visited, str::to_owned)
}

/// `POST /leonardo/access/phone`: shows a one-time login link as a QR code.
pub async fn create_phone_link(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    if let Err(refusal) = require_manager_form(&state, client) {
        return *refusal;
    }
    let issued = state.login_codes().issue(PHONE_LINK_LIFETIME, unix_time::now());
    let origin = phone_origin(&state, client);
    let code = issued.map(|code| format!("{origin}{}", login_link_path(&code)));
    match code.and_then(|url| Ok((QrCode::new(&url)?, url))) {
        Ok((code, url)) => {
            let svg = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
            render(StatusCode::OK, &PhonePage { url, svg, minutes: PHONE_LINK_LIFETIME / 60 })
        }
        Err(error) => {
            log::error!("cannot create a login link for a phone: {error:#}");
            response::text_error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The link could not be created; see the portal's log.",
            )
        }
    }
}

/// Returns the path of a share link, on the port of its service.
pub fn share_link_path(word: &str) -> String {
    format!("/leonardo/share?link={word}")
}

/// Returns the path of a one-time login link, on the portal's port.
pub fn login_link_path(code: &str) -> String {
    format!("/leonardo/enter?code={code}")
}

/// Like [`require_owner`], where there is something to manage.
fn require_manager(state: &AppState, client: Client<'_>) -> Result<Verdict, Box<Response>> {
    refuse_without_login(require_owner(state, client)?)
}

/// Like [`require_owner_form`], where there is something to manage.
fn require_manager_form(state: &AppState, client: Client<'_>) -> Result<Verdict, Box<Response>> {
    refuse_without_login(require_owner_form(state, client)?)
}

/// A link created without a login would still be valid when the login is enabled again.
fn refuse_without_login(verdict: Verdict) -> Result<Verdict, Box<Response>> {
    match verdict {
        Verdict::Open => Err(Box::new(response::text_error(
            StatusCode::FORBIDDEN,
            "WEB_ENABLE_AUTH=false: there are no sessions or links to manage.",
        ))),
        verdict => Ok(verdict),
    }
}

/// Makes a change for the owner and returns to the page.
fn change_and_redirect(state: &AppState, client: Client<'_>, change: impl FnOnce(&AppState)) -> Response {
    if let Err(refusal) = require_manager_form(state, client) {
        return *refusal;
    }
    change(state);
    response::redirect("/leonardo/access", StatusCode::SEE_OTHER)
}

/// Renders the page; `new_link` is the URL of a link that was just created.
fn render_overview(
    state: &AppState,
    client: Client<'_>,
    verdict: Verdict,
    new_link: Option<String>,
) -> Response {
    let now = unix_time::now();
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
    let frame = Frame::new(state, client, verdict, Page::Access);
    render(StatusCode::OK, &AccessPage { frame, sessions, shares, services, new_link })
}

fn session_line(session: Session, own: Option<&str>, now: u64) -> SessionLine {
    let access = match &session.scope {
        Scope::Everything => "everything".to_owned(),
        Scope::Share { port, .. } => format!("port {port}, through a share link"),
    };
    SessionLine {
        is_own: own == Some(session.id.as_str()),
        used: words(now.saturating_sub(session.used)),
        began: words(now.saturating_sub(session.began)),
        address: session.address.to_string(),
        agent: session.agent,
        id: session.id,
        access,
    }
}

fn share_line(share: portal_control::Share, now: u64) -> ShareLine {
    let uses =
        share.max_uses.map_or_else(|| share.uses.to_string(), |most| format!("{} of {most}", share.uses));
    let ends = words(share.expires.saturating_sub(now));
    ShareLine { id: share.id, service: share.service, port: share.port, ends, uses }
}
