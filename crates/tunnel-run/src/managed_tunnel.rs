//! One tunnel: its life and its cloudflared.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kit::{duration, unix_time};
use nix::sys::signal::Signal;
use tunnels::{Cause, Kind, State, Tunnel};

use crate::backoff::{self, Pause};
use crate::cli::Cli;
use crate::cloudflared::{Cloudflared, Target, describe_exit};
use crate::lifecycle::{Health, Lifecycle, Seen, Step};
use crate::output_log::Destination;
use crate::times::{GATE_DOWN, SPACING, Times};

/// Conditions of a start that all tunnels share.
#[derive(Debug)]
pub struct StartGate {
    times: Times,
    not_before: Instant,
    /// The same, in seconds since the Unix epoch.
    retry_at: u64,
    last: Option<Instant>,
    /// Refusals by Cloudflare's limit in a row.
    refusals: u32,
    /// True if the last connection has shown that UDP is blocked.
    use_http2: bool,
}

impl StartGate {
    /// Returns an open gate.
    pub fn new(times: Times, now: Instant) -> Self {
        Self { times, not_before: now, retry_at: 0, last: None, refusals: 0, use_http2: false }
    }

    fn is_open(&self, now: Instant) -> bool {
        let spacing = self.times.of(SPACING);
        now >= self.not_before && self.last.is_none_or(|last| now.saturating_duration_since(last) >= spacing)
    }

    /// Returns the pause after a refusal.
    fn refuse(&mut self, now: Instant) -> Duration {
        // An answer to a request that was under way at a refusal is the same refusal.
        if now >= self.not_before {
            let pause = self.times.of(Pause::Shared.seconds(self.refusals, backoff::jitter()));
            self.refusals = self.refusals.saturating_add(1);
            self.not_before = now + pause;
            self.retry_at = unix_time::now() + pause.as_secs();
        }
        self.not_before - now
    }
}

/// Description of the tunnel that is opened at the next start.
#[derive(Debug)]
pub struct Start<'a> {
    /// Path of cloudflared; `None` keeps it from being started.
    pub program: Option<&'a Path>,
    /// The tunnel.
    pub target: Target,
    /// Registered port for the metrics.
    pub metrics_port: Option<u16>,
    /// Path of its log; `None` for standard error.
    pub log: Option<PathBuf>,
}

/// A tunnel.
#[derive(Debug)]
pub struct ManagedTunnel {
    kind: Kind,
    times: Times,
    /// Name in messages, such as `tunnel to the portal (port 1111)`.
    name: String,
    life: Lifecycle,
    process: Option<Cloudflared>,
    /// Reason why it could not be started.
    start_error: Option<String>,
    /// Hostname of a quick tunnel.
    host: Option<String>,
    detail: Option<String>,
    /// Time of the next attempt after a failure, in seconds since the Unix epoch.
    retry_at: u64,
    starts: u32,
}

impl ManagedTunnel {
    /// Returns a tunnel without a process.
    pub fn new(kind: Kind, name: String, times: Times, now: Instant) -> Self {
        Self {
            kind,
            times,
            name,
            life: Lifecycle::new(kind, times, now),
            process: None,
            start_error: None,
            host: None,
            detail: None,
            retry_at: 0,
            starts: 0,
        }
    }

    /// True if it has no process.
    pub fn is_idle(&self) -> bool {
        self.life.is_idle()
    }

    /// Returns the configuration of a named tunnel.
    pub fn configuration(&self) -> Option<Vec<u8>> {
        self.process.as_ref()?.metrics.configuration()
    }

    /// Looks at the process and acts.
    pub fn tick(&mut self, cli: &Cli, start: Option<&Start<'_>>, gate: &mut StartGate, now: Instant) {
        let seen = self.look(start, gate, now);
        for step in self.life.advance(&seen, now) {
            match step {
                Step::Start => {
                    gate.last = Some(now);
                    if let Some(start) = start {
                        self.start(cli, start, gate.use_http2);
                    }
                }
                Step::Publish => self.publish(gate),
                Step::Withdraw => {
                    let message = Cause::Lost.message(self.kind, None);
                    log::warn!("{}: {message}; cloudflared reconnects", self.name);
                }
                Step::Fail(cause, pause) => {
                    let pause = pause.unwrap_or_else(|| gate.refuse(now));
                    // The network may be another one now.
                    gate.use_http2 &= !matches!(cause, Cause::EdgeBlocked | Cause::NotConnected);
                    self.fail(cause, pause, now);
                }
                Step::Terminate => self.signal(Signal::SIGTERM),
                Step::Kill => self.signal(Signal::SIGKILL),
            }
        }
        if self.is_idle() {
            self.process = None;
        }
    }

