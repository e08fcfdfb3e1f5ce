//! Content of the access page.

use askama::Template;
use kit::duration::words;
use kit::unix_time;
use portal_control::Share;
use ports::Service;

use crate::api_tokens::ApiToken;
use crate::app_state::AppState;
use crate::client::Client;
use crate::cookies;
use crate::frame::{Frame, Page};
use crate::sessions::{Scope, Session};
use crate::user_agent;
use crate::verdict::Verdict;

/// The page: sessions, share links, API tokens, and forms to end and create them.
#[derive(Template)]
#[template(path = "access.html")]
pub struct AccessPage {
    frame: Frame,
    /// Name of the user who logs in.
    user: String,
    /// Address of the portal, as the visitor has it.
    origin: String,
    sessions: Vec<SessionLine>,
    shares: Vec<ShareLine>,
    tokens: Vec<TokenLine>,
    /// Services that can be shared.
    services: Vec<Service>,
    notice: Option<Notice>,
}

/// Result of the form that was just sent.
pub enum Notice {
    /// URL of a new share link, which is shown once.
    Link(String),
    /// Name and secret of a new token, which is shown once.
    Token {
        name: String,
        /// The secret.
        word: String,
    },
    /// Reason why nothing was created.
    Error(String),
}

struct SessionLine {
    id: String,
    address: String,
    /// Browser and system in words.
    browser: String,
    /// What it sent as its name.
    agent: String,
    /// Services that it gives access to.
    access: String,
    began: String,
    used: String,
    /// True for the session of this request.
    is_own: bool,
}

/// One share link, formatted.
struct ShareLine {
    id: String,
    service: String,
    port: u16,
    ends: String,
    /// Number of uses, with the maximum.
    uses: String,
}

/// One API token, formatted.
struct TokenLine {
    id: String,
    name: String,
    scope: &'static str,
    created: String,
    ends: String,
    /// Time and address of the last use.
    used: String,
}

impl AccessPage {
    /// Creates the page for the owner.
    pub fn new(state: &AppState, client: Client<'_>, verdict: Verdict, notice: Option<Notice>) -> Self {
        let frame = Frame::new(state, client, verdict, Page::Access);
        let now = unix_time::now();
        let own = own_session(state, client, now);
        let known = state.credentials();
        let login = known.as_ref().map(|known| known.fingerprint()).unwrap_or_default();
        let sessions = state.sessions().list(now);
        let mut sessions: Vec<_> =
            sessions.into_iter().map(|session| session_line(session, own.as_deref(), now)).collect();
        // This browser comes first.
        sessions.sort_by_key(|session| !session.is_own);
        let shares = state.shares().list(now).into_iter().map(|share| share_line(share, now)).collect();
        let tokens = state.api_tokens().list(&login, now);
        Self {
            frame,
            user: known.map(|known| known.user().to_owned()).unwrap_or_default(),
            origin: format!("{}://{}", client.scheme(), client.host().unwrap_or_default()),
            sessions,
            shares,
            tokens: tokens.into_iter().map(|token| token_line(token, now)).collect(),
            services: state.registry().load().map(|(services, _)| services).unwrap_or_default(),
            notice,
        }
    }
}

/// Returns the public id of the session of this request.
pub fn own_session(state: &AppState, client: Client<'_>, now: u64) -> Option<String> {
    let (name, cookies) = (state.cookie_name()?, client.cookies());
    let mut sessions = state.sessions();
    cookies::values(&cookies, &name)
        .iter()
        .find_map(|token| Some(sessions.touch(token, client.address(), now)?.id.clone()))
}

fn session_line(session: Session, own: Option<&str>, now: u64) -> SessionLine {
    let access = match &session.scope {
        Scope::Everything => "everything".to_owned(),
        Scope::Share { port, .. } => format!("port {port}, through a share link"),
    };
    SessionLine {
        is_own: own == Some(session.id.as_str()),
        used: ago(now, session.used),
        began: ago(now, session.began),
        address: session.address.to_string(),
        browser: user_agent::describe(&session.agent),
        agent: session.agent,
        id: session.id,
        access,
    }
}

fn share_line(share: Share, now: u64) -> ShareLine {
    let uses = match share.max_uses {
        None => share.uses.to_string(),
        Some(most) => format!("{} of {most}", share.uses),
    };
    let ends = words(share.expires.saturating_sub(now));
    ShareLine { id: share.id, service: share.service, port: share.port, ends, uses }
}

fn token_line(token: ApiToken, now: u64) -> TokenLine {
    let used = match (token.used, token.used_from) {
        (Some(used), Some(address)) => format!("last used {} from {address}", ago(now, used)),
        (Some(used), None) => format!("last used {}", ago(now, used)),
        (None, _) => "never used".to_owned(),
    };
    TokenLine {
        scope: token.scope.word(),
        created: ago(now, token.created),
        ends: words(token.expires.saturating_sub(now)),
        id: token.id,
        name: token.name,
        used,
    }
}

fn ago(now: u64, then: u64) -> String {
    match now.saturating_sub(then) {
        0..5 => "just now".to_owned(),
        seconds => format!("{} ago", words(seconds)),
    }
}
