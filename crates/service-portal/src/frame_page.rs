//! Status and problems alone, with which open pages update theirs.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{Frame, Page};
use crate::page_access::require_owner;
use crate::pages::render;

/// The two parts of the frame that change.
#[derive(Template)]
#[template(path = "frame.html")]
struct FramePage {
    frame: Frame,
}

/// `GET /leonardo/frame`: returns them as HTML.
pub async fn frame(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    match require_owner(&state, client) {
        Ok(verdict) => {
            let frame = Frame::new(&state, client, verdict, Page::Services);
            render(StatusCode::OK, &FramePage { frame })
        }
        Err(refusal) => *refusal,
    }
}
