//! The portal's side of the socket. Calls block: an asynchronous program makes them on another thread.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::connection::Connection;
use crate::limits;
use crate::protocol::{Action, Outcome, Program, Refusal, RefusalKind, Request, Response, Target};

/// Returns all programs of supervisord, sorted by group and name.
pub fn list(socket: &Path) -> Result<Vec<Program>, Refusal> {
    match ask(socket, &Request::List {}, limits::LIST_TIMEOUT)? {
        Response::Programs(programs) => Ok(programs),
        _ => Err(unexpected()),
    }
}

/// Starts, stops or restarts the program `name`, or all programs of a group with `GROUP:*`.
///
/// Returns when the programs are in their new state, at the latest after [`limits::ACTION_WAIT`]. `requester` is logged.
pub fn act(socket: &Path, action: Action, name: &str, requester: &str) -> Result<Outcome, Refusal> {
    let target = Target { name: name.to_owned(), requester: requester.to_owned() };
    let request = match action {
        Action::Start => Request::Start(target),
        Action::Stop => Request::Stop(target),
        Action::Restart => Request::Restart(target),
    };
    match ask(socket, &request, limits::ACTION_TIMEOUT)? {
        Response::Outcome(outcome) => Ok(outcome),
        _ => Err(unexpected()),
    }
}

/// Runs the self-test as root, and returns what `selftest --json` prints.
pub fn selftest(socket: &Path) -> Result<serde_json::Value, Refusal> {
    match ask(socket, &Request::Selftest {}, limits::SELFTEST_TIMEOUT)? {
        Response::Selftest(result) => Ok(result),
        _ => Err(unexpected()),
    }
}

fn ask(socket: &Path, request: &Request, timeout: Duration) -> Result<Response, Refusal> {
    let unavailable = |error: io::Error| Refusal::new(RefusalKind::Unavailable, cause(&error));
    let line = exchange(socket, request, timeout).map_err(unavailable)?;
    match serde_json::from_slice(&line) {
        Ok(Response::Refusal(refusal)) => Err(refusal),
        Ok(response) => Ok(response),
        Err(_) => Err(unexpected()),
    }
}

fn exchange(socket: &Path, request: &Request, timeout: Duration) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    if line.len() > limits::REQUEST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"));
    }
    let mut connection = Connection::open(socket, timeout)?;
    connection.write_all(&line)?;
    connection.read_line(limits::RESPONSE_BYTES)
}

/// Describes a failed exchange, for people.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "the program processcontrol does not run; run: supervisorctl start processcontrol".to_owned()
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "the program processcontrol does not respond; run: supervisorctl restart processcontrol"
                .to_owned()
        }
        _ => format!("cannot ask the program processcontrol: {error}"),
    }
}

fn unexpected() -> Refusal {
    Refusal::new(
        RefusalKind::Unavailable,
        "the program processcontrol closed the connection without a valid response",
    )
}
