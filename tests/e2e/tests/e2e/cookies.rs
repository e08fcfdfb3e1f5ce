//! Cookies that other servers of the same host, and services, set or delete: no user is locked out.

use harness::RunOptions;
use serde_json::{Value, json};

use crate::hostile_services::Scene;
use crate::portal::picture;

/// A script that sets large cookies.
fn flood(count: u32, name: &str, attributes: &str) -> String {
    format!(
        "for (let i = 0; i < {count}; i++) \
           document.cookie = `{name}${{i}}=${{'x'.repeat(4000)}}; {attributes}; max-age=9999`"
    )
}

#[test]
fn cookies_of_another_server_of_the_host_lock_no_user_out() {
    let scene = Scene::new(RunOptions::new());
    let browser = scene.owner();
    let nameless = "for (const path of ['/', '/page', '/page/', '/page/a', '/page/a/', '/page/a/b']) \
                      document.cookie = `${'x'.repeat(4000)}; path=${path}; max-age=9999`";
    for (attack, script) in [
        ("six by HTTP", "return fetch('/?flood=6').then(() => 0)".to_owned()),
        ("six by a script", flood(6, "a", "path=/")),
        ("sixty", flood(60, "a", "path=/")),
        ("a hundred and seventy", flood(170, "a", "path=/")),
        ("for a deep folder", flood(6, "a", "path=/page/a/b/c/d/e")),
        ("with names of ours", flood(6, "leonardo_", "path=/")),
        ("with names that need https", flood(6, "__Host-a", "path=/; secure")),
        ("with long names", flood(6, &"n".repeat(60), "path=/page/a")),
        ("without names", nameless.to_owned()),
    ] {
        browser.open("http://localhost:9000/page/a/b/c/d/e/f");
        browser.wait_for_text("h1", "hostile");
        browser.run(&script);
        // Reading waits until they are set.
        assert!(browser.cookies_seen_by_scripts().len() > 24_000, "{attack}");
        browser.open("http://localhost:8080/page/a/b/c/d/e/f?y=1");
        browser.wait_for_text("h1", "Too many cookies");
        browser.screenshot(&picture("cookies"));
        browser.click("a.button");
        let done = kit::wait::until(harness::container::DEADLINE, attack, || {
            let shown = browser.text("h1") == "hostile";
            // Some have more cookies than one answer deletes.
            if !shown {
                browser.open("http://localhost:8080/page/a/b/c/d/e/f?y=1");
            }
            shown.then_some(())
        });
        done.unwrap();
        assert_eq!(browser.url(), "http://localhost:8080/page/a/b/c/d/e/f?y=1", "{attack}");
        browser.open("http://localhost:1111/");
        browser.wait_for_text("h1", "Services");
    }
}

#[test]
fn an_overwritten_session_comes_back_without_the_password() {
    let scene = Scene::new(RunOptions::new());
    let browser = scene.owner();
    browser.open("http://localhost:9000/");
    // The server at the other port sees the cookies, and so their names.
    let seen = scene.seen(9000);
    let name = format!("leonardo_{}", &seen.split_once("leonardo_").expect("a cookie").1[..8]);
    let attacks = [
        format!("{name}=evil; Path=/"),
        format!("{name}=; Path=/; Max-Age=0"),
        format!("{name}=evil; Path=/page"),
        format!("{name}=evil; Path=/leonardo; HttpOnly"),
    ];
    for attack in &attacks {
        browser.open("http://localhost:9000/");
        browser.run(&format!(
            "return fetch('/?' + new URLSearchParams({{'Set-Cookie': {}}})).then(() => 0)",
            json!(attack)
        ));
        // At most once in two seconds.
        scene.container.wait_until(attack, || {
            browser.open("http://localhost:8080/page/x?y=1");
            browser.wait_for_partial_text("h1", "o");
            browser.url() == "http://localhost:8080/page/x?y=1" && browser.text("h1") == "hostile"
        });
        browser.open("http://localhost:1111/");
        browser.wait_for_text("h1", "Services");
    }
    browser.open("http://localhost:9000/");
    browser.run("for (let i = 0; i < 200; i++) document.cookie = `small${i}=x; path=/`");
    assert!(browser.cookies_seen_by_scripts().contains("small199"));
    browser.open("http://localhost:1111/");
    browser.wait_for_text("h1", "Services");

    // The same through the gate changes nothing to begin with.
    for header in attacks.iter().map(|attack| ("Set-Cookie", attack.as_str())).chain([
        ("Clear-Site-Data", "\"cookies\""),
        ("Clear-Site-Data", "\"*\""),
        ("Clear-Site-Data", "\"cache\", \"cookies\""),
    ]) {
        for port in [8080, 8081] {
            browser.open(&format!("http://localhost:{port}/page"));
            let (header, value) = (json!(header.0), json!(header.1));
            browser.run(&format!(
                "return fetch('/page?' + new URLSearchParams({{[{header}]: {value}}})).then(() => 0)"
            ));
        }
        browser.open("http://localhost:8080/page/x");
        assert_eq!(browser.text("h1"), "hostile", "{header:?}");
    }
    let all = scene.container.log_with("serviceportal", "login accepted way=mark");
    assert_eq!(all.matches("login accepted way=form").count(), 1, "{all}");
}

