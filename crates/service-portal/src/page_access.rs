//! Access to the pages that exist on the portal's own port only.
//!
//! On any other port, pages of a service have the same origin as `/leonardo/`: a script injected into a service could use
//! its visitor's session to create a login, or read a log.

use axum::http::StatusCode;
use axum::response::Response;

use crate::app_state::AppState;
use crate::client::Client;
use crate::gate;
use crate::response;
use crate::verdict::Verdict;

/// Returns the verdict about the owner on the portal's own port, or the response to any other visitor.
pub fn require_owner(state: &AppState, client: Client<'_>) -> Result<Verdict, Box<Response>> {
    if client.port() != Some(ports::PORTAL) {
        return Err(Box::new(response::text_error(
            StatusCode::FORBIDDEN,
            "Open this page on the portal's own port.",
        )));
    }
    match gate::verdict_for(state, client) {
        verdict if verdict.is_owner() => Ok(verdict),
        verdict => Err(Box::new(not_the_owner(verdict, client))),
    }
}

/// Like [`require_owner`], and the request must come from a page of the portal, or have a token: browsers never add one.
pub fn require_owner_form(state: &AppState, client: Client<'_>) -> Result<Verdict, Box<Response>> {
    let verdict = require_owner(state, client)?;
    if client.is_same_origin() == Some(true) || (verdict == Verdict::Program && client.has_bearer()) {
        Ok(verdict)
    } else {
        Err(Box::new(response::text_error(StatusCode::FORBIDDEN, "This form was sent from another page.")))
    }
}

/// Returns the response for a visitor who is not the owner; guests have access to one service only.
pub fn not_the_owner(verdict: Verdict, client: Client<'_>) -> Response {
    match verdict {
        Verdict::Guest => {
            response::text_error(StatusCode::FORBIDDEN, "This link gives access to one service only.")
        }
        verdict => response::refuse(verdict, client),
    }
}
