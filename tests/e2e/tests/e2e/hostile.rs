//! Services and servers that attack their visitors, in a real browser.
//!
//! One program is the service behind the gate (8080), a service without a login (8081), and a server of the same host that
//! is not behind the gate (9000). The browser finds it as `localhost`, where Chromium applies everything that it keeps for
//! trustworthy origins, and as `evil.example`.

use std::sync::atomic::{AtomicU8, Ordering};

use harness::{Browser, Container, Run};
use serde_json::{Value, json};

use crate::portal::{picture, register};

/// Answers everything, with headers and a body from the query, and keeps each request as a line.
const HOSTILE: &str = r#"
import base64, hashlib, http.server, json, sys, urllib.parse
class Hostile(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with open("/tmp/seen-" + sys.argv[2], "a") as seen:
            seen.write(json.dumps([self.command, self.path, list(self.headers.items())]) + "\n")
        key = self.headers.get("Sec-WebSocket-Key")
        self.send_response(101 if key else 200)
        headers, body = {"Content-Type": "text/html"}, "<title>hostile</title><h1>hostile</h1>"
        for name, value in urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query):
            if name == "body":
                body = value
            elif name == "flood":
                for number in range(int(value)):
                    self.send_header("Set-Cookie", f"http{number}={'x' * 4000}; Path=/")
            elif name == "Set-Cookie":
                self.send_header(name, value)
            elif name[0].isupper():
                headers[name] = value
        if key:
            accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            headers = {"Upgrade": "websocket", "Connection": "Upgrade",
                       "Sec-WebSocket-Accept": base64.b64encode(accept).decode()}
        else:
            headers["Content-Length"] = str(len(body.encode()))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if key:
            self.rfile.read(1)
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(body.encode())
    do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = answer
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Hostile).serve_forever()
"#;

/// A container with the hostile program, at a loopback address of its own, so that its ports keep their numbers.
struct Scene {
    container: Container,
    address: String,
}

impl Scene {
    fn new(run: Run) -> Self {
        let address = loopback();
        let run = [1111, 8080, 8081, 9000].iter().fold(run, |run, &port| run.publish_at(&address, port));
        let container = run.boot();
        for (bind, port) in [("127.0.0.1", "18080"), ("127.0.0.1", "18081"), ("0.0.0.0", "9000")] {
            container.background(&["python3", "-c", HOSTILE, bind, port]);
            container
                .until("the program", || container.sh(&format!("ss -ltn | grep -q :{port}")).code == Some(0));
        }
        register(&container, "Hostile", 18080, 8080, "true");
        register(&container, "Open", 18081, 8081, "false");
        container.wait_for(8080);
        container.wait_for(8081);
        Self { container, address }
    }

    /// Chromium's rules that lead the names to this container.
    fn rules(&self) -> String {
        format!("MAP localhost {0}, MAP evil.example {0}, MAP *.tunnel.example {0}", self.address)
    }

    fn browser(&self) -> Browser {
        Browser::mapped(&self.rules())
    }

    /// A browser whose person is logged in.
    fn owner(&self) -> Browser {
        let browser = self.browser();
        browser.open("http://localhost:1111/leonardo/login");
        self.log_in(&browser);
        browser.shows("h1", "Services");
        browser
    }

    fn log_in(&self, browser: &Browser) {
        let [user, password, _] = self.container.login();
        browser.type_into("[name=username]", &user);
        browser.type_into("[name=password]", &password);
        browser.click("button");
    }

    /// The requests that a server has got: method, address, headers.
    fn seen(&self, port: u16) -> String {
        self.container.sh(&format!("cat /tmp/seen-{port} 2>/dev/null || true")).text()
    }
}

