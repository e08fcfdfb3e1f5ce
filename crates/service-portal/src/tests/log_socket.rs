//! Live messages over a WebSocket, through the portal's own server.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::logs::{LogPortal, texts};
use crate::server;

/// Time for anything that must happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// A WebSocket (RFC 6455) whose frames are small.
struct Socket(UnixStream);

impl Socket {
    /// Opens a WebSocket; an error is the status.
    async fn open(portal: &LogPortal, origin: &str) -> Result<Self, String> {
        let path = portal.0.directory.path().join("socket");
        let mut stream = UnixStream::connect(path).await.unwrap();
        let session = portal.0.cookie("session");
        let head = format!(
            "GET /leonardo/logs/socket HTTP/1.1\r\nhost: gpu.lan:1111\r\nx-leonardo-port: 1111\r\norigin: {origin}\r\n\
             x-forwarded-for: 192.0.2.1\r\nx-forwarded-host: gpu.lan:1111\r\ncookie: {session}\r\nconnection: Upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let status = String::from_utf8(answer).unwrap()[9..12].to_owned();
        if status == "101" { Ok(Self(stream)) } else { Err(status) }
    }

    /// Sends a text of less than 126 bytes, with a mask of zeros.
    async fn send(&mut self, text: &str) {
        let length = u8::try_from(text.len()).unwrap();
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    /// Returns the next message; `None` if the connection is closed.
    async fn receive(&mut self) -> Option<Value> {
        let kind = self.0.read_u8().await.ok()?;
        let length = match self.0.read_u8().await.ok()? {
            126 => u64::from(self.0.read_u16().await.ok()?),
            127 => self.0.read_u64().await.ok()?,
            length => u64::from(length),
        };
        let mut text = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut text).await.ok()?;
        if kind == 0x81 { Some(serde_json::from_slice(&text).unwrap()) } else { None }
    }

    /// Returns the next message of this type.
    async fn receive_type(&mut self, name: &str) -> Value {
        let find = async {
            loop {
                let message = self.receive().await.expect("closed");
                if message["type"] == name {
                    return message;
                }
            }
        };
        timeout(DEADLINE, find).await.unwrap_or_else(|_| panic!("no {name}"))
    }
}

/// Runs a test with a server.
fn with_server(test: impl AsyncFnOnce(&LogPortal)) {
    let portal = LogPortal::new();
    portal.append("app.log", "begin\n");
    portal.0.block_on(async {
        let listener = server::listen(&portal.0.directory.path().join("socket")).unwrap();
        let server = tokio::spawn(server::serve(listener, portal.0.router()));
        test(&portal).await;
        server.abort();
    });
}

const OWN: &str = "http://gpu.lan:1111";

#[test]
fn a_new_line_arrives_over_a_websocket_of_the_own_page_only() {
    with_server(async |portal| {
        for origin in ["http://gpu.lan:3000", "https://evil.example", "null"] {
            assert_eq!(Socket::open(portal, origin).await.err().as_deref(), Some("403"), "{origin}");
        }
        let mut socket = Socket::open(portal, OWN).await.unwrap();
        socket.send("{\"services\":[\"app\"]}").await;
        socket.receive_type("cursor").await;
        portal.append("app.log", "just logged\n");
        assert_eq!(texts(&socket.receive_type("rows").await), ["just logged"]);
        let mut invalid = Socket::open(portal, OWN).await.unwrap();
        invalid.send(&json!({ "filter": "(" }).to_string()).await;
        assert_eq!(invalid.receive_type("error").await["field"], "filter");
        let mut noise = Socket::open(portal, OWN).await.unwrap();
        noise.send("not JSON").await;
        assert_eq!(noise.receive().await, None, "it is closed");
    });
}

#[test]
fn the_body_of_a_stranger_is_not_waited_for() {
    with_server(async |portal| {
        for path in ["stream", "poll", "history", "search"] {
            let mut stream = UnixStream::connect(portal.0.directory.path().join("socket")).await.unwrap();
            let head = format!(
                "POST /leonardo/logs/{path} HTTP/1.1\r\nhost: gpu.lan:1111\r\nx-leonardo-port: 1111\r\n\
                 x-forwarded-for: 192.0.2.1\r\nx-forwarded-host: gpu.lan:1111\r\norigin: {OWN}\r\n\
                 content-type: application/json\r\ncontent-length: 60000\r\n\r\n{{"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut status = [0; 12];
            timeout(DEADLINE, stream.read_exact(&mut status))
                .await
                .unwrap_or_else(|_| panic!("{path}"))
                .unwrap();
            assert_eq!(status[9..12], *b"401", "{path}");
        }
    });
}

#[test]
fn the_end_of_the_session_closes_the_socket() {
    with_server(async |portal| {
        let mut socket = Socket::open(portal, OWN).await.unwrap();
        socket.send("{}").await;
        socket.receive_type("cursor").await;
        portal.0.change_login("another", "another-token");
        let began = std::time::Instant::now();
        socket.receive_type("end").await;
        assert_eq!(timeout(DEADLINE, socket.receive()).await, Ok(None));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    });
}

#[test]
fn viewers_are_limited_and_one_that_leaves_makes_place() {
    with_server(async |portal| {
        let mut idle = Vec::new();
        for _ in 0..64 {
            let mut socket = Socket::open(portal, OWN).await.unwrap();
            socket.send("{\"services\":[\"app\"]}").await;
            socket.receive_type("cursor").await;
            idle.push(socket);
        }
        let mut excess = Socket::open(portal, OWN).await.unwrap();
        excess.send("{}").await;
        assert!(excess.receive_type("error").await["message"].as_str().unwrap().contains("too many"));
        drop(idle);
        let freed = async {
            loop {
                let mut socket = Socket::open(portal, OWN).await.unwrap();
                socket.send("{}").await;
                if socket.receive().await.is_some_and(|message| message["type"] == "cursor") {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, freed).await.expect("a closed view frees its seat");
    });
}
