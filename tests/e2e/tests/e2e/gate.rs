//! Every way in, from outside the container.

use std::io::Write;
use std::net::TcpStream;

use harness::{Container, HttpClient, Response, RunOptions};

use crate::portal::{problems, register};

/// Answers every request with the headers that it got, one a line.
const ECHO: &str = r#"
import http.server
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        text = (self.command + " " + self.path + "\n" + str(self.headers)).encode() + body
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = do_PUT = answer
http.server.ThreadingHTTPServer(("127.0.0.1", 18080), Echo).serve_forever()
"#;

/// A container with an echoing service at port 8080, behind the gate.
pub fn with_echo(run: RunOptions) -> Container {
    let container = run.publish(8080).start_and_wait();
    container.background(&["python3", "-c", ECHO]);
    register(&container, "Echo", 18080, 8080, "true");
    container.wait_for(8080);
    let [_, _, token] = container.login();
    let web = container.web(8080).with("authorization", &format!("Bearer {token}"));
    container.wait_until("the echo", || web.get("/").status == 200);
    container
}

#[test]
fn every_documented_way_in_works_and_every_wrong_one_does_not() {
    let container = with_echo(RunOptions::new());
    let [user, password, token] = container.login();
    let web = container.web(8080);
    let bearer = |token: &str| web.with("authorization", &format!("Bearer {token}")).get("/").status;
    let basic = |user: &str, password: &str| web.basic(user, password).get("/").status;

    assert_eq!((bearer(&token), basic(&user, &password)), (200, 200));
    assert_eq!([bearer(""), bearer(&token[1..]), bearer("*"), bearer(&password)], [401; 4]);
    assert_eq!(bearer(&token), 200, "a right one forgives");
    assert_eq!([basic(&user, ""), basic("", ""), basic("", &password), basic(&user, &token)], [401; 4]);
    assert_eq!(bearer(&token), 200);
    let encoded = container.sh("bash -lc 'printf %s \"$WEB_PASSWORD_B64\"'").text();
    assert_eq!(web.with("authorization", &format!("Basic {encoded}")).get("/").status, 200);

    let cookie = container.web(1111).log_in(&user, &password).cookie();
    assert_eq!(web.with("cookie", &cookie).get("/").status, 200, "one login serves every port");
    let (name, value) = cookie.split_once('=').expect("a pair");
    let cookies = [format!("{name}="), format!("{name}=x"), format!("{name}x={value}"), format!("x={value}")];
    for wrong in &cookies {
        assert_eq!(web.with("cookie", wrong).get("/").status, 401, "{wrong}");
    }
}

#[test]
fn each_kind_of_client_is_refused_in_its_own_way() {
    let container = with_echo(RunOptions::new());
    let web = container.web(8080);

    let page = web.browser().get("/lab?x=1&y=2");
    assert_eq!(
        (page.status, page.header("location")),
        (302, Some("/leonardo/login?next=/lab%3Fx%3D1%26y%3D2"))
    );
    let form = web.browser().get("/leonardo/login?next=/lab%3Fx%3D1");
    assert_eq!((form.status, form.body.contains("value=\"/lab?x=1\"")), (200, true));

    let program = web.get("/api");
    assert_eq!(program.status, 401);
    assert!(program.header("www-authenticate").is_some_and(|text| text.contains("Basic")));
    assert!(program.body.contains("\"unauthorized\""), "{}", program.body);

    let socket = web.with("upgrade", "websocket").with("connection", "Upgrade").browser().get("/ws");
    assert_eq!(socket.status, 401);
    assert_eq!(
        web.browser().send("POST", "/form", "x=1").status,
        401,
        "a lost form is not a page to come back to"
    );
}

#[test]
fn a_service_gets_its_own_headers_and_never_ours() {
    let container = with_echo(RunOptions::new());
    let [user, password, token] = container.login();
    let cookie = container.web(1111).log_in(&user, &password).cookie();
    let web = container.web(8080);

    let seen =
        web.with("cookie", &format!("theme=dark; {cookie}; lang=en")).with("x-own", "1").get("/a?b=c").body;
    assert!(seen.starts_with("GET /a?b=c\n"), "{seen}");
    assert!(seen.contains("Cookie: theme=dark; lang=en\n") && seen.contains("X-Own: 1\n"), "{seen}");
    assert!(!seen.contains(&cookie), "{seen}");

    let neighbours =
        web.with("cookie", &format!("leonardo_12345678=x; a=b; {cookie}")).with("x-forwarded-uri", "/lie");
    let seen = neighbours.get("/").body;
    assert!(seen.contains("Cookie: a=b\n") && !seen.contains("/lie"), "{seen}");

    let seen = web.with("authorization", &format!("Bearer {token}")).send("PUT", "/", "body").body;
    assert!(seen.starts_with("PUT /\n") && seen.ends_with("body"), "{seen}");
    assert!(!seen.contains("Authorization") && !seen.contains(&token), "{seen}");

    let seen = web.with("cookie", &cookie).with("authorization", "Bearer app-token").get("/").body;
    assert!(seen.contains("Authorization: Bearer app-token\n") && !seen.contains("Cookie"), "{seen}");
}

