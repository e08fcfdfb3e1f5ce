//! The list of programs: what supervisord, the launcher's record of exits and the kernel say about each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use journal::{Journal, ProgramExit};

use crate::base_programs;
use crate::process_info::ProcessInfo;
use crate::process_tree::{Meter, Usage};
use crate::protocol::{Exit, Program};
use crate::supervisord::{CallError, Supervisord};

/// Reads programs, at most as often as needed: supervisord is a single thread, and process 1.
#[derive(Debug)]
pub struct ProgramList {
    supervisord: Supervisord,
    journal: Journal,
    processes: Mutex<Option<Fetched<Arc<Vec<ProcessInfo>>>>>,
    programs: Mutex<(Option<Fetched<Vec<Program>>>, Meter)>,
}

#[derive(Debug)]
struct Fetched<T> {
    /// Time before the request was sent.
    at: Instant,
    result: Result<T, CallError>,
}

impl ProgramList {
    /// Returns the list of this supervisord; the record of exits is beside `journal`.
    pub fn new(supervisord: Supervisord, journal: &Path) -> Self {
        let journal = Journal::new(journal);
        Self { supervisord, journal, processes: Mutex::default(), programs: Mutex::new((None, Meter::new())) }
    }

    /// Returns all processes as they were after this instant. Callers at the same time share one request.
    pub fn processes(&self, after: Instant) -> Result<Arc<Vec<ProcessInfo>>, CallError> {
        let mut fetched = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetched) = fetched.as_ref().filter(|fetched| fetched.at >= after) {
            return fetched.result.clone();
        }
        let at = Instant::now();
        let result = self.supervisord.processes().map(Arc::new);
        *fetched = Some(Fetched { at, result: result.clone() });
        result
    }

    /// Returns all programs as they were after this instant.
    pub fn programs(&self, after: Instant) -> Result<Vec<Program>, CallError> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let (fetched, meter) = &mut *programs;
        if let Some(fetched) = fetched.as_ref().filter(|fetched| fetched.at >= after) {
            return fetched.result.clone();
        }
        let at = Instant::now();
        let result = self.processes(after).map(|processes| {
            let pids: Vec<u32> = processes.iter().filter_map(|process| process.pid).collect();
            let usage = meter.measure(&pids);
            let exits = self.journal.program_exits();
            processes.iter().map(|process| program(process, &processes, &exits, &usage)).collect()
        });
        *fetched = Some(Fetched { at, result: result.clone() });
        result
    }
}

fn program(
    process: &ProcessInfo,
    all: &[ProcessInfo],
    exits: &BTreeMap<String, ProgramExit>,
    usage: &BTreeMap<u32, Usage>,
) -> Program {
    let name = process.full_name();
    let exit = exits.get(&name);
    let base = base_programs::find(process, all);
    let usage = process.pid.and_then(|pid| usage.get(&pid));
    let started_at = process.start.filter(|_| process.pid.is_some());
    Program {
        group: process.group.clone(),
        state: process.state.clone(),
        pid: process.pid,
        started_at,
        uptime: started_at.map(|start| process.now.saturating_sub(start)),
        cpu_percent: usage.and_then(|usage| usage.cpu_percent),
        memory_bytes: usage.map(|usage| usage.memory_bytes),
        processes: usage.map(|usage| usage.processes),
        restarts: exit.map_or(0, |exit| exit.restarts),
        last_exit: exit.map(last_exit),
        log: process.log.clone(),
        can_stop: base.is_none_or(|base| base.protection.is_none()),
        can_restart: base.is_none_or(|base| base.can_restart),
        protection: base.and_then(|base| base.protection).map(str::to_owned),
        caution: base.and_then(|base| base.caution).map(str::to_owned),
        action: None,
        description: base.map(|base| base.description.to_owned()),
        name,
    }
}

fn last_exit(exit: &ProgramExit) -> Exit {
    Exit {
        at: exit.at,
        sentence: exit.sentence(),
        expected: exit.expected || exit.requested,
        log: Some(exit.log.clone()).filter(|log| !log.is_empty()),
        log_size: exit.log_size,
    }
}