/// A loopback address that no other test uses.
fn loopback() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    format!("127.{high}.{low}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Opens a window by script, and goes there; the opener keeps it as `opened`.
fn open_by_script(browser: &Browser, url: &str) -> String {
    let before = browser.windows();
    browser.run(&format!("window.opened = window.open({})", json!(url)));
    let new = kit::wait::until(harness::container::DEADLINE, "the window", || {
        browser.windows().into_iter().find(|window| !before.contains(window))
    });
    let new = new.expect("a window");
    browser.switch(&new);
    new
}

/// The status of a request by a script of the page, or 0.
fn status(browser: &Browser, url: &str, options: &Value) -> u64 {
    let script = format!("return fetch({}, {options}).then(answer => answer.status, () => 0)", json!(url));
    browser.run(&script).as_u64().expect("a status")
}

#[test]
fn a_services_page_cannot_log_the_owner_out() {
    let scene = Scene::new(Run::new());
    let browser = scene.owner();
    browser.open("http://localhost:8080/page");
    browser.shows("h1", "hostile");
    status(&browser, "/leonardo/logout", &json!({"method": "POST"}));
    status(
        &browser,
        "http://localhost:1111/leonardo/logout",
        &json!({"method": "POST", "mode": "no-cors", "credentials": "include"}),
    );
    browser.run(
        "document.body.innerHTML = '<form method=post action=/leonardo/logout><button></button></form>'",
    );
    browser.click("button");
    browser.open("http://localhost:8080/page");
    browser.shows("h1", "hostile");
    browser.open("http://localhost:1111/");
    browser.shows("h1", "Services");
    browser.click("header button");
    browser.shows("h1", "Log in");
    browser.open("http://localhost:1111/");
    browser.shows("h1", "Log in");
}

#[test]
fn a_services_page_cannot_read_what_is_typed_into_the_login_form() {
    let scene = Scene::new(Run::new());
    let browser = scene.owner();
    browser.open("http://localhost:8080/page");
    browser.shows("h1", "hostile");
    let page = browser.windows().remove(0);
    // The owner logs out at the portal, while the service's page stays open.
    browser.new_tab();
    browser.open("http://localhost:1111/");
    browser.click("header button");
    browser.shows("h1", "Log in");

    for (url, shown_at) in [
        ("/leonardo/login?next=/a%3Fb", "http://localhost:1111/leonardo/login?port=8080&next=/a%3Fb"),
        ("/leonardo/login?here=1", "http://localhost:8080/leonardo/login?here=1"),
        ("http://localhost:1111/leonardo/login", "http://localhost:1111/leonardo/login"),
    ] {
        browser.switch(&page);
        open_by_script(&browser, url);
        browser.shows("form button", "Log in");
        let shown_in = browser.url();
        browser.type_into("[name=password]", "typed");
        browser.switch(&page);
        let spied = "try { return opened.document.querySelector('[name=password]').value } catch (error) { return opened.closed }";
        assert_eq!(browser.run(spied), json!(true), "{url}: no hold of the window");
        assert_eq!(shown_in, shown_at);

        let frame = format!(
            "const frame = document.createElement('iframe'); frame.src = {}; document.body.append(frame); \
             return new Promise(done => frame.onload = () => done(frame.contentDocument?.body.innerText ?? null))",
            json!(url)
        );
        assert_eq!(browser.run(&frame), Value::Null, "{url}: in a frame");
    }
}

#[test]
fn no_service_worker_of_a_service_controls_the_login_page() {
    let scene = Scene::new(Run::new());
    let browser = scene.owner();
    browser.open("http://localhost:8080/page");
    browser.shows("h1", "hostile");
    let script =
        "Content-Type=text/javascript&body=onfetch%3De%3D%3Ee.respondWith(new%20Response('replaced'))";
    let register = |path: &str, options: Value| {
        let script = format!(
            "return navigator.serviceWorker.register({}, {options}).then(made => made.scope, error => error.name)",
            json!(path)
        );
        browser.run(&script)
    };
    let wide = json!({"scope": "/"});
    let module = json!({"scope": "/", "type": "module"});
    for (path, options) in [
        (format!("/sw.js?{script}"), &wide),
        (format!("/sw.js?{script}"), &module),
        (format!("/sw.js?{script}"), &json!({"scope": "/leonardo/"})),
        (format!("/sw.js?{script}&Service-Worker-Allowed=/"), &wide),
        (format!("/app/sw.js?{script}&Service-Worker-Allowed=/"), &wide),
        (format!("/app/sw.js?{script}&Service-Worker-Allowed=/leonardo/"), &json!({"scope": "/leonardo/"})),
        (format!("/app/..%2fsw.js?{script}"), &wide),
        (format!("/x/../sw.js?{script}"), &wide),
        (format!("/?{script}"), &wide),
        ("/leonardo/portal.js".into(), &json!({})),
        ("/leonardo/login.js".into(), &json!({"scope": "/leonardo/"})),
        (format!("/%6ceonardo/sw.js?{script}"), &json!({})),
    ] {
        let made = register(&path, options.clone());
        assert!(made == "SecurityError" || made == "TypeError", "{path} {options}: {made}");
    }
    assert_eq!(register(&format!("/app/sw.js?{script}"), json!({})), "http://localhost:8080/app/");
    browser.returns(
        "return fetch('/app/x').then(answer => answer.text())",
        &json!("<title>hostile</title><h1>hostile</h1>"),
    );
    browser.run(
        "return navigator.serviceWorker.getRegistration('/app/').then(made => new Promise(done => { \
        const look = () => made.active ? done() : setTimeout(look, 10); look() }))",
    );
    browser.open("http://localhost:8080/app/page");
    browser.shows("body", "replaced");
    browser.open("http://localhost:8080/leonardo/login");
    browser.shows("h1", "hostile");
}

#[test]
fn a_login_on_a_services_port_goes_through_the_portals() {
    let scene = Scene::new(Run::new());
    let browser = scene.browser();
    browser.open("http://localhost:8080/page?x=1&y=%202");
    browser.shows("form button", "Log in");
    assert_eq!(
        browser.url(),
        "http://localhost:1111/leonardo/login?port=8080&next=/page%3Fx%3D1%26y%3D%25202"
    );
    browser.type_into("[name=password]", "wrong");
    browser.type_into("[name=username]", "user");
    browser.click("button");
    browser.shows(".error", "Wrong user name or password.");
    scene.log_in(&browser);
    browser.shows("h1", "hostile");
    assert_eq!(browser.url(), "http://localhost:8080/page?x=1&y=%202");

    // Without JavaScript's help, a person clicks.
    let paper =
        Browser::preferring(&scene.rules(), json!({"profile.default_content_setting_values.javascript": 2}));
    paper.open("http://localhost:8080/page");
    paper.shows("#portal", "Log in at localhost:1111");
    paper.screenshot(&picture("portal-link"));
    paper.click("#portal");
    scene.log_in(&paper);
    paper.shows("h1", "hostile");
    let refusing =
        Browser::preferring(&scene.rules(), json!({"profile.default_content_setting_values.cookies": 2}));
    refusing.open("http://localhost:8080/page");
    refusing.shows("h1", "Log in");
}

#[test]
fn where_the_portals_port_is_not_this_containers_the_form_is_on_the_services_port() {
    let scene = Scene::new(Run::new());
    let other = Scene::new(Run::new());
    for portal in
        ["127.0.0.1:9".to_owned(), format!("{}:1111", other.address), format!("{}:9000", scene.address)]
    {
        let browser = Browser::mapped(&format!("MAP localhost:1111 {portal}, {}", scene.rules()));
        browser.open("http://localhost:8080/page?x=1");
        browser.shows("form button", "Log in");
        assert_eq!(
            browser.url(),
            "http://localhost:8080/leonardo/login?here=1&next=/page%3Fx%3D1",
            "{portal}"
        );
        scene.log_in(&browser);
        browser.shows("h1", "hostile");
        assert_eq!(browser.url(), "http://localhost:8080/page?x=1");
    }
}

#[test]
fn cookies_of_another_server_of_the_host_lock_nobody_out() {
    let scene = Scene::new(Run::new());
    let browser = scene.owner();
    let flood = |count: u32, name: &str, attributes: &str| {
        format!(
            "for (let i = 0; i < {count}; i++) \
               document.cookie = `{name}${{i}}=${{'x'.repeat(4000)}}; {attributes}; max-age=9999`"
        )
    };
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
        browser.run(&script);
        // Reading waits until they are set.
        assert!(browser.cookies_seen_by_scripts().len() > 24_000, "{attack}");
        browser.open("http://localhost:8080/page/a/b/c/d/e/f?y=1");
        browser.shows("h1", "Too many cookies");
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
        browser.shows("h1", "Services");
    }
}

