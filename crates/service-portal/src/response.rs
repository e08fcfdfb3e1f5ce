//! Answers that every route shares: refusals by kind of client, and the headers that protect a page.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::client::Client;
use crate::return_path;
use crate::verdict::Verdict;

/// Everything a page needs comes from this program; nothing may frame it, and nothing is loaded from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const PROTECTION: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    // A page that opens one of ours in a window gets no hold of it, and pages elsewhere cannot embed it.
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Links carry secret words, so no address goes on. With no-referrer, browsers would send `Origin: null` with our own
    // forms, and the origin check would refuse them.
    (header::REFERRER_POLICY, "strict-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the protecting headers, without replacing what a route has set itself.
pub async fn add_security_headers(mut response: Response) -> Response {
    for (name, value) in PROTECTION {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Lets a page connect to one more origin of ours, and its form lead there.
pub fn allow_origin(response: &mut Response, origin: &str) {
    let policy = POLICY
        .replace("connect-src 'self'", &format!("connect-src 'self' {origin}"))
        .replace("form-action 'self'", &format!("form-action 'self' {origin}"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Gives a page an origin of its own: no page of the same host and port can read it (CSP `sandbox`, HTML 7.1.5).
pub fn sandbox(response: &mut Response) {
    let policy = format!("{POLICY}; sandbox allow-forms");
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Tells a visitor why not: a page's visitor is sent to the login form, by a relative redirect, everybody else gets a
/// status and a reason.
pub fn refuse(verdict: Verdict, client: Client<'_>) -> Response {
    match verdict {
        Verdict::Wait(seconds) => {
            let mut response = json_error(
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong tokens or passwords; wait a little, or run portal-link inside the container for a link that \
                 logs one browser in",
            );
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Verdict::CrossOrigin => {
            json_error(StatusCode::FORBIDDEN, "the request was made by a page of another origin")
        }
        Verdict::UnknownHost => json_error(
            StatusCode::MISDIRECTED_REQUEST,
            "without a login, this host name is not allowed; add it to WEB_ALLOWED_HOSTS",
        ),
        Verdict::Preflight => preflight(client),
        _ if client.is_browser_page() => redirect(&return_path::login_path(client.uri()), StatusCode::FOUND),
        _ => {
            let mut response = json_error(
                StatusCode::UNAUTHORIZED,
                "log in at /leonardo/login, or send Authorization: Bearer $WEB_TOKEN",
            );
            // A browser would answer a Basic challenge with a dialog of its own, over the page that made the request.
            let challenge = if client.is_browser() { "Bearer realm=\"leonardo\"" } else { CHALLENGES };
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            response
        }
    }
}

/// The status by which Caddy knows that the gate itself answers a preflight; the visitor gets 204. A 2xx from here would
/// let the request through.
const PREFLIGHT: StatusCode = StatusCode::IM_A_TEAPOT;

/// Lets a page elsewhere send what it asked for, without credentials of the browser: only a token that the page has itself
/// opens anything (Fetch, "CORS-preflight fetch"). The service does not see the question.
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

/// An error in words for programs.
pub fn json_error(status: StatusCode, message: &str) -> Response {
    let error = status.canonical_reason().unwrap_or("refused").to_ascii_lowercase();
    (status, Json(json!({ "error": error, "message": message }))).into_response()
}

const CHALLENGES: &str = "Bearer realm=\"leonardo\", Basic realm=\"leonardo\", charset=\"UTF-8\"";

/// A redirect to a path on the same host and port; a path that no header can hold leads to the start page.
pub fn redirect(path: &str, status: StatusCode) -> Response {
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (status, [(header::LOCATION, location)]).into_response()
}

/// An error in words, for people and for programs.
pub fn text_error(status: StatusCode, message: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{message}\n")).into_response()
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
    fn each_kind_of_client_gets_an_answer_it_understands() {
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
