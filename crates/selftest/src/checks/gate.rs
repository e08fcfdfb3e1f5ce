//! Web ports refuse visitors without the login and admit those with the token.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use kit::capabilities::{CapabilitySet, effective};
use kit::{Secret, SettingsReader, cmd, threads, variables, wait};
use nix::unistd::geteuid;
use ports::{PORTAL, Registry};
use web_login::Login;

use super::{login, ssh};
use crate::context::{Context, stored};
use crate::finding::Finding;

const RESTART_CADDY: &str = "supervisorctl restart caddy";
const RESTART_PORTAL: &str = "supervisorctl restart serviceportal";
/// Requests at the same time.
const PARALLEL: usize = 8;
/// Time in which Caddy reads a new entry of the registry.
const RELOAD: Duration = Duration::from_secs(3);
/// Socket of the portal, which only Caddy and root reach.
const PORTAL_SOCKET: &str = "/run/portal/portal.sock";
/// Time in which the portal answers; it only looks into its memory.
const PORTAL_LIMIT: Duration = Duration::from_secs(2);
/// Services that are asked at most.
const MAX_SERVICES: usize = 64;
/// Options of curl; `--disable` only works as the first one. The header is read from stdin: arguments are visible to all.
const OPTIONS: [&str; 14] = [
    "--disable",
    "--silent",
    "--show-error",
    "--noproxy",
    "*",
    "--max-time",
    "4",
    "--insecure",
    "--output",
    "/dev/null",
    "--dump-header",
    "-",
    "--header",
    "@-",
];

/// Answer of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The gate asked for the login.
    Refused,
    /// Another response, by its status.
    Status(u16),
    /// None, with the reason.
    Nothing(String),
}

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let mut reader = SettingsReader::new(&context.env);
    if !reader.switch(&variables::WEB_ENABLE_AUTH) {
        return Ok(vec![Finding::skip("the login is disabled (WEB_ENABLE_AUTH=false)")]);
    }
    let scheme = if reader.switch(&variables::WEB_ENABLE_HTTPS) { "https" } else { "http" };
    let services = Registry::with_settings(Path::new(ports::PATH), &context.env).load()?.0;
    let secure = services.iter().filter(|service| service.proxy_secure).map(|service| service.proxy_port);
    let ports: Vec<u16> = [PORTAL].into_iter().chain(secure).take(MAX_SERVICES).collect();
    let token = token();
    let asked = threads::map(ports.clone(), PARALLEL, |port| asked(scheme, port, token.as_ref()));
    let mut findings: Vec<Finding> = asked.into_iter().flatten().collect();
    if findings.is_empty() {
        let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let noun = if ports.len() == 1 { "port" } else { "ports" };
        findings.push(match token {
            Some(_) => {
                Finding::pass(format!("{noun} {list}: refused without the login, open with the token"))
            }
            None => Finding::warn(
                format!("{noun} {list}: refused without the login; the token cannot be read by this user"),
                "sudo selftest gate",
            ),
        });
    }
    Ok(findings)
}

/// Returns the current token, if this user may read it.
fn token() -> Option<Secret> {
    let of_login = Login::read(Path::new(web_login::path())).ok().flatten().map(|login| login.token);
    of_login.or_else(|| stored("WEB_TOKEN").and_then(Secret::new))
}

fn asked(scheme: &str, port: u16, token: Option<&Secret>) -> Option<Finding> {
    let ask = |header: &str| {
        ask(scheme, port, header).unwrap_or_else(|error| Answer::Nothing(format!("{error:#}")))
    };
    let first = || ask("Accept: */*");
    // Without Caddy, no port will answer.
    let has_caddy = TcpStream::connect(("127.0.0.1", PORTAL)).is_ok();
    let answer = if has_caddy { settled(first) } else { first() };
    let finding = without_login(port, &answer, portal_is_silent).or_else(|| {
        let token = token?;
        with_token(port, &ask(&format!("Authorization: Bearer {}", token.expose())))
    })?;
    Some(Finding { remedy: obstacle().or(finding.remedy), ..finding })
}

/// Returns the remedy for what keeps the portal or Caddy from starting again, so that a restart does not help.
fn obstacle() -> Option<String> {
    let accounts = CapabilitySet::SETUID.union(CapabilitySet::SETGID);
    // Those of another user say nothing about the container.
    let missing = accounts.difference(if geteuid().is_root() { effective().ok()? } else { accounts });
    if !missing.is_empty() {
        return Some(ssh::capability_remedy(missing));
    }
    login::unreadable(web_login::path())?.remedy
}

/// True if the portal accepts a connection and does not answer. A user without access to its socket cannot ask.
fn portal_is_silent() -> bool {
    let Ok(mut portal) = UnixStream::connect(PORTAL_SOCKET) else { return false };
    let request = b"GET /leonardo/health-check HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = portal
        .set_read_timeout(Some(PORTAL_LIMIT))
        .and_then(|()| portal.write_all(request))
        .and_then(|()| portal.read(&mut [0; 16]));
    !matches!(answer, Ok(count) if count > 0)
}

/// Asks again while nothing listens: Caddy notices a new service a moment after it was registered.
fn settled(mut ask: impl FnMut() -> Answer) -> Answer {
    let mut last = Answer::Nothing(String::new());
    let _ = wait::until(RELOAD, "an answer", || {
        last = ask();
        (!matches!(last, Answer::Nothing(_))).then_some(())
    });
    last
}

