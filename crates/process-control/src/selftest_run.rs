//! Runs the self-test for the portal: one at a time, and not too often.

use std::process::{Command, Stdio};
use std::sync::{Mutex, TryLockError};
use std::time::Instant;

use serde_json::Value;

use crate::limits;
use crate::protocol::{Refusal, RefusalKind};
use crate::rate_limit::RateLimit;

/// The self-test that is running, and those before.
#[derive(Debug)]
pub struct SelftestRun {
    running: Mutex<()>,
    limit: RateLimit,
}

impl Default for SelftestRun {
    fn default() -> Self {
        let limit = RateLimit::new(limits::SELFTEST_BURST, limits::SELFTEST_INTERVAL);
        Self { running: Mutex::default(), limit }
    }
}

impl SelftestRun {
    /// Runs `selftest --json` and returns what it prints.
    pub fn run(&self) -> Result<Value, Refusal> {
        let _running = match self.running.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(conflict("a self-test is running")),
            Err(TryLockError::Poisoned(running)) => running.into_inner(),
            Ok(running) => running,
        };
        if !self.limit.take(Instant::now()) {
            return Err(conflict("there were several self-tests just now; try again in 10 seconds"));
        }
        log::info!("self-test");
        let unavailable = |reason: String| Refusal::new(RefusalKind::Unavailable, reason);
        let mut command = Command::new("/usr/bin/timeout");
        command.arg(limits::SELFTEST_SECONDS).arg(kit::cmd::image_program("selftest")).arg("--json");
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| unavailable(format!("cannot run the self-test: {error}")))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|_| unavailable(format!("the self-test failed ({})", output.status)))
    }
}

fn conflict(message: &str) -> Refusal {
    Refusal::new(RefusalKind::Conflict, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_runs_at_a_time_and_a_flood_is_refused() {
        let run = SelftestRun::default();
        let held = run.running.try_lock().unwrap();
        assert_eq!(run.run().unwrap_err(), conflict("a self-test is running"));
        drop(held);
        // There is no such program here, and each attempt counts.
        let kinds: Vec<RefusalKind> = (0..5).map(|_| run.run().unwrap_err().kind).collect();
        assert_eq!(kinds[..3], [RefusalKind::Unavailable; 3]);
        assert_eq!(kinds[3..], [RefusalKind::Conflict; 2]);
    }
}
