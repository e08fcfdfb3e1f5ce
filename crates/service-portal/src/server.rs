//! The HTTP server on a Unix socket, with limits that fit Caddy's.

use std::convert::Infallible;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kit::missing_ok;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy, sink};
use tokio::net::{UnixListener, UnixStream};
use tower_service::Service;

/// Maximum size of a request's head, in bytes. Caddy accepts 1 MiB (`max_header_size`) and sends the URL twice.
const MAX_HEAD_BYTES: usize = 4 << 20;
/// Pause after a failed accept, which usually means that there are no file descriptors left.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Listens on a socket, replacing that of an earlier instance. Only the group of its directory can connect: Caddy's, or
/// `leonardo`.
pub fn listen(socket: &Path) -> Result<UnixListener> {
    let cannot = || format!("cannot listen on {}", socket.display());
    missing_ok(fs::remove_file(socket)).with_context(cannot)?;
    let listener = UnixListener::bind(socket).with_context(cannot)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).with_context(cannot)?;
    Ok(listener)
}

/// Serves all connections forever.
pub async fn serve(listener: UnixListener, router: Router) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve_connection(stream, router.clone()))),
            Err(error) => {
                log::error!("cannot accept a connection: {error}");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

/// Serves the requests of one connection, without `Date` headers, which Caddy adds. A request can turn it into a WebSocket.
async fn serve_connection(stream: UnixStream, router: Router) {
    let stream = Shared(Arc::new(Mutex::new(stream)));
    let mut rest = stream.clone();
    let answer = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        Box::pin(async move { Service::<Request<Incoming>>::call(&mut router, request).await })
    });
    let served = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades()
        .await;
    if served.is_err() {
        // Reads the rest of a rejected request (431). Closing the connection at once could lose the response, which would
        // become a 502 of Caddy.
        let _ = rest.shutdown().await;
        let _ = copy(&mut rest, &mut sink()).await;
    }
}

/// A connection that hyper does not close by dropping it.
#[derive(Clone)]
struct Shared(Arc<Mutex<UnixStream>>);

impl Shared {
    fn with<T>(&self, act: impl FnOnce(Pin<&mut UnixStream>) -> T) -> T {
        act(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::routing::get;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Sends a whole request before it reads, as a proxy may do, and returns the response.
    async fn ask(socket: &Path, head: &str) -> String {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap_or_else(|error| panic!("{error}: {head:.40}"));
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Returns a request that closes the connection, with these header fields.
    fn request(uri: &str, fields: &str) -> String {
        format!("GET {uri} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n")
    }

    #[tokio::test]
    async fn a_head_that_caddy_accepts_is_read_and_a_larger_one_gets_a_response() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let router = Router::new().route("/", get(async |headers: HeaderMap| headers.len().to_string()));
        let server = tokio::spawn(serve(listen(&socket).unwrap(), router));
        let fields =
            |count: usize| (0..count).map(|number| format!("{number:x}:\r\n")).collect::<Vec<_>>().concat();
        let long = "x".repeat(1 << 20);
        for (name, head, status) in [
            ("all cookies of a host", request("/", &format!("cookie: a={long}\r\n")), 200),
            ("and the URL", request("/", &format!("cookie: a={long}\r\nx-forwarded-uri: /{long}\r\n")), 200),
            ("the maximum number of fields", request("/", &fields(98)), 200),
            ("one more", request("/", &fields(99)), 431),
            ("all fields that 1 MiB holds", request("/", &"a:\r\n".repeat(1 << 18)), 431),
            ("the same with different names", request("/", &fields(140_000)), 431),
            ("more than the maximum size", request("/", &format!("cookie: a={long}\r\n").repeat(8)), 431),
            ("a long URL", request(&format!("/{long}"), ""), 414),
            ("not HTTP", format!("{long}\r\n\r\n"), 400),
            ("a later request", request("/", ""), 200),
        ] {
            let answer = ask(&socket, &head).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer:.80}");
            assert!(!answer.contains("\r\ndate: "), "{name}: {answer}");
        }
        server.abort();
    }
}
