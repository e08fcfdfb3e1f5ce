//! What the proxy does beside asking the gate: whom it believes, what it does with edits, outages and streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{Answer, Container, Run, Web};

use crate::portal::register;

/// The networks that container engines take their addresses from: on these, all visitors of a test arrive.
const ENGINES: &str = "10.0.0.0/8, 172.16.0.0/12 192.168.0.0/16";
const BASE: &str = "/opt/caddy/share/base_config";
const PROBLEM: &str = "/opt/caddy/etc/problem.txt";

/// Logs in by a form that came through a proxy of somebody's, which says so.
fn log_in_through(container: &Container, forwarded_for: &str, password: &str) -> Answer {
    let web = container.web(1111).with("x-forwarded-proto", "https").with("x-forwarded-for", forwarded_for);
    web.log_in("user", password)
}

fn portal_log(container: &Container) -> String {
    container.sh("cat /var/log/supervisor/serviceportal.log").text()
}

#[test]
fn a_trusted_proxy_may_say_who_the_visitor_is_and_that_he_came_by_https() {
    let container = Run::new().env("WEB_TRUSTED_PROXIES", format!("{ENGINES},nonsense}},0.0.0.0/0")).boot();
    let [_, password, _] = container.login();
    let cookie = log_in_through(&container, "203.0.113.9", &password);
    assert_eq!(cookie.status, 303);
    assert!(cookie.header("set-cookie").is_some_and(|cookie| cookie.ends_with("; Secure")), "{cookie:?}");
    // What stands before the last address that no proxy has is the visitor's own invention.
    log_in_through(&container, "127.0.0.1, 203.0.113.10, 192.168.7.7", "wrong");
    let log = portal_log(&container);
    assert!(log.contains("login accepted way=form who=\"user\" from=203.0.113.9"), "{log}");
    assert!(log.contains("from=203.0.113.10"), "{log}");
    let problem =
        "WEB_TRUSTED_PROXIES: \"nonsense}\" is not an IP network such as 192.0.2.0/24; it is left out";
    assert!(container.logs().contains(problem), "{}", container.logs());
    let everybody = "WEB_TRUSTED_PROXIES: \"0.0.0.0/0\" is larger than a /8: visitors from there can choose";
    assert!(container.logs().contains(everybody), "{}", container.logs());
    let generated = container.sh("cat /opt/caddy/etc/Caddyfile").text();
    assert!(generated.contains("10.0.0.0/8 127.0.0.0/8") && !generated.contains("nonsense"), "{generated}");
}

