//! Requests to cloudflared's metrics server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use kit::settings::is_host;
use serde::Deserialize;

use crate::lifecycle::Health;

/// Time for a whole answer.
const TIMEOUT: Duration = Duration::from_millis(300);
/// Maximum size of an answer.
const MAX_BYTES: usize = 64 * 1024;
/// Domain of all quick tunnels.
const DOMAIN: &str = ".trycloudflare.com";

/// A metrics server on loopback.
#[derive(Debug, Clone, Copy)]
pub struct Metrics(pub u16);

impl Metrics {
    /// Returns a server on a free port: on `preferred`, if that is free.
    pub fn on_free_port(preferred: Option<u16>) -> io::Result<Self> {
        let port = |port| Ok(Self(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()?.port()));
        preferred
            .filter(|&port| port > 1023)
            .and_then(|preferred| port(preferred).ok())
            .map_or_else(|| port(0), Ok)
    }

    /// Returns whether the tunnel is connected.
    pub fn health(self) -> Health {
        match self.get("/ready").map(|(status, _)| status) {
            Some(200) => Health::Ready,
            Some(_) => Health::NotReady,
            None => Health::Silent,
        }
    }

    /// Returns the hostname of a quick tunnel; another one than Cloudflare would choose is not used.
    pub fn quick_host(self) -> Option<String> {
        #[derive(Deserialize)]
        struct Answer {
            hostname: String,
        }
        let (_, body) = self.get("/quicktunnel").filter(|(status, _)| *status == 200)?;
        let Answer { hostname } = serde_json::from_slice(&body).ok()?;
        (is_host(&hostname) && hostname.ends_with(DOMAIN)).then_some(hostname)
    }

    /// Returns the configuration of a named tunnel as JSON.
    pub fn configuration(self) -> Option<Vec<u8>> {
        self.get("/config").filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }

    /// Returns status and body; `None` without a complete answer in time and in bounds.
    fn get(self, path: &str) -> Option<(u16, Vec<u8>)> {
        let deadline = Instant::now() + TIMEOUT;
        let mut stream =
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.0)), TIMEOUT).ok()?;
        stream.set_write_timeout(Some(TIMEOUT)).ok()?;
        // Version 1.0: the server closes the connection after the answer.
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            stream.set_read_timeout(Some(left)).ok()?;
            match stream.read(&mut buffer).ok()? {
                0 => break,
                count => answer.extend_from_slice(&buffer[..count]),
            }
            if answer.len() > MAX_BYTES {
                return None;
            }
        }
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let status = std::str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_off(end + 4)))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Returns what the client makes of one answer.
    fn with_answer<T: Send>(answer: &[u8], ask: impl FnOnce(Metrics) -> T + Send) -> T {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let metrics = Metrics(listener.local_addr().unwrap().port());
        thread::scope(|scope| {
            let asking = scope.spawn(move || ask(metrics));
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
            // The client closes the connection at its limit.
            let _ = stream.write_all(answer);
            drop(stream);
            asking.join().unwrap()
        })
    }

    #[test]
    fn an_answer_counts_if_it_is_complete_and_small() {
        let health = |answer: &[u8]| with_answer(answer, Metrics::health);
        assert_eq!(health(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n{}"), Health::Ready);
        assert_eq!(health(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), Health::NotReady);
        for broken in
            [&b""[..], b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n", b"HTTP/1.1 x y\r\n\r\n", b"\xff 200 \r\n\r\n"]
        {
            assert_eq!(health(broken), Health::Silent, "{broken:?}");
        }
        let large = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; 1 << 20]].concat();
        assert_eq!(health(&large), Health::Silent);
        assert_eq!(Metrics::on_free_port(None).unwrap().health(), Health::Silent, "nothing listens");
    }

    #[test]
    fn only_a_hostname_of_cloudflares_domain_is_used() {
        let host = |name: &str| {
            let answer = format!("HTTP/1.1 200 OK\r\n\r\n{{\"hostname\":\"{name}\"}}");
            with_answer(answer.as_bytes(), Metrics::quick_host)
        };
        assert_eq!(host("a-b.trycloudflare.com").as_deref(), Some("a-b.trycloudflare.com"));
        for wrong in [
            "",
            "evil.example",
            "evil.example/.trycloudflare.com",
            "a@b.trycloudflare.com",
            "a\\n.trycloudflare.com",
        ] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_preferred_port_is_used_if_it_is_free() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        assert_ne!(Metrics::on_free_port(Some(taken)).unwrap().0, taken);
        drop(holder);
        assert_eq!(Metrics::on_free_port(Some(taken)).unwrap().0, taken);
    }
}
