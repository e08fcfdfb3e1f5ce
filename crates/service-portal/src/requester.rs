//! Name of the owner's program or browser that asks for an action, for logs.

use kit::unix_time;

use crate::access_page::own_session;
use crate::app_state::AppState;
use crate::client::Client;

/// Returns `session 0badcafe from 192.0.2.1`, or `WEB_TOKEN from …`; the requester must have been allowed already.
pub fn describe(state: &AppState, client: Client<'_>) -> String {
    let name = match own_session(state, client, unix_time::now()) {
        Some(id) => format!("session {id}"),
        None if !state.enable_auth() => "anyone (WEB_ENABLE_AUTH=false)".to_owned(),
        None if client.has_bearer() => "WEB_TOKEN".to_owned(),
        None => "the password".to_owned(),
    };
    format!("{name} from {}", client.address())
}
