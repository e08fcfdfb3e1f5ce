//! An HTTP client that follows no redirects and hides no errors.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Response of a server.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// A header's value, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// True if the body has the length that its header announced.
    fn is_whole(&self) -> bool {
        self.header("content-length").and_then(|length| length.parse().ok()) == Some(self.body.len())
    }

    /// The body of a 200.
    pub fn ok_text(&self) -> Option<String> {
        (self.status == 200).then(|| self.body.clone())
    }

    /// The session cookie that a login has set, as a `Cookie` header.
    #[track_caller]
    pub fn cookie(&self) -> String {
        self.header("set-cookie").expect("a cookie").split(';').next().expect("a pair").to_owned()
    }
}

/// A server at an address, and headers to send with every request.
#[derive(Clone)]
pub struct HttpClient {
    address: String,
    headers: Vec<(String, String)>,
}

impl HttpClient {
    pub fn new(address: String) -> Self {
        Self { address, headers: Vec::new() }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same client with one more header.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut web = self.clone();
        web.headers.push((name.to_owned(), value.to_owned()));
        web
    }

    /// The same client with an `Authorization: Basic` header.
    pub fn basic(&self, user: &str, password: &str) -> Self {
        self.with("authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// The same client, asking as a browser asks for a page.
    pub fn browser(&self) -> Self {
        self.with("accept", "text/html,application/xhtml+xml").with("sec-fetch-mode", "navigate")
    }

    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, "")
    }

    /// Sends a form as the login page does, from the same origin.
    pub fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        self.with("content-type", "application/x-www-form-urlencoded").send("POST", path, &body.join("&"))
    }

    /// Logs in with the form; the answer has the cookie.
    pub fn log_in(&self, user: &str, password: &str) -> Response {
        let origin = format!("http://{}", self.address);
        self.with("origin", &origin)
            .post_form("/leonardo/login", &[("username", user), ("password", password)])
    }

    /// Sends one request over a new connection; without an answer, the status is 0 and the body the reason.
    ///
    /// A GET whose connection breaks is sent once more, as browsers do: the proxy may close it during a reload.
    pub fn send(&self, method: &str, path: &str, body: &str) -> Response {
        let first = self.raw(method, path, body);
        let answer = match first {
            Err(error) if method == "GET" && error.kind() == ErrorKind::ConnectionReset => {
                self.raw(method, path, body)
            }
            first => first,
        };
        answer.unwrap_or_else(|error| Response { status: 0, headers: Vec::new(), body: error.to_string() })
    }

    fn raw(&self, method: &str, path: &str, body: &str) -> std::io::Result<Response> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        let answer = parse(&String::from_utf8_lossy(&bytes));
        // A complete answer counts, even if the connection breaks afterwards.
        answer.filter(|answer| ended.is_ok() || answer.is_whole()).ok_or_else(|| match ended {
            Err(error) => error,
            Ok(0) => ErrorKind::ConnectionReset.into(),
            Ok(length) => std::io::Error::other(format!("no answer in {length} bytes")),
        })
    }
}

/// Parses HTTP/1.1 responses on a connection that is closed afterwards.
fn parse(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(body)? } else { body.to_owned() };
    Some(Response { status, headers, body })
}

fn unchunk(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..size)?);
        body = rest.get(size + 2..)?;
    }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}
