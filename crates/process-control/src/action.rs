//! Carries out one action: stops what runs, waits, starts it, waits.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::limits;
use crate::outcome::outcome;
use crate::process_info::ProcessInfo;
use crate::program_list::ProgramList;
use crate::protocol::{Action, Outcome, Program};
use crate::supervisord::{CallError, Supervisord, fault};

/// Pause before a call is repeated.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// An action on some programs.
#[derive(Debug)]
pub struct Job<'a> {
    /// supervisord.
    pub supervisord: &'a Supervisord,
    /// Its programs.
    pub list: &'a ProgramList,
    /// Change.
    pub action: Action,
    /// The programs, as they were when it was checked.
    pub processes: Vec<ProcessInfo>,
}

impl Job<'_> {
    /// Carries the action out. A supervisord that does not respond for a while is asked again: a program that was stopped for a
    /// restart must not stay stopped.
    pub fn run(&self) -> Result<Outcome, CallError> {
        let mut failures = BTreeMap::new();
        if self.action != Action::Start {
            let running = self.processes.iter().filter(|process| process.is_running());
            Self::call_each(running, &mut failures, |process| self.supervisord.stop(process))?;
            self.wait(&failures, ProcessInfo::is_stopped)?;
        }
        if self.action != Action::Stop {
            let current = persist(|| self.current())?;
            let stopped = current.iter().filter(|process| process.is_stopped());
            Self::call_each(stopped, &mut failures, |process| self.supervisord.start(process))?;
            self.wait(&failures, |process| process.state != "STARTING")?;
        }
        let programs = persist(|| self.programs())?;
        Ok(outcome(self.action, &programs, &failures))
    }

    /// Returns the programs of this action as they are now.
    pub fn programs(&self) -> Result<Vec<Program>, CallError> {
        let mut programs = self.list.programs(Instant::now())?;
        programs.retain(|program| self.processes.iter().any(|process| process.full_name() == program.name));
        Ok(programs)
    }

    fn current(&self) -> Result<Vec<ProcessInfo>, CallError> {
        let mut current = self.list.processes(Instant::now())?.to_vec();
        current.retain(|process| self.processes.iter().any(|own| own.full_name() == process.full_name()));
        Ok(current)
    }

    /// Makes a call for each process; what fails for one of them is collected, and the others are not affected.
    fn call_each<'p>(
        processes: impl Iterator<Item = &'p ProcessInfo>,
        failures: &mut BTreeMap<String, String>,
        call: impl Fn(&ProcessInfo) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        for process in processes {
            match persist(|| call(process)) {
                // It has changed meanwhile, by itself or by another client.
                Ok(()) | Err(CallError::Fault(fault::ALREADY_STARTED | fault::NOT_RUNNING, _)) => {}
                Err(CallError::Fault(code, text)) => {
                    if let Some(failure) = describe(code, &text) {
                        failures.insert(process.full_name(), failure);
                    }
                }
                Err(unavailable) => return Err(unavailable),
            }
        }
        Ok(())
    }

    /// Waits until every process without a failure has reached a state or was removed from the configuration, at most for
    /// [`limits::ACTION_END`].
    fn wait(
        &self,
        failures: &BTreeMap<String, String>,
        reached: impl Fn(&ProcessInfo) -> bool,
    ) -> Result<(), CallError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(20);
        let ended = |process: &ProcessInfo| reached(process) || failures.contains_key(&process.full_name());
        while !persist(|| self.current())?.iter().all(ended) && start.elapsed() < limits::ACTION_END {
            // supervisord offers no notification to its clients.
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(500));
        }
        Ok(())
    }
}

/// Repeats a call while supervisord does not respond, at most for [`limits::ACTION_END`].
fn persist<T>(call: impl Fn() -> Result<T, CallError>) -> Result<T, CallError> {
    let start = Instant::now();
    loop {
        match call() {
            Err(CallError::Unavailable(_)) if start.elapsed() < limits::ACTION_END => {
                thread::sleep(RETRY_INTERVAL);
            }
            result => return result,
        }
    }
}

/// Describes a fault, unless the state of the program tells more.
fn describe(code: i32, text: &str) -> Option<String> {
    match code {
        fault::SPAWN_ERROR => None,
        fault::SHUTDOWN_STATE => Some("supervisord is stopping or restarting".to_owned()),
        fault::BAD_NAME => Some("supervisord no longer has it".to_owned()),
        // supervisord puts the fault's name before the reason.
        fault::NO_FILE | fault::NOT_EXECUTABLE => {
            Some(text.split_once(": ").map_or(text, |(_, reason)| reason).to_owned())
        }
        _ => Some(format!("supervisord refused ({code}: {text})")),
    }
}
