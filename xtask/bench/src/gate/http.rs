//! A persistent connection, with just enough HTTP/1.1 for our own servers.
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Timeout of a response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A persistent connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// Such as 200.
    pub status: u16,
    /// The first cookie that the server has set, as a browser sends it back.
    pub cookie: Option<String>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// `GET`s a path with one more header line, such as `Authorization: Bearer x`.
    pub fn get(&mut self, path: &str, header: &str) -> io::Result<HttpResponse> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{header}\r\n\r\n"))
    }

    /// Sends a form from a page of the same origin.
    pub fn post_form(&mut self, path: &str, form: &str) -> io::Result<HttpResponse> {
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nOrigin: http://bench\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ))
    }

    fn ask(&mut self, request: &str) -> io::Result<HttpResponse> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        read(&mut self.stream)
    }
}

/// Reads one answer to its end, so that the connection is ready for the next.
fn read(stream: &mut impl BufRead) -> io::Result<HttpResponse> {
    let mut line = String::new();
    let mut next = |stream: &mut dyn BufRead| -> io::Result<String> {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    };
    let invalid = || io::Error::from(ErrorKind::InvalidData);
    let status = next(stream)?.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(invalid)?;
    let (mut cookie, mut length) = (None, 0);
    loop {
        let header = next(stream)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(invalid)?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| invalid())?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            // Our servers know their lengths; guessing here would measure something else.
            return Err(invalid());
        } else if name.eq_ignore_ascii_case("set-cookie") && cookie.is_none() {
            cookie = value.trim().split(';').next().map(str::to_owned);
        }
    }
    let read = io::copy(&mut stream.take(length), &mut io::sink())?;
    if read == length { Ok(HttpResponse { status, cookie }) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_not_beyond() {
        let text = "HTTP/1.1 303 See Other\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\nxyHTTP/1.1 200 OK\r\n\r\n";
        let mut stream = text.as_bytes();
        assert_eq!(read(&mut stream).unwrap(), HttpResponse { status: 303, cookie: Some("a=b".into()) });
        assert_eq!(read(&mut stream).unwrap(), HttpResponse { status: 200, cookie: None });
        assert_eq!(read(&mut stream).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
