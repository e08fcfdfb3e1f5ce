//! Waits for a condition with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Calls `ask` until it returns a value; after `deadline`, the error names `what`.
///
/// Pauses double from 1 ms to 50 ms, so that a quick condition is seen quickly and a slow one costs little.
pub fn until<T>(deadline: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        let left = deadline.saturating_sub(started.elapsed());
        if left.is_zero() {
            bail!("timed out after {:.1} s waiting for {what}", deadline.as_secs_f64());
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_ends_the_wait() {
        let mut asked = 0;
        let answer = until(Duration::from_mins(1), "the third question", || {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!(answer.unwrap(), "yes");
    }

    #[test]
    fn a_deadline_names_what_was_missing() {
        let error = until::<()>(Duration::from_millis(20), "a miracle", || None).unwrap_err();
        assert_eq!(error.to_string(), "timed out after 0.0 s waiting for a miracle");
    }
}
