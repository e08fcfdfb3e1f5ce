//! Answers requests: lists programs, checks actions and runs them in threads of their own.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kit::quote::escape_control_line;

use crate::action::Job;
use crate::base_programs;
use crate::limits;
use crate::outcome::outcome;
use crate::process_info::ProcessInfo;
use crate::program_list::ProgramList;
use crate::protocol::{Action, Outcome, Program, Refusal, RefusalKind, Request, Response, Target};
use crate::rate_limit::RateLimit;
use crate::selection::{check, select};
use crate::selftest_run::SelftestRun;
use crate::supervisord::{CallError, Supervisord};

/// Pause before a supervisord that did not respond is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// State that all connections share.
#[derive(Debug)]
pub struct Control {
    supervisord: Supervisord,
    list: ProgramList,
    /// Programs with an action in progress.
    busy: Mutex<HashMap<String, Action>>,
    /// Log lines about refused requests: a flood would push the lines about actions out of the log.
    refusal_lines: RateLimit,
    selftest: SelftestRun,
}

impl Control {
    /// Creates the state for a supervisord; the record of exits is beside `journal`.
    pub fn new(supervisord: &Path, journal: &Path) -> Self {
        let supervisord = Supervisord::new(supervisord);
        Self {
            list: ProgramList::new(supervisord.clone(), journal),
            supervisord,
            busy: Mutex::default(),
            refusal_lines: RateLimit::new(limits::REFUSAL_LINES, limits::REFUSAL_INTERVAL),
            selftest: SelftestRun::default(),
        }
    }

    /// Answers one request.
    pub fn answer(self: &Arc<Self>, request: &[u8]) -> Response {
        let answered = match serde_json::from_slice(request) {
            Ok(Request::List {}) => self.programs().map(Response::Programs),
            Ok(Request::Start(target)) => self.act(Action::Start, &target).map(Response::Outcome),
            Ok(Request::Stop(target)) => self.act(Action::Stop, &target).map(Response::Outcome),
            Ok(Request::Restart(target)) => self.act(Action::Restart, &target).map(Response::Outcome),
            Ok(Request::Selftest {}) => self.selftest.run().map(Response::Selftest),
            Err(_) => Err(Refusal::new(RefusalKind::Invalid, "the request is malformed")),
        };
        answered.unwrap_or_else(Response::Refusal)
    }

