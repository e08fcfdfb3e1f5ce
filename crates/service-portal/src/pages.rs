//! HTML pages of the portal; their templates escape all values.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::frame::Frame;
use crate::response;

/// The login form.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage<'a> {
    /// Name of the image.
    pub title: &'a str,
    pub container: &'a str,
    /// Path to return to after the login.
    pub next: &'a str,
    /// Port of the service that has this path; empty for the port of the form.
    pub port: &'a str,
    /// User name of a failed attempt.
    pub username: &'a str,
    /// Error message; empty if there is none.
    pub message: &'a str,
    /// Signed proof that the form is ours; empty on the portal's port, where `Origin` is checked.
    pub proof: &'a str,
}

/// The link from a service's port to the login form on the portal's port.
#[derive(Template)]
#[template(path = "portal_link.html")]
pub struct PortalLinkPage<'a> {
    /// Name of the image.
    pub title: &'a str,
    /// Host and port of the portal, as text of the link.
    pub host: &'a str,
    /// URL of the form on the portal's port.
    pub href: &'a str,
    /// URL of the form on this port, if the portal's port cannot be reached.
    pub here: &'a str,
    /// Random text that the portal must sign.
    pub nonce: &'a str,
    /// Signature that only this container's portal can create.
    pub identity: &'a str,
}

/// The message that too many cookies were sent.
#[derive(Template)]
#[template(path = "cookies.html")]
pub struct CookiesPage<'a> {
    /// Name of the image.
    pub title: &'a str,
    /// Size of all cookies in the request, in kB.
    pub kilobytes: usize,
    /// Number of cookies that the response deletes.
    pub deleted: usize,
    /// Requested path.
    pub next: &'a str,
}

/// The page behind a one-time login link or a share link.
#[derive(Template)]
#[template(path = "link.html")]
pub struct LinkPage<'a> {
    title: &'a str,
    action: &'a str,
    field: &'a str,
    word: &'a str,
    text: &'a str,
    button: &'a str,
}

impl<'a> LinkPage<'a> {
    /// Creates a page with a question and a button, which sends the link's secret `word` as `field`.
    pub fn confirmation(
        title: &'a str,
        action: &'a str,
        field: &'a str,
        word: &'a str,
        text: &'a str,
        button: &'a str,
    ) -> Self {
        Self { title, action, field, word, text, button }
    }

    /// Creates a page with the reason why the link is not valid.
    pub fn error(title: &'a str, text: &'a str) -> Self {
        Self { title, action: "", field: "", word: "", text, button: "" }
    }
}

/// A one-time login link for a phone.
#[derive(Template)]
#[template(path = "phone.html")]
pub struct PhonePage {
    pub frame: Frame,
    /// URL of the link.
    pub url: String,
    /// QR code of the URL.
    pub svg: String,
    /// Minutes until it expires.
    pub minutes: u64,
}

/// Renders a page.
pub fn render(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            log::error!("cannot render a page: {error}");
            response::text_error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This page could not be rendered; see the portal's log.",
            )
        }
    }
}
