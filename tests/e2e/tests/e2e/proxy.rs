//! The proxy beside the gate: trusted proxies, edits of its templates, outages and streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::{Container, HttpClient, Response, RunOptions};

use crate::portal::register;

/// The networks that container engines take their addresses from: on these, all visitors of a test arrive.
const ENGINES: &str = "10.0.0.0/8, 172.16.0.0/12 192.168.0.0/16";
const BASE: &str = "/opt/caddy/share/base_config";
const PROBLEM: &str = "/opt/caddy/etc/problem.txt";

/// Logs in by a form that came through another proxy, which sends its headers.
fn log_in_through(container: &Container, forwarded_for: &str, password: &str) -> Response {
    let web = container.web(1111).with("x-forwarded-proto", "https").with("x-forwarded-for", forwarded_for);
    web.log_in("user", password)
}

#[test]
fn a_trusted_proxy_may_say_who_the_visitor_is_and_that_he_came_by_https() {
    let container = RunOptions::new()
        .env("WEB_TRUSTED_PROXIES", format!("{ENGINES},nonsense}},0.0.0.0/0"))
        .start_and_wait();
    let [_, password, _] = container.login();
    let cookie = log_in_through(&container, "203.0.113.9", &password);
    assert_eq!(cookie.status, 303);
    assert!(cookie.header("set-cookie").is_some_and(|cookie| cookie.ends_with("; Secure")), "{cookie:?}");
    // What stands before the last address that no proxy has is the visitor's own invention.
    log_in_through(&container, "127.0.0.1, 203.0.113.10, 192.168.7.7", "wrong");
    let log = container.log_with("serviceportal", "from=203.0.113.10");
    assert!(log.contains("login accepted way=form who=\"user\" from=203.0.113.9"), "{log}");
    let problem = "WEB_TRUSTED_PROXIES: \"nonsense}\" is not an IP network such as 192.0.2.0/24; ignored";
    assert!(container.logs().contains(problem), "{}", container.logs());
    let everybody =
        "WEB_TRUSTED_PROXIES: \"0.0.0.0/0\" is larger than a /8: visitors from these networks could spoof";
    assert!(container.logs().contains(everybody), "{}", container.logs());
    let generated = container.sh("cat /opt/caddy/etc/Caddyfile").text();
    assert!(generated.contains("10.0.0.0/8 127.0.0.0/8") && !generated.contains("nonsense"), "{generated}");
}

#[test]
fn headers_of_any_other_client_are_ignored() {
    let container = RunOptions::new().start_and_wait();
    let [_, password, _] = container.login();
    let answer = log_in_through(&container, "203.0.113.9", &password);
    assert_eq!(answer.status, 303);
    assert!(answer.header("set-cookie").is_some_and(|cookie| !cookie.contains("Secure")), "{answer:?}");
    let log = container.log_with("serviceportal", "login accepted");
    assert!(!log.contains("203.0.113.9"), "{log}");
    // A program inside, such as a tunnel's, is believed.
    let inside = "curl -s -o /dev/null -H 'X-Forwarded-For: 203.0.113.11' -H 'Origin: http://127.0.0.1:1111' \
        -d username=x -d password=y http://127.0.0.1:1111/login";
    container.sh(inside).text();
    container.log_with("serviceportal", "from=203.0.113.11");
}

