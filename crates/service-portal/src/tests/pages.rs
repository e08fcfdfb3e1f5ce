//! The portal's own pages: access to them, redirects of the login, and the logout.

use kit::unix_time;

use super::fixture::{FORM, Portal};
use crate::throttle::AttemptKind;

const START: &str = "
    portal page /                               => 302 to /leonardo/login
    portal program /                            => 401 Bearer+Basic
    portal page session /                       => 200 <Services> (logout)
    portal program bearer /                     => 200 <Services>
    portal program basic /                      => 200 <Services>
    page session /leonardo/                     => 200 <Services>
    page /leonardo/                             => 302 to /leonardo/login
    page guest /leonardo/                       => 403 This link gives access to one service only.
    portal page guest /                         => 302 to /leonardo/login
    portal frame-port session /                 => 403 The request was made by a page of another origin.
    portal fetch-site session /                 => 403
    portal page /?token=$TOKEN&x=1              => 303 to /?x=1 sets leonardo_0badcafe sets leonardo_0badcafe_device
    portal page /?token=one-click-token         => 303 to / sets leonardo_0badcafe sets leonardo_0badcafe_device
    portal page session /?token=$TOKEN          => 303 to /
    portal page /?token=$WRONG                  => 302 to /leonardo/login
    portal program /?token=$TOKEN               => 401 Bearer+Basic
    portal program session /?token=$TOKEN       => 200 <Services> (logout)
    portal frame-port session /?token=$TOKEN    => 403 The request was made by a page of another origin.
    program session /leonardo/state.json        => 200
    portal program session /leonardo/state.json => 200
    program bearer /leonardo/state.json         => 200
    program /leonardo/state.json                => 401 Bearer+Basic
    program guest /leonardo/state.json          => 403 This link gives access to one service only.
    fetch-site session /leonardo/state.json     => 403
    portal program /leonardo/identity?nonce=    => 404 Page not found.
    portal program /leonardo/identity?nonce=a.b => 404 Page not found.
    program session /leonardo/identity          => 404 Page not found.
    program /leonardo/health-check              => 200 ok
    program /leonardo/ready                     => 503 still starting
    portal page session /leonardo/none          => 404 Page not found.
";

#[test]
fn the_portals_pages_are_for_its_owner() {
    Portal::new().check_pages(START);
    let portal = Portal::with(&[("WEB_ENABLE_AUTH", "false")]);
    portal.check_pages(
        "portal page /                        => 200 <Services>
         portal page host=evil.example:1111 / => 421 This host name is not allowed for services without a login; add it to WEB_ALLOWED_HOSTS.
         portal fetch-site /                  => 403
         portal page /?token=$TOKEN           => 303 to /
         portal page /leonardo/access         => 403 WEB_ENABLE_AUTH=false: there are no sessions, links or tokens to manage.
         portal page host=h:1111 /leonardo/login?port=8188&next=/lab => 303 to http://h:8188/lab
         page /leonardo/login?next=/lab       => 303 to /lab",
    );
}

/// Returns the value of an attribute in a page.
fn attribute<'a>(body: &'a str, name: &str) -> &'a str {
    body.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap()
}

#[test]
fn a_form_on_a_services_port_is_sandboxed_and_has_a_proof() {
    let portal = Portal::new();
    let form = portal.send("page /leonardo/login?here=1", "");
    assert!(form.header("content-security-policy").unwrap().ends_with("; sandbox allow-forms"));
    let proof = attribute(&form.body, "name=\"proof\" value").to_owned();
    let log_in = |words: &str| {
        let words = format!("{words} POST origin=null /leonardo/login");
        portal.send(&words, &format!("username=ada&password=secret&proof={proof}")).status
    };
    assert_eq!(log_in(""), 303);
    assert_eq!(log_in("from=192.0.2.99"), 303, "the same network");
    assert_eq!(log_in("from=198.51.100.1"), 403);
    assert_eq!(log_in("portal"), 403, "another port");
    let forged = "username=ada&password=secret&proof=0.AAAA";
    assert_eq!(portal.send("POST origin=null /leonardo/login", forged).status, 403);
    for (age, status) in [(3_000, 303), (3_601, 403)] {
        let sent = (unix_time::now() - age).to_string();
        let proof = portal.state.key().sign("form Some(8188) 192.0.2.0", &sent);
        let body = format!("username=ada&password=secret&proof={proof}");
        assert_eq!(portal.send("POST origin=null /leonardo/login", &body).status, status, "{age}");
    }
    let form = portal.send("portal page /leonardo/login", "");
    assert!(!form.header("content-security-policy").unwrap().contains("sandbox"));
    assert!(!form.body.contains("proof"));
}

