//! Pages elsewhere that use their visitor's browser: other ports of the same host, and other hosts.

use harness::{Browser, RunOptions};
use serde_json::{Value, json};

use crate::hostile_services::{Scene, open_by_script, status};

/// Scripts that make the browser send something to `target`, marked by its path, and whether a person is led there.
fn requests(target: &str) -> Vec<(&'static str, String)> {
    let element = |tag: &str, name: &str| {
        format!(
            "return new Promise(done => {{ const made = document.createElement('{tag}'); made.onload = made.onerror = () => done(0); \
             made.src = '{target}/{name}'; document.body.append(made) }})"
        )
    };
    let fetch = |options: &str, name: &str| {
        format!("return fetch('{target}/{name}', {options}).then(() => 0, () => 0)")
    };
    vec![
        ("script", element("script", "script")),
        ("image", element("img", "image")),
        ("frame", element("iframe", "frame")),
        ("get", fetch("{credentials: 'include', mode: 'no-cors'}", "get")),
        ("cors", fetch("{credentials: 'include'}", "cors")),
        ("post", fetch("{credentials: 'include', mode: 'no-cors', method: 'POST', body: 'x'}", "post")),
        ("put", fetch("{credentials: 'include', method: 'PUT', body: 'x'}", "put")),
        (
            "socket",
            format!(
                "return new Promise(done => {{ const made = new WebSocket('{}/socket'); made.onopen = made.onerror = () => done(0) }})",
                target.replacen("http", "ws", 1)
            ),
        ),
    ]
}

/// The marks that the service has seen, without what browsers ask for by themselves.
fn marks(scene: &Scene, port: u16) -> Vec<String> {
    let seen = scene.seen(port);
    let paths = seen.lines().map(|line| {
        let request: Value = serde_json::from_str(line).expect("a line");
        format!("{} {}", request[0].as_str().expect("a method"), request[1].as_str().expect("an address"))
    });
    paths.filter(|path| !path.contains("favicon") && !path.contains("/page")).collect()
}

#[test]
fn a_foreign_page_with_the_owners_browser_can_only_lead_him_to_a_page() {
    let scene = Scene::new(RunOptions::new());
    let browser = scene.owner();
    for from in ["http://localhost:9000", "http://localhost:8081", "http://evil.example:9000"] {
        browser.open(&format!("{from}/page"));
        for (_, script) in requests("http://localhost:8080") {
            browser.run(&script);
        }
        let form = |method: &str, name: &str| {
            browser.open(&format!("{from}/page"));
            browser.run(&format!(
                "document.body.innerHTML = '<form method={method} action=http://localhost:8080/{name}><input name=x value=y><button>x</button></form>'"
            ));
            browser.click("button");
        };
        form("post", "form-post");
        for kind in ["prefetch", "prerender"] {
            let speculate = || {
                browser.open(&format!("{from}/page"));
                // One after the other: when the open service is asked, the other one's gate has been.
                browser.run(&format!(
                    "const made = document.createElement('script'); made.type = 'speculationrules'; \
                     made.text = JSON.stringify({{{kind}: [{{source: 'list', \
                       urls: ['http://localhost:8080/{kind}', 'http://localhost:8081/{kind}']}}]}}); \
                     document.body.append(made)"
                ));
            };
            if from == "http://localhost:9000" {
                // Chromium begins with a frame of the page, and now and then does not begin at all.
                let frame = "return new Promise(done => setTimeout(() => requestAnimationFrame(done), 100))";
                scene.container.wait_until(kind, || {
                    speculate();
                    (0..20).any(|_| {
                        browser.run(frame);
                        scene.seen(18081).contains(&format!("/{kind}"))
                    })
                });
            } else {
                speculate();
            }
        }
        assert_eq!(marks(&scene, 18080), [""; 0], "{from}");

        form("get", "form-get");
        browser.wait_for_text("h1", "hostile");
        browser.open(&format!("{from}/page"));
        browser.run("document.body.innerHTML = '<a href=http://localhost:8080/link>x</a>'");
        browser.click("a");
        browser.wait_for_text("h1", "hostile");
        browser.open(&format!("{from}/page"));
        let page = browser.windows().remove(0);
        open_by_script(&browser, "http://localhost:8080/window");
        browser.wait_for_text("h1", "hostile");
        browser.run("window.close()");
        browser.switch(&page);
        assert_eq!(marks(&scene, 18080), ["GET /form-get?x=y", "GET /link", "GET /window"], "{from}");
        scene.container.sh("rm /tmp/seen-18080").text();
    }
    // The service's own page does all of it.
    browser.open("http://localhost:8080/page");
    requests("http://localhost:8080").iter().for_each(|(_, script)| drop(browser.run(script)));
    assert_eq!(marks(&scene, 18080).len(), 8);
}

