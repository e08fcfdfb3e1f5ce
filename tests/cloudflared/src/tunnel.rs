//! The life of a tunnel.

use std::env;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use crate::arguments::Arguments;
use crate::log::{bare, error, info, raw, write};
use crate::metrics::{self, Facts};
use crate::mode::Mode;
use crate::{USAGE, VERSION, token};

const EDGE: &str = "198.41.200.13";
const API: &str = "https://api.trycloudflare.com/tunnel";

/// Reason why a process ends.
enum End {
    /// SIGTERM or SIGINT.
    Stopped,
    /// With this status.
    Status(u8),
}

struct Process<'a> {
    arguments: &'a Arguments,
    mode: Mode,
    speed: u32,
    signals: Receiver<()>,
    facts: Arc<Facts>,
}

/// Runs until a signal, or as long as the mode lasts; returns the exit status.
pub fn run(arguments: &Arguments, mode: Mode, speed: u32, directory: &Path) -> u8 {
    let hostname = match mode.name {
        _ if arguments.is_named => String::new(),
        "evil-host" => "evil.example".to_owned(),
        _ => format!("four-random-english-{}.trycloudflare.com", process::id()),
    };
    let body = match mode.name {
        "big-answer" => Some("x".repeat(1 << 20)),
        "empty-answer" => Some(String::new()),
        _ => None,
    };
    let configuration = directory.join("config.json");
    let (is_ready, is_silent) = (AtomicBool::new(false), AtomicBool::new(false));
    let facts = Arc::new(Facts { is_ready, is_silent, hostname, body, configuration });
    let process = Process { arguments, mode, speed, signals: signals(mode), facts };
    let Err(end) = process.live();
    match end {
        End::Status(status) => status,
        End::Stopped => {
            info("Initiating graceful shutdown due to signal terminated ...", &[]);
            info("Unregistered tunnel connection", &[("connIndex", "0"), ("event", "0"), ("ip", EDGE)]);
            info("Tunnel server stopped", &[]);
            info("Metrics server stopped", &[]);
            0
        }
    }
}

