//! Decides what follows from the events of the instances: no effects here.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use kit::Exit;
use nix::sys::signal::Signal;
use ports::{Phase, Status};

/// Running time in seconds after which an instance no longer counts as failing.
const STABLE_SECS: u64 = 60;
/// Longest pause in seconds before an instance is started again; the same as of supervisord's launcher.
const MAX_PAUSE_SECS: u64 = 30;

/// Maximum length of a cause in the registry.
const MAX_CAUSE_BYTES: usize = 200;

/// A change to act on.
#[derive(Debug, Clone)]
pub enum Event {
    /// A signal arrived.
    Signal(Signal),
    /// An instance's process was started.
    Started { instance: usize, pid: i32 },
    /// An instance's program cannot be run.
    CannotRun { instance: usize, exit: Exit, cause: String },
    /// A process can be used.
    Usable { pid: i32 },
    /// A process has ended.
    Ended { pid: i32, status: ExitStatus },
    /// The pause of an instance is over.
    Retry { instance: usize },
}

/// An effect to bring about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start the program of an instance.
    Start(usize),
    /// Send a signal to a process.
    Send(i32, Signal),
    /// Report [`Event::Retry`] after a pause.
    RetryAfter(usize, Duration),
    /// Write the states into the registry.
    Publish,
    /// Remove the registration.
    Unregister,
    /// End with this exit code.
    Exit(Exit),
}

/// One instance of the program.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its state, for the registry.
    pub status: Status,
    pid: Option<i32>,
    started: u64,
    failures: u64,
}

/// All instances of a service.
#[derive(Debug)]
pub struct Lifecycle {
    /// The instances, by number.
    pub instances: Vec<Instance>,
    /// False if this process ends with its only program.
    keeps_running: bool,
    is_stopping: bool,
    /// First code other than 0 of a program that has ended during the stop.
    exit: Exit,
    status: Status,
}

/// Returns a state that begins now, with at most as much of a cause as the registry accepts.
pub fn status(phase: Phase, now: u64, cause: Option<&str>) -> Status {
    let shown =
        |cause: &str| cause[..cause.floor_char_boundary(MAX_CAUSE_BYTES)].replace(char::is_control, " ");
    Status { phase, since: now, cause: cause.map(shown) }
}

impl Lifecycle {
    /// Returns instances that are about to be started.
    pub fn new(instances: usize, keeps_running: bool, now: u64) -> Self {
        let starting = status(Phase::Starting, now, None);
        let instance = Instance { status: starting.clone(), pid: None, started: now, failures: 0 };
        Self {
            instances: vec![instance; instances],
            keeps_running,
            is_stopping: false,
            exit: Exit::Done,
            status: starting,
        }
    }

    /// Returns the state of the service: the best one of its instances.
    pub fn status(&mut self) -> Status {
        let of = |phase| self.instances.iter().find(|instance| instance.status.phase == phase);
        let best = [Phase::Running, Phase::Starting, Phase::Failed].into_iter().find_map(of);
        if let Some(best) = best.filter(|best| best.status.phase != self.status.phase) {
            self.status = best.status.clone();
        }
        self.status.clone()
    }

    /// Returns what follows from an event at a time in seconds since the Unix epoch.
    pub fn decide(&mut self, event: Event, now: u64) -> Vec<Action> {
        match event {
            Event::Signal(signal) => self.signalled(signal),
            Event::Started { instance, pid } => {
                let known = &mut self.instances[instance];
                (known.pid, known.started) = (Some(pid), now);
                known.status = status(Phase::Starting, now, None);
                vec![Action::Publish]
            }
            Event::Usable { pid } => {
                let Some(instance) = self.running(pid) else { return Vec::new() };
                self.instances[instance].status = status(Phase::Running, now, None);
                vec![Action::Publish]
            }
            Event::Ended { pid, status } => {
                let Some(instance) = self.running(pid) else { return Vec::new() };
                self.ended(instance, Exit::from(status), &cause(status), now)
            }
            Event::CannotRun { instance, exit, cause } => self.ended(instance, exit, &cause, now),
            Event::Retry { instance } if !self.is_stopping => vec![Action::Start(instance)],
            Event::Retry { .. } => Vec::new(),
        }
    }

    fn running(&self, pid: i32) -> Option<usize> {
        self.instances.iter().position(|instance| instance.pid == Some(pid))
    }

    fn signalled(&mut self, signal: Signal) -> Vec<Action> {
        self.is_stopping |= is_stop(signal);
        let pids: Vec<i32> = self.instances.iter().filter_map(|instance| instance.pid).collect();
        if pids.is_empty() && self.is_stopping {
            return vec![Action::Unregister, Action::Exit(ended_by(signal))];
        }
        pids.into_iter().map(|pid| Action::Send(pid, signal)).collect()
    }

    fn ended(&mut self, instance: usize, exit: Exit, cause: &str, now: u64) -> Vec<Action> {
        let known = &mut self.instances[instance];
        known.pid = None;
        known.status = status(Phase::Failed, now, Some(cause));
        if self.is_stopping {
            if self.exit == Exit::Done {
                self.exit = exit;
            }
            let is_last = self.instances.iter().all(|instance| instance.pid.is_none());
            return if is_last { vec![Action::Unregister, Action::Exit(self.exit)] } else { Vec::new() };
        }
        if !self.keeps_running {
            let last = if exit == Exit::Done { Action::Unregister } else { Action::Publish };
            return vec![last, Action::Exit(exit)];
        }
        if now.saturating_sub(known.started) >= STABLE_SECS {
            known.failures = 0;
        }
        let pause = Duration::from_secs(known.failures.min(MAX_PAUSE_SECS));
        known.failures += 1;
        known.started = now + pause.as_secs();
        vec![Action::Publish, Action::RetryAfter(instance, pause)]
    }
}

/// True for signals that end the service; the others are only forwarded.
fn is_stop(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)
}

/// Returns the exit code of a program that a signal has ended.
pub fn ended_by(signal: Signal) -> Exit {
    Exit::from(ExitStatus::from_raw(signal as i32))
}

/// Describes the end of a program.
pub fn cause(status: ExitStatus) -> String {
    let signal = status.signal().map(|number| match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {number}"),
    });
    match (signal, status.code()) {
        (Some(signal), _) if signal == "SIGKILL" => {
            "killed by SIGKILL, often because memory was full".to_owned()
        }
        (Some(signal), _) => format!("killed by {signal}"),
        // A shell reports 137 if a program that it started was killed.
        (None, Some(137)) => "exit code 137, often because memory was full".to_owned(),
        (None, code) => format!("exit code {}", code.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