#[test]
fn the_portal_proves_its_identity_to_other_ports() {
    let portal = Portal::new();
    let link = portal.send("page /leonardo/login", "").body;
    let (nonce, identity) = (attribute(&link, "data-nonce"), attribute(&link, "data-identity"));
    let ask = |words: &str| portal.send(&format!("{words} program /leonardo/identity?nonce={nonce}"), "");
    assert_eq!((ask("portal").status, ask("portal").body.as_str()), (200, identity));
    assert_eq!(ask("").status, 404, "only on the portal's own port");
    assert_ne!(
        Portal::new().send(&format!("portal program /leonardo/identity?nonce={nonce}"), "").body,
        identity
    );
}

#[test]
fn a_services_port_shows_only_the_links() {
    let portal = Portal::new();
    portal.register_badly();
    let shows = |words: &str| {
        let body = portal.send(&format!("{words} /leonardo/state.json"), "").body;
        (body.contains("\"Echo\""), body.contains("service file 8200"))
    };
    assert_eq!(shows("portal program session"), (true, true));
    assert_eq!(shows("program bearer"), (true, true));
    assert_eq!(shows("program session"), (true, false));
}

const FORM_PAGE: &str = "
    portal page /leonardo/login                             => 200 <Log in> (password)
    portal page /login                                      => 200 <Log in> (password)
    page /leonardo/login?next=/lab                          => 200 <Log in> (portal)
    page /leonardo/login?here=1&next=/lab                   => 200 <Log in> (password)
    page host=abc.tunnel.example /leonardo/login            => 200 <Log in> (password)
    page host=gpu.lan:28188 /leonardo/login                 => 200 <Log in> (password)
    page ended /leonardo/login                              => 200 <Log in> (portal)
    portal page session /login?next=/lab                    => 303 to /lab
    portal page session /leonardo/login?next=//evil         => 303 to /
    portal page session /leonardo/login?next=/leonardo/login => 303 to /
    portal page session /leonardo/login?port=8188&next=/lab => 303 to http://gpu.lan:8188/lab
    portal page session /leonardo/login?port=9999&next=/lab => 303 to /lab
    portal page session /leonardo/login?port=22&next=/lab   => 303 to /lab
    portal page session /leonardo/login?port=x&next=/lab    => 303 to /lab
    page session /leonardo/login?port=3000&next=/lab        => 303 to /lab
    page guest /leonardo/login?next=/lab                    => 303 to /lab
    portal frame-port session /leonardo/login               => 403 The request was made by a page of another origin.
    portal page device /leonardo/login                      => 200 <Log in> (password)
    page /leonardo/login?token=$TOKEN                       => 303 to / sets leonardo_0badcafe sets leonardo_0badcafe_device
    page session /leonardo/login?token=$TOKEN               => 303 to /
";

const LOGIN: &str = "
    portal own POST /leonardo/login | username=ada&password=secret                         => 303 to / sets leonardo_0badcafe sets leonardo_0badcafe_device
    portal own POST /login | username=ada&password=secret&next=/lab                        => 303 to /lab sets leonardo_0badcafe sets leonardo_0badcafe_device
    portal own POST /leonardo/login | username=ada&password=secret&next=//evil             => 303 to / sets leonardo_0badcafe sets leonardo_0badcafe_device
    portal own POST /leonardo/login | username=ada&password=secret&port=8188&next=/lab     => 303 to http://gpu.lan:8188/lab sets leonardo_0badcafe sets leonardo_0badcafe_device
    own POST /leonardo/login | username=ada&password=secret&port=3000&next=/lab            => 303 to /lab sets leonardo_0badcafe sets leonardo_0badcafe_device
    own POST x-forwarded-proto=https /leonardo/login | username=ada&password=secret        => 303 to / sets __Host-leonardo_0badcafe sets __Host-leonardo_0badcafe_device
    portal POST origin=http://gpu.lan:1111 /leonardo/login | username=ada&password=secret  => 303 to / sets leonardo_0badcafe sets leonardo_0badcafe_device
    portal POST origin=http://gpu.lan:8188 /leonardo/login | username=ada&password=secret  => 403 This form has expired or came from another page. Reload the login page.
    portal POST /leonardo/login | username=ada&password=secret                             => 403 This form has expired or came from another page. Reload the login page.
    portal port POST /leonardo/login | username=ada&password=secret                        => 403 This form has expired or came from another page. Reload the login page.
    portal site POST /leonardo/login | username=ada&password=secret                        => 403 This form has expired or came from another page. Reload the login page.
    portal own POST /leonardo/login | username=ada&password=wrong                          => 401 <Log in> (password)
    portal own POST /leonardo/login | username=eve&password=secret                         => 401 <Log in> (password)
    portal own POST /leonardo/login | username=ada&password=former+password                => 401 <Log in> (password)
    portal own POST /leonardo/login |                                                      => 401 <Log in> (password)
