//! `GET /leonardo/api/v1/access`: who has access. Nothing here gives access.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use kit::unix_time;
use portal_control::Share;
use serde::Serialize;

use crate::api_tokens::{ApiToken, TokenScope};
use crate::app_state::AppState;
use crate::sessions::{Scope, Session};
use crate::user_agent;

/// Sessions, share links and API tokens.
#[derive(Serialize)]
pub struct Access {
    sessions: Vec<SessionEntry>,
    shares: Vec<Share>,
    tokens: Vec<TokenEntry>,
}

#[derive(Serialize)]
struct SessionEntry {
    id: String,
    address: IpAddr,
    /// Browser and system in words.
    browser: String,
    /// Port of the service that it is limited to; `None` for everything.
    port: Option<u16>,
    created: u64,
    used: u64,
    expires: u64,
}

#[derive(Serialize)]
struct TokenEntry {
    id: String,
    name: String,
    scope: TokenScope,
    created: u64,
    expires: u64,
    used: Option<u64>,
    used_from: Option<IpAddr>,
}

/// Returns everything that has access at the moment.
pub async fn access(State(state): State<AppState>) -> Json<Access> {
    let now = unix_time::now();
    let login = state.credentials().map(|known| known.fingerprint()).unwrap_or_default();
    Json(Access {
        sessions: state.sessions().list(now).into_iter().map(session_entry).collect(),
        shares: state.shares().list(now),
        tokens: state.api_tokens().list(&login, now).into_iter().map(token_entry).collect(),
    })
}

fn session_entry(session: Session) -> SessionEntry {
    let port = match &session.scope {
        Scope::Everything => None,
        Scope::Share { port, .. } => Some(*port),
    };
    SessionEntry {
        browser: user_agent::describe(&session.agent),
        address: session.address,
        port,
        created: session.began,
        used: session.used,
        expires: session.expires(),
        id: session.id,
    }
}

fn token_entry(token: ApiToken) -> TokenEntry {
    let ApiToken { id, name, scope, created, expires, used, used_from, .. } = token;
    TokenEntry { id, name, scope, created, expires, used, used_from }
}
