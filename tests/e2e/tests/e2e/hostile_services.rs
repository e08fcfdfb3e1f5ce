//! Services and servers that attack their visitors, in a real browser.
//!
//! One program is the service behind the gate (8080), a service without a login (8081), and a server of the same host that
//! is not behind the gate (9000). The browser finds it as `localhost`, where Chromium applies everything that it keeps for
//! trustworthy origins, and as `evil.example`.

use harness::{Browser, Container, RunOptions};
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
        # Without its own icon, browsers request /favicon.ico at any later time, with all cookies of that moment.
        headers, body = {"Content-Type": "text/html"}, "<link rel=icon href=data:,><h1>hostile</h1>"
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
pub struct Scene {
    pub container: Container,
    address: String,
}

impl Scene {
    pub fn new(run: RunOptions) -> Self {
        Self::over("http", run)
    }

    pub fn over(scheme: &str, run: RunOptions) -> Self {
        let address = RunOptions::loopback();
        let run = [1111, 8080, 8081, 9000].iter().fold(run, |run, &port| run.publish_at(&address, port));
        let container = run.start();
        for (bind, port) in [("127.0.0.1", "18080"), ("127.0.0.1", "18081"), ("0.0.0.0", "9000")] {
            container.background(&["python3", "-c", HOSTILE, bind, port]);
            let listens = format!("ss -ltn | grep -q :{port}");
            container.wait_until("the program", || container.sh(&listens).code == Some(0));
        }
        let answers = |port: u16| {
            let url = format!("{scheme}://127.0.0.1:{port}/leonardo/health-check");
            let health = format!("curl --fail --silent --insecure {url}");
            container.wait_until("the health check", || container.sh(&health).stdout == b"ok\n");
        };
        answers(1111);
        register(&container, "Hostile", 18080, 8080, "true");
        register(&container, "Open", 18081, 8081, "false");
        answers(8080);
        answers(8081);
        Self { container, address }
    }

    /// Chromium's rules that lead the names to this container.
    pub fn rules(&self) -> String {
        format!("MAP localhost {0}, MAP *.example {0}", self.address)
    }

    pub fn browser(&self) -> Browser {
        Browser::with_host_rules(&self.rules())
    }

    /// A browser whose person is logged in.
    pub fn owner(&self) -> Browser {
        let browser = self.browser();
        browser.open("http://localhost:1111/leonardo/login");
        self.log_in(&browser);
        browser.wait_for_text("h1", "Services");
        browser
    }

    pub fn log_in(&self, browser: &Browser) {
        let [user, password, _] = self.container.login();
        browser.type_into("[name=username]", &user);
        browser.type_into("[name=password]", &password);
        browser.click("button");
    }

    /// The requests that a server has got: method, address, headers.
    pub fn seen(&self, port: u16) -> String {
        self.container.sh(&format!("cat /tmp/seen-{port} 2>/dev/null || true")).text()
    }
}