";

#[test]
fn the_login_redirects_to_the_requested_page() {
    let portal = Portal::new();
    portal.check_pages(FORM_PAGE);
    portal.check_pages(LOGIN);
    let form = portal.send("portal own POST /leonardo/login", "username=ada&password=x&port=8188&next=/lab");
    let again =
        ["name=\"port\" value=\"8188\"", "name=\"next\" value=\"/lab\"", "Wrong user name or password."];
    again.iter().for_each(|text| assert!(form.body.contains(text), "{}", form.body));
    assert!(
        form.header("content-security-policy").unwrap().contains("form-action 'self' http://gpu.lan:8188")
    );
    let wrong = "username=%22%3E%3Cb%3Eada&password=x";
    let form = portal.send("portal own POST /leonardo/login", wrong).body;
    let kept = "required value=\"&#34;&#62;&#60;b&#62;ada\" aria-describedby=\"error\"";
    let password = "autocomplete=\"current-password\" required autofocus";
    assert!(form.contains(kept) && form.contains(password), "{form}");
    let link = portal.send("page /leonardo/login?next=/lab?x", "");
    for text in [
        "href=\"http://gpu.lan:1111/leonardo/login?port=8188&#38;next=/lab%3Fx\"",
        "href=\"/leonardo/login?here=1&#38;next=/lab%3Fx\"",
        "Log in at gpu.lan:1111",
    ] {
        assert!(link.body.contains(text), "{}", link.body);
    }
    assert!(
        link.header("content-security-policy").unwrap().contains("connect-src 'self' http://gpu.lan:1111")
    );
}

#[test]
fn on_another_host_the_login_continues_with_a_single_use_code() {
    let portal = Portal::with(&[("RUNPOD_POD_ID", "abc")]);
    let words = "port=1111 host=abc-1111.proxy.runpod.net x-forwarded-proto=https own POST /leonardo/login";
    let answer = portal.send(words, &format!("{FORM}&port=8188&next=/lab"));
    let location = answer.header("location").unwrap().to_owned();
    let path = location.strip_prefix("https://abc-8188.proxy.runpod.net").unwrap();
    assert_eq!(answer.cookies().len(), 2);
    portal.check_pages(&format!(
        "page {path} => 303 to /lab sets leonardo_0badcafe sets leonardo_0badcafe_device
         page {path} => 303 to /lab
         page /leonardo/arrive?code=&next=//evil => 303 to /"
    ));
    let arrive = portal.ask("/gate/verify", "page /lab?token=$TOKEN");
    let path = arrive.header("location").unwrap().replace("/lab", "//evil");
    portal.check_pages(&format!(
        "page {path} => 303 to / sets leonardo_0badcafe sets leonardo_0badcafe_device"
    ));
    let arrive = portal.ask("/gate/verify", "page /lab?token=$TOKEN");
    let path = arrive.header("location").unwrap().to_owned();
    portal.change_login("another password", "another-token");
    portal.check_pages(&format!("page {path} => 303 to /lab"));
}

#[test]
fn guesses_at_the_form_are_slowed_down_but_not_for_known_browsers() {
    let portal = Portal::new();
    let attempt = |words: &str, password: &str| {
        let words = format!("portal own POST {words} /leonardo/login");
        portal.send(&words, &format!("username=ada&password={password}")).to_string()
    };
    let guesses = |from: &str, passwords: &[&str]| {
        portal.guesses(AttemptKind::Form, from, || {
            passwords.iter().for_each(|word| drop(attempt(&format!("from={from}"), word)));
        })
    };
    assert!(guesses("198.51.100.1", &["x"; 6]) && !guesses("198.51.100.2", &["x"; 5]));
    assert!(
        !guesses("198.51.100.3", &["x", "x", "x", "secret", "x", "x", "x"]),
        "a successful login clears failures"
    );
    portal.slow_down(AttemptKind::Form, "192.0.2.1");
    assert_eq!(attempt("", "secret"), "429 retry-after: 61 <Log in> (password)");
    assert_eq!(attempt("session", "wrong"), "429 retry-after: 61 <Log in> (password)");
    assert!(attempt("device", "secret").starts_with("303 to / sets"));
    assert!(attempt("from=203.0.113.9", "secret").starts_with("303 to / sets"));
    assert_eq!(portal.ask("/gate/verify", "program bearer").status, 200, "headers have their own limit");
}

