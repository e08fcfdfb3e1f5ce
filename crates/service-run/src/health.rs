//! Finds out when a program can be used. It is not asked again afterwards: a busy server has not failed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Deadline for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Size in bytes within which a status line has to end.
const MAX_STATUS_LINE: u64 = 1_024;
/// Time after which the log mentions that the program still does not answer.
const LONG: Duration = Duration::from_mins(10);

/// Returns the time until the program can be used, once it can; `None` if `stopped` is closed before.
pub fn wait(port: u16, path: Option<&str>, stopped: &Receiver<()>) -> Option<Duration> {
    let started = Instant::now();
    let mut is_long = false;
    loop {
        let answer = ask(port, path);
        let elapsed = started.elapsed();
        let Err(reason) = answer else { return Some(elapsed) };
        if elapsed >= LONG && !is_long {
            is_long = true;
            let asked = path.unwrap_or("the port");
            log::warn!("{asked} has not answered for {} min (last: {reason})", LONG.as_secs() / 60);
        }
        match stopped.recv_timeout(pause(elapsed)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Returns the pause between two requests: short for quick programs, longer while a model loads.
fn pause(elapsed: Duration) -> Duration {
    match elapsed.as_secs() {
        0..5 => Duration::from_millis(100),
        5..60 => Duration::from_secs(1),
        _ => Duration::from_secs(5),
    }
}

/// Connects and, with a path, requests it; an error is the reason in a few words.
fn ask(port: u16, path: Option<&str>) -> Result<(), String> {
    let deadline = Instant::now() + TIMEOUT;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| error.to_string())?;
    // Where nothing listens, the kernel may give this end the very port that it connects to.
    if stream.local_addr().is_ok_and(|own| own == address) {
        return Err("connection refused".to_owned());
    }
    let Some(path) = path else { return Ok(()) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let failed = |error: std::io::Error| error.to_string();
    stream.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut line = Vec::new();
    let mut stream = stream.take(MAX_STATUS_LINE);
    while !line.contains(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer".to_owned());
        }
        stream.get_ref().set_read_timeout(Some(left)).map_err(failed)?;
        let mut bytes = [0; 256];
        match stream.read(&mut bytes) {
            Ok(0) => return Err("no HTTP answer".to_owned()),
            Ok(read) => line.extend_from_slice(&bytes[..read]),
            Err(error) => return Err(error.to_string()),
        }
    }
    match status_code(&line) {
        Some(200..400) => Ok(()),
        Some(code) => Err(code.to_string()),
        None => Err("no HTTP answer".to_owned()),
    }
}

/// Returns the code in a status line (RFC 9112, 4).
fn status_code(line: &[u8]) -> Option<u16> {
    let line = line.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let (code, rest) = line.split_at_checked(3)?;
    let ends = rest.first().is_some_and(u8::is_ascii_whitespace);
    if ends && code.iter().all(u8::is_ascii_digit) {
        std::str::from_utf8(code).ok()?.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn only_a_status_line_has_a_code() {
        for (line, code) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 503\r\n", Some(503)),
            ("HTTP/1.1 2000\r\n", None),
            ("HTTP/1.1 +20 \r\n", None),
            ("HTTP/2 200 OK\r\n", None),
            ("SSH-2.0-x\r\n", None),
            ("HTTP/1.1 20\n", None),
            ("\n", None),
        ] {
            assert_eq!(status_code(line.as_bytes()), code, "{line}");
        }
    }

    /// Answers one connection with these bytes, then repeats the last one for as long as they are read.
    fn answering(bytes: &'static [u8], flood: bool) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1_024]);
            let _ = stream.write_all(bytes);
            while flood && stream.write_all(&[b'x'; 4_096]).is_ok() {}
        });
        port
    }

    #[test]
    fn a_path_is_healthy_with_a_good_status_and_anything_else_has_a_reason() {
        let asked = |bytes, flood| ask(answering(bytes, flood), Some("/health"));
        assert_eq!(asked(b"HTTP/1.1 204 No Content\r\n\r\n", false), Ok(()));
        assert_eq!(asked(b"HTTP/1.1 302 Found\r\n", true), Ok(()));
        assert_eq!(asked(b"HTTP/1.1 503 Loading\r\n\r\n", false), Err("503".into()));
        assert_eq!(asked(b"", false), Err("no HTTP answer".into()));
        assert_eq!(asked(b"HTTP/1.1 200", true), Err("no HTTP answer".into()));
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = silent.local_addr().unwrap().port();
        assert_eq!(ask(port, None), Ok(()));
        assert!(ask(port, Some("/")).is_err(), "it accepts and never answers");
        drop(silent);
        assert!(ask(port, None).is_err());
    }

    #[test]
    fn the_wait_ends_with_the_program() {
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (stop, stopped) = std::sync::mpsc::channel();
        drop(stop);
        assert_eq!(wait(unused, None, &stopped), None);
        let (_stop, stopped) = std::sync::mpsc::channel();
        assert!(wait(answering(b"HTTP/1.1 200 OK\r\n", false), Some("/"), &stopped).is_some());
    }
}
