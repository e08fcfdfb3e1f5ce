//! HTTP client for the portal's control socket: one request per connection.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kit::HintExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ErrorBody;

/// Timeout of each read and write; the portal responds within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a response, in bytes.
const MAX_RESPONSE_BYTES: u64 = 4 * 1024 * 1024;

/// Client of the portal's control API.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Creates a client of this socket; nothing is sent yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Sends a request and returns the parsed response; an error is the portal's own message or a failure to reach it.
    pub fn request<T: DeserializeOwned>(&self, method: &str, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body)?;
        let response = self
            .exchange(method, path, &body)
            .with_context(|| format!("cannot reach the portal at {}", self.socket.display()))
            .hint(|| {
                "is it running (supervisorctl status serviceportal), and are you root or in group leonardo?"
                    .into()
            })?;
        let (status, content) = parse_response(&response).context("the portal sent an invalid response")?;
        if status != 200 {
            let problem = serde_json::from_slice::<ErrorBody>(content).map(|problem| problem.error);
            bail!("{}", problem.unwrap_or_else(|_| format!("the portal responded with status {status}")));
        }
        serde_json::from_slice(content).context("the portal sent an invalid response")
    }

    fn exchange(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // Only a POST has content: a server may respond to any other method and close without reading it.
        let body = if method == "POST" { body } else { b"" };
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: portal\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut response = Vec::new();
        stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response)?;
        Ok(response)
    }
}

/// Returns status and content of an HTTP/1.0 response, which ends with its connection.
fn parse_response(response: &[u8]) -> Option<(u16, &[u8])> {
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&response[..end]).ok()?;
    let status = head.lines().next()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, &response[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_split_at_the_empty_line() {
        assert_eq!(
            parse_response(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{}\r\n\r\n"),
            Some((404, &b"{}\r\n\r\n"[..]))
        );
        assert_eq!(parse_response(b"HTTP/1.0 200 OK\r\n"), None);
    }

    #[test]
    fn a_portal_that_does_not_run_is_an_error_with_its_socket() {
        let error = Client::new(Path::new("/no/such.sock")).request::<()>("GET", "/", &()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot reach the portal at /no/such.sock: No such file or directory (os error 2)"
        );
    }
}
