//! Websockets of services behind the login, which end with the visitor's session.
//!
//! Caddy cannot close one connection that it has upgraded. So the portal answers Caddy's subrequest about an allowed websocket
//! with the service's own `101`, and Caddy makes the visitor's connection one to the portal. The portal copies bytes until a
//! side closes or the login is no longer valid. Caddy never opens an allowed websocket itself: that one would not end.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use hmac::{Hmac, KeyInit, Mac};
use hyper::client::conn::http1;
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::rt::TokioIo;
use kit::hex;
use ports::Service;
use sha2::Sha256;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::app_state::AppState;
use crate::client::Client;
use crate::cookies;
use crate::credentials::COOKIE_PREFIX;
use crate::gate;
use crate::response;

/// Websockets at once, each with two descriptors, so that the login keeps some of the portal's.
static STREAMS: Semaphore = Semaphore::const_new(4000);
/// Time for the service's answer.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);
/// Interval at which the login is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Size of the buffer of each direction.
const BUFFER_BYTES: usize = 32 * 1024;
/// Headers that Caddy sets for the portal only.
const FOR_PORTAL: [HeaderName; 3] = [
    HeaderName::from_static("x-leonardo-port"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-forwarded-method"),
];

/// Opens an allowed websocket and returns the service's `101`, or why there is none. `allowed` has the `Cookie`,
/// `Authorization` and `Referer` that the service may see.
///
/// The response is never a `2xx`, because Caddy would then open the websocket itself.
pub async fn open(state: AppState, mut request: Request, allowed: &HeaderMap) -> Response {
    let visitor = request.headers().clone();
    let client = Client(&visitor);
    let Some(service) = client.port().and_then(|port| state.service(port)) else {
        return response::json_error(StatusCode::BAD_GATEWAY, "no service is registered here");
    };
    let ports = upstreams(&service, client);
    let Ok(uri) = client.uri().parse() else {
        return response::json_error(StatusCode::BAD_REQUEST, "the request target is not a valid URI");
    };
    let Ok(permit) = STREAMS.try_acquire() else {
        return response::json_error(StatusCode::SERVICE_UNAVAILABLE, "too many websockets are open");
    };
    let upgraded = upgrade::on(&mut request);
    *request.uri_mut() = uri;
    replace_headers(request.headers_mut(), allowed);
    let mut response = match timeout(HANDSHAKE_DEADLINE, forward(&ports, request)).await {
        Ok(Some(response)) => response,
        Ok(None) => return response::json_error(StatusCode::BAD_GATEWAY, "the service does not answer"),
        Err(_) => return response::json_error(StatusCode::GATEWAY_TIMEOUT, "the service does not answer"),
    };
    protect_our_cookies(response.headers_mut());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Otherwise, Caddy would answer 200 and leave the connection open.
        if !Client(response.headers()).is_websocket() {
            return response::json_error(StatusCode::BAD_GATEWAY, "the service opened no websocket");
        }
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        let service = upgrade::on(&mut response);
        tokio::spawn(relay(state, visitor, upgraded, service, permit));
        return response.map(|_| Body::empty());
    }
    refused_by_service(response)
}