#[test]
fn without_a_login_a_foreign_page_reaches_nothing_and_rebinding_does_not_help() {
    let scene = Scene::new(RunOptions::new().env("WEB_ENABLE_AUTH", "false"));
    let browser = scene.browser();
    for from in ["http://localhost:9000", "http://evil.example:9000"] {
        browser.open(&format!("{from}/page"));
        for (_, script) in requests("http://localhost:8080") {
            browser.run(&script);
        }
        assert!(marks(&scene, 18080).iter().all(|mark| mark == "OPTIONS /put"), "{from}: a question at most");
    }
    for port in [8080, 8081, 1111] {
        browser.open(&format!("http://evil.example:{port}/"));
        browser.wait_for_partial_text("body", "WEB_ALLOWED_HOSTS");
        assert_eq!(status(&browser, "/", &json!({"method": "POST"})), if port == 1111 { 405 } else { 421 });
        browser.open(&format!("http://localhost:{port}/"));
        browser.wait_for_text("h1", if port == 1111 { "Services" } else { "hostile" });
        let through = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' -H 'Host: abc.tunnel.example' http://127.0.0.1:{port}/"
        );
        assert_eq!(scene.container.sh(&through).text(), "200", "{port}: a tunnel");
    }
    let [_, _, token] = scene.container.login();
    for port in [8080, 8081] {
        browser.open(&format!("http://localhost:{port}/page?x=1&token={token}"));
        browser.wait_for_text("h1", "hostile");
        assert_eq!(browser.url(), format!("http://localhost:{port}/page?x=1"));
        browser.run(&format!("return fetch('/data?token={token}').then(answer => answer.status)"));
        assert!(!scene.seen(10_000 + port).contains(&token), "{port}");
    }
}

#[test]
fn a_service_without_a_login_is_not_changed_by_a_foreign_page() {
    let scene = Scene::new(RunOptions::new());
    let browser = scene.browser();
    for from in ["http://localhost:9000", "http://evil.example:9000"] {
        browser.open(&format!("{from}/page"));
        for (_, script) in requests("http://localhost:8081") {
            browser.run(&script);
        }
        let changes: Vec<String> =
            marks(&scene, 18081).into_iter().filter(|mark| !mark.starts_with("GET /")).collect();
        let sockets = marks(&scene, 18081).contains(&"GET /socket".into());
        assert_eq!((changes, sockets), (vec!["OPTIONS /put".into()], false), "{from}");
        scene.container.sh("rm /tmp/seen-18081").text();
    }
    browser.open("http://evil.example:8081/page");
    browser.wait_for_partial_text("body", "WEB_ALLOWED_HOSTS");
}

#[test]
fn a_page_elsewhere_uses_an_api_with_the_token_and_not_with_the_session() {
    let scene = Scene::new(RunOptions::new());
    let browser = scene.owner();
    let [_, _, token] = scene.container.login();
    for from in ["http://localhost:9000", "http://evil.example:9000"] {
        browser.open(&format!("{from}/page"));
        let ask = |path: &str, bearer: &str, more: &str| {
            browser.run(&format!(
                "return fetch('http://localhost:8080/{path}', {{method: 'PUT', body: 'x', headers: {{Authorization: 'Bearer {bearer}', 'X-Own': '1'}}, {more}}}) \
                 .then(answer => answer.text(), error => error.name)"
            ))
        };
        let allowed = "api?Access-Control-Allow-Origin=*&body=answer";
        assert_eq!(ask(allowed, &token, ""), "answer", "{from}");
        assert_eq!(ask("api?body=answer", &token, ""), "TypeError", "{from}: the service allows nobody");
        assert_eq!(ask(allowed, "guess", ""), "TypeError", "{from}");
        assert_eq!(ask(allowed, &token, "credentials: 'include'"), "TypeError", "{from}: with the session");
    }
    let seen = marks(&scene, 18080);
    assert!(seen.iter().all(|mark| mark.starts_with("PUT /api?")) && seen.len() == 4, "{seen:?}");
    assert!(!scene.seen(18080).contains(&token));
}

#[test]
fn our_token_in_an_address_reaches_no_service() {
    let scene = Scene::new(RunOptions::new());
    let [_, _, token] = scene.container.login();
    let image = |browser: &Browser, url: &str| {
        browser.run(&format!(
            "return new Promise(done => {{ const made = new Image(); made.onload = made.onerror = () => done(0); made.src = {} }})",
            json!(url)
        ));
    };
    // Without a session, on a service with a login and on one without.
    let browser = scene.browser();
    for port in [8081, 8080] {
        browser.open(&format!("http://localhost:{port}/page?a=1&token={token}&b=2"));
        browser.wait_for_text("h1", "hostile");
        assert_eq!(browser.url(), format!("http://localhost:{port}/page?a=1&b=2"));
        image(&browser, "/image");
        browser.run(&format!("return fetch('/data?token={token}&c').then(answer => answer.status)"));
        image(&browser, &format!("/image?%74oken={token}"));
        browser.run(&format!("history.replaceState(null, '', '/page?token={token}')"));
        image(&browser, "/with-referer");
    }
    // With a session, while the address has to wait.
    let web = scene.container.web(8080).browser();
    let mut number = 100;
    scene.container.wait_until("a wait", || {
        number += 1;
        web.get(&format!("/?token={number}{}", &token[3..])).status == 429 || {
            let log = scene.container.sh("cat /var/log/supervisor/serviceportal.log").text();
            log.contains("login slowed")
        }
    });
    browser.open(&format!("http://localhost:8080/page?token={token}&d"));
    browser.wait_for_text("h1", "hostile");
    assert_eq!(browser.url(), "http://localhost:8080/page?d");
    for port in [18080, 18081] {
        let seen = scene.seen(port);
        assert!(seen.contains("/with-referer") && !seen.contains(&token), "{port}: {seen}");
    }
}
