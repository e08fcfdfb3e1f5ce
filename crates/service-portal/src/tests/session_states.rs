//! The gate with ended or bound sessions, waiting addresses, a changed or unreadable login, unknown hosts, and requests that
//! no service may see.

use axum::http::{HeaderMap, HeaderValue};

use super::fixture::Portal;
use crate::client::Client;
use crate::throttle::AttemptKind;

const SESSIONS: &str = "
    page expired                                => 302 to /leonardo/login
    program expired                             => 401 Bearer+Basic
    page ended                                  => 302 to /leonardo/login
    page made-up                                => 302 to /leonardo/login
    page neighbour                              => 302 to /leonardo/login
    page device                                 => 302 to /leonardo/login
    program digest                              => 401 Bearer+Basic
    program device bearer                       => 200 cookie: theme=dark
    page session from=203.0.113.9               => 200 cookie: theme=dark
    page bound                                  => 200 cookie: theme=dark
    page bound from=192.0.2.200                 => 200 cookie: theme=dark
    page bound from=203.0.113.9                 => 302 to /leonardo/login
    page session port=3000 host=gpu.lan:3000    => 200 cookie: theme=dark
    page session host=abc.tunnel.example        => 200 cookie: theme=dark
    page guest port=3000 host=gpu.lan:3000      => 302 to /leonardo/login
    page guest port=none                        => 302 to /leonardo/login
    page guest session port=3000                => 200 cookie: theme=dark
    page session-https x-forwarded-proto=https  => 200 cookie: theme=dark
";

#[test]
fn a_session_is_valid_while_it_lasts_and_where_it_belongs() {
    let portal = Portal::new();
    portal.check_gate("/gate/verify", SESSIONS);
    portal.register("Another", 8188, true);
    portal.check_gate("/gate/verify", "page guest => 302 to /leonardo/login");
    portal.register("Echo", 8188, true);
    portal.check_gate("/gate/verify", "page guest => 200 cookie: theme=dark");
}

const WHILE_THE_ADDRESS_WAITS: &str = "
    program                           => 401 Bearer+Basic
    page                              => 302 to /leonardo/login
    preflight                         => 418 access-control-allow-origin: * access-control-allow-methods: PUT
    page session                      => 200 cookie: theme=dark
    page guest                        => 200 cookie: theme=dark
    program bearer                    => 429 retry-after: 61
    program basic                     => 429 retry-after: 61
    program bearer-wrong              => 429 retry-after: 61
    program basic-wrong               => 429 retry-after: 61
    program bearer-former             => 429 retry-after: 61
    page basic-wrong                  => 429 retry-after: 61 Too many failed attempts; try again later, or run portal-link in the container for a one-time login link.
    program digest                    => 401 Bearer+Basic
    program device bearer             => 200 cookie: theme=dark
    program device basic              => 200 cookie: theme=dark
    program bearer from=203.0.113.9   => 200 cookie: theme=dark
    program session bearer-wrong      => 200 cookie: theme=dark authorization: Bearer $WRONG
";

#[test]
fn a_guessing_address_waits_and_its_sessions_do_not() {
    let portal = Portal::new();
    portal.slow_down(AttemptKind::Header, "192.0.2.1");
    portal.check_gate("/gate/verify", WHILE_THE_ADDRESS_WAITS);
    portal.check_gate("/gate/open", "program bearer => 200 cookie: theme=dark authorization: Bearer $TOKEN");
}

#[test]
fn wrong_headers_count_as_guesses_unless_they_were_valid_or_have_a_session() {
    let portal = Portal::new();
    let guesses = |words: &str, from: &str| {
        portal.guesses(AttemptKind::Header, from, || {
            (0..6).for_each(|_| drop(portal.ask("/gate/verify", &format!("{words} from={from}"))));
        })
    };
    for words in [
        "program bearer-former",
        "program basic-former",
        "program digest",
        "program",
        "page session basic-wrong",
    ] {
        assert!(!guesses(words, "198.51.100.1"), "{words}");
    }
    assert!(guesses("program bearer-wrong", "198.51.100.2"));
    assert!(guesses("program basic-wrong", "198.51.100.3"));
    let is_slowed_down = portal.guesses(AttemptKind::Header, "198.51.100.4", || {
        for header in ["basic-wrong"; 5].iter().chain(["bearer"].iter()).chain(["bearer-wrong"; 5].iter()) {
            portal.ask("/gate/verify", &format!("program {header} from=198.51.100.4"));
        }
    });
    assert!(!is_slowed_down, "a valid header clears failures");
}

#[test]
fn a_changed_login_ends_sessions_at_once() {
    let portal = Portal::new();
    portal.check_gate("/gate/verify", "page session => 200 cookie: theme=dark");
    portal.change_login("another password", "another-token");
    portal.check_gate(
        "/gate/verify",
        "page session            => 302 to /leonardo/login
         page guest              => 302 to /leonardo/login
         program bearer          => 401 Bearer+Basic
         program basic           => 401 Bearer+Basic
         program bearer-former   => 401 Bearer+Basic",
    );
    let late = |words: &str, from: &str| {
        portal.guesses(AttemptKind::Header, from, || {
            (0..6).for_each(|_| drop(portal.ask("/gate/verify", &format!("program {words} from={from}"))));
        })
    };
    assert!(
        !late("bearer", "198.51.100.1") && !late("basic", "198.51.100.1"),
        "a header that was valid is no guess"
    );
    assert!(late("bearer-former", "198.51.100.2"), "only the previous login is remembered");
}