/// Opens a window by script, and goes there; the opener keeps it as `opened`.
pub fn open_by_script(browser: &Browser, url: &str) -> String {
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
pub fn status(browser: &Browser, url: &str, options: &Value) -> u64 {
    let script = format!("return fetch({}, {options}).then(answer => answer.status, () => 0)", json!(url));
    browser.run(&script).as_u64().expect("a status")
}

#[test]
fn a_services_page_cannot_log_the_owner_out() {
    let scene = Scene::new(RunOptions::new());
    let browser = scene.owner();
    browser.open("http://localhost:8080/page");
    browser.wait_for_text("h1", "hostile");
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
    browser.wait_for_text("h1", "hostile");
    browser.open("http://localhost:1111/");
    browser.wait_for_text("h1", "Services");
    browser.click(".menu summary");
    browser.click("form[action$=logout] button");
    browser.wait_for_text("h1", "Log in");
    browser.open("http://localhost:1111/");
    browser.wait_for_text("h1", "Log in");
}

#[test]
fn a_services_page_cannot_read_what_is_typed_into_the_login_form() {
    let scene = Scene::new(RunOptions::new());
    // A service may ask for the same policy towards openers as our pages have; by plain http, there is none.
    for (host, opener) in [
        ("localhost", "/page"),
        ("localhost", "/page?Cross-Origin-Opener-Policy=same-origin"),
        ("gpu.example", "/page"),
    ] {
        let browser = scene.browser();
        browser.open(&format!("http://{host}:1111/leonardo/login"));
        scene.log_in(&browser);
        browser.wait_for_text("h1", "Services");
        browser.open(&format!("http://{host}:8080{opener}"));
        browser.wait_for_text("h1", "hostile");
        let page = browser.windows().remove(0);
        // The owner logs out at the portal, while the service's page stays open.
        browser.new_tab();
        browser.open(&format!("http://{host}:1111/"));
        browser.click(".menu summary");
        browser.click("form[action$=logout] button");
        browser.wait_for_text("h1", "Log in");
        let portal = format!("http://{host}:1111/leonardo/login");
        for (url, shown_at) in [
            ("/leonardo/login?next=/a%3Fb".to_owned(), format!("{portal}?port=8080&next=/a%3Fb")),
            ("/leonardo/login?here=1".into(), format!("http://{host}:8080/leonardo/login?here=1")),
            (portal.clone(), portal.clone()),
        ] {
            browser.switch(&page);
            open_by_script(&browser, &url);
            browser.wait_for_text("form button", "Log in");
            assert_eq!(browser.url(), shown_at);
            browser.type_into("[name=password]", "typed");
            browser.switch(&page);
            let spied = "try { return opened.document.querySelector('[name=password]').value } catch (error) { return error.name }";
            let spied = browser.run(spied);
            assert!(spied == "SecurityError" || spied == "TypeError", "{host}{opener} {url}: {spied}");
            let frame = format!(
                "const frame = document.createElement('iframe'); frame.src = {}; document.body.append(frame); \
                 return new Promise(done => frame.onload = () => done(frame.contentDocument?.body.innerText ?? null))",
                json!(url)
            );
            assert_eq!(browser.run(&frame), Value::Null, "{url}: in a frame");
        }
    }
}

#[test]
fn no_service_worker_of_a_service_controls_the_login_page() {
    let scene = Scene::new(RunOptions::new());
    let browser = scene.owner();
    browser.open("http://localhost:8080/page");
    browser.wait_for_text("h1", "hostile");
    let script =
        "Content-Type=text/javascript&body=onfetch%3De%3D%3Ee.respondWith(new%20Response('replaced'))";
    let register = |path: &str, options: Value| {
        let script = format!(
            "return navigator.serviceWorker.register({}, {options}).then(made => made.scope, error => error.name)",
            json!(path)
        );
        browser.run(&script)
    };
    let wait_until_active = |scope: &str| {
        browser.run(&format!(
            "return navigator.serviceWorker.getRegistration('{scope}').then(made => new Promise(done => {{ \
             const look = () => made.active ? done() : setTimeout(look, 10); look() }}))"
        ));
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
        ("/leonardo/assets/app.js".into(), &json!({})),
        ("/leonardo/assets/login.js".into(), &json!({"scope": "/leonardo/"})),
        (format!("/%6ceonardo/sw.js?{script}"), &json!({})),
    ] {
        let made = register(&path, options.clone());
        assert!(made == "SecurityError" || made == "TypeError", "{path} {options}: {made}");
    }
    assert_eq!(register(&format!("/app/sw.js?{script}"), json!({})), "http://localhost:8080/app/");
    browser.wait_for_value(
        "return fetch('/app/x').then(answer => answer.text())",
        &json!("<link rel=icon href=data:,><h1>hostile</h1>"),
    );
    wait_until_active("/app/");
    browser.open("http://localhost:8080/app/page");
    browser.wait_for_text("body", "replaced");
    browser.open("http://localhost:8080/leonardo/login");
    browser.wait_for_text("h1", "hostile");

    // A link of ours to a service whose worker hands requests on.
    let forward = "Content-Type=text/javascript&body=onfetch%3De%3D%3Ee.respondWith(fetch(e.request))";
    assert_eq!(register(&format!("/fwd/sw.js?{forward}"), json!({})), "http://localhost:8080/fwd/");
    wait_until_active("/fwd/");
    browser.open("http://localhost:1111/");
    browser.wait_for_text("h1", "Services");
    browser.run("location.href = 'http://localhost:8080/fwd/page'");
    browser.wait_for_text("h1", "hostile");
}

#[test]
fn a_login_on_a_services_port_goes_through_the_portals() {
    let scene = Scene::new(RunOptions::new());
    let browser = scene.browser();
    browser.open("http://localhost:8080/page?x=1&y=%202");
    browser.wait_for_text("form button", "Log in");
    assert_eq!(
        browser.url(),
        "http://localhost:1111/leonardo/login?port=8080&next=/page%3Fx%3D1%26y%3D%25202"
    );
    browser.type_into("[name=password]", "wrong");
    browser.type_into("[name=username]", "user");
    browser.click("button");
    browser.wait_for_text(".error", "Wrong user name or password.");
    scene.log_in(&browser);
    browser.wait_for_text("h1", "hostile");
    assert_eq!(browser.url(), "http://localhost:8080/page?x=1&y=%202");

    // Without JavaScript's help, a person clicks.
    let paper =
        Browser::preferring(&scene.rules(), json!({"profile.default_content_setting_values.javascript": 2}));
    paper.open("http://localhost:8080/page");
    paper.wait_for_text("#portal", "Log in at localhost:1111");
    paper.screenshot(&picture("portal-link"));
    paper.click("#portal");
    scene.log_in(&paper);
    paper.wait_for_text("h1", "hostile");
    let refusing =
        Browser::preferring(&scene.rules(), json!({"profile.default_content_setting_values.cookies": 2}));
    refusing.open("http://localhost:8080/page");
    refusing.wait_for_text("h1", "Log in");
}

#[test]
fn where_the_portals_port_is_not_this_containers_the_form_is_on_the_services_port() {
    let scene = Scene::new(RunOptions::new());
    let other = Scene::new(RunOptions::new());
    for portal in
        ["127.0.0.1:9".to_owned(), format!("{}:1111", other.address), format!("{}:9000", scene.address)]
    {
        let browser = Browser::with_host_rules(&format!("MAP localhost:1111 {portal}, {}", scene.rules()));
        browser.open("http://localhost:8080/page?x=1");
        browser.wait_for_text("form button", "Log in");
        assert_eq!(
            browser.url(),
            "http://localhost:8080/leonardo/login?here=1&next=/page%3Fx%3D1",
            "{portal}"
        );
        scene.log_in(&browser);
        browser.wait_for_text("h1", "hostile");
        assert_eq!(browser.url(), "http://localhost:8080/page?x=1");
    }
}

#[test]
fn a_login_goes_on_at_a_service_of_another_host_name() {
    let scene = Scene::new(RunOptions::new().env("DIRECT_ADDRESS", "direct.example"));
    let browser = scene.browser();
    browser.open("http://localhost:1111/leonardo/login?port=8080&next=/page%3Fx%3D1");
    scene.log_in(&browser);
    browser.wait_for_text("h1", "hostile");
    assert_eq!(browser.url(), "http://direct.example:8080/page?x=1");
    browser.open("http://direct.example:1111/");
    browser.wait_for_text("h1", "Services");
    assert!(!scene.seen(18080).contains("code="));
}
