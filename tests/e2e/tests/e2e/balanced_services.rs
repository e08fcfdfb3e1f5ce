//! Services with several instances behind one port, and services that register their state.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::{Duration, Instant};

use harness::{Container, HttpClient, RunOptions};
use serde_json::{Value, json};

use crate::portal::{problems, register};
use crate::proxy::{GATE_BREAKS_OFF, authorized, open};

/// Responds with its port to every request; `/hold` responds with an event stream that ends after `/tmp/go` exists.
const INSTANCE: &str = r#"
import http.server, os, sys, time
class Instance(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        held = self.path == "/hold"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if held else "text/plain")
        self.send_header("Content-Length", str(len(sys.argv[1])))
        self.end_headers()
        while held and not os.path.exists("/tmp/go"):
            time.sleep(0.01)
        self.wfile.write(sys.argv[1].encode())
    do_GET = do_POST = answer
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Instance).serve_forever()
"#;

fn start_instances(container: &Container, ports: &[u16]) {
    for port in ports {
        container.background(&["python3", "-c", INSTANCE, &port.to_string()]);
    }
    for port in ports {
        let listens = format!("ss -ltn | grep -q :{port}");
        container.wait_until("the instance", || container.sh(&listens).code == Some(0));
    }
}

fn kill(container: &Container, port: u16) {
    let (most, last) = (port / 10, port % 10);
    container.sh(&format!("kill -9 $(pgrep -f ' {most}[{last}]$')")).text();
}

/// Registers a service at 8080 with an instance for each port, in its phase.
fn register_instances(container: &Container, secure: bool, instances: &[(u16, &str)]) {
    let instances: Vec<Value> = instances
        .iter()
        .map(|(port, phase)| {
            let status = json!({"phase": phase, "since": 1_764_421_290, "cause": "exit code 1"});
            json!({"listen_port": port, "label": format!("GPU {port}"), "status": status})
        })
        .collect();
    let service = json!({"service_name": "Balanced", "listen_port": instances[0]["listen_port"], "proxy_port": 8080,
        "proxy_secure": secure, "status": {"phase": "running", "since": 1_764_421_290}, "instances": instances});
    container.write("/run/http_ports/8080", &service.to_string());
    container.wait_for(8080);
}

/// Waits until the file of Caddy has exactly these upstreams, and Caddy uses no others.
pub fn wait_for_upstreams(container: &Container, ports: &[u16]) {
    let upstreams: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let line = format!("reverse_proxy {} {{", upstreams.join(" "));
    let admin = "curl -s --unix-socket /run/caddy/admin.sock http://localhost/config/apps/http/servers";
    container.wait_until("the upstreams", || {
        let config = container.sh(admin).text();
        let used = config.split("\"dial\":\"").skip(1).filter_map(|rest| rest.split('"').next());
        let used: BTreeSet<&str> = used.filter(|dial| dial.starts_with("127.")).collect();
        container.sh("cat /opt/caddy/etc/Caddyfile").text().contains(&line)
            && used.into_iter().eq(upstreams.iter())
    });
}

fn state(container: &Container) -> Value {
    let [_, _, token] = container.login();
    let web = container.web(1111).with("authorization", &format!("Bearer {token}"));
    serde_json::from_str(&web.get("/leonardo/state.json").body).expect("JSON")
}

/// The port that ends a response to `/hold`.
fn body_of_held(stream: &mut impl Read) -> u16 {
    let mut body = [0; 5];
    stream.read_exact(&mut body).expect("a body");
    String::from_utf8_lossy(&body).parse().expect("a port")
}

/// The visitor with the cookie of the instance that has responded.
fn with_instance_cookie(web: &HttpClient, set_cookie: &str) -> HttpClient {
    web.with("cookie", set_cookie.split(';').next().expect("a cookie"))
}

