//! Headers that a service behind the gate receives: its own cookies and `Authorization`, and `Referer` without our token.

use super::fixture::Portal;

/// Every request carries the service's cookie `theme=dark`.
const SEEN: &str = "
    page session                                  => 200 cookie: theme=dark
    page session-https                            => 200 cookie: theme=dark
    page session device neighbour                 => 200 cookie: theme=dark
    page session made-up                          => 200 cookie: theme=dark
    page made-up session                          => 200 cookie: theme=dark
    page guest device                             => 200 cookie: theme=dark
    program bearer                                => 200 cookie: theme=dark
    program bearer made-up expired                => 200 cookie: theme=dark
    program basic                                 => 200 cookie: theme=dark
    program session bearer                        => 200 cookie: theme=dark
    program session basic                         => 200 cookie: theme=dark
    program session bearer-former                 => 200 cookie: theme=dark
    program session basic-former                  => 200 cookie: theme=dark
    program session bearer-wrong                  => 200 cookie: theme=dark authorization: Bearer $WRONG
    program session basic-wrong                   => 200 cookie: theme=dark authorization: Basic YWRhOndyb25n
    program session digest                        => 200 cookie: theme=dark authorization: Digest of=the-service
    program guest digest                          => 200 cookie: theme=dark authorization: Digest of=the-service
    program guest bearer                          => 200 cookie: theme=dark authorization: Bearer $TOKEN
    program guest basic-wrong                     => 200 cookie: theme=dark authorization: Basic YWRhOndyb25n
    page session referer=http://gpu.lan:8188/lab  => 200 cookie: theme=dark referer: http://gpu.lan:8188/lab
    page session referer=/?token=$TOKEN&x=1       => 200 cookie: theme=dark referer: /?x=1
    page session referer=/?%74oken=$TOKEN         => 200 cookie: theme=dark referer: /
    page session referer=/?token=one-click-token  => 200 cookie: theme=dark referer: /
    page session referer=/?token=$WRONG           => 200 cookie: theme=dark referer: /?token=$WRONG
    page session referer=/ä?token=$TOKEN          => 200 cookie: theme=dark
    page guest referer=/?token=$TOKEN&x=1         => 200 cookie: theme=dark referer: /?x=1
    page guest referer=/?token=short              => 200 cookie: theme=dark referer: /?token=short
";

/// A service without a login keeps every `Authorization`: removing a valid one would reveal it.
const SEEN_BY_OPEN_SERVICE: &str = "
    program                                       => 200 cookie: theme=dark
    program session device neighbour made-up      => 200 cookie: theme=dark
    program session bearer                        => 200 cookie: theme=dark authorization: Bearer $TOKEN
    program bearer-wrong                          => 200 cookie: theme=dark authorization: Bearer $WRONG
    program digest                                => 200 cookie: theme=dark authorization: Digest of=the-service
    page referer=/?token=$TOKEN&x=1               => 200 cookie: theme=dark referer: /?x=1
    page referer=/?token=one-click-token          => 200 cookie: theme=dark referer: /
    page referer=/?token=$WRONG                   => 200 cookie: theme=dark referer: /?token=$WRONG
";

/// With `WEB_ENABLE_AUTH=false`, every visitor is the owner.
const SEEN_WITHOUT_LOGINS: &str = "
    program                                       => 200 cookie: theme=dark
    program session device neighbour              => 200 cookie: theme=dark
    program bearer                                => 200 cookie: theme=dark
    program basic-former                          => 200 cookie: theme=dark
    program bearer-wrong                          => 200 cookie: theme=dark authorization: Bearer $WRONG
    page referer=/?token=$TOKEN                   => 200 cookie: theme=dark referer: /
";

#[test]
fn a_service_sees_its_own_headers_and_not_ours() {
    Portal::new().check_gate("/gate/verify", SEEN);
}

#[test]
fn a_service_without_a_login_sees_neither_our_cookies_nor_our_token() {
    Portal::new().check_gate("/gate/open", SEEN_BY_OPEN_SERVICE);
}

#[test]
fn with_logins_disabled_a_service_sees_nothing_of_ours_either() {
    Portal::with(&[("WEB_ENABLE_AUTH", "false")]).check_gate("/gate/verify", SEEN_WITHOUT_LOGINS);
}

#[test]
fn assets_are_public_and_kept_until_they_change() {
    let portal = Portal::new();
    let page = portal.send("portal page /leonardo/login", "").body;
    let (_, rest) = page.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let url = rest.split('"').next().unwrap();
    let style = portal.send(&format!("program {url}"), "");
    let keeps = "public, max-age=31536000, immutable";
    assert_eq!((style.status, style.header("cache-control")), (200, Some(keeps)));
    assert_eq!(style.header("content-encoding"), None);
    let compressed = portal.send(&format!("HEAD accept-encoding=gzip,br {url}"), "");
    assert_eq!((compressed.status, compressed.header("content-encoding")), (200, Some("gzip")));
    assert_eq!([&style, &compressed].map(|answer| answer.header("vary")), [Some("accept-encoding"); 2]);
    let refused = portal.send(&format!("program accept-encoding=br,gzip;q=0 {url}"), "");
    assert_eq!(refused.header("content-encoding"), None);
    let (_, icons) = style.body.split_once("url(icons.svg").unwrap();
    let icons =
        portal.send(&format!("program /leonardo/assets/icons.svg{}", icons.split(')').next().unwrap()), "");
    assert_eq!((icons.status, icons.header("cache-control")), (200, Some(keeps)));
    for url in ["/leonardo/assets/style.css?v=old", "/leonardo/assets/app.js"] {
        let changed = portal.send(&format!("program {url}"), "");
        assert_eq!((changed.status, changed.header("cache-control")), (200, Some("no-cache")), "{url}");
    }
    portal.check_pages("program /leonardo/assets/none.css => 404 Page not found.");
}