    /// Starts the programs that the portal cannot do without, where an earlier process has stopped them for a restart and was
    /// killed before it started them.
    pub fn start_protected(&self) {
        while !self.try_start_protected() {
            thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Returns false while one of them is stopping, or supervisord does not respond.
    fn try_start_protected(&self) -> bool {
        let Ok(processes) = self.list.processes(Instant::now()) else { return false };
        let mut is_done = true;
        for process in processes.iter().filter(|process| is_needed(process, &processes)) {
            is_done &= match process.state.as_str() {
                "STOPPING" => false,
                "STOPPED" => {
                    log::info!("{} is stopped; starting it", process.full_name());
                    !matches!(self.supervisord.start(process), Err(CallError::Unavailable(_)))
                }
                _ => true,
            };
        }
        is_done
    }

    /// Logs a refusal, unless there were many.
    pub fn log_refusal(&self, line: &str) {
        if self.refusal_lines.take(Instant::now()) {
            log::warn!("{}", escape_control_line(line));
        }
    }

    fn programs(&self) -> Result<Vec<Program>, Refusal> {
        let mut programs = self.list.programs(recently()).map_err(refusal)?;
        let busy = self.busy();
        for program in &mut programs {
            program.action = busy.get(&program.name).copied();
        }
        Ok(programs)
    }

    fn act(self: &Arc<Self>, action: Action, target: &Target) -> Result<Outcome, Refusal> {
        // Debug output escapes whatever could look like another line, or change how a line looks.
        let requester: String = target.requester.chars().take(limits::REQUESTER_CHARACTERS).collect();
        let request = format!("{action} of {:?} for {requester:?}", target.name);
        let begun = self.begin(action, target, &request);
        begun.inspect_err(|refusal| self.log_refusal(&format!("{request} was refused: {refusal}")))
    }

    /// Checks the action, runs it in a thread and waits for its result. The action continues without the client: a restart of
    /// the portal ends the connection that asked for it.
    fn begin(self: &Arc<Self>, action: Action, target: &Target, request: &str) -> Result<Outcome, Refusal> {
        let all = self.list.processes(recently()).map_err(refusal)?;
        let processes = select(&all, &target.name);
        check(action, &target.name, &processes, &all)?;
        let claim = self.claim(action, &processes)?;
        log::info!("{request}");
        let (sender, receiver) = mpsc::channel();
        let (control, of_job, line) = (Arc::clone(self), processes.clone(), request.to_owned());
        let thread = thread::Builder::new().name(action.to_string());
        let spawned = thread.spawn(move || {
            let result = control.run(action, of_job, &line);
            // Before the result is sent, so that the client can ask for another action at once.
            drop(claim);
            // The client may have been answered already.
            let _ = sender.send(result);
        });
        if spawned.is_err() {
            // The container has reached its limit of processes, and a stop may be what it needs.
            let _claim = self.claim(action, &processes)?;
            return self.run(action, processes, request);
        }
        receiver.recv_timeout(limits::ACTION_WAIT).unwrap_or_else(|_| {
            let programs = self.job(action, processes).programs().map_err(refusal)?;
            let unfinished = outcome(action, &programs, &BTreeMap::new());
            Ok(Outcome { ok: false, finished: false, ..unfinished })
        })
    }

    fn run(&self, action: Action, processes: Vec<ProcessInfo>, request: &str) -> Result<Outcome, Refusal> {
        let result = self.job(action, processes).run().map_err(refusal);
        match &result {
            Ok(outcome) => log::info!("{}", escape_control_line(&format!("{request}: {}", outcome.message))),
            Err(refusal) => log::warn!("{}", escape_control_line(&format!("{request} failed: {refusal}"))),
        }
        result
    }

    fn job(&self, action: Action, processes: Vec<ProcessInfo>) -> Job<'_> {
        Job { supervisord: &self.supervisord, list: &self.list, action, processes }
    }

    /// Reserves the programs for an action.
    fn claim(self: &Arc<Self>, action: Action, processes: &[ProcessInfo]) -> Result<Claim, Refusal> {
        let names: Vec<String> = processes.iter().map(ProcessInfo::full_name).collect();
        let mut busy = self.busy();
        if let Some((name, action)) = names.iter().find_map(|name| Some((name, busy.get(name)?))) {
            let message = format!("another action is in progress: {action} of {name}");
            return Err(Refusal::new(RefusalKind::Conflict, message));
        }
        busy.extend(names.iter().map(|name| (name.clone(), action)));
        Ok(Claim { control: Arc::clone(self), names })
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<String, Action>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True for a program that the portal cannot do without; one that never ran is not meant to.
fn is_needed(process: &ProcessInfo, all: &[ProcessInfo]) -> bool {
    let base = base_programs::find(process, all);
    process.start.is_some() && base.is_some_and(|base| base.protection.is_some())
}

/// Programs that are reserved for an action until this is dropped.
struct Claim {
    control: Arc<Control>,
    names: Vec<String>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut busy = self.control.busy();
        busy.retain(|name, _| !self.names.contains(name));
    }
}

/// Returns the instant before which a list is too old to be used again.
fn recently() -> Instant {
    Instant::now().checked_sub(limits::LIST_AGE).unwrap_or_else(Instant::now)
}

fn refusal(error: CallError) -> Refusal {
    let message = match error {
        CallError::Unavailable(reason) => reason,
        CallError::Fault(code, text) => format!("supervisord refused ({code}: {text})"),
    };
    Refusal::new(RefusalKind::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_portal_needs_and_what_ran_is_started_again() {
        for (name, start, expected) in [
            ("caddy", Some(100), true),
            ("caddy", None, false),
            ("cloudflared", Some(100), false),
            ("notebook", Some(100), false),
        ] {
            let process =
                ProcessInfo { group: name.into(), name: name.into(), start, ..ProcessInfo::default() };
            assert_eq!(is_needed(&process, std::slice::from_ref(&process)), expected, "{process:?}");
        }
    }
}
