//! The stand-in's command line: exit codes and logs.

// Helpers of tests are tests to a reader, but not to the lint.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kit::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const ME: &str = env!("CARGO_BIN_EXE_cloudflared-stand-in");
/// Base64 of `{"a":"1","s":"2","t":"345"}`.
const TOKEN: &str = "eyJhIjoiMSIsInMiOiIyIiwidCI6IjM0NSJ9";

struct Fixture {
    directory: TempDir,
    metrics: String,
}

impl Fixture {
    fn new(mode: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::copy(ME, directory.path().join("cloudflared")).unwrap();
        fs::write(directory.path().join("mode"), format!("speed=50\n{mode}\n")).unwrap();
        fs::write(directory.path().join("config.yml"), "no-autoupdate: true\n").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { directory, metrics: free.to_string() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("cloudflared"));
        command.env_clear().arg("tunnel").arg("--config").arg(self.path("config.yml"));
        command.args(["--metrics", &self.metrics]).args(arguments).stderr(Stdio::piped());
        command
    }

    fn quick(&self) -> Command {
        self.command(&[
            "--protocol",
            "auto",
            "--max-edge-addr-retries",
            "0",
            "--url",
            "http://127.0.0.1:1111",
        ])
    }

    /// Returns the answer of the metrics server: status and body.
    fn get(&self, path: &str) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(&self.metrics).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.to_owned(), body.to_owned()))
    }

    fn until_ready(&self) {
        let ready = || self.get("/ready").filter(|(status, _)| status == "200");
        wait::until(Duration::from_mins(1), "the tunnel", ready).unwrap();
    }
}

/// Returns the exit status, and the log without times.
fn finish(child: Child) -> (Option<i32>, Vec<String>) {
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let without_time = |line: &str| match line.split_once("Z ") {
        Some((time, rest)) if time.len() == 19 => rest.to_owned(),
        _ => line.to_owned(),
    };
    (output.status.code(), log.lines().map(without_time).collect())
}

#[track_caller]
fn stop(child: &Child) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
}

#[test]
fn a_healthy_quick_tunnel_logs_in_the_documented_order() {
    let fixture = Fixture::new("ok");
    let child = fixture.quick().spawn().unwrap();
    fixture.until_ready();
    let host = format!("four-random-english-{}.trycloudflare.com", child.id());
    assert_eq!(fixture.get("/quicktunnel"), Some(("200".into(), format!("{{\"hostname\":\"{host}\"}}"))));
    stop(&child);
    let (status, log) = finish(child);
    assert_eq!(status, Some(0));
    let place = |start: &str| {
        log.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {log:#?}"))
    };
    let order = [
        "INF Thank you for trying Cloudflare Tunnel.",
        "INF Requesting new quick Tunnel",
        "INF +---",
        &format!("INF |  https://{host} "),
        "INF Version 2026.8.2",
        "INF Settings: map[config:",
        "INF Initial protocol quic",
        "INF Starting metrics server on 127.0.0.1:",
        "INF Registered tunnel connection connIndex=0 connection=",
        "INF Initiating graceful shutdown due to signal terminated ...",
        "INF Metrics server stopped",
    ];
    assert!(order.map(place).is_sorted(), "{log:#?}");
    let starts = fs::read_to_string(fixture.path("starts.log")).unwrap();
    assert!(starts.contains(" 1111 tunnel --config "), "{starts}");
}

#[test]
fn each_failure_has_its_text_and_status() {
    for (mode, expected, last) in [
        ("429", 1, "failed to unmarshal quick Tunnel: invalid character 'e' looking for beginning of value"),
        ("500", 1, "failed to unmarshal quick Tunnel: invalid character 'e' looking for beginning of value"),
        ("nouuid", 1, "failed to parse quick Tunnel ID: invalid UUID length: 0"),
        (
            "nodns",
            1,
            "failed to request quick Tunnel: Post \"https://api.trycloudflare.com/tunnel\": dial tcp: lookup \
             api.trycloudflare.com on 127.0.0.11:53: no such host",
        ),
        ("die-after=1", 2, "panic: runtime error: invalid memory address"),
    ] {
        let fixture = Fixture::new(mode);
        let (status, log) = finish(fixture.quick().spawn().unwrap());
        assert_eq!((status, log.last().map(String::as_str)), (Some(expected), Some(last)), "{mode}");
        let limited = "ERR Error unmarshaling QuickTunnel response: error code: 1015 error=\"invalid character 'e' looking \
                       for beginning of value\" status_code=\"429 Too Many Requests\"";
        assert_eq!(log.iter().any(|line| line == limited), mode == "429", "{log:#?}");
    }
}

#[test]
fn a_token_of_another_name_is_in_the_log() {
    let fixture = Fixture::new("ok");
    let mut command = fixture.command(&["run"]);
    let child = command.env("TUNNEL_TOKEN", TOKEN).env("CF_TUNNEL_TOKEN", "eyJabc").spawn().unwrap();
    fixture.until_ready();
    stop(&child);
    let (_, log) = finish(child);
    let line = "INF Environmental variables map[CF_TUNNEL_TOKEN:eyJabc TUNNEL_TOKEN:*****]";
    assert!(log.iter().any(|found| found == line), "{log:#?}");
    let registered = log.iter().filter(|line| line.contains("Registered tunnel connection"));
    assert_eq!(registered.count(), 4);
}

#[test]
fn a_bad_command_line_or_token_is_refused() {
    let fixture = Fixture::new("ok");
    let see = "See 'cloudflared tunnel run --help'.";
    for (arguments, token, expected) in [
        (&["--colour", "red"][..], None, "Incorrect Usage: flag provided but not defined: -colour"),
        (&["run"], Some("eyJ=b"), "Provided Tunnel token is not valid."),
        (
            &["run", "--token-file", "/nowhere"],
            None,
            "Failed to read token file: open /nowhere: no such file or directory",
        ),
    ] {
        let mut command = fixture.command(arguments);
        let (status, log) = finish(command.envs(token.map(|token| ("TUNNEL_TOKEN", token))).spawn().unwrap());
        assert_eq!((status, log[0].as_str()), (Some(255), expected));
        assert_eq!(log.get(1).map_or(see, String::as_str), see);
    }
}
