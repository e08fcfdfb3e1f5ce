//! Responses that all routes share: redirects, errors, refusals by kind of client, and security headers.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::client::Client;
use crate::error_page::ErrorMessage;
use crate::return_path;
use crate::verdict::Verdict;

/// Content security policy: pages load only from the portal and cannot be framed.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const SECURITY_HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    // A page that opens one of ours gets no reference to its window, and other origins cannot embed it.
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // URLs contain secrets, so only the origin is sent. With no-referrer, browsers would send `Origin: null` with our own
    // forms, which the origin check would reject.
    (header::REFERRER_POLICY, "strict-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the security headers that the route has not set itself.
pub async fn add_security_headers(mut response: Response) -> Response {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Allows a page to connect to one more origin of this container and to submit its form there.
pub fn allow_origin(response: &mut Response, origin: &str) {
    let policy = POLICY
        .replace("connect-src 'self'", &format!("connect-src 'self' {origin}"))
        .replace("form-action 'self'", &format!("form-action 'self' {origin}"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Gives a page an opaque origin, so that no page of the same host and port can read it (CSP `sandbox`, HTML 7.1.5).
pub fn sandbox(response: &mut Response) {
    let policy = format!("{POLICY}; sandbox allow-forms");
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Returns the response to a refused request: a redirect to the login form for a page in a browser, otherwise a status
/// with a message.
pub fn refuse(verdict: Verdict, client: Client<'_>) -> Response {
    if verdict == Verdict::Refused && client.is_browser_page() {
        return redirect(&return_path::login_path(client.uri()), StatusCode::FOUND);
    }
    refuse_program(verdict, client)
}

/// Returns the response to a refused request of a program: a status with a message.
pub fn refuse_program(verdict: Verdict, client: Client<'_>) -> Response {
    match verdict {
        Verdict::Wait(seconds) => {
            let mut response = json_error(
                StatusCode::TOO_MANY_REQUESTS,
                "too many failed attempts; try again later, or run portal-link in the container for a one-time login link",
            );
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Verdict::CrossOrigin => {
            json_error(StatusCode::FORBIDDEN, "the request was made by a page of another origin")
        }
        Verdict::UnknownHost => json_error(
            StatusCode::MISDIRECTED_REQUEST,
            "this host name is not allowed for services without a login; add it to WEB_ALLOWED_HOSTS",
        ),
        Verdict::ApiToken(_) => json_error(
            StatusCode::FORBIDDEN,
            "this token can only read /leonardo/api/v1 and /leonardo/metrics",
        ),
        Verdict::Preflight => preflight(client),
        _ => {
            let mut response = json_error(
                StatusCode::UNAUTHORIZED,
                "log in at /leonardo/login, or send Authorization: Bearer $WEB_TOKEN",
            );
            // A Basic challenge would make a browser open its own login dialog over the page that made the request.
            let challenge = if client.is_browser() { "Bearer realm=\"leonardo\"" } else { CHALLENGES };
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            response
        }
    }
}

/// Status that makes Caddy answer a preflight with 204 itself; a 2xx status would forward the request to the service.
const PREFLIGHT: StatusCode = StatusCode::IM_A_TEAPOT;

/// Allows a page of another origin to send its request, without the browser's credentials: only a token that the page itself
/// has gives access (Fetch, "CORS-preflight fetch"). The service does not see the preflight.
fn preflight(client: Client<'_>) -> Response {
    const COPIED: [(HeaderName, HeaderName); 2] = [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ];
    let mut response = PREFLIGHT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    for (asked, answered) in COPIED {
        client.0.get(asked).map(|value| headers.insert(answered, value.clone()));
    }
    response
}

/// Returns an error for programs as JSON; browsers display it as a page.
pub fn json_error(status: StatusCode, message: &str) -> Response {
    let error = status.canonical_reason().unwrap_or("refused").to_ascii_lowercase();
    let mut response = (status, Json(json!({ "error": error, "message": message }))).into_response();
    response.extensions_mut().insert(ErrorMessage(message.to_owned()));
    response
}

const CHALLENGES: &str = "Bearer realm=\"leonardo\", Basic realm=\"leonardo\", charset=\"UTF-8\"";

/// Redirects to `path`, or to the start page if a header cannot hold it.
pub fn redirect(path: &str, status: StatusCode) -> Response {
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (status, [(header::LOCATION, location)]).into_response()
}

/// Returns a message as plain text; browsers display an error as a page.
pub fn text_error(status: StatusCode, message: &'static str) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let mut response = (status, content_type, format!("{message}\n")).into_response();
    if !status.is_success() {
        response.extensions_mut().insert(ErrorMessage(message.to_owned()));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::headers;

    fn refused(pairs: &[(&'static str, &str)]) -> (u16, Option<String>, Option<String>) {
        let headers = headers(pairs);
        let response = refuse(Verdict::Refused, Client(&headers));
        let text =
            |name| response.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), text(header::LOCATION), text(header::WWW_AUTHENTICATE))
    }

    #[test]
    fn pages_are_redirected_and_programs_get_a_challenge() {
        let back = ("x-forwarded-uri", "/lab?x=1");
        assert_eq!(
            refused(&[("accept", "text/html"), back]),
            (302, Some("/leonardo/login?next=/lab%3Fx%3D1".into()), None)
        );
        assert_eq!(refused(&[("accept", "*/*"), back]), (401, None, Some(CHALLENGES.into())));
        let socket = [("upgrade", "websocket"), ("accept", "text/html"), ("sec-fetch-mode", "websocket")];
        assert_eq!(refused(&socket), (401, None, Some("Bearer realm=\"leonardo\"".into())));
    }
}
