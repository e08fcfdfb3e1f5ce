//! Upgraded connections to a service, through the portal's own server.

use std::time::Duration;

use ports::{Instance, Phase, Service, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

use super::fixture::{Portal, TOKEN};
use crate::server;

/// Time for anything that must happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// A service that answers an upgrade with `101` and the port it listens on, then repeats what it gets; `/other` switches to
/// another protocol. Its listener ends with the runtime.
async fn echo_service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream, port));
        }
    });
    port
}

async fn echo(mut stream: TcpStream, port: u16) {
    let head = read_head(&mut stream).await.replace("\r\n", "|");
    let protocol = if head.starts_with("GET /other") { "other" } else { "websocket" };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nset-cookie: leonardo_0badcafe=x\r\nset-cookie:\r\n leonardo_1=x\r\n\
         connection: close\r\nupgrade: {protocol}\r\nx-port: {port}\r\n\
         x-head: {head}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Sends Caddy's request for a WebSocket; returns the head of the response and the connection.
async fn open(portal: &Portal, fields: &str) -> (String, UnixStream) {
    open_at(portal, "/ws?a=%20b", fields).await
}

async fn open_at(portal: &Portal, uri: &str, fields: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(portal.directory.path().join("socket")).await.unwrap();
    let head = format!(
        "GET /gate/verify HTTP/1.1\r\nhost: gpu.lan:8188\r\nx-leonardo-port: 8188\r\nx-forwarded-for: 192.0.2.1\r\n\
         x-forwarded-host: gpu.lan:8188\r\nx-forwarded-method: GET\r\nx-forwarded-uri: {uri}\r\n\
         sec-fetch-mode: websocket\r\nconnection: Upgrade\r\nupgrade: websocket\r\n{fields}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    (read_head(&mut stream).await, stream)
}

async fn echoes(stream: &mut UnixStream, word: &[u8]) {
    stream.write_all(word).await.unwrap();
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, word);
}

/// Runs a test with a server, and the service `Echo` with instances at these ports.
fn with_services(count: usize, test: impl AsyncFnOnce(&Portal, &[u16])) {
    let portal = Portal::new();
    portal.block_on(async {
        let listener = server::listen(&portal.directory.path().join("socket")).unwrap();
        let server = tokio::spawn(server::serve(listener, portal.router()));
        let mut ports = Vec::new();
        for _ in 0..count {
            ports.push(echo_service().await);
        }
        let running = Status { phase: Phase::Running, since: 0, cause: None };
        let instance =
            |port: &u16| Instance { listen_port: *port, label: port.to_string(), status: running.clone() };
        let instances = if count > 1 { ports.iter().map(instance).collect() } else { vec![] };
        portal.register_service(&Service {
            service_name: "Echo".into(),
            listen_port: ports[0],
            proxy_port: 8188,
            proxy_secure: true,
            instances,
            ..Service::default()
        });
        test(&portal, &ports).await;
        server.abort();
    });
}

#[test]
fn a_stream_ends_with_the_session_that_opened_it_and_no_other_does() {
    with_services(1, async |portal, _| {
        let session =
            format!("cookie: {}; own=1\r\norigin: http://gpu.lan:8188\r\n", portal.cookie("session"));
        let (head, mut ended) = open(portal, &session).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(!head.contains("set-cookie") && head.contains("connection: Upgrade\r\n"), "{head}");
        let seen = head.lines().find_map(|line| line.strip_prefix("x-head: ")).unwrap();
        assert!(seen.starts_with("GET /ws?a=%20b HTTP/1.1|"), "{seen}");
        assert!(seen.contains("|Cookie: own=1|") && !seen.contains("leonardo"), "{seen}");
        assert!(!seen.to_lowercase().contains("x-forwarded-uri"), "{seen}");
        let (_, mut guest) = open(portal, &format!("cookie: {}\r\n", portal.cookie("guest"))).await;
        let (_, mut program) = open(portal, &format!("authorization: Bearer {TOKEN}\r\n")).await;
        for stream in [&mut ended, &mut guest, &mut program] {
            echoes(stream, b"before").await;
        }
        let token = portal.cookie("session").split_once('=').unwrap().1.to_owned();
        portal.state.sessions().end(token.as_bytes());
        assert_eq!(timeout(DEADLINE, ended.read(&mut [0; 8])).await.expect("its end").unwrap(), 0);
        echoes(&mut guest, b"after").await;
        // Guesses from the same address do not keep it open.
        for _ in 0..20 {
            open(portal, "authorization: Bearer wrong\r\n").await;
        }
        portal.change_login("another", "another-token-that-is-43-characters-long---");
        for stream in [&mut guest, &mut program] {
            assert_eq!(timeout(DEADLINE, stream.read(&mut [0; 8])).await.expect("its end").unwrap(), 0);
        }
    });
}

#[test]
fn nobody_else_opens_a_stream() {
    with_services(1, async |portal, _| {
        let session = format!("cookie: {}\r\n", portal.cookie("session"));
        for (fields, status) in [
            (String::new(), 401),
            (format!("cookie: {}\r\n", portal.cookie("ended")), 401),
            ("authorization: Bearer wrong\r\n".to_owned(), 401),
            (format!("{session}origin: http://evil.example\r\n"), 403),
            (format!("{session}origin: http://gpu.lan:1111\r\n"), 403),
        ] {
            let (head, _) = open(portal, &fields).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {head}");
        }
    });
}

#[test]
fn a_visitor_stays_with_the_instance_of_the_cookie() {
    with_services(3, async |portal, ports| {
        for port in ports {
            let cookie = crate::service_streams::instance_cookie(*port);
            let fields = format!("cookie: {}; instance_8188={cookie}\r\n", portal.cookie("session"));
            let (head, _) = open(portal, &fields).await;
            assert!(head.contains(&format!("\r\nx-port: {port}\r\n")), "{head}");
        }
    });
}

/// A `200` would let Caddy open a websocket that does not end with the session.
#[test]
fn an_allowed_websocket_is_opened_here_or_not_at_all() {
    with_services(1, async |portal, _| {
        let session = format!("cookie: {}\r\n", portal.cookie("session"));
        let (head, _) = open_at(portal, "/ws?x=<", &session).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        let (head, _) = open_at(portal, "/other", &session).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    });
    let portal = Portal::new();
    portal.block_on(async {
        let listener = server::listen(&portal.directory.path().join("socket")).unwrap();
        let server = tokio::spawn(server::serve(listener, portal.router()));
        // The fixture's service does not listen.
        let (head, _) = open(&portal, &format!("cookie: {}\r\n", portal.cookie("session"))).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        server.abort();
    });
}