#[test]
fn everybody_else_says_it_in_vain() {
    let container = Run::new().boot();
    let [_, password, _] = container.login();
    let answer = log_in_through(&container, "203.0.113.9", &password);
    assert_eq!(answer.status, 303);
    assert!(answer.header("set-cookie").is_some_and(|cookie| !cookie.contains("Secure")), "{answer:?}");
    let log = portal_log(&container);
    assert!(log.contains("login accepted") && !log.contains("203.0.113.9"), "{log}");
    // A program inside, such as a tunnel's, is believed.
    let inside = "curl -s -o /dev/null -H 'X-Forwarded-For: 203.0.113.11' -H 'Origin: http://127.0.0.1:1111' \
        -d username=x -d password=y http://127.0.0.1:1111/login";
    container.sh(inside).text();
    assert!(portal_log(&container).contains("from=203.0.113.11"));
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

fn authorized(container: &Container, port: u16) -> Web {
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
fn a_broken_edit_keeps_the_last_good_configuration_and_says_what_is_wrong() {
    let container = Run::new().publish(8080).publish(8081).boot();
    serve(&container, 18080, "works");
    register(&container, "Word", 18080, 8080, "true");
    container.wait_for(8080);
    let web = authorized(&container, 8080);
    container.until("the service", || web.get("/").body == "works");
    assert_eq!(problem(&container), "");

    // A good edit first: it is what a bad one must fall back on, not what the image came with.
    let page = "handle /edited {\\n\\t\\trespond yes\\n\\t}";
    container.sh(&format!("sed -i 's,^:1111 {{,&\\n\\t{page},' {BASE}")).text();
    restart_caddy(&container);
    let edited = || container.web(1111).get("/edited").body;
    container.until("the edit to count", || edited() == "yes");
    assert_eq!(problem(&container), "");

    container.sh(&format!("sed -i '/^:1111 {{/a nonsense' {BASE}")).text();
    let line = container.sh(&format!("grep -n nonsense {BASE} | cut -d: -f1")).text();
    restart_caddy(&container);
    container.until("the problem", || !problem(&container).is_empty());
    let said = problem(&container);
    assert!(said.starts_with(&format!("{BASE}:{line}: unrecognized directive: nonsense\n")), "{said}");
    assert_eq!(container.sh(&format!("stat -c %a {PROBLEM}")).text(), "644");
    let log = container.sh("cat /var/log/supervisor/caddy.log").text();
    assert!(log.contains(&format!("{BASE}:{line}: unrecognized directive")), "{log}");
    assert_eq!((web.get("/").body.as_str(), edited().as_str()), ("works", "yes"));

    // Services still come and go, and a restart of the container changes nothing about it.
    register(&container, "Late", 18080, 8081, "true");
    container.wait_for(8081);
    container.restart();
    container.wait_for_portal();
    assert_eq!(edited(), "yes");
    container.until("the problem again", || problem(&container).contains("unrecognized directive"));

    container.sh(&format!("sed -i /nonsense/d {BASE}")).text();
    restart_caddy(&container);
    container.until("the problem to be gone", || problem(&container).is_empty());
    assert_eq!(edited(), "yes");

    // A Caddyfile from a tutorial: good for Caddy, but it has no portal.
    container.sh(&format!("printf ':8088 {{\\n\\trespond hi\\n}}\\n' > {BASE}")).text();
    restart_caddy(&container);
    let said = "proxy: /opt/caddy/share/base_config lacks `admin unix//run/caddy/admin.sock`. The last good";
    container.until("the problem", || container.exec(&["boot", "report"]).text().contains(said));
    assert!(container.exec(&["boot", "banner"]).text().contains(said));
    assert_eq!(edited(), "yes");
}

#[test]
fn an_edit_that_cannot_listen_takes_nothing_down() {
    let container = Run::new().publish(8080).boot();
    serve(&container, 18080, "works");
    register(&container, "Word", 18080, 8080, "true");
    container.wait_for(8080);
    let web = authorized(&container, 8080);
    container.until("the service", || web.get("/").body == "works");
    container.background(&["python3", "-m", "http.server", "9999"]);
    container.until("the holder", || container.sh("curl -sf http://127.0.0.1:9999/").code == Some(0));
    container.sh(&format!("printf ':9999 {{\\n\\trespond hello\\n}}\\n' >> {BASE}")).text();
    restart_caddy(&container);
    container.until("the problem", || problem(&container).contains(":9999: bind: address already in use"));
    assert_eq!(web.get("/").body, "works");
    // Once the port is free, a look at the same edit is enough.
    container.sh("kill $(pgrep -f '[h]ttp.server 9999')").text();
    container.sh("supervisorctl signal HUP caddy").text();
    container.until("the edit", || container.sh("curl -s http://127.0.0.1:9999/").stdout == b"hello");
    assert_eq!(problem(&container), "");

    // The same edit, accepted before, in a start that finds the port held: the image's own templates serve.
    container.sh("supervisorctl stop caddy").text();
    container.background(&["python3", "-m", "http.server", "9999"]);
    container.until("the holder", || container.sh("curl -sf http://127.0.0.1:9999/").code == Some(0));
    container.sh("supervisorctl start caddy").text();
    container.wait_for(8080);
    assert_eq!(web.get("/").body, "works");
    container.until("the problem", || problem(&container).contains(":9999: bind: address already in use"));
}

#[test]
fn one_services_broken_template_affects_no_other_service() {
    let container = Run::new().publish(8080).publish(8081).boot();
    container.write("/opt/caddy/share/service_config_18081", ":%PROXY_PORT% {\n\tnonsense\n}\n");
    container.sh("supervisorctl signal HUP caddy").text();
    serve(&container, 18080, "works");
    register(&container, "Own", 18081, 8081, "true");
    register(&container, "Word", 18080, 8080, "true");
    container.wait_for(8080);
    container.wait_for(8081);
    let web = authorized(&container, 8080);
    container.until("the service", || web.get("/").body == "works");
    let said = problem(&container);
    assert!(said.starts_with("/opt/caddy/share/service_config_18081:2: unrecognized directive"), "{said}");
    assert_eq!(container.web(8081).get("/").status, 401, "the shipped template stands in, with its gate");
}

#[test]
fn a_service_that_is_not_up_yet_is_explained_and_the_page_turns_into_it() {
    let container = Run::new().publish(8080).boot();
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
    assert_eq!(
        (page.status, page.header("refresh"), page.header("retry-after")),
        (503, Some("3"), Some("3"))
    );
    let shown = &page.body;
    assert!(shown.contains("Slow Starter is not answering yet") && shown.contains("line 30"), "{shown}");
    assert!(!shown.contains("line 11\n") && shown.contains("line 12\n"), "twenty lines: {shown}");
    assert!(shown.contains("\nloading &#60;b&#62;model&#60;/b&#62;\n"), "{shown}");

    let program = authorized(&container, 8080).send("POST", "/api", "x=1");
    assert_eq!((program.status, program.header("retry-after")), (503, Some("3")));
    let json: serde_json::Value = serde_json::from_str(&program.body).expect("JSON");
    assert_eq!((&json["service"], &json["port"]), (&"Slow Starter".into(), &8080.into()));

    // What only Caddy may say, said by a visitor.
    let liar = visitor.with("x-leonardo-cause", "EOF").with("x-forwarded-uri", "/lie").browser();
    assert_eq!(
        liar.get("/gate/unavailable?port=9999").status,
        503,
        "an address of the service, like any other"
    );
    assert_eq!(container.web(1111).with("cookie", &cookie).get("/gate/unavailable?port=8080").status, 404);

    serve(&container, 18080, "up now");
    container.until("the service", || visitor.browser().get("/lab").body == "up now");
    let own = visitor.get("/gate/unavailable?port=8080");
    assert_eq!((own.status, own.body.as_str()), (200, "up now"), "the service has its own /gate/");
}

/// In the portal's place: breaks off when the gate is asked, and answers everything else.
const GATE_BREAKS_OFF: &str = r#"
import http.server, os, socketserver
class Portal(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if "/gate/verify" not in self.path:
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
fn what_a_service_logs_is_shown_to_nobody_without_a_login() {
    let container = Run::new().publish(8080).publish(8081).boot();
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
    container.until("the other portal", || container.web(8080).get("/leonardo/x").body == "secret-line");
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
    let container = Run::new().publish(8080).boot();
    container.background(&["python3", "-c", BREAKS_OFF]);
    register(&container, "Frail", 18080, 8080, "true");
    container.wait_for(8080);
    let web = authorized(&container, 8080);
    container.until("the service", || web.get("/").status == 502);
    let page = web.browser().get("/");
    assert_eq!((page.status, page.header("refresh")), (502, Some("3")));
    assert!(page.body.contains("Frail broke off"), "{}", page.body);
    assert_eq!(web.with("x-leonardo-cause", "dial x").get("/").status, 502, "the cause is Caddy's word");
}

/// Switches protocols and sends every byte back; `/events` sends an event at once, the next after three seconds.
const STREAMS: &str = r#"
import http.server, time
class Streams(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for number in range(1000):
                self.wfile.write(b"data: %d\n\n" % number)
                time.sleep(1 if number else 3)
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

fn with_streams(run: Run) -> Container {
    let container = run.publish(8080).boot();
    container.background(&["python3", "-c", STREAMS]);
    register(&container, "Streams", 18080, 8080, "true");
    container.wait_for(8080);
    container.until("the streams", || container.sh("ss -ltn | grep -q :18080").code == Some(0));
    container
}

/// An open request, its answer's head already read.
fn open(container: &Container, path: &str, more: &str) -> (String, BufReader<TcpStream>) {
    let [_, _, token] = container.login();
    let address = container.address(8080);
    let mut stream = TcpStream::connect(&address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
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

/// The next line of an event stream that says something.
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
    let container = with_streams(Run::new().publish(8081));
    let (answer, mut socket) = open(&container, "/socket", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    echoes(&mut socket, b"before");
    let began = Instant::now();
    let (answer, mut events) = open(&container, "/events", "Accept: text/event-stream\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(next_event(&mut events), "data: 0");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "the second event comes after three: {took:?}");

    let changes: [&dyn Fn(); 3] = [
        &|| register(&container, "Other", 18080, 8081, "true"),
        &|| register(&container, "Other", 18080, 8081, "false"),
        &|| drop(container.sh("rm /run/http_ports/8081").text()),
    ];
    for (change, status) in changes.iter().zip([401, 200, 0]) {
        change();
        let other = container.web(8081);
        container.until("the change", || other.get("/plain").status == status);
        echoes(&mut socket, b"still open");
    }
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
    let container = with_streams(Run::new());
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

/// A container whose ports speak https, once it answers.
fn with_https(run: Run) -> Container {
    let container = run.env("WEB_ENABLE_HTTPS", "true").start();
    wait_for_https(&container);
    container
}

fn wait_for_https(container: &Container) {
    let health = "curl --fail --silent --insecure https://127.0.0.1:1111/leonardo/health-check";
    container.until("https", || container.sh(health).stdout == b"ok\n");
}

fn fingerprint(container: &Container) -> String {
    let served = "openssl s_client -connect 127.0.0.1:1111 -servername localhost </dev/null 2>/dev/null";
    container.sh(&format!("{served} | openssl x509 -noout -fingerprint -sha256")).text()
}

/// Opens a websocket over TLS by hand, and expects its bytes back.
const SECURE_SOCKET: &str = r#"
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
stream = context.wrap_socket(socket.create_connection(("127.0.0.1", 8080)))
stream.sendall(b"GET /socket HTTP/1.1\r\nHost: x:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               b"Authorization: Bearer " + sys.argv[1].encode() + b"\r\n\r\n")
answer = b""
while not answer.endswith(b"\r\n\r\n"):
    answer += stream.recv(1)
stream.sendall(b"x")
print(answer.split(b" ")[1].decode(), stream.recv(1).decode())
"#;

#[test]
fn with_https_every_port_speaks_it_and_plain_http_is_sent_there() {
    let container = with_https(Run::new().publish(8080));
    container.background(&["python3", "-c", STREAMS]);
    register(&container, "Streams", 18080, 8080, "true");
    let plain = container.web(8080);
    container.until("the redirect", || plain.get("/leonardo/health-check").status == 308);
    for (port, method) in [(8080, "GET"), (1111, "POST")] {
        let web = container.web(port);
        let answer = web.send(method, "/a?b=c", "");
        let goes = format!("https://{}/a?b=c", web.address());
        assert_eq!((answer.status, answer.header("location")), (308, Some(goes.as_str())));
    }
    let [user, password, token] = container.login();
    let log_in = format!(
        "curl -ksi -H 'Origin: https://localhost:8080' -d username={user} -d password={password} \
         https://localhost:8080/leonardo/login"
    );
    let answer = container.sh(&log_in).text();
    assert!(answer.starts_with("HTTP/2 303 ") && answer.contains("; Secure"), "{answer}");
    let socket = || container.exec(&["python3", "-c", SECURE_SOCKET, &token]).stdout;
    container.until("the socket", || socket() == b"101 x\n");
    let extensions = "subjectAltName,basicConstraints,keyUsage,extendedKeyUsage";
    let served = "openssl s_client -connect 127.0.0.1:1111 </dev/null 2>/dev/null | openssl x509";
    let certificate = container.sh(&format!("{served} -noout -ext {extensions}")).text();
    let host = container.sh("hostname").text();
    for part in [
        "DNS:localhost",
        "IP Address:127.0.0.1",
        &format!("DNS:{host}"),
        "Basic Constraints: critical\n    CA:FALSE\n",
        "Key Usage: critical\n    Digital Signature\n",
        "TLS Web Server Authentication",
    ] {
        assert!(certificate.contains(part), "{part} in {certificate}");
    }
    // Who has it among the trusted ones needs no --insecure.
    let trusting = "openssl verify -CAfile /tmp/own.pem /tmp/own.pem && \
        curl --fail --silent --cacert /tmp/own.pem https://localhost:1111/leonardo/health-check";
    let checked = container.sh(&format!("{served} > /tmp/own.pem && {trusting}")).text();
    assert!(checked.ends_with("ok"), "{checked}");
    // What the engine asks.
    let health = container
        .sh("curl -f -s -o /dev/null --location --insecure http://127.0.0.1:1111/leonardo/health-check");
    assert_eq!(health.code, Some(0), "{health:?}");
}

#[test]
fn a_mounted_certificate_is_used_and_a_bad_one_is_named_without_giving_up_https() {
    let container = with_https(Run::new().env("DIRECT_ADDRESS", "lab.example"));
    let own = fingerprint(&container);
    let make = |curve: &str| {
        let make = format!(
            "mkdir -p /opt/caddy/tls && cd /opt/caddy/tls && openssl req -x509 -newkey ec -nodes \
             -pkeyopt ec_paramgen_curve:{curve} -subj /CN=mounted -keyout key.pem -out cert.pem 2>/dev/null && \
             openssl x509 -in cert.pem -noout -fingerprint -sha256 && sed -i '1s/^/\\xef\\xbb\\xbf/' *.pem && \
             chmod 600 cert.pem key.pem"
        );
        container.sh(&make).text()
    };
    let mounted = make("prime256v1");
    container.restart();
    wait_for_https(&container);
    assert_eq!(fingerprint(&container), mounted);
    let readable =
        container.exec(&["su", "user", "-c", "cat /var/lib/caddy-tls/pair.pem /var/lib/caddy/tls/*"]);
    assert!(!String::from_utf8_lossy(&readable.stdout).contains("PRIVATE KEY"), "{readable:?}");

    container.sh("cd /opt/caddy/tls && openssl ecparam -name prime256v1 -genkey -noout -out key.pem").text();
    container.restart();
    wait_for_https(&container);
    assert_eq!(fingerprint(&container), own, "the self-signed one is kept");
    let problem = "/opt/caddy/tls: key.pem is not the key of cert.pem; https uses a self-signed certificate";
    assert!(container.logs().contains(problem), "{}", container.logs());

    // openssl knows this kind of key, and Caddy does not.
    make("secp256k1");
    container.restart();
    wait_for_https(&container);
    assert_eq!(fingerprint(&container), own);
    let problem =
        "proxy: Caddy cannot use the mounted certificate: x509: unsupported elliptic curve; https uses";
    container.until("the problem", || container.exec(&["boot", "report"]).text().contains(problem));
}

#[test]
fn without_a_clear_yes_ports_speak_http() {
    let container = Run::new().env("WEB_ENABLE_HTTPS", "ture").boot();
    let problem = "WEB_ENABLE_HTTPS: \"ture\" is neither true nor false; using false";
    assert!(container.logs().contains(problem), "{}", container.logs());
    assert_eq!(container.sh("ls /var/lib/caddy-tls /var/lib/caddy/tls 2>/dev/null | wc -l").text(), "0");
}

/// Answers that try to touch cookies of ours: as an error, while switching protocols, and before the answer proper.
const HOSTILE: &str = r#"
import socket, threading
TOUCH = (b"Set-Cookie: leonardo_a=1; Path=/\r\nset-cookie:  =\t=leonardo_b\r\nSet-Cookie: __Host-leonardo_c=1; Secure\r\n"
         b"Set-Cookie: __secure-Leonardo_d=1\r\nSet-Cookie:\r\n leonardo_e=1\r\nSet-Cookie: other=leonardo_kept\r\n"
         b'Clear-Site-Data: "cache", "cookies"\r\nClear-Site-Data: "*"\r\nClear-Site-Data: "cache"\r\n'
         b"Service-Worker-Allowed: /\r\n")
END = b"Content-Length: 2\r\n\r\nok"
ANSWERS = {
    b"/set": b"HTTP/1.1 200 OK\r\n" + TOUCH + END,
    b"/error": b"HTTP/1.1 502 Bad\r\n" + TOUCH + END,
    b"/early": b"HTTP/1.1 103 Early\r\n" + TOUCH + b"\r\nHTTP/1.1 200 OK\r\n" + TOUCH + END,
    b"/socket": b"HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + TOUCH + b"\r\n",
    b"/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
}
def answer(client):
    with client:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = client.recv(1 << 16)
            if not more:
                return
            head += more
        lines = head.split(b"\r\n")
        seen = b"\r\n".join(line for line in lines if line.lower().startswith((b"cookie:", b"authorization:")))
        client.sendall(ANSWERS.get(lines[0].split(b" ")[1].split(b"?")[0], b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(seen), seen)))
server = socket.create_server(("127.0.0.1", 18080))
while True:
    threading.Thread(target=answer, args=server.accept()[:1]).start()
"#;

/// The hostile service, with the login on 8080 and without on 8081.
fn with_hostile(run: Run, scheme: &str) -> Container {
    let container = run.start();
    container.background(&["python3", "-c", HOSTILE]);
    register(&container, "Hostile", 18080, 8080, "true");
    register(&container, "Open", 18080, 8081, "false");
    for port in [8080, 8081] {
        let health = format!("curl -ksf {scheme}://localhost:{port}/leonardo/health-check");
        container.until("the ports", || container.sh(&health).code == Some(0));
    }
    let service = format!("curl -ks {scheme}://localhost:8081/set");
    container.until("the service", || container.sh(&service).stdout == b"ok");
    container
}

#[test]
fn no_service_sets_or_deletes_our_cookies() {
    let container = with_hostile(Run::new().env("WEB_ENABLE_HTTPS", "true"), "https");
    let [_, _, token] = container.login();
    for port in [8080, 8081] {
        for (request, statuses) in [
            ("--http1.1 /set", "200"),
            ("--http2 /set", "200"),
            ("--http1.1 /error", "502"),
            ("--http2 /error", "502"),
            ("--http1.1 /early", "103 200"),
            ("--http2 /early", "103 200"),
            ("--http1.1 --max-time 1 --header Upgrade:websocket --header Connection:Upgrade /socket", "101"),
        ] {
            let (options, path) = request.rsplit_once(' ').expect("a path");
            let curl = format!(
                "curl -ksi --header 'Authorization: Bearer {token}' {options} https://localhost:{port}{path}"
            );
            let answer = String::from_utf8(container.sh(&curl).stdout).expect("text").to_lowercase();
            let of = |start: &str| -> Vec<&str> {
                answer.lines().filter_map(|line| line.strip_prefix(start)).map(str::trim).collect()
            };
            let found: Vec<&str> = of("http/").iter().filter_map(|line| line.split(' ').nth(1)).collect();
            assert_eq!(found.join(" "), statuses, "{curl}: {answer}");
            let kept = |start| of(start).into_iter().filter(|value| !value.is_empty()).collect::<Vec<_>>();
            assert_eq!(kept("set-cookie:"), vec!["other=leonardo_kept"; found.len()], "{curl}: {answer}");
            assert_eq!(kept("clear-site-data:"), vec![r#""cache""#; found.len()], "{curl}: {answer}");
            assert!(!answer.contains("service-worker-allowed"), "{curl}: {answer}");
        }
    }
}

#[test]
fn the_gate_decides_the_same_over_both_versions_of_http() {
    let container = with_hostile(Run::new().env("WEB_ENABLE_HTTPS", "true"), "https");
    let [user, password, token] = container.login();
    let log_in = format!(
        "curl -ksi --http2 -H 'Origin: https://localhost:8080' -d username={user} -d password={password} \
         https://localhost:8080/leonardo/login | sed -n 's/^set-cookie: \\(__Host-leonardo_[0-9a-f]*=[^;]*\\).*/\\1/p'"
    );
    let cookie = container.sh(&log_in).text();
    assert!(cookie.starts_with("__Host-leonardo_"), "{cookie}");
    let cases = [
        ("8080/x", String::new(), "401", ""),
        ("8080/x", "-H 'Accept: text/html'".into(), "302", ""),
        ("8080/x", "-X POST".into(), "401", ""),
        ("8080/x", "-H 'Authorization: Bearer wrong'".into(), "401", ""),
        ("8080/x", format!("-H 'Authorization: Bearer {token}'"), "200", ""),
        ("8080/x", format!("-H 'Authorization: Bearer {token}' -b a=1"), "200", "cookie: a=1"),
        ("8080/x", format!("-b 'a=1; {cookie}; b=2'"), "200", "cookie: a=1; b=2"),
        ("8080/x", format!("-b '{cookie}' -X POST -H 'Origin: https://localhost:8080'"), "200", ""),
        ("8080/x", format!("-b '{cookie}' -X POST -H 'Origin: https://localhost:8081'"), "403", ""),
        ("8080/gate/verify", String::new(), "401", ""),
        ("1111/gate/verify", format!("-b '{cookie}'"), "404", ""),
        ("1111/leonardo/state.json", String::new(), "401", ""),
        ("8081/x", format!("-b 'a=1; {cookie}'"), "200", "cookie: a=1"),
    ];
    for (place, options, status, seen) in &cases {
        for version in ["1.1", "2"] {
            let ask = format!(
                "curl -ks --http{version} {options} -w '\\n%{{http_code}} %{{http_version}}' https://localhost:{place}"
            );
            let answer = container.sh(&ask).text();
            let (body, end) = answer.rsplit_once('\n').expect("a body and a status");
            assert_eq!(end, format!("{status} {version}"), "{ask}");
            if *status == "200" {
                assert_eq!(body.trim().to_lowercase(), *seen, "{ask}");
            }
        }
    }
}

/// The status of a request with more header fields, sent in one piece; none if the connection broke.
fn status_with(container: &Container, port: u16, path: &str, fields: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(container.address(port)).expect("a connection");
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    // Caddy may answer a head that is too long before it has read all of it.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    String::from_utf8_lossy(&answer[9..]).parse().ok()
}

#[test]
fn a_request_that_caddy_takes_is_answered_by_the_portal_however_large_its_head_is() {
    let container = with_hostile(Run::new().publish(8080).publish(8081), "http");
    let [_, _, token] = container.login();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let cookie = format!("={}; ", "x".repeat(4094)).repeat(180);
    let fields =
        |count: usize| (0..count).map(|number| format!("x{number}: 1\r\n")).collect::<Vec<_>>().concat();
    let ways = [
        (1111, "/login", "", 200),
        (8080, "/leonardo/health-check", "", 200),
        (8080, "/plain", "", 401),
        (8080, "/plain", bearer.as_str(), 200),
        (8081, "/plain", "", 200),
    ];
    for (port, path, own, usual) in ways {
        for (name, more, status) in [
            ("all cookies that a browser keeps", format!("Cookie: {cookie}\r\n"), 431),
            ("just below 1 MiB", format!("X: {}\r\n", "x".repeat(1_040_000)), usual),
            ("just above", format!("X: {}\r\n", "x".repeat(1_060_000)), 431),
            ("few fields enough", fields(85), usual),
            ("too many", fields(95), 431),
            ("a thousand", fields(1000), 431),
            ("all fields that 1 MiB holds", "a:b\r\n".repeat(200_000), 431),
        ] {
            let found = status_with(&container, port, path, &format!("{own}{more}"));
            // Caddy cuts the connection of what it does not read to the end.
            assert!(
                found == Some(status) || name == "just above" && found.is_none(),
                "{port}{path} {name}: {found:?}"
            );
        }
    }
}

#[test]
fn strangers_cannot_fill_the_log() {
    let container = with_hostile(Run::new().env("WEB_ENABLE_HTTPS", "true"), "https");
    let lines = |text: &str| {
        let count = format!("grep -c '{text}' /var/log/supervisor/caddy.log || true");
        container.sh(&count).text().parse::<usize>().expect("a number")
    };
    container
        .sh("for i in $(seq 20); do curl -ks --http1.1 -H 'X-Long: secret' 'https://localhost:8081/cut?secret' || true; done")
        .text();
    container
        .sh("for i in $(seq 20); do openssl s_client -connect localhost:1111 -servername a.example -alpn acme-tls/1 \
             </dev/null >/dev/null 2>&1 || true; done")
        .text();
    assert_eq!((lines("incomplete response"), lines("tls-alpn challenge"), lines("secret")), (3, 3, 0));
}