/// Returns a queue that gets an entry for SIGTERM and SIGINT.
fn signals(mode: Mode) -> Receiver<()> {
    let (sender, receiver) = channel();
    let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    let blocked = set.thread_block();
    thread::spawn(move || {
        while blocked.is_ok() && set.wait().is_ok() {
            if mode.name != "ignore-term" && sender.send(()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The error of everything that lives until it ends.
type Life<T> = Result<T, End>;
/// For what does not return.
enum Never {}

impl Process<'_> {
    fn live(&self) -> Life<Never> {
        if self.arguments.is_named {
            self.announce_named()?;
        } else {
            self.request_quick()?;
        }
        self.log_settings()?;
        self.start_metrics()?;
        self.pause(1)?;
        self.connect()?;
        self.stay()
    }

    fn announce_named(&self) -> Life<()> {
        let id = token::tunnel_id(self.arguments).map_err(|message| fail(&message, USAGE))?;
        match self.mode.name {
            "bad-token" => {
                Err(fail("Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'.", USAGE))
            }
            _ => {
                info("Starting tunnel", &[("tunnelID", &id)]);
                Ok(())
            }
        }
    }

    fn request_quick(&self) -> Life<()> {
        if self.arguments.port().is_none() {
            let message =
                "You did not specify any valid additional argument to the cloudflared tunnel command.";
            return Err(fail(message, 1));
        }
        if self.mode.name == "old" {
            return Err(fail(
                "Incorrect Usage: flag provided but not defined: -max-edge-addr-retries",
                USAGE,
            ));
        }
        info(
            "Thank you for trying Cloudflare Tunnel. Doing so, without a Cloudflare account, is a quick way to experiment and \
             try it out. However, be aware that these account-less Tunnels have no uptime guarantee, are subject to the \
             Cloudflare Online Services Terms of Use (https://www.cloudflare.com/website-terms/), and Cloudflare reserves \
             the right to investigate your use of Tunnels for violations of such terms. If you intend to use Tunnels in \
             production you should use a pre-created named tunnel by following: \
             https://developers.cloudflare.com/cloudflare-one/connections/connect-apps",
            &[],
        );
        info("Requesting new quick Tunnel on trycloudflare.com...", &[]);
        let refused = |body: &str, found: char, status: &str| {
            let reason = format!("invalid character '{found}' looking for beginning of value");
            let message = format!("Error unmarshaling QuickTunnel response: {body}");
            error(&message, &[("error", &reason), ("status_code", status)]);
            fail(&format!("failed to unmarshal quick Tunnel: {reason}"), 1)
        };
        let unsent =
            |reason: &str| fail(&format!("failed to request quick Tunnel: Post \"{API}\": {reason}"), 1);
        match self.mode.name {
            "429" => Err(refused("error code: 1015", 'e', "429 Too Many Requests")),
            "500" => Err(refused("error code: 1101", 'e', "500 Internal Server Error")),
            "badjson" => Err(refused("<html>", '<', "200 OK")),
            "nouuid" => Err(fail("failed to parse quick Tunnel ID: invalid UUID length: 0", 1)),
            "nodns" => Err(unsent("dial tcp: lookup api.trycloudflare.com on 127.0.0.11:53: no such host")),
            "x509" => Err(unsent(
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            )),
            "slow15" => {
                self.pause(15)?;
                Err(unsent("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
            }
            _ => {
                let line = "-".repeat(92);
                let address = format!("https://{}", self.facts.hostname);
                info(&format!("+{line}+"), &[]);
                let title = "Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):";
                info(&format!("|  {title}  |"), &[]);
                info(&format!("|  {address:<88}  |"), &[]);
                info(&format!("+{line}+"), &[]);
                Ok(())
            }
        }
    }

    fn log_settings(&self) -> Life<()> {
        match self.arguments.get("config") {
            None => info(
                "Cannot determine default configuration path. No file [config.yml config.yaml] in [~/.cloudflared \
                 ~/.cloudflare-warp ~/cloudflare-warp /etc/cloudflared /usr/local/etc/cloudflared]",
                &[],
            ),
            Some(file) => match std::fs::read_to_string(file) {
                Ok(text) if text.is_empty() => error(&format!("Configuration file {file} was empty"), &[]),
                Ok(_) => {}
                Err(error) => {
                    return Err(fail(&format!("error parsing YAML in config file at {file}: {error}"), 1));
                }
            },
        }
        info(&format!("Version {VERSION} (Checksum {})", "0".repeat(64)), &[]);
        info("GOOS: linux, GOVersion: go1.26.0, GoArch: amd64", &[]);
        let settings: Vec<String> =
            self.arguments.options.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        info(&format!("Settings: map[{}]", settings.join(" ")), &[]);
        // As in logClientOptions: only two names are masked, and a value with another `=` is left out.
        let variables: Vec<String> = env::vars()
            .filter(|(name, value)| name.contains("TUNNEL_") && !value.contains('='))
            .map(|(name, value)| match name.as_str() {
                "TUNNEL_TOKEN" | "TUNNEL_CRED_CONTENTS" => format!("{name}:*****"),
                _ => format!("{name}:{value}"),
            })
            .collect();
        if !variables.is_empty() {
            info(&format!("Environmental variables map[{}]", variables.join(" ")), &[]);
        }
        info("Generated Connector ID: 5b1c4b6e-4b0b-4d0e-9c5b-0d6b1c1f0a11", &[]);
        info(&format!("Initial protocol {}", if self.is_quic() { "quic" } else { "http2" }), &[]);
        if self.mode.name == "edge-dns" {
            let query = "lookup _v2-origintunneld._tcp.argotunnel.com on 127.0.0.11:53: no such host";
            let message = "edge discovery: error looking up Cloudflare edge IPs: the DNS query failed";
            error(message, &[("error", query), ("event", "0")]);
            let name = "_v2-origintunneld._tcp.argotunnel.com";
            return Err(fail(&format!("Could not lookup srv records on {name}: {query}"), 1));
        }
        Ok(())
    }

    fn start_metrics(&self) -> Life<()> {
        let address = self.arguments.get("metrics").unwrap_or("localhost:20241");
        if self.mode.name == "hang" {
            return Ok(());
        }
        let served = if self.mode.name == "metrics-taken" {
            Err(std::io::ErrorKind::AddrInUse.into())
        } else {
            metrics::serve(address, Arc::clone(&self.facts))
        };
        if served.is_err() {
            let reason = format!(
                "failed to bind to address ({address}): listen tcp {address}: bind: address already in use"
            );
            error("Error opening metrics server listener", &[("error", &reason)]);
            return Err(End::Status(1));
        }
        info(&format!("Starting metrics server on {address}/metrics"), &[]);
        Ok(())
    }

    /// Connects to the edge, or fails to for ever.
    fn connect(&self) -> Life<()> {
        let fields = [("connIndex", "0"), ("event", "0"), ("ip", EDGE)];
        let mut protocol = if self.is_quic() { "quic" } else { "http2" };
        info("Tunnel connection curve preferences: [X25519MLKEM768 CurveP256]", &fields);
        let name = self.mode.name;
        if ["udp-blocked", "tcp-blocked"].contains(&name) && protocol == "quic" {
            let retries =
                self.arguments.get("max-edge-addr-retries").and_then(|text| text.parse().ok()).unwrap_or(8);
            let default = if self.arguments.is_named { "auto" } else { "quic" };
            for attempt in 0_u32.. {
                self.pause(5)?;
                let reason = "failed to dial to edge with quic: timeout: no recent network activity";
                error(
                    "Failed to dial a quic connection",
                    &[("error", reason), fields[0], fields[1], fields[2]],
                );
                let is_auto = self.arguments.get("protocol").unwrap_or(default) == "auto";
                if is_auto && attempt >= retries {
                    break;
                }
                let most = 2 << attempt.min(4);
                info(&format!("Retrying connection in up to {most}s"), &fields);
                // The mean of the pauses.
                self.pause(most / 2)?;
            }
            info("Switching to fallback protocol http2", &fields);
            protocol = "http2";
            self.pause(1)?;
        }
        loop {
            match name {
                "tcp-blocked" => {
                    self.pause(5)?;
                    let reason = format!("DialContext error: dial tcp {EDGE}:7844: i/o timeout");
                    error("Unable to establish connection with Cloudflare edge", &[("error", &reason)]);
                }
                "unauthorized-loop" | "unauthorized-first" => {
                    let reason = [("error", "Unauthorized: Failed to get tunnel")];
                    error("Register tunnel error from server side", &reason);
                    info("Retrying connection in up to 2s", &fields);
                    self.pause(2)?;
                    if name == "unauthorized-first" {
                        self.register(protocol);
                        return Ok(());
                    }
                }
                "not-ready" | "hang" => self.pause(60)?,
                _ => {
                    self.register(protocol);
                    return Ok(());
                }
            }
        }
    }

    fn register(&self, protocol: &str) {
        let connections = if self.arguments.is_named { 4 } else { 1 };
        for index in 0..connections {
            info(
                "Registered tunnel connection",
                &[
                    ("connIndex", &index.to_string()),
                    ("connection", "4db5ec6e-0000-4000-8000-000000000000"),
                    ("event", "0"),
                    ("ip", EDGE),
                    ("location", "fra07"),
                    ("protocol", protocol),
                ],
            );
        }
        self.facts.is_ready.store(true, Ordering::Relaxed);
        if self.arguments.is_named {
            info("Updated to new configuration", &[("config", r#"{"ingress":[]}"#), ("version", "7")]);
        }
        let suggested = [("hard_fail", "false"), ("run_id", "5b1c4b6e"), ("suggested_protocol", protocol)];
        info("precheck complete", &suggested);
    }

    /// Does what the mode does to an open tunnel.
    fn stay(&self) -> Life<Never> {
        match self.mode.name {
            "flood" => loop {
                // 100,000 lines a second.
                raw("2026-01-01T00:00:00Z ERR flood\n".repeat(1_000).as_bytes());
                self.sleep(Duration::from_millis(10))?;
            },
            "no-newline" => raw(&vec![b'x'; 10 << 20]),
            "origin-down" => {
                let url = self.arguments.get("url").unwrap_or_default();
                let address = url.trim_start_matches("https://").trim_start_matches("http://");
                let reason = format!(
                    "Unable to reach the origin service. The service may be down or it may not be responding to traffic from \
                     cloudflared: dial tcp {address}: connect: connection refused"
                );
                for _ in 0..30 {
                    let fields =
                        [("connIndex", "0"), ("event", "1"), ("ingressRule", "0"), ("originService", url)];
                    error("", &[("error", &reason), fields[0], fields[1], fields[2], fields[3]]);
                    self.pause(1)?;
                }
            }
            name if name.ends_with("-after") => {
                if name == "exit0-after" {
                    // Lines that name no cause: about a visitor's request, and a further connection.
                    let visit = "https://four-random-english-words.trycloudflare.com/Unauthorized:";
                    let fields = [("event", "1"), ("ip", EDGE), ("type", "http")];
                    error(
                        "Request failed",
                        &[("error", "EOF"), ("dest", visit), fields[0], fields[1], fields[2]],
                    );
                    let timeout = [("error", "TLS handshake with edge error: EOF"), ("connIndex", "1")];
                    error("Unable to establish connection with Cloudflare edge", &timeout);
                }
                self.pause(self.mode.seconds)?;
            }
            _ => {}
        }
        let lose = || {
            self.facts.is_ready.store(false, Ordering::Relaxed);
            let reason = [("error", "timeout: no recent network activity")];
            write("WRN", "Serve tunnel error", &reason);
            write("WRN", "Connection terminated", &reason);
        };
        match self.mode.name {
            "exit0-after" => return Err(End::Status(0)),
            "die-after" => return Err(fail("panic: runtime error: invalid memory address", 2)),
            "hang-after" => self.facts.is_silent.store(true, Ordering::Relaxed),
            "lost-after" => lose(),
            "unauthorized-after" => {
                lose();
                error(
                    "Register tunnel error from server side",
                    &[("error", "Unauthorized: Tunnel not found")],
                );
            }
            "lose-after" => {
                lose();
                self.pause(60)?;
                self.register("quic");
            }
            _ => {}
        }
        loop {
            self.pause(60)?;
        }
    }

    fn is_quic(&self) -> bool {
        self.arguments.get("protocol") != Some("http2")
    }

    /// Waits for a number of seconds at speed 1, or for a signal.
    fn pause(&self, seconds: u32) -> Life<()> {
        self.sleep(Duration::from_secs(seconds.into()) / self.speed.max(1))
    }

    fn sleep(&self, time: Duration) -> Life<()> {
        match self.signals.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(End::Stopped),
        }
    }
}

/// Logs a message as the last line of a failed run.
fn fail(message: &str, status: u8) -> End {
    bare(message);
    End::Status(status)
}