/// The service's refusal without its content, which no websocket client shows.
fn refused_by_service(response: hyper::Response<hyper::body::Incoming>) -> Response {
    let mut response = response.map(|_| Body::empty());
    if response.status().is_success() {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    for name in
        [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING, header::TRANSFER_ENCODING]
    {
        response.headers_mut().remove(name);
    }
    response
}

fn replace_headers(headers: &mut HeaderMap, allowed: &HeaderMap) {
    for name in [header::COOKIE, header::AUTHORIZATION, header::REFERER].iter().chain(&FOR_PORTAL) {
        headers.remove(name);
    }
    headers.extend(allowed.clone());
}

/// Does what Caddy does with other responses of a service: it must not set or delete our cookies.
fn protect_our_cookies(headers: &mut HeaderMap) {
    let is_ours = |value: &str| {
        let name = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
        let name = name.strip_prefix("__host-").or_else(|| name.strip_prefix("__secure-")).unwrap_or(name);
        name.starts_with(COOKIE_PREFIX)
    };
    retain(headers, &header::SET_COOKIE, |value| !is_ours(value));
    retain(headers, &HeaderName::from_static("clear-site-data"), |value| {
        !value.contains("cookies") && !value.contains('*')
    });
    headers.remove("service-worker-allowed");
}

/// Removes values of a field, which are compared in lowercase.
fn retain(headers: &mut HeaderMap, name: &HeaderName, is_kept: impl Fn(&str) -> bool) {
    let kept: Vec<_> = headers
        .get_all(name)
        .iter()
        .filter(|value| is_kept(&String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase()))
        .cloned()
        .collect();
    headers.remove(name);
    headers.extend(kept.into_iter().map(|value| (name.clone(), value)));
}

/// Returns the ports of the service's instances, first the one of the visitor's cookie, else any.
///
/// The value of the cookie is Caddy's: the HMAC of the address without a secret (`lb_policy cookie`).
fn upstreams(service: &Service, client: Client<'_>) -> Vec<u16> {
    let mut ports = service.upstreams();
    let cookies = client.cookies();
    let chosen = cookies::values(&cookies, &format!("instance_{}", service.proxy_port));
    let is_chosen = |port: &u16| chosen.iter().any(|value| *value == instance_cookie(*port).as_bytes());
    let first = ports.iter().position(is_chosen).unwrap_or_else(|| {
        let random = getrandom::u32().unwrap_or_default();
        usize::try_from(random).unwrap_or_default() % ports.len().max(1)
    });
    ports.rotate_left(first);
    ports
}

/// Returns the value of Caddy's cookie for an instance.
pub fn instance_cookie(port: u16) -> String {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(b"") else { return String::new() };
    mac.update(format!("127.0.0.1:{port}").as_bytes());
    hex::encode(&mac.finalize().into_bytes())
}

/// Sends the request to the first port that accepts a connection; `None` without a response.
async fn forward(ports: &[u16], request: Request) -> Option<hyper::Response<hyper::body::Incoming>> {
    let mut connected = None;
    for port in ports {
        connected = TcpStream::connect(("127.0.0.1", *port)).await.ok();
        if connected.is_some() {
            break;
        }
    }
    let stream = connected?;
    // Without it, small frames are delayed; the stream works all the same.
    let _ = stream.set_nodelay(true);
    let mut client = http1::Builder::new();
    // Caddy accepts such headers too.
    client.title_case_headers(true).allow_obsolete_multiline_headers_in_responses(true);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.ok()
}

/// Copies bytes both ways until a side closes or the login is no longer valid; then both sides are closed.
async fn relay(
    state: AppState,
    visitor: HeaderMap,
    browser: OnUpgrade,
    service: OnUpgrade,
    _permit: SemaphorePermit<'static>,
) {
    let (Ok(browser), Ok(service)) = (browser.await, service.await) else { return };
    let (mut browser, mut service) = (TokioIo::new(browser), TokioIo::new(service));
    let logged_out = async {
        let mut check = interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while gate::is_still_allowed(&state, Client(&visitor)) {
            check.tick().await;
        }
    };
    tokio::select! {
        // Its result is how the connection ended, which both sides know.
        _ = copy_bidirectional_with_sizes(&mut browser, &mut service, BUFFER_BYTES, BUFFER_BYTES) => {}
        () = logged_out => {}
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_service_sets_and_deletes_its_own_cookies_only() {
        let mut headers = HeaderMap::new();
        let cookies =
            ["a=1", "leonardo_0=x", " =__Host-LEONARDO_0=x", "__Secure-leonardo_0", "x_leonardo_=2"];
        for value in cookies {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(value));
        }
        for value in [r#""cache", "Cookies""#, r#""*""#, r#""cache""#] {
            headers.append("clear-site-data", HeaderValue::from_static(value));
        }
        protect_our_cookies(&mut headers);
        let left = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(left("set-cookie"), ["a=1", "x_leonardo_=2"]);
        assert_eq!(left("clear-site-data"), [r#""cache""#]);
    }
}
