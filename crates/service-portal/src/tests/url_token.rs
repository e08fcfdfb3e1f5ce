//! Our token in a URL: no service sees it, and a browser gets a session for it.

use super::fixture::{Portal, WRONG};
use crate::throttle::AttemptKind;

const BEHIND_THE_LOGIN: &str = "
    page /?token=$TOKEN                    => 303 to /leonardo/arrive?code=$CODE&next=/
    page /lab?x=1&token=$TOKEN&y=%20       => 303 to /leonardo/arrive?code=$CODE&next=/lab%3Fx%3D1%26y%3D%2520
    page /lab?%74%6Fken=$TOKEN             => 303 to /leonardo/arrive?code=$CODE&next=/lab
    page /lab?token=mine&token=$TOKEN      => 303 to /leonardo/arrive?code=$CODE&next=/lab%3Ftoken%3Dmine
    page /lab?token=$WRONG&token=$TOKEN    => 303 to /leonardo/arrive?code=$CODE&next=/lab%3Ftoken%3D$WRONG
    page /lab?token=one-click-token        => 303 to /leonardo/arrive?code=$CODE&next=/lab
    page HEAD /lab?token=$TOKEN            => 303 to /leonardo/arrive?code=$CODE&next=/lab
    page guest /lab?token=$TOKEN           => 303 to /leonardo/arrive?code=$CODE&next=/lab
    link-site /lab?token=$TOKEN            => 303 to /leonardo/arrive?code=$CODE&next=/lab
    page session /lab?token=$TOKEN&x=1     => 303 to /lab?x=1
    page session /?token=$TOKEN&token=$TOKEN => 303 to /
    page session /lab?token=$WRONG         => 200 cookie: theme=dark
    page session /lab?token=mine           => 200 cookie: theme=dark
    page session /lab?tokens=$TOKEN        => 200 cookie: theme=dark
    page bearer /lab?token=$TOKEN          => 303 to /lab
    program session /lab?token=$TOKEN      => 307 to /lab
    program bearer /lab?token=$TOKEN&x     => 307 to /lab?x
    program-post session /lab?token=$TOKEN => 307 to /lab
    form-own guest /lab?token=$TOKEN       => 307 to /lab
    program guest /lab?token=$TOKEN        => 307 to /lab
    program /lab?token=$TOKEN              => 401 Bearer+Basic
    fetch-own /lab?token=$TOKEN            => 401 Bearer
    form-own /lab?token=$TOKEN             => 401 Bearer
    socket-own session /lab?token=$TOKEN   => 400
    socket-own session /lab?token=mine     => 502
    socket-own /lab?token=$TOKEN           => 401 Bearer
    page session //evil?token=$TOKEN       => 400 Remove $WEB_TOKEN from the URL, or send Authorization: Bearer $WEB_TOKEN.
    page //evil?token=$TOKEN               => 400 Remove $WEB_TOKEN from the URL, or send Authorization: Bearer $WEB_TOKEN.
    program session //evil?token=$TOKEN    => 400
    program session /lab?ä&token=$TOKEN    => 400
    page session /lab?ä&token=$TOKEN       => 400 Remove $WEB_TOKEN from the URL, or send Authorization: Bearer $WEB_TOKEN.
    program session /lab?ä                 => 200 cookie: theme=dark
    frame-site session /lab?token=$TOKEN   => 403 The request was made by a page of another origin.
    form-site session /lab?token=$TOKEN    => 403
    preflight /lab?token=$TOKEN            => 418 access-control-allow-origin: * access-control-allow-methods: PUT
    page /lab?token=$WRONG                 => 302 to /leonardo/login?next=/lab%3Ftoken%3D$WRONG
    page /lab?token=mine                   => 302 to /leonardo/login?next=/lab%3Ftoken%3Dmine
";