fn ask(scheme: &str, port: u16, header: &str) -> Result<Answer> {
    let mut curl = Command::new("/usr/bin/curl");
    curl.args(OPTIONS).arg(format!("{scheme}://127.0.0.1:{port}/")).env_clear().stderr(Stdio::piped());
    let headers = cmd::stdout_with_input(&mut curl, header.as_bytes())?;
    parse(&headers).context("the response has no status")
}

/// Reads status and realm of a response's headers.
fn parse(headers: &str) -> Option<Answer> {
    let status = headers.lines().next()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let is_ours = headers.lines().any(|line| {
        line.to_ascii_lowercase().starts_with("www-authenticate:") && line.contains("realm=\"leonardo\"")
    });
    Some(if status == 401 && is_ours { Answer::Refused } else { Answer::Status(status) })
}

/// Returns what is wrong with the answer to a visitor without the login.
fn without_login(port: u16, answer: &Answer, portal_is_silent: impl Fn() -> bool) -> Option<Finding> {
    Some(match answer {
        Answer::Refused => return None,
        Answer::Nothing(why) => {
            // Exit codes of curl(1): not connected, timed out.
            let (short, remedy) = match why.rsplit("curl: ").next().unwrap_or(why) {
                short if short.starts_with("(7)") => ("nothing listens", RESTART_CADDY),
                short if short.starts_with("(28)") && portal_is_silent() => {
                    ("the portal is silent", RESTART_PORTAL)
                }
                short if short.starts_with("(28)") => ("it is silent for 4 seconds", RESTART_CADDY),
                short => (short, RESTART_CADDY),
            };
            Finding::fail(format!("port {port} does not answer: {short}"), remedy)
        }
        Answer::Status(status @ 500..) => Finding::fail(
            format!("port {port} is closed to everyone: the portal does not decide (status {status})"),
            RESTART_PORTAL,
        ),
        Answer::Status(status) => Finding::fail(
            format!("port {port} admits visitors without the login (status {status})"),
            RESTART_CADDY,
        ),
    })
}

/// Returns what is wrong with the answer to a visitor with the token. A service may answer as it likes, also without an end.
fn with_token(port: u16, answer: &Answer) -> Option<Finding> {
    let is_wrong = match answer {
        Answer::Refused => true,
        Answer::Nothing(_) => port == PORTAL,
        Answer::Status(status) => port == PORTAL && *status != 200,
    };
    let what = match answer {
        Answer::Refused => "refuses the token".to_owned(),
        Answer::Nothing(_) => "does not answer to the token".to_owned(),
        Answer::Status(status) => format!("answers to the token with status {status}"),
    };
    is_wrong.then(|| Finding::fail(format!("port {port} {what}"), RESTART_PORTAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gates_own_refusal_counts_as_one() {
        let ours = "HTTP/1.1 401 Unauthorized\r\nWww-Authenticate: Bearer realm=\"leonardo\", Basic realm=\"leonardo\"\r\n\r\n";
        for (headers, expected) in [
            (ours, Some(Answer::Refused)),
            (
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"app\"\r\n",
                Some(Answer::Status(401)),
            ),
            ("HTTP/2 200 \r\n", Some(Answer::Status(200))),
            ("", None),
            ("nonsense\n", None),
        ] {
            assert_eq!(parse(headers), expected, "{headers}");
        }
    }

    #[test]
    fn a_port_that_begins_to_listen_is_no_fault() {
        let mut answers = [Answer::Nothing("refused".into()), Answer::Refused].into_iter();
        assert_eq!(settled(|| answers.next().unwrap()), Answer::Refused);
    }

    #[test]
    fn each_answer_is_judged_by_who_asked() {
        let (caddy, portal) = (RESTART_CADDY, RESTART_PORTAL);
        let nothing = Answer::Nothing("\"/usr/bin/curl\" failed (exit status: 7): curl: (7) refused".into());
        for (port, answer, anonymous, known) in [
            (1111, Answer::Refused, None, Some(Finding::fail("port 1111 refuses the token", portal))),
            (8188, nothing, Some(Finding::fail("port 8188 does not answer: nothing listens", caddy)), None),
            (
                8188,
                Answer::Status(502),
                Some(Finding::fail(
                    "port 8188 is closed to everyone: the portal does not decide (status 502)",
                    portal,
                )),
                None,
            ),
            (
                8188,
                Answer::Status(200),
                Some(Finding::fail("port 8188 admits visitors without the login (status 200)", caddy)),
                None,
            ),
            (
                1111,
                Answer::Status(302),
                Some(Finding::fail("port 1111 admits visitors without the login (status 302)", caddy)),
                Some(Finding::fail("port 1111 answers to the token with status 302", portal)),
            ),
        ] {
            assert_eq!(
                (without_login(port, &answer, || false), with_token(port, &answer)),
                (anonymous, known),
                "{answer:?}"
            );
        }
        let silent = Answer::Nothing("curl: (28) Operation timed out".into());
        for (of_portal, seen, remedy) in
            [(true, "the portal is silent", portal), (false, "it is silent for 4 seconds", caddy)]
        {
            let expected = Finding::fail(format!("port 1111 does not answer: {seen}"), remedy);
            assert_eq!(without_login(1111, &silent, || of_portal), Some(expected));
        }
    }
}