#[test]
fn an_overwritten_session_comes_back_without_the_password() {
    let scene = Scene::new(Run::new());
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
        browser.open("http://localhost:8080/page/x?y=1");
        browser.shows("h1", "hostile");
        assert_eq!(browser.url(), "http://localhost:8080/page/x?y=1", "{attack}");
        browser.open("http://localhost:1111/");
        browser.shows("h1", "Services");
    }
    browser.open("http://localhost:9000/");
    browser.run("for (let i = 0; i < 200; i++) document.cookie = `small${i}=x; path=/`");
    assert!(browser.cookies_seen_by_scripts().contains("small199"));
    browser.open("http://localhost:1111/");
    browser.shows("h1", "Services");

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
    let all = scene.container.sh("cat /var/log/supervisor/serviceportal.log").text();
    assert_eq!(all.matches("login accepted").count(), 1, "{all}");
}

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
    let scene = Scene::new(Run::new());
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
        browser.open(&format!("{from}/page"));
        for kind in ["prefetch", "prerender"] {
            // One after the other: when the open service is asked, the other one's gate has been.
            browser.run(&format!(
                "const made = document.createElement('script'); made.type = 'speculationrules'; \
                 made.text = JSON.stringify({{{kind}: [{{source: 'list', \
                   urls: ['http://localhost:8080/{kind}', 'http://localhost:8081/{kind}']}}]}}); \
                 document.body.append(made)"
            ));
            if from == "http://localhost:9000" {
                scene.container.until(kind, || {
                    // Chromium begins with a frame of the page.
                    browser.run("return new Promise(requestAnimationFrame)");
                    scene.seen(18081).contains(&format!("/{kind}"))
                });
            }
        }
        assert_eq!(marks(&scene, 18080), [""; 0], "{from}");

        form("get", "form-get");
        browser.shows("h1", "hostile");
        browser.open(&format!("{from}/page"));
        browser.run("document.body.innerHTML = '<a href=http://localhost:8080/link>x</a>'");
        browser.click("a");
        browser.shows("h1", "hostile");
        browser.open(&format!("{from}/page"));
        let page = browser.windows().remove(0);
        open_by_script(&browser, "http://localhost:8080/window");
        browser.shows("h1", "hostile");
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
    let scene = Scene::new(Run::new().env("WEB_ENABLE_AUTH", "false"));
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
        browser.shows_part("body", "WEB_ALLOWED_HOSTS");
        assert_eq!(status(&browser, "/", &json!({"method": "POST"})), if port == 1111 { 405 } else { 421 });
        browser.open(&format!("http://localhost:{port}/"));
        browser.shows("h1", if port == 1111 { "Services" } else { "hostile" });
        let through = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' -H 'Host: abc.tunnel.example' http://127.0.0.1:{port}/"
        );
        assert_eq!(scene.container.sh(&through).text(), "200", "{port}: a tunnel");
    }
    let [_, _, token] = scene.container.login();
    for port in [8080, 8081] {
        browser.open(&format!("http://localhost:{port}/page?x=1&token={token}"));
        browser.shows("h1", "hostile");
        assert_eq!(browser.url(), format!("http://localhost:{port}/page?x=1"));
        browser.run(&format!("return fetch('/data?token={token}').then(answer => answer.status)"));
        assert!(!scene.seen(10_000 + port).contains(&token), "{port}");
    }
}

