//! The pages that people see; their templates escape everything that is put into them.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::response;
use crate::service_links::Link;
use crate::storage_status::Storage;

/// The login form.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage<'a> {
    /// Where the visitor goes afterwards.
    pub next: &'a str,
    /// The port of the service that has this path; empty for the port of the form.
    pub port: &'a str,
    /// What went wrong, or nothing.
    pub message: &'a str,
    /// Proof that the form is ours; empty on the portal's own port, where its origin is the proof.
    pub proof: &'a str,
}

/// The way from a service's port to the form on the portal's.
#[derive(Template)]
#[template(path = "portal_link.html")]
pub struct PortalLinkPage<'a> {
    /// The portal's host, for people.
    pub host: &'a str,
    /// The form there.
    pub href: &'a str,
    /// The form here, for where the portal's port cannot be reached.
    pub here: &'a str,
    /// A question for the portal.
    pub nonce: &'a str,
    /// The answer that only this container's portal can give.
    pub identity: &'a str,
}

/// Cookies of other servers that were too large.
#[derive(Template)]
#[template(path = "cookies.html")]
pub struct CookiesPage<'a> {
    /// Size of all cookies that the browser sent, in kB.
    pub kilobytes: usize,
    /// Number of cookies that this answer deletes.
    pub deleted: usize,
    /// Path that the visitor asked for.
    pub next: &'a str,
}

/// The page of links.
#[derive(Template)]
#[template(path = "portal.html")]
pub struct PortalPage {
    /// The services, with their state.
    pub links: Vec<Link>,
    /// How far the boot is, in words.
    pub boot: String,
    /// What the storage monitor has linked; nothing if there is nothing to tell.
    pub storage: Option<Storage>,
    /// What was wrong with the settings or a stage of the boot.
    pub problems: Vec<String>,
    /// True if the gate asks for a login.
    pub has_login: bool,
    /// Whether there is a session that could be ended.
    pub can_log_out: bool,
}

/// The page behind a link that opens without a password.
#[derive(Template)]
#[template(path = "link.html")]
pub struct LinkPage<'a> {
    action: &'a str,
    field: &'a str,
    word: &'a str,
    text: &'a str,
    button: &'a str,
}

impl<'a> LinkPage<'a> {
    /// A question and a button; the button sends the link's secret `word` as `field`.
    pub fn confirmation(
        action: &'a str,
        field: &'a str,
        word: &'a str,
        text: &'a str,
        button: &'a str,
    ) -> Self {
        Self { action, field, word, text, button }
    }

    /// What is wrong with the link.
    pub fn error(text: &'a str) -> Self {
        Self { action: "", field: "", word: "", text, button: "" }
    }
}

/// Who is in, and how to show others in and out.
#[derive(Template)]
#[template(path = "access.html")]
pub struct AccessPage {
    /// The sessions.
    pub sessions: Vec<SessionLine>,
    /// The share links.
    pub shares: Vec<ShareLine>,
    /// What can be shared.
    pub services: Vec<ports::Service>,
    /// A share link that was just made; it is shown once.
    pub made: Option<String>,
}

/// One session, in words.
pub struct SessionLine {
    /// Its public id.
    pub id: String,
    /// Where it began.
    pub address: String,
    /// The browser.
    pub agent: String,
    /// What it opens.
    pub opens: String,
    /// How long ago it began.
    pub began: String,
    /// How long ago it was used.
    pub used: String,
    /// Whether it is the one that looks.
    pub is_own: bool,
}

/// One share link, in words.
pub struct ShareLine {
    /// Its public id.
    pub id: String,
    /// The service.
    pub service: String,
    /// The service's port.
    pub port: u16,
    /// How long it still lives.
    pub ends: String,
    /// How often it was used.
    pub uses: String,
}

/// A one-time login link for a phone.
#[derive(Template)]
#[template(path = "phone.html")]
pub struct PhonePage {
    /// The link.
    pub url: String,
    /// The same as a picture.
    pub svg: String,
    /// How long it waits.
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
                "This page could not be made; see the portal's log.",
            )
        }
    }
}
