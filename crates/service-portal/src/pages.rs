//! The pages that people see; their templates escape everything that is put into them.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::answer;
use crate::links::Link;

/// The login form.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage<'a> {
    /// Where the visitor goes afterwards.
    pub next: &'a str,
    /// What went wrong, or nothing.
    pub message: &'a str,
}

/// The page of links.
#[derive(Template)]
#[template(path = "portal.html")]
pub struct PortalPage {
    /// The services, with their state.
    pub links: Vec<Link>,
    /// Whether late boot has ended.
    pub ready: bool,
    /// What was wrong with the settings or a stage of the boot.
    pub problems: Vec<String>,
    /// Whether there is a session that could be ended.
    pub can_log_out: bool,
}

/// Renders a page.
pub fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            log::error!("cannot render a page: {error}");
            answer::plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This page could not be made; see the portal's log.",
            )
        }
    }
}
