//! The access page, on which the owner lists and ends sessions, share links and API tokens, and creates links and tokens.

mod view;

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kit::unix_time;
use serde::Deserialize;

use crate::api_tokens::TokenScope;
use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{Frame, Page};
use crate::origins::Origins;
use crate::page_access::{require_owner, require_owner_form};
use crate::pages::{PhonePage, render};
use crate::qr_code;
use crate::response;
use crate::verdict::Verdict;

use view::{AccessPage, Notice};

pub use view::own_session;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
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
        Ok(verdict) => render(StatusCode::OK, &AccessPage::new(&state, Client(&headers), verdict, None)),
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
        state.sessions().end_by_id(&id);
    })
}

/// `POST /leonardo/access/end-all`: ends every session, including this one.
pub async fn end_all(State(state): State<AppState>, headers: HeaderMap) -> Response {
    change_and_redirect(&state, Client(&headers), |state| {
        let login = state.credentials().map(|known| known.fingerprint()).unwrap_or_default();
        state.sessions().end_all(&login);
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
        state.sessions().end_share(&id);
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
    let created = new_share_link(&state, client, &form);
    render_result(&state, client, verdict, created)
}

/// Returns the URL of a new link, or the reason why there is none.
fn new_share_link(state: &AppState, client: Client<'_>, form: &ShareForm) -> Result<Notice, String> {
    let services = state.registry().load().map(|(services, _)| services).unwrap_or_default();
    let service = services
        .into_iter()
        .find(|service| service.proxy_port == form.port)
        .ok_or("This service is no longer registered.")?;
    let max_uses = match form.max_uses.trim() {
        "" => None,
        number => Some(number.parse().map_err(|_| "The number of uses is not a number.")?),
    };
    let (seconds, now) = (form.hours.saturating_mul(HOUR), unix_time::now());
    let created = state.shares().create(&service.service_name, service.proxy_port, seconds, max_uses, now);
    let (_, word) = created.map_err(|error| sentence(&error))?;
    let origin = Origins::new(state, client).of(service.proxy_port).unwrap_or_default();
    Ok(Notice::Link(format!("{origin}{}", share_link_path(&word))))
}

/// Fields of the form for a new API token.
#[derive(Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    name: String,
    scope: TokenScope,
    days: u64,
}

/// `POST /leonardo/access/token`: creates an API token and shows it once.
pub async fn create_token(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(TokenForm { name, scope, days }): Form<TokenForm>,
) -> Response {
    let client = Client(&headers);
    let verdict = match require_manager_form(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    let login = state.credentials().map(|known| known.fingerprint()).unwrap_or_default();
    let (seconds, now) = (days.saturating_mul(DAY), unix_time::now());
    let created = state.api_tokens().create(&name, scope, seconds, &login, now);
    let created = created.map_err(|error| sentence(&error)).map(|(token, word)| {
        log::info!(
            "API token created name={:?} scope={} from={}",
            token.name,
            scope.word(),
            client.address()
        );
        Notice::Token { name: token.name, word }
    });
    render_result(&state, client, verdict, created)
}

/// `POST /leonardo/access/revoke-token`: revokes an API token.
pub async fn revoke_token(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(IdForm { id }): Form<IdForm>,
) -> Response {
    let client = Client(&headers);
    change_and_redirect(&state, client, |state| {
        let revoked = state.api_tokens().revoke(&id);
        if let Some(name) = revoked {
            log::info!("API token revoked name={name:?} from={}", client.address());
        }
    })
}

/// Returns an error as a sentence on the page.
fn sentence(error: &anyhow::Error) -> String {
    let text = error.to_string();
    let first = text.chars().next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", text.chars().skip(1).collect::<String>())
}

/// Renders the page after a form was sent.
fn render_result(
    state: &AppState,
    client: Client<'_>,
    verdict: Verdict,
    result: Result<Notice, String>,
) -> Response {
    let status = if result.is_ok() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let notice = result.unwrap_or_else(Notice::Error);
    render(status, &AccessPage::new(state, client, verdict, Some(notice)))
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
    let verdict = match require_manager_form(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    let issued = state.login_codes().issue(PHONE_LINK_LIFETIME, unix_time::now());
    let origin = phone_origin(&state, client);
    let code = issued.map(|code| format!("{origin}{}", login_link_path(&code)));
    match code.and_then(|url| Ok((qr_code::svg(&url)?, url))) {
        Ok((svg, url)) => render(
            StatusCode::OK,
            &PhonePage {
                frame: Frame::new(&state, client, verdict, Page::Access),
                url,
                svg,
                minutes: PHONE_LINK_LIFETIME / 60,
            },
        ),
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
            "WEB_ENABLE_AUTH=false: there are no sessions, links or tokens to manage.",
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
