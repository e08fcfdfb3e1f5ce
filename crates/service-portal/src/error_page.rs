//! Errors as pages for people who meet them in a browser; programs get text or JSON.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::app_state::AppState;
use crate::client::Client;
use crate::pages::render;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    heading: &'static str,
    message: String,
    has_link: bool,
}

/// Message of an error response.
#[derive(Clone)]
pub struct ErrorMessage(pub String);

/// Middleware that replaces error messages by pages where a browser displays the response.
pub async fn error_pages(State(state): State<AppState>, request: Request, next: Next) -> Response {
    // Errors of the API have one format for everyone.
    let is_api = request.uri().path().starts_with("/leonardo/api/");
    let is_page = !is_api && Client(request.headers()).is_browser_page();
    let response = next.run(request).await;
    if is_page { as_page(&state, response) } else { response }
}

/// Returns an error message as a page, with the same status and headers; any other response as it is.
pub fn as_page(state: &AppState, mut response: Response) -> Response {
    let Some(ErrorMessage(message)) = response.extensions_mut().remove() else { return response };
    let status = response.status();
    let shown = ErrorPage {
        title: state.title(),
        heading: heading(status),
        message: sentence(&message),
        has_link: !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::MISDIRECTED_REQUEST),
    };
    let (page, body) = render(status, &shown).into_parts();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.extend(page.headers);
    *response.body_mut() = body;
    response
}

fn heading(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => "Not found",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        StatusCode::MISDIRECTED_REQUEST => "Unknown host name",
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "Not allowed",
        status if status.is_server_error() => "Something went wrong",
        _ => "This did not work",
    }
}

/// Returns a message with a capital letter and a full stop.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if message.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}
