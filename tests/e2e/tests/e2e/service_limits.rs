//! Limits of services and strangers behind Caddy: they cannot touch our cookies, find another way in over HTTP/2, send more
//! than is answered, or fill the log.

use std::io::{Read, Write};
use std::net::TcpStream;

use harness::{Container, RunOptions};

use crate::portal::register;

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
        if lines[0].split(b" ")[1] == b"/switch" and (asked := [line for line in lines if line.startswith(b"Upgrade:")]):
            client.sendall(b"HTTP/1.1 101 Switch\r\nConnection: Upgrade\r\n" + asked[0] + b"\r\n\r\n")
            return
        seen = b"\r\n".join(line for line in lines if line.lower().startswith((b"cookie:", b"authorization:")))
        client.sendall(ANSWERS.get(lines[0].split(b" ")[1].split(b"?")[0], b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(seen), seen)))
server = socket.create_server(("127.0.0.1", 18080))
while True:
    threading.Thread(target=answer, args=server.accept()[:1]).start()
"#;

/// The hostile service, with the login on 8080 and without on 8081.
fn with_hostile(run: RunOptions, scheme: &str) -> Container {
    let container = run.start();
    container.background(&["python3", "-c", HOSTILE]);
    register(&container, "Hostile", 18080, 8080, "true");
    register(&container, "Open", 18080, 8081, "false");
    for port in [8080, 8081] {
        let health = format!("curl -ksf {scheme}://localhost:{port}/leonardo/health-check");
        container.wait_until("the ports", || container.sh(&health).code == Some(0));
    }
    let service = format!("curl -ks {scheme}://localhost:8081/set");
    container.wait_until("the service", || container.sh(&service).stdout == b"ok");
    container
}

#[test]
fn no_service_sets_or_deletes_our_cookies() {
    let container = with_hostile(RunOptions::new().env("WEB_ENABLE_HTTPS", "true"), "https");
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
            // No worker's script comes with a websocket.
            assert!(statuses == "101" || of("vary:").last() == Some(&"service-worker"), "{curl}: {answer}");
        }
    }
}

#[test]
fn the_gate_decides_the_same_over_both_versions_of_http() {
    let container = with_hostile(RunOptions::new().env("WEB_ENABLE_HTTPS", "true"), "https");
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
        ("8080/x", format!("-b '{cookie}' $(seq -f -HX-%g:y 80)"), "200", ""),
        ("8080/x", format!("-b '{cookie}' $(seq -f -HX-%g:y 100)"), "431", ""),
        ("1111/login", "$(seq -f -HX-%g:y 100)".into(), "431", ""),
        ("8081/x", "-H Cookie:a=$(printf %16382s | tr ' ' x)".into(), "200", "cookie: a="),
        ("8081/x", "-H Cookie:a=$(printf %16383s | tr ' ' x)".into(), "431", ""),
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
                let body = body.trim().to_lowercase();
                assert_eq!(body.trim_end_matches('x'), *seen, "{ask}");
            }
        }
    }
    // Caddy opens no connection itself that would not end with the session.
    let switch = |port: u16, options: &str| {
        let curl = format!(
            "curl -ks --http1.1 -H 'Authorization: Bearer {token}' -H Connection:Upgrade {options} -o /dev/null \
             -w '%{{http_code}}' --max-time 60 https://localhost:{port}/switch || true"
        );
        container.sh(&curl).text()
    };
    for (options, status) in [
        ("-H Upgrade:websocket", "101"),
        ("-H Upgrade:websocket -H Upgrade:h2c", "101"),
        ("-H Upgrade:h2c -H Upgrade:websocket", "200"),
        ("-H Upgrade:websocket,h2c", "200"),
        ("-H Upgrade:h2c", "200"),
        ("-H Upgrade:websocket -X POST", "200"),
        ("-H Upgrade:websocket -X CONNECT", "400"),
    ] {
        assert_eq!(switch(8080, options), status, "{options}");
    }
    assert_eq!(switch(8081, "-H Upgrade:h2c"), "101", "without a login, as by Caddy alone");
    let tunnel = container.exec(&["python3", "-c", EXTENDED_CONNECT, &token]).text();
    assert_eq!(tunnel, "not offered, RST_STREAM");
}

/// Opens a websocket over HTTP/2 (RFC 8441): whether the server offers that, and its first frame about the request.
const EXTENDED_CONNECT: &str = r#"
import socket, ssl, struct, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
stream = context.wrap_socket(socket.create_connection(("127.0.0.1", 8080)))
frame = lambda kind, flags, number, body: struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", number) + body
head = b"".join(b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in field) for field in [
    (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "localhost:8080"), (":path", "/switch"),
    ("sec-websocket-version", "13"), ("authorization", "Bearer " + sys.argv[1])])
stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, head))
answers = stream.makefile("rb")
offers = "not offered"
while True:
    start = answers.read(9)
    body = answers.read(int.from_bytes(start[:3], "big"))
    kind, number = start[3], int.from_bytes(start[5:], "big")
    if kind == 4 and 8 in [int.from_bytes(body[at:at + 2], "big") for at in range(0, len(body), 6)]:
        offers = "offered"
    if number == 1 and kind != 8:
        print(offers, {1: "HEADERS", 3: "RST_STREAM"}.get(kind, kind), sep=", ")
        break
"#;

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
    let container = with_hostile(RunOptions::new().publish(8080).publish(8081), "http");
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
    // The gate is asked with the address in a field: as an address, the portal could read 64 KiB only.
    let long = format!("/plain?{}", "x".repeat(70_000));
    for (port, own) in [(8080, bearer.as_str()), (8081, "")] {
        assert_eq!(status_with(&container, port, &long, own), Some(200), "{port}");
    }
}

#[test]
fn strangers_cannot_fill_the_log() {
    let container = with_hostile(RunOptions::new().env("WEB_ENABLE_HTTPS", "true"), "https");
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
