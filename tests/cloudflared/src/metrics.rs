//! The metrics server.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io, thread};

/// Facts that the metrics server reports.
#[derive(Debug)]
pub struct Facts {
    /// True while there is a connection to the edge.
    pub is_ready: AtomicBool,
    /// True if no request is answered.
    pub is_silent: AtomicBool,
    /// Hostname of a quick tunnel, else empty.
    pub hostname: String,
    /// Body of every answer, if it is none of the usual ones.
    pub body: Option<String>,
    /// Path of the configuration of a named tunnel.
    pub configuration: PathBuf,
}

/// Starts to listen on an address such as `127.0.0.1:20241`.
pub fn serve(address: &str, facts: Arc<Facts>) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let facts = Arc::clone(&facts);
            // The caller may have closed the connection.
            thread::spawn(move || drop(answer(&stream, &facts)));
        }
    });
    Ok(())
}

fn answer(mut stream: &TcpStream, facts: &Facts) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(stream).read_line(&mut request)?;
    while facts.is_silent.load(Ordering::Relaxed) {
        thread::park();
    }
    let (mut status, body) = match request.split(' ').nth(1).unwrap_or_default() {
        "/ready" => {
            let is_ready = facts.is_ready.load(Ordering::Relaxed);
            let status = if is_ready { 200 } else { 503 };
            let connections = u8::from(is_ready);
            let id = "5b1c4b6e-4b0b-4d0e-9c5b-0d6b1c1f0a11";
            let body =
                format!(r#"{{"status":{status},"readyConnections":{connections},"connectorId":"{id}"}}"#);
            (status, body)
        }
        "/quicktunnel" => (200, format!(r#"{{"hostname":"{}"}}"#, facts.hostname)),
        "/healthcheck" => (200, "OK\n".to_owned()),
        "/config" => {
            let nothing = r#"{"version":-1,"config":{"ingress":[]}}"#;
            (200, fs::read_to_string(&facts.configuration).unwrap_or_else(|_| nothing.to_owned()))
        }
        _ => (404, "404 page not found\n".to_owned()),
    };
    let body = facts.body.as_ref().map_or(body, |body| {
        status = 200;
        body.clone()
    });
    let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
