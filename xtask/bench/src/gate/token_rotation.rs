//! Rotates the token under load: time until the old one is refused and the new one accepted, and failed requests.
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::http::Connection;

/// Runs inside the container; prints the time before and after the change, in nanoseconds, then the login.
const SCRIPT: &str = "date +%s%N; set-web-credentials --rotate-token 2>/dev/null; date +%s%N; \
                      cat /opt/leonardo/etc/web_credentials.json";
const DEADLINE: Duration = Duration::from_mins(2);
/// Time of load before and after the change.
const BUSY: Duration = Duration::from_secs(1);

/// One request of one program.
#[derive(Debug, Clone, Copy)]
struct Request {
    new: bool,
    sent: Duration,
    answered: Duration,
    status: u16,
}

/// Observations around one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Requests of all programs.
    pub requests: usize,
    /// Duration of the command.
    pub command: Duration,
    /// From the begin of the command until the last request with the old token was sent that still passed.
    pub old_refused: Duration,
    /// From the begin of the command until the first answer to the new token that was a 200.
    pub new_accepted: Option<Duration>,
    /// Refused, though sent with the old token before the command began or with the new one after it had ended.
    pub failed: usize,
    /// Sent with the old token while the command ran, and refused: some before the change, some after.
    pub overlapping: usize,
    /// Connections that broke.
    pub broken: u32,
}

/// State that the programs share: the token that they send, true if it is the new one, and a flag that stops them.
struct Shared {
    token: Mutex<(String, bool)>,
    stop: AtomicBool,
    broken: AtomicU32,
}

/// Changes the token while several programs request a page in a loop, and one more that never gets the new token.
pub fn measure(
    exec: &mut Command,
    address: SocketAddr,
    token: &str,
    programs: usize,
) -> Result<(Outcome, String)> {
    let shared = Shared {
        token: Mutex::new((token.to_owned(), false)),
        stop: AtomicBool::new(false),
        broken: AtomicU32::new(0),
    };
    let shared = &shared;
    thread::scope(|scope| {
        let running: Vec<_> = (0..=programs)
            .map(|number| scope.spawn(move || work(shared, address, number == programs)))
            .collect();
        // The load itself, not a wait.
        thread::sleep(BUSY);
        let changed = change(exec, shared);
        thread::sleep(BUSY);
        shared.stop.store(true, Ordering::Relaxed);
        let mut requests = Vec::new();
        for program in running {
            requests.extend(program.join().map_err(|_| anyhow::anyhow!("a program of the load ended"))?);
        }
        let (began, ended, token) = changed?;
        Ok((judge(&requests, began, ended, shared.broken.load(Ordering::Relaxed)), token))
    })
}

/// Waits until a token is accepted again: after many wrong ones, the portal refuses an address for a while.
pub fn wait_until_accepted(address: SocketAddr, token: &str) -> Result<()> {
    let header = format!("Authorization: Bearer {token}");
    kit::wait::until(DEADLINE, "the token to be accepted", || {
        let answer = Connection::open(address).and_then(|mut connection| connection.get("/", &header));
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    })
}

fn change(exec: &mut Command, shared: &Shared) -> Result<(Duration, Duration, String)> {
    let mut child =
        exec.args(["sh", "-c", SCRIPT]).stdout(Stdio::piped()).spawn().context("cannot run docker")?;
    let output = child.stdout.take().context("docker has no output")?;
    let mut lines = BufReader::new(output).lines();
    let mut line =
        || lines.next().context("the change printed too little")?.context("cannot read from docker");
    let (began, ended) = (nanoseconds(&line()?)?, nanoseconds(&line()?)?);
    let login: serde_json::Value = serde_json::from_str(&line()?).context("not a login")?;
    let token = login["web_token"].as_str().context("a login without a token")?.to_owned();
    *shared.token.lock().unwrap_or_else(PoisonError::into_inner) = (token.clone(), true);
    if !child.wait().context("cannot wait for docker")?.success() {
        bail!("the token could not be changed");
    }
    Ok((began, ended, token))
}

fn nanoseconds(text: &str) -> Result<Duration> {
    Ok(Duration::from_nanos(text.trim().parse().context("not a time")?))
}

/// One program: sends requests over a persistent connection; a late one keeps its first token.
fn work(shared: &Shared, address: SocketAddr, late: bool) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut connection = None;
    let learn = || shared.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let first = learn();
    while !shared.stop.load(Ordering::Relaxed) {
        let (token, new) = if late { first.clone() } else { learn() };
        let sent = now();
        let asked = match connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(address),
        }
        .and_then(|mut opened: Connection| {
            let answer = opened.get("/", &format!("Authorization: Bearer {token}"))?;
            connection = Some(opened);
            Ok(answer.status)
        });
        match asked {
            Ok(status) => requests.push(Request { new, sent, answered: now(), status }),
            Err(_) => drop(shared.broken.fetch_add(1, Ordering::Relaxed)),
        }
    }
    requests
}

/// The same clock as in the container: both are on one kernel.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn judge(requests: &[Request], began: Duration, ended: Duration, broken: u32) -> Outcome {
    let passed = |request: &&Request| request.status == 200;
    let refused = |request: &&Request| request.status != 200;
    let last_old =
        requests.iter().filter(|request| !request.new).filter(passed).map(|request| request.sent).max();
    let first_new =
        requests.iter().filter(|request| request.new).filter(passed).map(|request| request.answered).min();
    let (mut failed, mut overlapping) = (0, 0);
    for request in requests.iter().filter(refused) {
        if request.new || request.sent < began {
            failed += 1;
        } else if request.sent < ended {
            overlapping += 1;
        }
    }
    Outcome {
        requests: requests.len(),
        command: ended.saturating_sub(began),
        old_refused: last_old.unwrap_or_default().saturating_sub(began),
        new_accepted: first_new.map(|first| first.saturating_sub(began)),
        failed,
        overlapping,
        broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_with_a_good_token_and_refused_is_a_failure() {
        let ms = Duration::from_millis;
        let request = |new, sent, status| Request { new, sent: ms(sent), answered: ms(sent + 1), status };
        let requests = [
            request(false, 90, 200),
            request(false, 99, 401),
            request(false, 102, 200),
            request(false, 104, 401),
            request(false, 111, 401),
            request(true, 112, 429),
            request(true, 115, 200),
        ];
        let outcome = Outcome {
            requests: 7,
            command: ms(10),
            old_refused: ms(2),
            new_accepted: Some(ms(16)),
            failed: 2,
            overlapping: 1,
            broken: 3,
        };
        assert_eq!(judge(&requests, ms(100), ms(110), 3), outcome);
    }
}