#[test]
fn by_https_no_server_without_it_touches_the_session_and_websockets_end_with_it() {
    let scene = Scene::over("https", RunOptions::new().env("WEB_ENABLE_HTTPS", "true"));
    let browser = scene.browser();
    browser.open("https://gpu.example:8080/page");
    browser.wait_for_text("form button", "Log in");
    scene.log_in(&browser);
    browser.wait_for_text("h1", "hostile");
    let kept = browser.devtools("Network.getCookies", &json!({"urls": ["https://gpu.example:8080/"]}));
    let kept = kept["cookies"].as_array().expect("cookies").iter();
    let (name, session) = kept
        .map(|kept| (kept["name"].as_str().expect("a name"), kept["value"].as_str().expect("a value")))
        .find_map(|(name, value)| {
            let name = name.strip_prefix("__Host-")?;
            (!name.ends_with("_device")).then(|| (name.to_owned(), value.to_owned()))
        })
        .expect("the session");
    let digests = || -> Vec<String> {
        let kept = scene.container.sh("cat /var/lib/portal/sessions.json").text();
        let kept: Value = serde_json::from_str(&kept).expect("sessions");
        kept["sessions"].as_object().expect("a table").keys().cloned().collect()
    };
    let before = digests();
    for attack in
        [format!("{name}=evil"), format!("__Host-{name}=evil; Secure"), format!("__Host-{name}=; Max-Age=0")]
    {
        browser.open("http://gpu.example:9000/");
        let cookie = json!(format!("{attack}; Path=/"));
        browser.run(&format!(
            "return fetch('/?' + new URLSearchParams({{'Set-Cookie': {cookie}}})).then(() => 0)"
        ));
        browser.open("https://gpu.example:8080/page");
        browser.wait_for_text("h1", "hostile");
    }
    for (name, attributes) in [("a", "path=/"), ("leonardo_", "path=/"), ("__Host-a", "path=/; secure")] {
        browser.open("https://gpu.example:8080/page");
        browser.wait_for_text("h1", "hostile");
        browser.run(&flood(60, name, attributes));
        assert!(browser.cookies_seen_by_scripts().len() > 240_000, "{name}");
        browser.open("https://gpu.example:8080/page");
        browser.wait_for_text("h1", "Too many cookies");
        browser.click("a.button");
        browser.wait_for_text("h1", "hostile");
    }
    assert_eq!(digests(), before, "the cookie is the same all the time");
    // The page came over HTTP/2, beside which browsers need a connection of its own for a websocket.
    let version = "return performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(browser.run(version), "h2");
    browser.run(
        "window.events = []; const socket = new WebSocket('wss://gpu.example:8080/socket'); \
         for (const name of ['open', 'close']) socket.addEventListener(name, () => window.events.push(name))",
    );
    let events = "return window.events.join()";
    browser.wait_for_value(events, &json!("open"));
    let log_out = format!(
        "curl -ks -o /dev/null -w '%{{http_code}}' -X POST -b '__Host-{name}={session}' \
         -H 'Origin: https://gpu.example:1111' --resolve gpu.example:1111:127.0.0.1 https://gpu.example:1111/leonardo/logout"
    );
    assert_eq!(scene.container.sh(&log_out).text(), "303");
    browser.wait_for_value(events, &json!("open,close"));
}
