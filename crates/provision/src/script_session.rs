//! Processes of a script's session, and their end.
//!
//! A script leads a session of its own. Whatever it starts belongs to that session, in any process group, unless it leaves
//! the session with setsid(2) in order to keep running.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kit::process::{Process, Stat};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Time between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(5);
/// After SIGKILL, only a process that waits for a device remains.
const AFTER_KILL: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Returns name and number of a process, for messages.
pub fn describe(process: &Stat) -> String {
    format!("{} ({})", process.name, process.id)
}

/// Returns all living processes, by number.
fn processes() -> Vec<Stat> {
    let found = Process::all();
    let stats = found.iter().filter_map(Process::stat);
    let mut living: Vec<Stat> = stats.filter(|process| process.is_alive).collect();
    living.sort_by_key(|process| process.id);
    living
}

/// Returns the living processes of a session.
pub fn members(session: i32) -> Vec<Stat> {
    processes().into_iter().filter(|process| process.session == session).collect()
}

/// Returns processes outside of `session`, except `provision`, that have the pipe open.
pub fn pipe_writers(pipe: u64, session: i32) -> Vec<Stat> {
    let name = format!("pipe:[{pipe}]");
    let own = nix::unistd::getpid().as_raw();
    let holds = |process: &Stat| {
        let descriptors = Process::new(process.id).descriptors().unwrap_or_default();
        descriptors.iter().any(|(_, link)| link.as_os_str() == name.as_str())
    };
    processes()
        .into_iter()
        .filter(|process| process.session != session && process.id != own && process.name != "provision")
        .filter(holds)
        .collect()
}

/// Processes that were ended with a session, for messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EndReport {
    /// Processes that got SIGTERM.
    pub terminated: Vec<String>,
    /// Processes that got SIGKILL.
    pub killed: Vec<String>,
    /// Processes that are still running.
    pub remaining: Vec<String>,
}

/// Ends every process of a session: SIGTERM, then SIGKILL after `grace`. `meanwhile` is called between two checks, and takes
/// at most the time that it is given.
pub fn end_session(session: i32, grace: Duration, mut meanwhile: impl FnMut(Duration)) -> EndReport {
    let mut ending = EndReport::default();
    for (signal, timeout) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, AFTER_KILL)] {
        let deadline = Instant::now() + timeout;
        let mut signalled = BTreeSet::new();
        loop {
            let found = members(session);
            if found.is_empty() {
                return ending;
            }
            for process in &found {
                let list =
                    if signal == Signal::SIGTERM { &mut ending.terminated } else { &mut ending.killed };
                if !list.contains(&describe(process)) {
                    list.push(describe(process));
                }
                // SIGTERM once, so that its handler is not disturbed; SIGKILL again, because it may fork.
                if signal == Signal::SIGKILL || signalled.insert(process.group) {
                    let _ = killpg(Pid::from_raw(process.group), signal);
                    // A stopped process receives it when it continues.
                    let _ = killpg(Pid::from_raw(process.group), Signal::SIGCONT);
                }
            }
            if Instant::now() >= deadline {
                break;
            }
            meanwhile(POLL_INTERVAL);
        }
    }
    ending.remaining = members(session).iter().map(describe).collect();
    ending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_in_its_session() {
        let session = nix::unistd::getsid(None).unwrap().as_raw();
        let own = nix::unistd::getpid().as_raw();
        assert!(members(session).iter().any(|process| process.id == own));
    }

    #[test]
    fn a_session_without_members_is_ended() {
        // Process numbers end at 4194304 (proc(5), pid_max).
        assert_eq!(end_session(4_194_305, GRACE, |_| ()), EndReport::default());
    }
}