#[test]
fn a_service_without_a_login_is_not_changed_by_a_foreign_page() {
    let scene = Scene::new(Run::new());
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
    browser.shows_part("body", "WEB_ALLOWED_HOSTS");
}

#[test]
fn a_page_elsewhere_uses_an_api_with_the_token_and_not_with_the_session() {
    let scene = Scene::new(Run::new());
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
    let scene = Scene::new(Run::new());
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
        browser.shows("h1", "hostile");
        assert_eq!(browser.url(), format!("http://localhost:{port}/page?a=1&b=2"));
        image(&browser, "/image");
        browser.run(&format!("return fetch('/data?token={token}&c').then(answer => answer.status)"));
        image(&browser, &format!("/image?%74oken={token}"));
        browser.run(&format!("history.replaceState(null, '', '/page?token={token}')"));
        image(&browser, "/with-referer");
    }
    // With a session, while the address has to wait.
    let web = scene.container.web(8080).browser();
    scene.container.until("a wait", || {
        web.get(&format!("/?token=x{}", &token[1..])).status == 429 || {
            let log = scene.container.sh("cat /var/log/supervisor/serviceportal.log").text();
            log.contains("login slowed")
        }
    });
    browser.open(&format!("http://localhost:8080/page?token={token}&d"));
    browser.shows("h1", "hostile");
    assert_eq!(browser.url(), "http://localhost:8080/page?d");
    for port in [18080, 18081] {
        let seen = scene.seen(port);
        assert!(seen.contains("/with-referer") && !seen.contains(&token), "{port}: {seen}");
    }
}
