//! A server that sends exactly the bytes that a test chooses.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Head of a request, as received.
pub type Head = String;

/// A connection.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A server that answers until it is dropped.
pub struct Server {
    pub host: String,
    heads: Arc<Mutex<Vec<Head>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Answers each request by `answer`, which receives the number of earlier requests.
    pub fn new(answer: impl Fn(usize, &str, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::over(|stream| Some(Box::new(stream)), answer)
    }

    /// The same, with a wrapper around each connection.
    pub fn over(
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
        answer: impl Fn(usize, &str, &mut dyn Stream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (heads, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let shared = Arc::new((wrap, answer));
        let (kept, ended) = (Arc::clone(&heads), Arc::clone(&stop));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, kept) = (Arc::clone(&shared), Arc::clone(&kept));
                thread::spawn(move || {
                    let Some(mut stream) = (shared.0)(stream.unwrap()) else { return };
                    let Some(head) = head(&mut *stream) else { return };
                    let number = {
                        let mut heads = kept.lock().unwrap();
                        heads.push(head.clone());
                        heads.len() - 1
                    };
                    (shared.1)(number, &head, &mut *stream);
                    let _ = stream.flush();
                });
            }
        });
        Self { host, heads, stop }
    }

    /// Always answers with the same bytes.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |_, _, stream| drop(stream.write_all(&bytes)))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    pub fn heads(&self) -> Vec<Head> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the server, so that it sees the flag.
        drop(TcpStream::connect(&self.host));
    }
}

/// A complete response.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A successful response.
pub fn script(body: impl AsRef<[u8]>) -> Vec<u8> {
    answer("200 OK", "Content-Type: text/plain\r\n", body.as_ref())
}

/// A redirect.
pub fn redirect(location: &str) -> Vec<u8> {
    answer("302 Found", &format!("Location: {location}\r\n"), b"")
}

/// Keeps a connection open and sends nothing until the client closes it.
pub fn stall(stream: &mut dyn Stream) {
    let _ = stream.flush();
    let _ = stream.read(&mut [0; 1]);
}

/// Pause between two bytes of a slow host, which would send for hours.
pub fn wait_a_moment() {
    thread::sleep(Duration::from_millis(50));
}

fn head(stream: &mut dyn Stream) -> Option<Head> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}
