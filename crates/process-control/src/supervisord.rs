//! XML-RPC with supervisord: the four calls that this program makes, over HTTP on a Unix socket.
//!
//! `dxr` has the types and their XML. Its client is made for TCP, so the exchange is here: one request for each connection,
//! with limits of size and time.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dxr::{FaultResponse, MethodCall, MethodResponse, Value};

use crate::connection::Connection;
use crate::limits;
use crate::process_info::{ProcessInfo, parse};

/// Path of supervisord's socket.
pub const SOCKET: &str = "/run/supervisor.sock";

/// supervisord, by its socket.
#[derive(Debug, Clone)]
pub struct Supervisord {
    socket: PathBuf,
}

/// Failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// supervisord refused, with one of [`fault`] and a text.
    Fault(i32, String),
    /// No valid response, with the reason.
    Unavailable(String),
}

/// Codes of supervisord's faults (`supervisor/xmlrpc.py`).
pub mod fault {
    /// It is stopping or restarting.
    pub const SHUTDOWN_STATE: i32 = 6;
    /// No such program.
    pub const BAD_NAME: i32 = 10;
    /// The program's file does not exist.
    pub const NO_FILE: i32 = 20;
    /// The program's file cannot be executed.
    pub const NOT_EXECUTABLE: i32 = 21;
    /// The process could not be created, or exited at once.
    pub const SPAWN_ERROR: i32 = 50;
    /// It runs already.
    pub const ALREADY_STARTED: i32 = 60;
    /// It does not run.
    pub const NOT_RUNNING: i32 = 70;
}

impl Supervisord {
    /// Returns supervisord at this socket, without connecting.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Returns all processes.
    pub fn processes(&self) -> Result<Vec<ProcessInfo>, CallError> {
        let value = self.call("supervisor.getAllProcessInfo", Vec::new())?;
        parse(&value).ok_or_else(|| CallError::Unavailable(INVALID.to_owned()))
    }

    /// Starts a process without waiting for it.
    pub fn start(&self, process: &ProcessInfo) -> Result<(), CallError> {
        self.call_for("supervisor.startProcess", process)
    }

    /// Sends a process its stop signal without waiting for its exit.
    pub fn stop(&self, process: &ProcessInfo) -> Result<(), CallError> {
        self.call_for("supervisor.stopProcess", process)
    }

    fn call_for(&self, method: &str, process: &ProcessInfo) -> Result<(), CallError> {
        // With the group: a bare name is taken for a group of that name.
        let name = format!("{}:{}", process.group, process.name);
        self.call(method, vec![Value::String(name), Value::Boolean(false)]).map(drop)
    }

    fn call(&self, method: &str, params: Vec<Value>) -> Result<Value, CallError> {
        let call = MethodCall { name: Cow::Borrowed(method), params };
        let unavailable = |reason: &str| CallError::Unavailable(reason.to_owned());
        let body = call.to_xml().map_err(|_| unavailable("a name cannot be sent to supervisord"))?;
        let response = self.exchange(&body).map_err(|error| CallError::Unavailable(cause(&error)))?;
        let xml = body_of(&response).ok_or_else(|| unavailable(INVALID))?;
        if let Ok(response) = MethodResponse::from_xml(xml) {
            return Ok(response.value);
        }
        let fault = FaultResponse::from_xml(xml).map_err(|_| unavailable(INVALID))?.fault;
        Err(CallError::Fault(fault.code(), fault.string().to_owned()))
    }

    fn exchange(&self, body: &str) -> io::Result<Vec<u8>> {
        let mut connection = Connection::open(&self.socket, limits::SUPERVISORD)?;
        let length = body.len();
        let request = format!(
            "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/xml\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes())?;
        connection.read_all(limits::SUPERVISORD_BYTES)
    }
}

const INVALID: &str = "supervisord sent an invalid response";

/// Describes a failed exchange, for people.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "supervisord does not run, or has no socket at /run/supervisor.sock".to_owned()
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("supervisord does not respond within {} seconds", limits::SUPERVISORD.as_secs())
        }
        _ => format!("cannot ask supervisord: {error}"),
    }
}

/// Returns the body of a complete and successful response, which ends with its connection.
fn body_of(response: &[u8]) -> Option<&str> {
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&response[..end]).ok()?, &response[end + 4..]);
    let mut lines = head.lines();
    let mut status = lines.next()?.split(' ');
    let is_ok = status.next()?.starts_with("HTTP/1.") && status.next()? == "200";
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())
    });
    (is_ok && length?? == body.len()).then(|| std::str::from_utf8(body).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_response_has_a_body() {
        for (response, body) in [
            ("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nab", Some("ab")),
            ("HTTP/1.0 200 OK\r\ncontent-length:  2 \r\n\r\nab", Some("ab")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", None),
            ("HTTP/1.1 200 OK\r\n\r\nab", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab", None),
            ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nab", None),
            ("SSH-2.0 200\r\nContent-Length: 2\r\n\r\nab", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None),
            ("", None),
        ] {
            assert_eq!(body_of(response.as_bytes()), body, "{response:?}");
        }
    }
}
