//! https with a mounted or a self-signed certificate.

use harness::{Container, RunOptions};

use crate::portal::register;
use crate::proxy::STREAMS;

/// A container whose ports speak https, once it answers.
pub fn with_https(run: RunOptions) -> Container {
    let container = run.env("WEB_ENABLE_HTTPS", "true").start();
    wait_for_https(&container);
    container
}

pub fn wait_for_https(container: &Container) {
    let health = "curl --fail --silent --insecure https://127.0.0.1:1111/leonardo/health-check";
    container.wait_until("https", || container.sh(health).stdout == b"ok\n");
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
pub fn with_https_every_port_speaks_it_and_plain_http_is_sent_there() {
    let container = with_https(RunOptions::new().publish(8080));
    container.background(&["python3", "-c", STREAMS]);
    register(&container, "Streams", 18080, 8080, "true");
    let plain = container.web(8080);
    container.wait_until("the redirect", || plain.get("/leonardo/health-check").status == 308);
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
    container.wait_until("the socket", || socket() == b"101 x\n");
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
    let container = with_https(RunOptions::new().env("DIRECT_ADDRESS", "lab.example"));
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
    let problem = "/opt/caddy/tls: key.pem is not the key of cert.pem; using a self-signed certificate";
    assert!(container.logs().contains(problem), "{}", container.logs());

    // openssl knows this kind of key, and Caddy does not.
    make("secp256k1");
    container.restart();
    wait_for_https(&container);
    assert_eq!(fingerprint(&container), own);
    let problem = "proxy: Caddy cannot use the mounted certificate: x509: unsupported elliptic curve; using";
    container.wait_until("the problem", || container.exec(&["boot", "report"]).text().contains(problem));
}

#[test]
fn without_a_clear_yes_ports_speak_http() {
    let container = RunOptions::new().env("WEB_ENABLE_HTTPS", "ture").start_and_wait();
    let problem = "WEB_ENABLE_HTTPS: \"ture\" is neither true nor false; using false";
    assert!(container.logs().contains(problem), "{}", container.logs());
    assert_eq!(container.sh("ls /var/lib/caddy-tls /var/lib/caddy/tls 2>/dev/null | wc -l").text(), "0");
}