/// A web server inside that answers every request with the same word.
fn serve(container: &Container, listen: u16, word: &str) {
    let server = format!(
        r#"
import http.server
class Word(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{word}")
http.server.ThreadingHTTPServer(("127.0.0.1", {listen}), Word).serve_forever()
"#
    );
    container.background(&["python3", "-c", &server]);
}

pub fn authorized(container: &Container, port: u16) -> HttpClient {
    let [_, _, token] = container.login();
    container.web(port).with("authorization", &format!("Bearer {token}"))
}

fn restart_caddy(container: &Container) {
    container.sh("supervisorctl restart caddy").text();
    container.wait_for_portal();
}

fn problem(container: &Container) -> String {
    container.sh(&format!("cat {PROBLEM} 2>/dev/null || true")).text()
}

#[test]
fn a_broken_edit_keeps_the_last_good_configuration_and_reports_the_error() {
    let container = RunOptions::new().publish(8080).publish(8081).start_and_wait();
    serve(&container, 18080, "works");
    register(&container, "Word", 18080, 8080, "true");
    container.wait_for(8080);
    let web = authorized(&container, 8080);
    container.wait_until("the service", || web.get("/").body == "works");
    assert_eq!(problem(&container), "");

    // A good edit first: it is what a bad one must fall back on, not what the image came with.
    let page = "handle /edited {\\n\\t\\trespond yes\\n\\t}";
    container.sh(&format!("sed -i 's,^:1111 {{,&\\n\\t{page},' {BASE}")).text();
    restart_caddy(&container);
    let edited = || container.web(1111).get("/edited").body;
    container.wait_until("the edit to count", || edited() == "yes");
    assert_eq!(problem(&container), "");

    container.sh(&format!("sed -i '/^:1111 {{/a nonsense' {BASE}")).text();
    let line = container.sh(&format!("grep -n nonsense {BASE} | cut -d: -f1")).text();
    restart_caddy(&container);
    container.wait_until("the problem", || !problem(&container).is_empty());
    let said = problem(&container);
    assert!(said.starts_with(&format!("{BASE}:{line}: unrecognized directive: nonsense\n")), "{said}");
    assert_eq!(container.sh(&format!("stat -c %a {PROBLEM}")).text(), "644");
    container.log_with("caddy", &format!("{BASE}:{line}: unrecognized directive"));
    assert_eq!((web.get("/").body.as_str(), edited().as_str()), ("works", "yes"));

    // Services still come and go, and a restart of the container changes nothing about it.
    register(&container, "Late", 18080, 8081, "true");
    container.wait_for(8081);
    container.restart();
    container.wait_for_portal();
    assert_eq!(edited(), "yes");
    container.wait_until("the problem again", || problem(&container).contains("unrecognized directive"));

    container.sh(&format!("sed -i /nonsense/d {BASE}")).text();
    restart_caddy(&container);
    container.wait_until("the problem to be gone", || problem(&container).is_empty());
    assert_eq!(edited(), "yes");

    // A Caddyfile from a tutorial: good for Caddy, but it has no portal.
    container.sh(&format!("printf ':8088 {{\\n\\trespond hi\\n}}\\n' > {BASE}")).text();
    restart_caddy(&container);
    let said =
        "proxy: /opt/caddy/share/base_config: `admin unix//run/caddy/admin.sock` is missing. The last good";
    container.wait_until("the problem", || container.exec(&["boot", "report"]).text().contains(said));
    assert!(container.exec(&["boot", "banner"]).text().contains(said));
    assert_eq!(edited(), "yes");
}

#[test]
fn an_edit_that_cannot_listen_takes_nothing_down() {
    let container = RunOptions::new().publish(8080).start_and_wait();
    serve(&container, 18080, "works");
    register(&container, "Word", 18080, 8080, "true");
    container.wait_for(8080);
    let web = authorized(&container, 8080);
    container.wait_until("the service", || web.get("/").body == "works");
    container.background(&["python3", "-m", "http.server", "9999"]);
    container.wait_until("the holder", || container.sh("curl -sf http://127.0.0.1:9999/").code == Some(0));
    container.sh(&format!("printf ':9999 {{\\n\\trespond hello\\n}}\\n' >> {BASE}")).text();
    restart_caddy(&container);
    container
        .wait_until("the problem", || problem(&container).contains(":9999: bind: address already in use"));
    assert_eq!(web.get("/").body, "works");
    // Once the port is free, a look at the same edit is enough.
    container.sh("kill $(pgrep -f '[h]ttp.server 9999')").text();
    container.sh("supervisorctl signal HUP caddy").text();
    container.wait_until("the edit", || container.sh("curl -s http://127.0.0.1:9999/").stdout == b"hello");
    assert_eq!(problem(&container), "");

    // The same edit, accepted before, in a start that finds the port held: the image's own templates serve.
    container.sh("supervisorctl stop caddy").text();
    container.background(&["python3", "-m", "http.server", "9999"]);
    container.wait_until("the holder", || container.sh("curl -sf http://127.0.0.1:9999/").code == Some(0));
    container.sh("supervisorctl start caddy").text();
    container.wait_for(8080);
    assert_eq!(web.get("/").body, "works");
    container
        .wait_until("the problem", || problem(&container).contains(":9999: bind: address already in use"));
}

#[test]
fn one_services_broken_template_affects_no_other_service() {
    let container = RunOptions::new().publish(8080).publish(8081).start_and_wait();
    container.write("/opt/caddy/share/service_config_18081", ":%PROXY_PORT% {\n\tnonsense\n}\n");
    container.sh("supervisorctl signal HUP caddy").text();
    serve(&container, 18080, "works");
    register(&container, "Own", 18081, 8081, "true");
    register(&container, "Word", 18080, 8080, "true");
    container.wait_for(8080);
    container.wait_for(8081);
    let web = authorized(&container, 8080);
    container.wait_until("the service", || web.get("/").body == "works");
    let said = problem(&container);
    assert!(said.starts_with("/opt/caddy/share/service_config_18081:2: unrecognized directive"), "{said}");
    assert_eq!(container.web(8081).get("/").status, 401, "the shipped template stands in, with its gate");
}

#[test]
fn a_service_that_is_not_up_yet_is_explained_and_the_page_turns_into_it() {
    let container = RunOptions::new().publish(8080).start_and_wait();
    let log =
        "for i in $(seq 30); do echo \"line $i\"; done; printf '\\033[31mloading <b>model</b>\\033[0m\\n'";
    container.sh(&format!("({log}) > /var/log/supervisor/slow-starter.log")).text();
    register(&container, "Slow Starter", 18080, 8080, "true");
    container.wait_for(8080);

    let stranger = container.web(8080).browser().get("/lab");
    assert_eq!(stranger.status, 302, "the page is behind the gate");
    let [user, password, _] = container.login();
    let cookie = container.web(8080).log_in(&user, &password).cookie();
    let visitor = container.web(8080).with("cookie", &cookie);
    let page = visitor.browser().get("/lab");
    assert_eq!((page.status, page.header("retry-after")), (503, Some("3")));
    let shown = &page.body;
    assert!(shown.contains("Slow Starter is not responding yet") && shown.contains("line 30"), "{shown}");
    assert!(!shown.contains("line 11\n") && shown.contains("line 12\n"), "twenty lines: {shown}");
    assert!(shown.contains("\nloading &#60;b&#62;model&#60;/b&#62;\n"), "{shown}");

    let program = authorized(&container, 8080).send("POST", "/api", "x=1");
    assert_eq!((program.status, program.header("retry-after")), (503, Some("3")));
    let json: serde_json::Value = serde_json::from_str(&program.body).expect("JSON");
    assert_eq!((&json["service"], &json["port"]), (&"Slow Starter".into(), &8080.into()));

    // Headers that only Caddy may send, sent by a visitor.
    let liar = visitor.with("x-leonardo-cause", "EOF").with("x-forwarded-uri", "/lie").browser();
    assert_eq!(
        liar.get("/gate/unavailable?port=9999").status,
        503,
        "an address of the service, like any other"
    );
    assert_eq!(container.web(1111).with("cookie", &cookie).get("/gate/unavailable?port=8080").status, 404);

    serve(&container, 18080, "up now");
    container.wait_until("the service", || visitor.browser().get("/lab").body == "up now");
    let own = visitor.get("/gate/unavailable?port=8080");
    assert_eq!((own.status, own.body.as_str()), (200, "up now"), "the service has its own /gate/");
}

/// In the portal's place: breaks off when the gate is asked, and answers everything else.
pub const GATE_BREAKS_OFF: &str = r#"
import http.server, os, socketserver
class Portal(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if "/gate/verify" not in self.path and "/gate/open" not in self.path:
            self.wfile.write(b"HTTP/1.0 503 X\r\n\r\nsecret-line")
    def address_string(self):
        return "caddy"
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass
path = "/run/portal/portal.sock"
if os.path.exists(path):
    os.unlink(path)
os.umask(0)
Server(path, Portal).serve_forever()
"#;

#[test]
fn what_a_service_logs_is_not_shown_without_a_login() {
    let container = RunOptions::new().publish(8080).publish(8081).start_and_wait();
    container.sh("echo secret-line > /var/log/supervisor/shared.log").text();
    let with_log = |port: u16, secure: bool| {
        format!(
            r#"{{"service_name":"S","listen_port":1{port},"proxy_port":{port},"proxy_secure":{secure},"log":"shared.log"}}"#
        )
    };
    container.write("/run/http_ports/8080", &with_log(8080, true));
    container.write("/run/http_ports/8081", &with_log(8081, false));
    container.wait_for(8080);
    container.wait_for(8081);
    let open = container.web(8081).browser().get("/");
    assert_eq!((open.status, open.body.contains("secret-line")), (503, false));
    let page = authorized(&container, 8080).browser().get("/");
    assert_eq!((page.status, page.body.contains("secret-line")), (503, true), "{}", page.body);
    // An error of the gate itself is not one of the service: not even a portal that is back by then shows anything.
    container.sh("supervisorctl stop serviceportal").text();
    container.background(&["python3", "-c", GATE_BREAKS_OFF]);
    container.wait_until("the other portal", || container.web(8080).get("/leonardo/x").body == "secret-line");
    let answer = container.web(8080).browser().get("/");
    assert_eq!((answer.status, answer.body.contains("secret-line")), (502, false), "{answer:?}");
    let logs = container.sh("stat -c '%a %U:%G' /var/log/supervisor").text();
    assert_eq!(logs, "2750 root:adm");
    container.exec(&["su", "user", "-c", "cat /var/log/supervisor/shared.log"]).text();
    container.exec(&["su", "caddy", "-s", "/bin/sh", "-c", "ls /var/log/supervisor"]).failure(2);
}

/// Takes a request and goes away in the middle of it.
const BREAKS_OFF: &str = r#"
import socket
server = socket.create_server(("127.0.0.1", 18080))
while True:
    client, _ = server.accept()
    client.recv(1000)
    client.close()
"#;

#[test]
fn a_service_that_breaks_off_is_a_bad_gateway() {
    let container = RunOptions::new().publish(8080).start_and_wait();
    container.background(&["python3", "-c", BREAKS_OFF]);
    register(&container, "Frail", 18080, 8080, "true");
    container.wait_for(8080);
    let web = authorized(&container, 8080);
    container.wait_until("the service", || web.get("/").status == 502);
    let page = web.browser().get("/");
    assert_eq!((page.status, page.header("retry-after")), (502, Some("3")));
    assert!(page.body.contains("Frail closed the connection"), "{}", page.body);
    assert_eq!(web.with("x-leonardo-cause", "dial x").get("/").status, 502, "the cause is Caddy's word");
}

/// Switches protocols and sends every byte back; `/events` sends an event, and others once `/tmp/go` exists.
pub const STREAMS: &str = r#"
import http.server, os, time
class Streams(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for number in range(1000):
                self.wfile.write(b"data: %d\n\n" % number)
                while not os.path.exists("/tmp/go"):
                    time.sleep(0.01)
                time.sleep(1)
        if self.path == "/plain":
            self.send_response(200)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        while byte := self.rfile.read(1):
            self.wfile.write(byte)
        self.close_connection = True
    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        count = 0
        while left:
            block = self.rfile.read(min(left, 1 << 20))
            count += len(block)
            left -= len(block)
        text = str(count).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
http.server.ThreadingHTTPServer(("127.0.0.1", 18080), Streams).serve_forever()
"#;

fn with_streams(run: RunOptions) -> Container {
    let container = run.publish(8080).start_and_wait();
    container.background(&["python3", "-c", STREAMS]);
    register(&container, "Streams", 18080, 8080, "true");
    container.wait_for(8080);
    container.wait_until("the streams", || container.sh("ss -ltn | grep -q :18080").code == Some(0));
    container
}

/// An open request, its answer's head already read.
pub fn open(container: &Container, path: &str, more: &str) -> (String, BufReader<TcpStream>) {
    let [_, _, token] = container.login();
    let address = container.address(8080);
    let mut stream = TcpStream::connect(&address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).expect("a listener");
    let mut reader = BufReader::new(stream);
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut answer).expect("an answer") > 0, "{answer:?}");
    }
    (answer, reader)
}

