//! One request over the portal's Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kit::HintExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ErrorBody;

/// The portal answers in milliseconds or not at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// No honest answer is larger, in bytes.
const LARGEST_ANSWER: u64 = 4 * 1024 * 1024;

/// Talks with the portal.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Talks over this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Sends a request and reads the answer; an error has the portal's own words, or says why it was not asked.
    pub fn request<T: DeserializeOwned>(&self, method: &str, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body)?;
        let answer = self
            .exchange(method, path, &body)
            .with_context(|| format!("cannot ask the portal over {}", self.socket.display()))
            .hint(|| {
                "is it running (supervisorctl status serviceportal), and are you root or in group leonardo?"
                    .into()
            })?;
        let (status, content) = split(&answer).context("the portal's answer makes no sense")?;
        if status != 200 {
            let problem = serde_json::from_slice::<ErrorBody>(content).map(|problem| problem.error);
            bail!("{}", problem.unwrap_or_else(|_| format!("the portal answered {status}")));
        }
        serde_json::from_slice(content).context("the portal's answer makes no sense")
    }

    fn exchange(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Only a POST has content: a server need not read any other before it answers and hangs up.
        let body = if method == "POST" { body } else { b"" };
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: portal\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        stream.take(LARGEST_ANSWER).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// Status and content of an answer to HTTP/1.0, which ends with its connection.
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.lines().next()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_at_the_empty_line() {
        assert_eq!(
            split(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{}\r\n\r\n"),
            Some((404, &b"{}\r\n\r\n"[..]))
        );
        assert_eq!(split(b"HTTP/1.0 200 OK\r\n"), None);
    }

    #[test]
    fn a_portal_that_does_not_run_is_named_with_the_next_step() {
        let error = Client::new(Path::new("/no/such.sock")).request::<()>("GET", "/", &()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot ask the portal over /no/such.sock: No such file or directory (os error 2)"
        );
    }
}