#[test]
fn a_browser_whose_cookie_was_overwritten_gets_its_session_back() {
    let mut portal = Portal::new();
    let [session, mark] = portal.log_in("own");
    portal.add_cookie("mine", session.clone());
    portal.add_cookie("mark", mark);
    portal.check_gate(
        "/gate/verify",
        "page mark => 302 to /leonardo/login\n page mine => 200 cookie: theme=dark",
    );
    let answer = portal.send("page mark made-up /leonardo/login?next=/lab", "");
    assert_eq!(answer.to_string(), "303 to /lab sets leonardo_0badcafe sets leonardo_0badcafe_device");
    portal.add_cookie("restored", answer.cookies()[0].clone());
    portal.check_gate(
        "/gate/verify",
        "page mine => 302 to /leonardo/login\n page restored => 200 cookie: theme=dark",
    );
    let again = portal.log_in("own mark");
    portal.add_cookie("again", again[0].clone());
    portal.check_gate(
        "/gate/verify",
        "page restored => 302 to /leonardo/login\n page again => 200 cookie: theme=dark",
    );
    assert_eq!(portal.send("portal own again POST /leonardo/logout", "").status, 303);
    portal.check_pages("portal page mark /leonardo/login => 200 <Log in> (password)");
}

#[test]
fn the_owner_logs_out_on_the_portals_port_and_a_guest_on_the_services() {
    let portal = Portal::new();
    portal.check_pages(
        "own session guest POST /leonardo/logout                     => 303 to /leonardo/login deletes leonardo_0badcafe_8188
         portal port session POST /leonardo/logout                   => 403 This form was sent from another page.
         portal session POST /leonardo/logout                        => 403 This form was sent from another page.",
    );
    portal.check_gate(
        "/gate/verify",
        "page guest => 302 to /leonardo/login\n page session => 200 cookie: theme=dark",
    );
    portal.check_pages(
        "portal own session POST /leonardo/logout => 303 to /leonardo/login deletes leonardo_0badcafe deletes leonardo_0badcafe_1111",
    );
    portal.check_gate("/gate/verify", "page session => 302 to /leonardo/login");
}

#[test]
fn cookies_are_limited_to_this_host_and_to_http() {
    let portal = Portal::new();
    let set = |words: &str| {
        let answer = portal.send(&format!("own POST {words} /leonardo/login"), FORM);
        let line = answer.headers.get("set-cookie").unwrap().to_str().unwrap().to_owned();
        let (pair, attributes) = line.split_once("; ").unwrap();
        format!("{} {attributes}", pair.split_once('=').unwrap().0)
    };
    let attributes = "Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Priority=High";
    assert_eq!(set("portal"), format!("leonardo_0badcafe {attributes}"));
    assert_eq!(set("x-forwarded-proto=https"), format!("__Host-leonardo_0badcafe {attributes}; Secure"));
    let now = unix_time::now();
    let (_, word) = portal.state.shares().create("Echo", 8188, 60, None, now).unwrap();
    let answer = portal.send("own POST /leonardo/share", &format!("link={word}"));
    let line = answer.header("set-cookie").unwrap();
    let seconds: u64 = line.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds) && line.starts_with("leonardo_0badcafe_8188="), "{line}");
}

#[test]
fn pages_and_refusals_of_the_gate_have_security_headers() {
    let portal = Portal::new();
    let answers = [
        portal.send("portal page session /", ""),
        portal.send("portal page /leonardo/login", ""),
        portal.send("own POST /leonardo/login", FORM),
        portal.ask("/gate/verify", "page"),
        portal.ask("/gate/verify", "program"),
    ];
    for answer in &answers {
        for (name, value) in [
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "strict-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}: {answer}");
        }
    }
    let passed = portal.ask("/gate/verify", "page session");
    let names: Vec<_> = passed.headers.keys().collect();
    assert_eq!(names, ["cookie", "content-length"], "the service receives all of them");
}