fn echoes(socket: &mut BufReader<TcpStream>, word: &[u8]) {
    socket.get_mut().write_all(word).expect("an open connection");
    let mut back = vec![0; word.len()];
    socket.read_exact(&mut back).expect("the same bytes");
    assert_eq!(back, word);
}

/// The next line of an event stream that is not empty.
fn next_event(events: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        assert!(events.read_line(&mut line).expect("an event") > 0, "the stream has ended");
        if line.starts_with("data: ") {
            return line.trim_end().to_owned();
        }
    }
}

#[test]
fn streams_of_one_service_outlive_every_change_of_another() {
    let container = with_streams(RunOptions::new().publish(8081));
    let (answer, mut socket) = open(&container, "/socket", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    echoes(&mut socket, b"before");
    let (answer, mut events) = open(&container, "/events", "Accept: text/event-stream\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(next_event(&mut events), "data: 0");

    let changes: [&dyn Fn(); 3] = [
        &|| register(&container, "Other", 18080, 8081, "true"),
        &|| register(&container, "Other", 18080, 8081, "false"),
        &|| drop(container.sh("rm /run/http_ports/8081").text()),
    ];
    for (change, status) in changes.iter().zip([401, 200, 0]) {
        change();
        let other = container.web(8081);
        container.wait_until("the change", || other.get("/plain").status == status);
        echoes(&mut socket, b"still open");
    }
    container.sh("touch /tmp/go").text();
    // Longer than Caddy's grace period, in which it lets the requests of the former configuration end.
    for _ in 0..4 {
        next_event(&mut events);
    }
    echoes(&mut socket, b"after");
    assert_eq!(container.sh("pidof caddy | wc -w").text(), "1");
}

/// Most that Caddy may need for a request of any size, in KiB.
const MEMORY: u64 = 200 * 1024;
const UPLOAD: u64 = 3 << 30;

#[test]
fn a_big_upload_passes_without_being_kept_in_memory() {
    let container = with_streams(RunOptions::new());
    let [_, _, token] = container.login();
    let address = container.address(8080);
    let mut stream = TcpStream::connect(&address).expect("a connection");
    let head = format!(
        "PUT /upload HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: {UPLOAD}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("a listener");
    let block = vec![0; 1 << 20];
    for _ in 0..UPLOAD / block.len() as u64 {
        stream.write_all(&block).expect("an open connection");
    }
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&UPLOAD.to_string()), "{answer}");
    // The highest that it ever was, so there is no moment to be missed.
    let peak = container.sh("awk '/VmHWM/ {print $2}' /proc/$(pidof caddy)/status").text();
    assert!(peak.parse::<u64>().expect("KiB") < MEMORY, "{peak} KiB");
}
