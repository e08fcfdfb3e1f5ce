//! Processes of a script's session, and their end.
//!
//! A script leads a session of its own. Whatever it starts belongs to that session, in any process group, unless it leaves
//! the session with setsid(2) in order to keep running.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Time between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(5);
/// After SIGKILL, only a process that waits for a device remains.
const AFTER_KILL: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A process, as the kernel describes it (`proc_pid_stat(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub id: i32,
    pub name: String,
    group: i32,
    session: i32,
    /// False for a zombie.
    pub lives: bool,
}

impl Process {
    /// Reads `/proc/PID/stat`; the name, in parentheses, may have anything in it.
    pub fn parse(stat: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(stat);
        let (id, rest) = text.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        let mut numbers = fields.skip(1).map(str::parse::<i32>);
        let (group, session) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let lives = !matches!(state, "Z" | "X");
        Some(Self { id: id.parse().ok()?, name: name.to_owned(), group, session, lives })
    }

    /// Returns name and number, for messages.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.name, self.id)
    }
}

/// Returns all living processes, by number.
fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<Process> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
        .filter_map(|entry| Process::parse(&fs::read(entry.path().join("stat")).ok()?))
        .filter(|process| process.lives)
        .collect();
    found.sort_by_key(|process| process.id);
    found
}

/// Returns the living processes of a session.
pub fn members(session: i32) -> Vec<Process> {
    processes().into_iter().filter(|process| process.session == session).collect()
}

/// Returns processes outside of `session`, except `provision`, that have the pipe open.
pub fn pipe_writers(pipe: u64, session: i32) -> Vec<Process> {
    let name = format!("pipe:[{pipe}]");
    let own = nix::unistd::getpid().as_raw();
    let holds = |process: &Process| {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", process.id)) else { return false };
        descriptors
            .filter_map(Result::ok)
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == name.as_str()))
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
    pub asked: Vec<String>,
    /// Processes that got SIGKILL.
    pub killed: Vec<String>,
    /// Processes that are still running.
    pub left: Vec<String>,
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
                let list = if signal == Signal::SIGTERM { &mut ending.asked } else { &mut ending.killed };
                if !list.contains(&process.describe()) {
                    list.push(process.describe());
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
    ending.left = members(session).iter().map(Process::describe).collect();
    ending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_fields_behind_it() {
        let process = Process::parse(b"42 (a) S 1 (b) R 7 40 41 0 -1 4194304\n").unwrap();
        let expected = Process { id: 42, name: "a) S 1 (b".into(), group: 40, session: 41, lives: true };
        assert_eq!(process, expected);
        assert!(!Process::parse(b"42 (x) Z 7 40 41 0").unwrap().lives);
        assert_eq!(Process::parse(b"42 (x"), None);
        assert_eq!(Process::parse(b""), None);
    }

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