const WITHOUT_A_LOGIN: &str = "
    page /lab?token=$TOKEN&x=1             => 303 to /lab?x=1
    page session /lab?token=$TOKEN         => 303 to /lab
    page /lab?token=one-click-token        => 303 to /lab
    page /lab?token=mine                   => 200 cookie: theme=dark
    page /lab?token=$WRONG                 => 200 cookie: theme=dark
    program /lab?token=$TOKEN              => 307 to /lab
    program-post /lab?token=$TOKEN         => 307 to /lab
    fetch-own /lab?token=$TOKEN            => 307 to /lab
    socket-own /lab?token=$TOKEN           => 400
    program /lab?ä&token=$TOKEN            => 400
    page //evil?token=$TOKEN               => 400 Remove $WEB_TOKEN from the URL, or send Authorization: Bearer $WEB_TOKEN.
";

#[test]
fn no_service_behind_the_login_sees_our_token() {
    Portal::new().check_gate("/gate/verify", BEHIND_THE_LOGIN);
}

#[test]
fn no_service_without_a_login_sees_our_token() {
    Portal::new().check_gate("/gate/open", WITHOUT_A_LOGIN);
    Portal::with(&[("WEB_ENABLE_AUTH", "false")]).check_gate("/gate/verify", WITHOUT_A_LOGIN);
}

/// Only the owner's URLs are compared without a limit.
const WHILE_THE_ADDRESS_WAITS: &str = "
    page session /lab?token=$TOKEN         => 303 to /lab
    page session referer=/?token=$TOKEN    => 200 cookie: theme=dark referer: /
    program bearer /lab?token=$TOKEN       => 307 to /lab
    page guest /lab?token=$TOKEN           => 429 retry-after: 61 Too many failed attempts; try again later, or run portal-link in the container for a one-time login link.
    page guest /lab?token=mine             => 200 cookie: theme=dark
    page guest /lab                        => 200 cookie: theme=dark
    page guest referer=/?token=$TOKEN      => 200 cookie: theme=dark
    page guest referer=/?token=mine        => 200 cookie: theme=dark referer: /?token=mine
    page /lab?token=$TOKEN                 => 302 to /leonardo/login?next=/lab%3Ftoken%3D$TOKEN
    page device /lab?token=$TOKEN          => 303 to /leonardo/arrive?code=$CODE&next=/lab
    page from=198.51.100.1 /?token=$TOKEN  => 303 to /leonardo/arrive?code=$CODE&next=/
";

#[test]
fn guesses_in_urls_are_slowed_down() {
    let portal = Portal::new();
    portal.slow_down(AttemptKind::Link, "192.0.2.1");
    portal.check_gate("/gate/verify", WHILE_THE_ADDRESS_WAITS);
    portal.check_gate("/gate/open", "page session /lab?token=$TOKEN => 429 retry-after: 61 Too many failed attempts; try again later, or run portal-link in the container for a one-time login link.");
}

#[test]
fn wrong_tokens_of_the_right_length_count_as_guesses_unless_the_owner_sends_them() {
    let portal = Portal::new();
    let guesses = |gate: &str, words: &str, from: &str| {
        portal.guesses(AttemptKind::Link, from, || {
            for number in 0..6 {
                let words = words.replace("$EACH", &format!("{number}{}{}", &from[11..], &WRONG[2..]));
                portal.ask(gate, &format!("{words} from={from}"));
            }
        })
    };
    assert!(!guesses("/gate/verify", "page session /?token=$WRONG", "198.51.100.1"));
    assert!(!guesses("/gate/verify", "page session referer=/?token=$WRONG", "198.51.100.1"));
    assert!(!guesses("/gate/open", "program /?token=$WRONG", "198.51.100.1"), "a service's own token");
    assert!(!guesses("/gate/verify", "page /?token=mine", "198.51.100.1"));
    assert!(!guesses("/gate/verify", "program /?token=x$EACH", "198.51.100.1"), "nothing is compared");
    assert!(guesses("/gate/verify", "page /?token=$EACH", "198.51.100.2"));
    assert!(guesses("/gate/open", "program referer=/?token=$EACH", "198.51.100.3"));
    assert!(guesses("/gate/open", "program /?token=$EACH", "198.51.100.4"));
}
