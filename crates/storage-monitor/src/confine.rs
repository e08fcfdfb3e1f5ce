//! The process between the monitor and a mapping's bash: whatever bash starts ends with it, and all of them with the
//! monitor, however that ends.
//!
//! It is this program once more. Orphans of bash become its children, also those that left bash's process group; and it
//! hears of the monitor's end because the kernel then closes the pipe that is its standard input.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Exit, Outcome};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

/// A mapping has so much time.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);
/// The hidden task of the command line.
pub const TASK: &str = "confined-mapping";
/// The exit code if bash had to be ended, that of timeout(1).
pub const LATE: u8 = 124;
/// The account that owns nothing.
const NOBODY: u32 = 65_534;
/// Sources the file of its only argument and prints the array, after that the first command that failed, the marker of a
/// deliberately empty map, and a last field that says it came to the end.
///
/// A command fails as for `set -e`: not in a condition, nor before `&&` and `||`; a pipeline fails with any command of it, but
/// for one whose reader has enough, as `head` has (SIGPIPE, 141).
const PROGRAM: &str = r#"
ulimit -t 10 2>/dev/null
ulimit -v 1048576 2>/dev/null
exec 3>&1 1>/dev/null
declare -A storage_map=()
storage_monitor_failed=
trap 'storage_monitor_code=$? storage_monitor_line=$LINENO
    [[ $BASH_COMMAND == "source -- "* || $storage_monitor_code == 141 ]] ||
    : "${storage_monitor_failed:=line $storage_monitor_line: $BASH_COMMAND: failed with exit code $storage_monitor_code}"' ERR
set -u -o pipefail
source -- "$1"
set +eu
trap - ERR
for key in "${!storage_map[@]}"; do
    printf '%s\0%s\0' "$key" "${storage_map[$key]}" >&3
done
printf '%s\0%s\0end\0' "$storage_monitor_failed" "${storage_map_empty-}" >&3
"#;

/// Starts it; the caller keeps its standard input open for as long as the answer is wanted.
pub fn start(file: &Path, workspace: &Path) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("storage-monitor").arg(TASK).arg(file).arg(workspace);
    command.env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.spawn()
}

/// Evaluates the file, and ends all that it has started; answers with [`LATE`] if bash had to be ended.
pub fn run(file: &Path, workspace: &Path) -> Outcome {
    nix::sys::prctl::set_child_subreaper(true).context("cannot become the parent of orphans")?;
    let mut bash = spawn(file.as_os_str(), workspace).context("cannot run /bin/bash")?;
    let process = Pid::from_raw(i32::try_from(bash.id())?);
    let state = Arc::new(Mutex::new(State::Running));
    let watched = Arc::clone(&state);
    thread::spawn(move || {
        let input = io::stdin();
        let mut all = [PollFd::new(input.as_fd(), PollFlags::empty())];
        // The other end is closed, or time is over.
        let _ = poll(&mut all, PollTimeout::try_from(TIME_LIMIT).unwrap_or(PollTimeout::NONE));
        let mut state = watched.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Running {
            *state = State::Late;
            // It is not waited for yet, so the number is its own.
            let _ = kill(process, Signal::SIGKILL);
        }
    });
    waitid(Id::Pid(process), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).context("cannot wait for bash")?;
    let late = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *state, State::Ended) == State::Late
    };
    bash.wait().context("cannot wait for bash")?;
    end_children()?;
    Ok(if late { Exit::Code(LATE) } else { Exit::Done })
}

/// What is known about bash.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    Late,
}

fn spawn(file: &OsStr, workspace: &Path) -> io::Result<Child> {
    let bash = || {
        let mut command = Command::new("/bin/bash");
        command.args(["--noprofile", "--norc", "-c", PROGRAM, "bash"]).arg(file);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("WORKSPACE", workspace);
        command.stdin(Stdio::null());
        command
    };
    if nix::unistd::geteuid().is_root() {
        // The standard library gives up the supplementary groups with it.
        match bash().gid(NOBODY).uid(NOBODY).spawn() {
            // A user namespace may know root alone, and then root is nobody else's root.
            Err(error) if [Some(libc::EINVAL), Some(libc::EPERM)].contains(&error.raw_os_error()) => {}
            child => return child,
        }
    }
    bash().spawn()
}

/// Ends our children and theirs: when one ends, its children become ours.
fn end_children() -> Result<()> {
    loop {
        let children = children().context("cannot look at /proc")?;
        if children.is_empty() {
            return Ok(());
        }
        for child in children {
            // Either may find that it has ended by itself.
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}

fn children() -> io::Result<Vec<Pid>> {
    let us = std::process::id().to_string();
    let processes = fs::read_dir("/proc")?.filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|number| parent(*number).as_deref() == Some(&us)).map(Pid::from_raw).collect())
}

/// The parent of a process: the second field after its name, which may hold anything (proc(5)).
fn parent(process: i32) -> Option<String> {
    let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = String::from_utf8_lossy(stat.get(after + 1..)?).into_owned();
    fields.split_whitespace().nth(1).map(str::to_owned)
}
