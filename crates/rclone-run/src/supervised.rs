//! A process that is started again when it fails.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::Result;
use kit::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Time to exit after SIGKILL. A process in an uninterruptible call takes longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// umount(8), stays ended.
    pub fn update(&mut self, start: impl FnOnce() -> Result<Child>) {
        match &mut self.state {
            State::Running(child, since) => {
                let how = match child.try_wait() {
                    Ok(None) => return,
                    Ok(Some(status)) if status.success() => {
                        log::info!(
                            "{} has ended; to start it again: supervisorctl restart rclone",
                            self.name
                        );
                        self.state = State::Ended;
                        return;
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

    /// Sends SIGTERM.
    pub fn terminate(&mut self) {
        if self.is_running()
            && let State::Running(child, _) = &self.state
            && let Ok(id) = i32::try_from(child.id())
        {
            // It may have exited.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        if let State::Running(child, _) = &mut self.state {
            let _ = child.kill();
            if wait::until(KILL_TIMEOUT, &self.name, || child.try_wait().ok().flatten()).is_err() {
                log::warn!("{} does not exit", self.name);
            }
        }
    }
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
            process.update(run("trap '' TERM; exec sleep infinity"));
            process.is_running().then_some(())
        })
        .unwrap();
        process.terminate();
        process.kill();
        let mut process = Supervised::new("a process");
        process.update(run("exit 0"));
        wait::until(Duration::from_mins(1), "its end", || (!process.is_running()).then_some(())).unwrap();
        process.update(|| unreachable!("its end is noticed first"));
        assert!(matches!(process.state, State::Ended));
        process.update(|| unreachable!("it stays ended"));
    }
}
