//! Middleware that rejects requests with too many cookies, and service workers that would control the login pages.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::app_state::AppState;
use crate::client::Client;
use crate::cookies;
use crate::known_device;
use crate::pages::{CookiesPage, render};
use crate::response;
use crate::return_path::safe_path;

/// Maximum size of all cookies, in bytes. Of common servers, Node.js accepts the largest header: 16 KiB.
const MAX_COOKIE_BYTES: usize = 16 * 1024;
/// Size of the cookies that are kept when others are deleted, in bytes; any server accepts it.
const RETAINED_BYTES: usize = 4 * 1024;
/// Upper limit for the size of a cookie of ours, in bytes.
const MAX_OWN_BYTES: usize = 512;
/// Size of `Set-Cookie` headers in one response, in bytes; the next request deletes further cookies.
const MAX_DELETION_BYTES: usize = 64 * 1024;

/// Header that browsers send with the request for a service worker's script, and that pages cannot set (Service Workers, 8.5).
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// Responds to such requests; passes all others on.
pub async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if Client(headers).cookie_bytes() <= MAX_COOKIE_BYTES && !headers.contains_key(SERVICE_WORKER) {
        return next.run(request).await;
    }
    let own = request.uri().to_string();
    let client = Client(headers);
    let is_subrequest = own.starts_with("/gate/");
    let uri = if is_subrequest { client.uri() } else { &own };
    if client.cookie_bytes() > MAX_COOKIE_BYTES {
        let session = state.cookie_name().unwrap_or_default();
        return delete_cookies(state.title(), client, uri, &[known_device::cookie_name(&session), session]);
    }
    if is_subrequest && !covers_origin(uri) {
        return next.run(request).await;
    }
    response::json_error(
        StatusCode::FORBIDDEN,
        "a service worker must not control the login pages of this port",
    )
}

/// True if a service worker with this script could control the login pages: the script is in the root or in `/leonardo/`.
///
/// A scope above the script's directory needs a response header of the service, which the gate removes.
fn covers_origin(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    path.rfind('/').unwrap_or_default() == 0 || path.starts_with("/leonardo/")
}