    fn look(&mut self, start: Option<&Start<'_>>, gate: &StartGate, now: Instant) -> Seen {
        let may_start = gate.is_open(now) && start.is_some_and(|start| start.program.is_some());
        let mut seen =
            Seen { is_wanted: start.is_some(), may_start, jitter: backoff::jitter(), ..Seen::default() };
        let Some(process) = &mut self.process else {
            seen.has_exited = true;
            seen.cause = Some(Cause::CannotRun);
            return seen;
        };
        seen.has_exited = process.exit(now).is_some();
        if !seen.has_exited {
            seen.health = process.metrics.health();
            if seen.health == Health::Ready && self.kind == Kind::Quick && self.host.is_none() {
                self.host = process.metrics.quick_host();
                if self.host.is_none() {
                    seen.health = Health::NotReady;
                }
            }
        }
        let diagnosis = &mut process.log().diagnosis;
        if seen.health == Health::Ready {
            diagnosis.clear();
        }
        seen.cause = diagnosis.cause;
        seen
    }

    fn start(&mut self, cli: &Cli, start: &Start<'_>, use_http2: bool) {
        let Some(program) = start.program else { return };
        self.host = None;
        let metrics_port = start.metrics_port.filter(|_| self.starts == 0);
        self.starts = self.starts.saturating_add(1);
        let destination = start.log.clone().map_or(Destination::Stderr, Destination::file);
        match Cloudflared::start(cli, program, start.target, use_http2, metrics_port, destination) {
            Ok(process) => self.process = Some(process),
            Err(error) => self.start_error = Some(format!("{}: {error}", program.display())),
        }
    }

    fn publish(&mut self, gate: &mut StartGate) {
        gate.refusals = 0;
        self.detail = None;
        let Some(process) = &self.process else { return };
        let mut log = process.log();
        if log.diagnosis.uses_http2 && process.has_tried_udp {
            log::info!("{}: UDP to port 7844 is blocked; using HTTP/2", self.name);
            gate.use_http2 = true;
        }
        let message = match self.url() {
            Some(url) => format!("{}: {url}", self.name),
            None => format!("{} is open", self.name),
        };
        log::info!("{message}");
        if let Destination::File(_) = log.destination {
            log.destination.write(&message);
        }
    }

    fn fail(&mut self, cause: Cause, pause: Duration, now: Instant) {
        self.detail = match (&mut self.process, cause) {
            (Some(process), Cause::Exited) => {
                let status = process.exit(now);
                status.map(|status| describe_exit(status, &process.log().diagnosis.last_line))
            }
            (Some(process), _) => process.log().diagnosis.detail.clone(),
            (None, _) => self.start_error.take(),
        };
        self.retry_at = unix_time::now() + pause.as_secs();
        let message = cause.message(self.kind, self.detail.as_deref());
        let next = duration::words((pause + Duration::from_millis(500)).as_secs());
        log::warn!("{}: {message}; next attempt in {next}", self.name);
    }

    /// Sends a signal to cloudflared, if it runs.
    pub fn signal(&self, signal: Signal) {
        self.process.iter().for_each(|process| process.signal(signal));
    }

    /// True if cloudflared has exited.
    pub fn has_exited(&mut self, now: Instant) -> bool {
        self.process.as_mut().is_none_or(|process| process.exit(now).is_some())
    }

    fn url(&self) -> Option<String> {
        self.host.as_ref().map(|host| format!("https://{host}"))
    }

    /// Returns the entry of the status file.
    pub fn status(&self, port: u16, gate: &StartGate, now: Instant) -> Tunnel {
        let (mut state, mut cause) = self.life.state(now);
        let mut retry_at = self.retry_at;
        if state == State::Opening && self.is_idle() && gate.not_before > now {
            (state, cause, retry_at) = (State::Waiting, Some(Cause::RateLimited), gate.retry_at);
        }
        let gate_down = self.process.as_ref().and_then(|process| process.log().diagnosis.gate_down);
        let is_recent = |at| now.saturating_duration_since(at) < self.times.of(GATE_DOWN);
        if state == State::Open && self.kind == Kind::Quick && gate_down.is_some_and(is_recent) {
            cause = Some(Cause::GateDown);
        }
        Tunnel {
            port,
            state,
            url: self.url().filter(|_| matches!(state, State::Open | State::Lost)),
            cause,
            detail: self.detail.clone().filter(|_| cause.is_some()),
            retry_at: (state == State::Waiting).then_some(retry_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_requests_that_were_under_way_together_are_one() {
        let start = Instant::now();
        let mut gate = StartGate::new(Times(1), start);
        let first = gate.refuse(start);
        assert!((48..=72).contains(&first.as_secs()), "{first:?}");
        for _ in 0..15 {
            assert_eq!(gate.refuse(start + Duration::from_secs(1)) + Duration::from_secs(1), first);
        }
        let second = gate.refuse(start + first);
        assert!((96..=144).contains(&second.as_secs()), "{second:?}");
    }
}