#[test]
fn requests_go_to_the_instance_with_the_fewest_and_a_visitor_stays_with_one() {
    let container = RunOptions::new().publish(8080).start_and_wait();
    let ports: Vec<u16> = (18_100..18_108).collect();
    start_instances(&container, &ports);
    register_instances(&container, true, &ports.iter().map(|&port| (port, "running")).collect::<Vec<_>>());
    wait_for_upstreams(&container, &ports);

    let (heads, held): (Vec<String>, Vec<_>) = (0..8).map(|_| open(&container, "/hold", "")).unzip();
    assert!(heads.iter().all(|head| head.starts_with("HTTP/1.1 200 ")), "{heads:?}");
    container.sh("touch /tmp/go").text();
    let responses: BTreeSet<u16> = held.into_iter().map(|mut stream| body_of_held(&mut stream)).collect();
    assert_eq!(responses, ports.into_iter().collect(), "each has one of eight requests");

    let web = authorized(&container, 8080);
    let first = web.get("/");
    let cookie = first.header("set-cookie").expect("a cookie");
    assert!(
        cookie.starts_with("instance_8080=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let visitor = with_instance_cookie(&web, cookie);
    for _ in 0..20 {
        let again = visitor.get("/");
        assert_eq!((again.body.as_str(), again.header("set-cookie")), (first.body.as_str(), None));
    }
    // A forged cookie chooses nothing, and an instance never sees that of the login.
    let forged = web.with("cookie", "instance_8080=127.0.0.1:1111").get("/");
    assert!(forged.status == 200 && forged.header("set-cookie").is_some(), "{forged:?}");
}

#[test]
fn an_instance_that_is_killed_fails_no_request_and_is_named() {
    let container = RunOptions::new().publish(8080).start_and_wait();
    let ports = [18_100, 18_101, 18_102];
    start_instances(&container, &ports);
    let all_running = ports.map(|port| (port, "running"));
    register_instances(&container, true, &all_running);
    wait_for_upstreams(&container, &ports);
    let web = authorized(&container, 8080);
    let first = web.get("/");
    let killed: u16 = first.body.parse().expect("a port");
    let visitor = with_instance_cookie(&web, first.header("set-cookie").expect("a cookie"));

    // The registry does not know it yet: Caddy tries another instance.
    kill(&container, killed);
    let moved = visitor.get("/");
    assert_eq!(moved.status, 200, "{moved:?}");
    assert!(moved.body != first.body && moved.header("set-cookie").is_some(), "{moved:?}");
    for number in 0..30 {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let response = web.send(method, "/", "x=1");
        assert!(response.status == 200 && response.body != first.body, "{method}: {response:?}");
    }
    let service = &state(&container)["services"][0];
    assert_eq!((&service["alive"], &service["state"]), (&json!(true), &json!("running")));
    let index = usize::from(killed - ports[0]);
    let of_killed = json!({"label": format!("GPU {killed}"), "port": killed, "alive": false, "pending": false,
        "state": "not responding"});
    assert_eq!(service["instances"][index], of_killed);

    let (_, mut held) = open(&container, "/hold", "");
    let began = Instant::now();
    // Only those that are running get requests, although one of the others responds.
    let starting = ports.map(|port| (port, if port == killed { "failed" } else { "running" }));
    register_instances(&container, true, &starting);
    let others: Vec<u16> = ports.into_iter().filter(|&port| port != killed).collect();
    wait_for_upstreams(&container, &others);
    let [used, loading] = others[..] else { panic!("{others:?}") };
    let phases = ports.map(|port| (port, if port == used { "running" } else { "starting" }));
    register_instances(&container, true, &phases);
    wait_for_upstreams(&container, &[used]);
    assert!((0..10).all(|_| web.get("/").body == used.to_string()), "{loading} is loading");
    assert_eq!(state(&container)["services"][0]["instances"][index]["pending"], json!(true));
    // A response that began before two reloads ends after them, and after Caddy's grace period.
    container.wait_until("the grace period", || began.elapsed() > Duration::from_secs(3));
    container.sh("touch /tmp/go").text();
    assert!(others.contains(&body_of_held(&mut held)), "the response that began before");
}

#[test]
fn if_all_instances_are_gone_the_portals_page_explains_it_to_those_who_passed_the_gate() {
    let container = RunOptions::new().publish(8080).start_and_wait();
    start_instances(&container, &[18_100, 18_101]);
    container.sh("echo secret-line > /var/log/supervisor/balanced.log").text();
    register_instances(&container, true, &[(18_100, "running"), (18_101, "running")]);
    wait_for_upstreams(&container, &[18_100, 18_101]);
    [18_100, 18_101].iter().for_each(|&port| kill(&container, port));
    let web = authorized(&container, 8080);
    // The first request finds both unreachable; later ones find none that is worth a try.
    for _ in 0..3 {
        let page = web.browser().get("/");
        assert_eq!(page.status, 503, "{page:?}");
        assert!(page.body.contains("assets/retry.js"), "{page:?}");
        assert!(page.body.contains("Balanced is not responding yet") && page.body.contains("secret-line"));
        let program = web.send("POST", "/api", "x=1");
        assert!(program.status == 503 && program.body.contains("\"service\":\"Balanced\""), "{program:?}");
    }
    // While both are marked as unreachable, the gate comes first all the same.
    let stranger = container.web(8080);
    assert_eq!((stranger.get("/").status, stranger.browser().get("/").status), (401, 302));
    // It works again by itself, within the time for which Caddy leaves them out.
    start_instances(&container, &[18_101]);
    container.wait_until("the instance", || web.get("/").body == "18101");
}

#[test]
fn without_the_portal_a_balanced_service_shows_nothing() {
    shows_nothing_before_the_gate(true);
}

#[test]
fn without_the_portal_a_balanced_service_without_a_login_shows_nothing() {
    shows_nothing_before_the_gate(false);
}

fn shows_nothing_before_the_gate(secure: bool) {
    let container = RunOptions::new().publish(8080).start_and_wait();
    container.sh("echo secret-line > /var/log/supervisor/balanced.log").text();
    start_instances(&container, &[18_100, 18_101]);
    register_instances(&container, secure, &[(18_100, "running"), (18_101, "running")]);
    wait_for_upstreams(&container, &[18_100, 18_101]);
    let web = authorized(&container, 8080);
    container.wait_until("the instances", || web.get("/").status == 200);
    let shows_nothing = || {
        for client in [container.web(8080), web.clone(), web.browser()] {
            for method in ["GET", "POST"] {
                let response = client.send(method, "/", "");
                assert_eq!((response.status, response.body.as_str()), (502, ""), "{method}: {response:?}");
                assert_eq!(response.header("set-cookie"), None, "no instance was chosen");
            }
        }
    };
    container.sh("supervisorctl stop serviceportal").text();
    shows_nothing();
    // A portal that is back by the time that Caddy asks for the page.
    container.background(&["python3", "-c", GATE_BREAKS_OFF]);
    container.wait_until("the other portal", || container.web(8080).get("/leonardo/x").body == "secret-line");
    shows_nothing();
    [18_100, 18_101].iter().for_each(|&port| kill(&container, port));
    shows_nothing();
}

#[test]
fn a_registered_state_is_shown_and_reloads_nothing() {
    let container = RunOptions::new().publish(8080).start_and_wait();
    start_instances(&container, &[18_100]);
    register(&container, "Model", 18_100, 8080, "true");
    container.wait_for(8080);
    let generated = || container.sh("stat -c '%i %Y' /opt/caddy/etc/Caddyfile").text();
    let before = generated();
    let set = |status: Value| {
        let service =
            json!({"service_name": "Model", "listen_port": 18_100, "proxy_port": 8080, "status": status});
        // Renamed: an empty file would be a change for Caddy.
        container.write("/run/http_ports/.8080", &service.to_string());
        container.sh("mv /run/http_ports/.8080 /run/http_ports/8080");
    };
    let shown = || {
        let service = state(&container)["services"][0].clone();
        (service["state"].as_str().expect("words").to_owned(), service["alive"] == json!(true))
    };
    let now = container.sh("date +%s").text().parse::<u64>().expect("seconds");
    for (status, words, alive) in [
        (
            json!({"phase": "waiting", "since": now, "cause": "provisioning"}),
            "waiting for provisioning",
            false,
        ),
        (json!({"phase": "starting", "since": now - 14 * 60}), "starting for 14 min", false),
        (json!({"phase": "running", "since": now}), "running", true),
        (json!({"phase": "failed", "since": now, "cause": "exit code 1"}), "failed: exit code 1", false),
    ] {
        set(status);
        container.wait_until("the state", || shown() == (words.to_owned(), alive));
    }
    assert_eq!(generated(), before, "a state of a service without instances is not Caddy's");
    // The page in its place: nothing listens any more.
    kill(&container, 18_100);
    let web = authorized(&container, 8080);
    container.wait_until("the page", || {
        web.browser().get("/").body.contains("<h1>Model failed: exit code 1</h1>")
    });
}

#[test]
fn bursts_of_changes_end_in_the_right_state_and_delay_no_other_service() {
    let container = RunOptions::new().publish(8080).publish(8081).start_and_wait();
    start_instances(&container, &[18_100, 18_101, 18_102]);
    let states = [["running", "running", "failed"], ["failed", "running", "running"]];
    let phases = |index: usize| [0, 1, 2].map(|number| (18_100 + number as u16, states[index][number]));
    for (index, name) in ["one", "two"].into_iter().enumerate() {
        register_instances(&container, true, &phases(index));
        container.sh(&format!("cp /run/http_ports/8080 /tmp/{name}")).text();
    }
    let swap = |end: &str| {
        format!(
            "cd /run/http_ports; while :; do for name in one two; do cp /tmp/$name .8080.new; mv .8080.new 8080; \
             done; {end}; done"
        )
    };
    let reloads = || {
        let log = container.sh("grep -c 'serving ports' /var/log/supervisor/caddy.log || true").text();
        log.parse::<u32>().expect("a number")
    };
    // The burst ends with the other file, so that Caddy has at least one change to load.
    container
        .sh("cp /tmp/one /run/http_ports/.8080.new; mv /run/http_ports/.8080.new /run/http_ports/8080")
        .text();
    wait_for_upstreams(&container, &[18_100, 18_101]);
    let before = reloads();
    container.sh(&swap("n=$((n + 1)); test $n -lt 100 || break")).text();
    wait_for_upstreams(&container, &[18_101, 18_102]);
    container.wait_until("the reload in Caddy's log", || reloads() > before);
    let during = reloads() - before;
    assert!(during < 40, "{during} reloads for 200 changes");
    // One program that never stops to change its file.
    container.background(&["bash", "-c", &swap("sleep 0.01")]);
    register(&container, "Other", 18_100, 8081, "true");
    container.wait_for(8081);
    let web = authorized(&container, 8081);
    container.wait_until("the other service", || web.get("/").body == "18100");
}

#[test]
fn a_hostile_state_is_refused_by_name_and_affects_no_other_service() {
    let container = RunOptions::new().publish(8080).start_and_wait();
    start_instances(&container, &[18_100, 18_101]);
    register_instances(&container, true, &[(18_100, "running"), (18_101, "running")]);
    let status = |phase: &str, cause: &str| json!({"phase": phase, "since": 1, "cause": cause});
    let instances = |ports: &[u16]| -> Value {
        ports
            .iter()
            .map(
                |port| json!({"listen_port": port, "label": "g", "status": {"phase": "running", "since": 1}}),
            )
            .collect()
    };
    let many: Vec<u16> = (18_201..18_266).collect();
    let running = status("running", "");
    let cases = [
        (status("failed", &"y".repeat(10_000)), instances(&[]), "cause is longer than 200 bytes"),
        (status("failed", "\u{1b}]0;x\u{7}"), instances(&[]), "cause has control characters"),
        (status("x", ""), instances(&[]), "not a service description: unknown variant `x`"),
        (running.clone(), instances(&many), "more than 64 instances"),
        (running.clone(), instances(&[18_201, 22]), "port 22 is sshd's (SSH_PORT)"),
        (running.clone(), instances(&[18_201, 18_201]), "two instances have port 18201"),
        (running, json!("127.0.0.1:6666 {"), "not a service description"),
    ];
    for (port, (status, instances, _)) in (8201..).zip(&cases) {
        let service = json!({"service_name": "Bad", "listen_port": 18_201, "proxy_port": port, "status": status,
            "instances": instances});
        container.write(&format!("/run/http_ports/{port}"), &service.to_string());
    }
    let problems = || problems(&authorized(&container, 1111)).join("\n");
    for (port, (_, _, reason)) in (8201..).zip(&cases) {
        let line = format!("service file {port}: {reason}");
        container.wait_until(&line, || problems().contains(&line));
        container.wait_until("Caddy's log", || {
            let log = container.sh("cat /var/log/supervisor/caddy.log").text();
            log.contains(&format!("service file {port} is ignored: {reason}"))
        });
    }
    let generated = container.sh("cat /opt/caddy/etc/Caddyfile").text();
    assert!(!generated.contains(":820") && !generated.contains("6666"), "{generated}");
    let web = authorized(&container, 8080);
    assert!(["18100", "18101"].contains(&web.get("/").body.as_str()));
}