#[test]
fn a_login_never_redirects_to_another_host_and_needs_our_own_form() {
    let container = RunOptions::new().start_and_wait();
    let [user, password, _] = container.login();
    let web = container.web(1111);
    let origin = format!("http://{}", web.address());
    let log_in = |web: &HttpClient, next: &str| {
        web.post_form("/login", &[("username", &user), ("password", &password), ("next", next)])
    };
    let own = web.with("origin", &origin);
    for (next, goes) in [
        ("/lab?x=1", "/lab?x=1"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("@evil.example", "/"),
        ("/\r\nSet-Cookie: x=1", "/"),
    ] {
        let answer = log_in(&own, next);
        assert_eq!((answer.status, answer.header("location")), (303, Some(goes)), "{next:?}");
    }
    let cookie = log_in(&own, "/");
    let cookie = cookie.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");

    for origin in ["http://evil.example", "null", "http://127.0.0.1"] {
        assert_eq!(log_in(&web.with("origin", origin), "/").status, 403, "{origin}");
    }
    assert_eq!(log_in(&web, "/").status, 403, "no origin at all");
}

/// Seconds to wait, by a response's `Retry-After`.
fn waits(answer: &Response) -> u64 {
    answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

#[test]
fn guessing_is_slowed_down_and_logged_without_the_password() {
    let container = RunOptions::new().start_and_wait();
    let [user, password, _] = container.login();
    let web = container.web(1111);
    let wrong = || web.log_in(&user, "guessed-secret");
    assert_eq!(wrong().status, 401);
    // Each wait is twice as long as the one before, so that a slow machine gets there too.
    container.wait_until("a wait of some seconds", || waits(&wrong()) >= 4);
    let slowed = web.log_in(&user, &password);
    assert_eq!(slowed.status, 429, "even the right one has to wait");
    assert!(slowed.body.contains("run portal-link in the container"), "{}", slowed.body);
    container.wait_until("the wait to end", || web.log_in(&user, &password).status == 303);
    let log = container.log_with("serviceportal", "login accepted way=form who=\"user\"");
    assert!(log.contains("login refused way=form who=\"unknown\""), "{log}");
    assert!(!log.contains("guessed-secret") && !log.contains(&password), "{log}");
}

#[test]
fn guessing_by_header_is_slowed_down_too_and_does_not_lock_the_form() {
    let container = RunOptions::new().start_and_wait();
    let [user, password, token] = container.login();
    let web = container.web(1111);
    let wrong = || web.basic(&user, "guess").get("/");
    assert_eq!(wrong().status, 401);
    container.wait_until("a wait of some seconds", || waits(&wrong()) >= 4);
    let slowed = web.with("authorization", &format!("Bearer {token}")).get("/");
    assert_eq!(slowed.status, 429);
    assert!(slowed.body.contains("run portal-link in the container"), "{}", slowed.body);
    let login = web.log_in(&user, &password);
    assert_eq!(login.status, 303);
    let own = web.with("cookie", &login.cookie()).with("authorization", "Bearer of-the-application");
    assert_eq!(own.get("/").status, 200, "with a session, the header is the application's affair");
}

#[test]
fn slow_visitors_do_not_keep_others_out() {
    let container = RunOptions::new().option("--ulimit").option("nofile=1024:1024").start_and_wait();
    let web = container.web(1111);
    let head =
        format!("POST /leonardo/login HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nx", web.address());
    let slow: Vec<TcpStream> = (0..900)
        .map(|_| {
            let mut stream = TcpStream::connect(web.address()).expect("a connection");
            stream.write_all(head.as_bytes()).expect("a listener");
            stream
        })
        .collect();
    assert_eq!(web.get("/login").status, 200);
    assert_eq!(web.get("/leonardo/health-check").status, 200);
    drop(slow);
}

#[test]
fn a_session_ends_with_the_logout() {
    let container = RunOptions::new().start_and_wait();
    let [user, password, _] = container.login();
    let web = container.web(1111);
    let cookie = web.log_in(&user, &password).cookie();
    let inside = web.with("cookie", &cookie);
    assert_eq!(inside.get("/").status, 200);
    assert_eq!(inside.with("origin", "http://evil.example").send("POST", "/leonardo/logout", "").status, 403);
    assert_eq!(inside.get("/").status, 200);
    let origin = format!("http://{}", web.address());
    assert_eq!(inside.with("origin", &origin).send("POST", "/leonardo/logout", "").status, 303);
    assert_eq!(inside.get("/").status, 401);
}

#[test]
fn another_sites_page_does_not_ride_on_the_login() {
    let container = with_echo(RunOptions::new());
    let [user, password, _] = container.login();
    let cookie = container.web(1111).log_in(&user, &password).cookie();
    let web = container.web(8080);
    let socket = web.with("cookie", &cookie).with("upgrade", "websocket").with("connection", "Upgrade");
    let neighbour = format!("http://{}", container.address(1111));
    let own = format!("http://{}", web.address());
    for origin in ["http://evil.example", &neighbour, "null"] {
        assert_eq!(socket.with("origin", origin).get("/").status, 403, "{origin}");
    }
    assert_eq!(
        socket.with("origin", &own).get("/").status,
        502,
        "the service answers, but knows no websockets"
    );

    let [user, password, token] = container.login();
    let (session, basic) = (web.with("cookie", &cookie), web.basic(&user, &password));
    for client in [&session, &basic] {
        assert_eq!(client.with("origin", &neighbour).send("POST", "/run", "x").status, 403);
        assert_eq!(client.with("origin", &own).send("POST", "/run", "x").status, 200);
        assert_eq!(client.with("origin", &neighbour).get("/").status, 403, "a script looks");
        let led = client.browser().with("sec-fetch-site", "same-site").with("sec-fetch-dest", "document");
        assert_eq!(led.get("/").status, 200, "a person follows a link");
    }
    let program = web.with("authorization", &format!("Bearer {token}"));
    assert_eq!(program.with("origin", "http://evil.example").send("POST", "/run", "x").status, 200);
}

#[test]
fn services_come_and_go_without_a_restart_and_a_bad_file_affects_no_other() {
    let container = with_echo(RunOptions::new().publish(8081).publish(8082));
    let running =
        container.sh("supervisorctl pid caddy; supervisorctl pid serviceportal; pidof caddy").text();
    container.write("/run/http_ports/9000", "{ not json");
    container.write(
        "/run/http_ports/9001",
        r#"{"service_name":"x","listen_port":"1\n:6666 {}","proxy_port":9001}"#,
    );
    register(&container, "Open", 18080, 8081, "false");
    register(&container, "Taken", 18080, 22, "true");
    register(&container, "Portal", 18080, 1111, "true");
    container.wait_for(8081);
    let open = container.web(8081).with("cookie", "leonardo_x=1").get("/");
    assert_eq!(open.status, 200, "a service without a login");
    assert_eq!(container.web(8080).get("/").status, 401);
    container.sh("rm /run/http_ports/8081").text();
    container
        .wait_until("the port to close", || container.web(8081).get("/leonardo/health-check").status == 0);
    // A port that a program of the user's already holds is left to it.
    container.background(&["python3", "-m", "http.server", "--bind", "0.0.0.0", "8082"]);
    container.wait_until("the user's server", || container.web(8082).get("/").status == 200);
    register(&container, "Held", 18080, 8082, "true");
    register(&container, "Again", 18080, 8081, "true");
    container.wait_for(8081);
    let after = container.sh("supervisorctl pid caddy; supervisorctl pid serviceportal; pidof caddy").text();
    assert_eq!(after, running, "nothing was restarted");
    let [_, _, token] = container.login();
    let shown = problems(&container.web(1111).with("authorization", &format!("Bearer {token}")));
    let wrong = "service file 9000: not a service description";
    assert!(shown.iter().any(|problem| problem.starts_with(wrong)), "{shown:#?}");
}

#[test]
fn the_gates_own_addresses_are_for_caddy_alone() {
    let container = RunOptions::new().start_and_wait();
    for path in ["/gate/verify", "/gate/open"] {
        assert_eq!(container.web(1111).get(path).status, 404, "{path}");
    }
    // On the portal's own port, the address in Caddy's header is a visitor's claim.
    let liar = container.web(1111).with("x-forwarded-uri", "/lie").with("x-forwarded-method", "POST");
    assert_eq!(liar.browser().get("/").header("location"), Some("/leonardo/login"));
    let hello = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/portal/portal.sock')";
    let refused = container.exec(&["su", "user", "-c", &format!("python3 -c \"{hello}\"")]);
    assert!(refused.failure(1).contains("Permission denied"), "{refused:?}");
    let refused = container.exec(&["su", "user", "-c", "ls /run/caddy"]);
    assert!(refused.failure(2).contains("Permission denied"), "{refused:?}");
}

/// The number of an account, four times as the kernel lists it, and its groups in the order of their numbers.
fn account(container: &Container, name: &str) -> (String, String) {
    let id = container.sh(&format!("id -u {name}")).text();
    let groups = container.sh(&format!("id -G {name} | xargs -n 1 | sort -n | xargs")).text();
    ([id.as_str(); 4].join(" "), groups)
}

#[test]
fn the_web_facing_accounts_can_read_no_secret_and_write_nothing_that_root_runs() {
    let container = RunOptions::new().env("HF_TOKEN", "hf-secret-value").start_and_wait();
    let names = container.sh("pgrep -x 'service-portal|caddy-run|caddy' | wc -l").text();
    assert_eq!(names, "3", "each program goes by its name");
    let status =
        "sed -nE 's/^(Name|[UG]id|Groups|Cap...|NoNewPrivs):\\s*//p' /proc/$(pgrep -x NAME)/status | xargs";
    let (portal, caddy) = (account(&container, "portal"), account(&container, "caddy"));
    for (name, (id, groups)) in [("service-portal", &portal), ("caddy-run", &caddy), ("caddy", &caddy)] {
        let confined = format!("{name} {id} {id} {groups}{} 1", " 0000000000000000".repeat(5));
        assert_eq!(container.sh(&status.replace("NAME", name)).text(), confined);
    }
    for account in ["portal", "caddy", "cloudflared"] {
        let as_account = |script: &str| container.exec(&["su", account, "-s", "/bin/bash", "-c", script]);
        as_account("cat /opt/leonardo/etc/environment.sh").failure(1);
        let status = as_account("supervisorctl status");
        assert!(String::from_utf8_lossy(&status.stdout).contains("Permission denied"), "{status:?}");
        let environment = "cat $(pgrep -x -d ' ' 'service-portal|caddy-run|caddy' | sed 's,[0-9]*,/proc/&/environ,g') | tr '\\0' '\\n'";
        let readable = String::from_utf8_lossy(&as_account(environment).stdout).into_owned();
        assert!(readable.contains("PATH=") || account != "caddy", "{readable}");
        assert!(!readable.contains("hf-secret") && !readable.contains("WEB_PASSWORD"), "{readable}");
        let writable = "find / -xdev \\( -type f -perm /111 -o -type d \\) -writable \
            -not -path '/proc/*' -not -path '/tmp*' -not -path '/var/tmp*' -not -path '/var/lib/caddy*' \
            -not -path '/run/portal*' -not -path '/var/lib/portal*' -not -path '/run/caddy*' -not -path '/run/lock*' -not -path '/opt/caddy/etc*' \
            -not -path '/dev/*' 2>/dev/null";
        let found = as_account(writable);
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "writable for {account}");
    }
    // What the system user's documented password opens is nothing to them.
    let su = container.exec(&["su", "caddy", "-s", "/bin/sh", "-c", "echo password | su user -c id"]);
    assert!(su.failure(1).contains("Permission denied"), "{su:?}");
}

#[test]
fn pages_are_protected_and_the_health_check_needs_no_login() {
    let container = with_echo(RunOptions::new());
    for port in [1111, 8080] {
        assert_eq!(container.web(port).get("/leonardo/health-check").ok_text().as_deref(), Some("ok\n"));
        let form = container.web(port).get("/leonardo/login");
        let policy = form.header("content-security-policy").expect("a policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(form.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(form.header("cache-control"), Some("no-store"));
        assert!(
            !form.body.contains("http://") && !form.body.contains("https://"),
            "nothing comes from elsewhere"
        );
    }
    container.wait_until_ready();
}

#[test]
fn authentication_is_off_only_when_it_is_false() {
    let open = with_echo(RunOptions::new().env("WEB_ENABLE_AUTH", " False "));
    for port in [8080, 1111] {
        let answer = open.web(port).get("/");
        assert_eq!(answer.status, 200, "{port}: {}", answer.body);
    }

    let typo = with_echo(RunOptions::new().env("WEB_ENABLE_AUTH", "flase"));
    assert_eq!(typo.web(8080).get("/").status, 401);
    let [_, _, token] = typo.login();
    let page = typo.web(1111).with("authorization", &format!("Bearer {token}")).get("/").body;
    assert!(
        page.contains("WEB_ENABLE_AUTH: &#34;flase&#34; is neither true nor false; using true"),
        "{page}"
    );
    assert!(
        typo.logs()
            .contains("init | warning: WEB_ENABLE_AUTH: \"flase\" is neither true nor false; using true")
    );
}
