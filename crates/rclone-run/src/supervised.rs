//! A process that is started again when it fails.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::Result;
use kit::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Time to exit after SIGKILL. A process in an uninterruptible call takes longer.
pub const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// A process, or the time of its next start.
pub struct Supervised {
    name: String,
    state: State,
    failures: u32,
}

enum State {
    Running(Child, Instant),
    Waiting(Instant),
    Ended,
}

impl Supervised {
    /// Returns a process to start at once; `name` is for messages.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Waiting(Instant::now()), failures: 0 }
    }

    /// Starts the process if it has failed and its pause is over. A process that exits successfully, such as rclone after
    /// umount(8), stays ended; true once then.
    pub fn update(&mut self, start: impl FnOnce() -> Result<Child>) -> bool {
        match &mut self.state {
            State::Running(child, since) => {
                let how = match child.try_wait() {
                    Ok(None) => return false,
                    Ok(Some(status)) if status.success() => {
                        self.state = State::Ended;
                        return true;
                    }
                    Ok(Some(status)) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                if since.elapsed() > MAX_PAUSE {
                    self.failures = 0;
                }
                self.retry(&format!("exited ({how})"));
            }
            State::Ended => {}
            State::Waiting(due) if *due > Instant::now() => {}
            State::Waiting(_) => match start() {
                Ok(child) => self.state = State::Running(child, Instant::now()),
                Err(error) => self.retry(&format!("cannot be started: {error:#}")),
            },
        }
        false
    }

    fn retry(&mut self, how: &str) {
        let pause = pause(self.failures);
        self.failures += 1;
        log::warn!("{} {how}; next start in {} s", self.name, pause.as_secs());
        self.state = State::Waiting(Instant::now() + pause);
    }

    /// True if the process runs.
    pub fn is_running(&mut self) -> bool {
        match &mut self.state {
            State::Running(child, _) => matches!(child.try_wait(), Ok(None)),
            State::Waiting(_) | State::Ended => false,
        }
    }

    fn send(&mut self, signal: Signal) {
        if self.is_running()
            && let State::Running(child, _) = &self.state
            && let Ok(id) = i32::try_from(child.id())
        {
            // It may have exited.
            let _ = kill(Pid::from_raw(id), signal);
        }
    }
}

/// Sends a signal to processes; true if all have exited within `time`.
pub fn end<'a>(
    processes: impl IntoIterator<Item = &'a mut Supervised>,
    signal: Signal,
    time: Duration,
) -> bool {
    let mut processes: Vec<_> = processes.into_iter().collect();
    processes.iter_mut().for_each(|process| process.send(signal));
    let mut have_exited = || !processes.iter_mut().any(|process| process.is_running());
    wait::until(time, "processes", || have_exited().then_some(())).is_ok()
}

/// Returns the pause before the next start, 1 s to 30 s.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute() {
        let seconds: Vec<u64> = (0..8).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn it_runs_until_it_is_stopped_and_starts_again_after_its_pause() {
        let mut process = Supervised::new("a process");
        let run = |script: &'static str| move || Ok(Command::new("sh").args(["-c", script]).spawn()?);
        process.update(run("exit 3"));
        wait::until(Duration::from_mins(1), "its end", || (!process.is_running()).then_some(())).unwrap();
        process.update(|| unreachable!("its end is noticed first"));
        process.update(|| unreachable!("it pauses"));
        wait::until(Duration::from_mins(1), "the next start", || {
            process.update(run("exec sleep infinity"));
            process.is_running().then_some(())
        })
        .unwrap();
        let mut other = Supervised::new("another process");
        other.update(run("exec sleep infinity"));
        assert!(end([&mut process, &mut other], Signal::SIGKILL, Duration::from_mins(1)));
        let mut process = Supervised::new("a process");
        process.update(run("exit 0"));
        wait::until(Duration::from_mins(1), "its end", || (!process.is_running()).then_some(())).unwrap();
        assert!(process.update(|| unreachable!("its end is noticed first")));
        assert!(!process.update(|| unreachable!("it stays ended")));
    }
}