/// Deletes the largest cookies, including those that another server has set with our names.
///
/// A request does not have the paths and domains of its cookies, so each is deleted for every path and domain above this
/// one. Cookies named `own` are kept at the path and domain that the portal uses.
fn delete_cookies(title: &str, client: Client<'_>, uri: &str, own: &[String]) -> Response {
    let found = cookies::sorted_by_size(&client.cookies());
    let mut left: usize = found.iter().map(|(_, length)| length).sum();
    let (mut lines, mut bytes, mut deleted) = (Vec::new(), 0, 0);
    for (name, length) in found {
        if left <= RETAINED_BYTES || bytes > MAX_DELETION_BYTES {
            break;
        }
        // A larger cookie with our name was set by another server.
        let own = if length < MAX_OWN_BYTES { own } else { &[] };
        for line in deletions(client, name, uri, own) {
            bytes += line.len();
            lines.push(line);
        }
        left -= length;
        deleted += 1;
    }
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let kilobytes = client.cookie_bytes() / 1_000;
    let mut response = if client.is_browser_page() {
        render(status, &CookiesPage { title, kilobytes, deleted, next: safe_path(uri) })
    } else {
        let message =
            format!("{kilobytes} kB of cookies exceed the limit; the largest were deleted, try again");
        response::json_error(status, &message)
    };
    for line in lines {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    response
}

/// Returns the `Set-Cookie` headers that delete a cookie.
fn deletions(client: Client<'_>, name: &[u8], uri: &str, own: &[String]) -> Vec<HeaderValue> {
    // Special prefixes need these attributes (RFC 6265bis, 4.1.3), also over plain http on localhost.
    let special = if name.starts_with(b"__") { "; Secure; HttpOnly" } else { "" };
    let secure = if client.is_https() { "; Secure" } else { special };
    let prefix = if client.is_https() { cookies::HOST } else { "" };
    let is_own = own.iter().any(|own| [prefix, own].concat().as_bytes() == name);
    // A pair without `=` deletes the cookie that has no name.
    let pair = if name.is_empty() { b"x".to_vec() } else { [name, b"="].concat() };
    let domains = cookie_domains(client);
    let depth = MAX_DELETION_BYTES / (pair.len() + 64) / domains.len() / 2;
    let mut lines = Vec::new();
    for domain in &domains {
        for path in cookie_paths(uri, depth.clamp(1, 8)) {
            if is_own && domain.is_empty() && path == "/" {
                continue;
            }
            let end = format!("; Path={path}{domain}; Max-Age=0{secure}");
            lines.push(HeaderValue::from_bytes(&[&pair, end.as_bytes()].concat()));
        }
    }
    lines.into_iter().flatten().collect()
}

/// Returns the `Domain` attributes to delete: none, and each domain from the host upwards that contains a dot.
fn cookie_domains(client: Client<'_>) -> Vec<String> {
    let authority = client.authority();
    let name = authority.canonical();
    let mut domains = vec![String::new()];
    if authority.address().is_none() && authority.safe_name().is_some() {
        let mut rest = Some(name.as_str());
        while let Some(domain) = rest.filter(|domain| domain.contains('.')) {
            domains.push(format!("; Domain={domain}"));
            rest = domain.split_once('.').map(|(_, parent)| parent);
        }
    }
    domains
}

/// Returns paths of cookies that match `uri` (RFC 6265, 5.1.4): the first `depth` directories and the whole path.
fn cookie_paths(uri: &str, depth: usize) -> Vec<&str> {
    let path = uri.split(['?', '#', ';']).next().unwrap_or_default();
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
    let ends = path.match_indices('/').skip(1).take(depth).flat_map(|(end, _)| [&path[..end], &path[..=end]]);
    std::iter::once("/")
        .chain(ends.filter(|_| plain))
        .chain((plain && path.len() > 1).then_some(path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::headers;

    #[test]
    fn a_worker_in_the_root_could_control_the_login_pages() {
        for uri in ["/sw.js", "/sw.js?a=/b/c", "/", "", "/leonardo/assets/app.js", "/leonardo/x/y.js"] {
            assert!(covers_origin(uri), "{uri}");
        }
        for uri in ["/app/sw.js", "//sw.js", "/leonardo2/sw.js"] {
            assert!(!covers_origin(uri), "{uri}");
        }
    }

    fn own() -> [String; 2] {
        ["leonardo_0badcafe".to_owned(), "leonardo_0badcafe_device".to_owned()]
    }

    fn deleted(cookie: &str, host: &str, uri: &str) -> Vec<String> {
        let headers = headers(&[("cookie", cookie), ("accept", "text/html"), ("host", host)]);
        let response = delete_cookies("", Client(&headers), uri, &own());
        assert_eq!(response.status(), 431);
        let lines = response.headers().get_all("set-cookie").iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_largest_cookies_are_deleted_and_ours_are_kept() {
        let x = |count| "x".repeat(count);
        let cookie = format!("leonardo_0badcafe=43; a={}; b={}; c=small", x(9_000), x(8_000));
        let expected: Vec<String> = ["a", "b"]
            .iter()
            .flat_map(|name| {
                ["", "; Domain=a.lab.example", "; Domain=lab.example"].iter().flat_map(move |domain| {
                    ["/", "/x", "/x/", "/x/y"]
                        .iter()
                        .map(move |path| format!("{name}=; Path={path}{domain}; Max-Age=0"))
                })
            })
            .collect();
        assert_eq!(deleted(&cookie, "a.lab.example:1", "/x/y?z"), expected);
    }

    #[test]
    fn a_large_cookie_with_a_name_of_ours_is_deleted_where_it_is_not_ours() {
        let x = "x".repeat(5_000);
        let cookie = format!("leonardo_0badcafe={x}; leonardo_0badcafe_device={x}; leonardo_0badcafe_8={x}");
        let lines = [
            "leonardo_0badcafe_device=; Path=/; Max-Age=0",
            "leonardo_0badcafe_device=; Path=/p; Max-Age=0",
            "leonardo_0badcafe_8=; Path=/; Max-Age=0",
            "leonardo_0badcafe_8=; Path=/p; Max-Age=0",
            "leonardo_0badcafe=; Path=/; Max-Age=0",
            "leonardo_0badcafe=; Path=/p; Max-Age=0",
        ];
        assert_eq!(deleted(&cookie, "192.0.2.1", "/p"), lines);
    }

    #[test]
    fn our_own_cookies_are_kept_among_many_small_ones() {
        let small: Vec<String> = (10..70).map(|number| format!("c{number}={}", "x".repeat(300))).collect();
        let of_own = |length: usize| {
            let own = format!("leonardo_0badcafe={}", "x".repeat(length - "leonardo_0badcafe=".len()));
            let lines = deleted(&format!("{own}; {}", small.join("; ")), "192.0.2.1", "/p");
            lines.into_iter().filter(|line| line.starts_with("leonardo")).collect::<Vec<_>>()
        };
        assert_eq!(of_own(MAX_OWN_BYTES - 1), ["leonardo_0badcafe=; Path=/p; Max-Age=0"]);
        let both = ["leonardo_0badcafe=; Path=/; Max-Age=0", "leonardo_0badcafe=; Path=/p; Max-Age=0"];
        assert_eq!(of_own(MAX_OWN_BYTES), both);
    }

    #[test]
    fn cookies_with_special_names_or_none_are_deleted_too() {
        let x = "x".repeat(5_000);
        let lines = ["__Host-a=; Path=/; Max-Age=0; Secure; HttpOnly", "x; Path=/; Max-Age=0"];
        assert_eq!(deleted(&format!("__Host-a={x}; {x}"), "localhost", "/"), lines);
    }

    #[test]
    fn the_number_of_paths_is_limited() {
        assert_eq!(cookie_paths("/a/b/c/d?e/f", 2), ["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c/d"]);
        let deep = deleted(&format!("a={}", "x".repeat(9_000)), "h", "/1/2/3/4/5/6/7/8/9/10");
        assert_eq!((deep.len(), deep[16].as_str()), (18, "a=; Path=/1/2/3/4/5/6/7/8/; Max-Age=0"));
    }

    #[test]
    fn no_more_cookies_than_necessary_are_deleted() {
        let cookie = |bytes: usize| {
            format!("a={}; b={}", "x".repeat(bytes - RETAINED_BYTES - 4), "x".repeat(RETAINED_BYTES - 2))
        };
        let deleted = |host: &str, proto: &str, uri: &str| {
            let pairs =
                [("cookie", &*cookie(MAX_COOKIE_BYTES)), ("host", host), ("x-forwarded-proto", proto)];
            let headers = headers(&pairs);
            let answer = delete_cookies("", Client(&headers), uri, &own());
            answer
                .headers()
                .get_all("set-cookie")
                .iter()
                .map(|line| line.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(deleted("192.0.2.1:1", "http", "/"), ["a=; Path=/; Max-Age=0"], "b fits");
        assert_eq!(deleted("gpu", "https", "/?/x/y"), ["a=; Path=/; Max-Age=0; Secure"]);
        assert_eq!(
            deleted("a.example\"", "http", "/x;y/z"),
            ["a=; Path=/; Max-Age=0", "a=; Path=/x; Max-Age=0"]
        );
        assert_eq!(deleted("[::1]:1", "http", "/ä"), ["a=; Path=/; Max-Age=0"]);
        assert_eq!(
            cookie_paths("/1/2/3/4/5/6", 4),
            ["/", "/1", "/1/", "/1/2", "/1/2/", "/1/2/3", "/1/2/3/", "/1/2/3/4", "/1/2/3/4/", "/1/2/3/4/5/6"]
        );
    }

    #[test]
    fn a_response_is_never_larger_than_a_browser_accepts() {
        let cookies: Vec<String> =
            (0..180).map(|number| format!("{}{number:03}=x", "n".repeat(4_000))).collect();
        for host in ["192.0.2.1", "a.b.c.lab.example"] {
            let bytes: usize =
                deleted(&cookies.join("; "), host, "/a/b/c/d/e/f/g/h/i").iter().map(String::len).sum();
            assert!((MAX_DELETION_BYTES..3 * MAX_DELETION_BYTES).contains(&bytes), "{host} {bytes}");
        }
    }
}