#[test]
fn without_a_readable_login_nothing_is_allowed() {
    let refused = "
        page session             => 302 to /leonardo/login
        page guest               => 302 to /leonardo/login
        program bearer           => 401 Bearer+Basic
        program basic            => 401 Bearer+Basic
        page /lab?token=$TOKEN   => 302 to /leonardo/login?next=/lab%3Ftoken%3D$TOKEN
        program                  => 401 Bearer+Basic
    ";
    let open = "
        page session             => 302 to /leonardo/login
        program bearer           => 401 Bearer+Basic
        program                  => 401 Bearer+Basic
    ";
    let portal = Portal::new();
    portal.break_login();
    portal.check_gate("/gate/verify", refused);
    portal.check_gate("/gate/open", open);
    portal.check_pages(
        "portal own POST /leonardo/login | username=ada&password=secret => 401 <Log in> (password)",
    );
    portal.change_login("secret", super::fixture::TOKEN);
    portal.check_gate("/gate/verify", "program bearer => 200 cookie: theme=dark");
    portal.check_gate("/gate/verify", "page session => 302 to /leonardo/login");
    let portal = Portal::with(&[("WEB_ENABLE_AUTH", "false")]);
    portal.break_login();
    portal.check_gate("/gate/verify", open);
}

/// Requests without a login, with host names that another site may or may not own.
const HOSTS: &str = "
    page host=evil.example:8188        => 421 This host name is not allowed for services without a login; add it to WEB_ALLOWED_HOSTS.
    program host=evil.example:8188     => 421
    program bearer host=evil.example:1 => 421
    preflight host=evil.example:8188   => 421
    page host=xlab.example:8188        => 421 This host name is not allowed for services without a login; add it to WEB_ALLOWED_HOSTS.
    page host=lab.example:8188         => 200 cookie: theme=dark
    page host=gpu.lan:8188             => 200 cookie: theme=dark
    page host=127.0.0.1:8188           => 200 cookie: theme=dark
    page host=abc.tunnel.example       => 200 cookie: theme=dark
    page host=abc.proxy.example:443    => 200 cookie: theme=dark
    page host=direct.example:8188      => 200 cookie: theme=dark
";

#[test]
fn hosts_that_another_site_could_own_are_refused_without_a_login() {
    let variables = [("WEB_ALLOWED_HOSTS", "lab.example"), ("DIRECT_ADDRESS", "direct.example")];
    let portal = Portal::with(&variables);
    portal.check_gate("/gate/open", HOSTS);
    portal.check_gate("/gate/verify", "page session host=evil.example:8188 => 200 cookie: theme=dark");
    let portal = Portal::with(&[variables[0], variables[1], ("WEB_ENABLE_AUTH", "false")]);
    portal.check_gate("/gate/verify", HOSTS);
}

const NOT_FORWARDED: &str = "
    program session uri=*                   => 400
    program session uri=gpu.lan:22          => 400
    page session uri=http://a/?token=$TOKEN => 400 The request target is not a path.
    worker session /sw.js                   => 403
    worker session /sw.js?a=/b/             => 403
    worker session /leonardo/assets/app.js  => 403
    worker /sw.js                           => 403
    worker session /app/sw.js               => 200 cookie: theme=dark
    worker /app/sw.js                       => 401 Bearer
";

#[test]
fn requests_that_no_service_may_see_are_refused() {
    let portal = Portal::new();
    portal.check_gate("/gate/verify", NOT_FORWARDED);
    portal.check_gate(
        "/gate/open",
        "program uri=*      => 400
         worker /sw.js      => 403
         worker /app/sw.js  => 200 cookie: theme=dark",
    );
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-uri", HeaderValue::from_bytes(b"/?\xff&token=x").unwrap());
    assert_eq!(Client(&headers).uri(), "", "not a path, so it is refused");
    portal.check_pages("worker session /leonardo/assets/app.js => 403\n worker /app/sw.js => 403");
}

#[test]
fn cookies_that_are_too_large_are_deleted_and_ours_are_kept() {
    let mut portal = Portal::new();
    portal.add_cookie("fits", format!("a={}", "x".repeat(16 * 1024 - "theme=dark; a=".len())));
    assert_eq!(portal.ask("/gate/open", "program fits").status, 200);
    portal.add_cookie("one-more", "b".into());
    assert_eq!(portal.ask("/gate/open", "program fits one-more").status, 431);
    portal.add_cookie("large", format!("a={}", "x".repeat(17_000)));
    portal.add_cookie("small", "b=1".into());
    for (gate, words, deleted, text) in [
        ("/gate/verify", "page session large /x?y", 4, "<Too many cookies>"),
        ("/gate/verify", "program session large /", 2, ""),
        ("/gate/open", "page large small /", 2, "<Too many cookies>"),
    ] {
        let answer = portal.ask(gate, words);
        assert_eq!((answer.status, answer.cookies()), (431, vec!["a=".to_owned(); deleted]), "{words}");
        assert!(answer.to_string().ends_with(text), "{answer}");
    }
    let answer = portal.ask("/gate/verify", "page session large /x?y");
    assert!(answer.body.contains("href=\"/x?y\""), "{}", answer.body);
    assert_eq!(portal.send("page session large /leonardo/?y", "").status, 431);
}
