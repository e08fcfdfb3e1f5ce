//! Fetching a script, with retries.

use std::thread;
use std::time::{Duration, Instant};

use kit::Env;

use crate::address::Address;
use crate::failure::Failure;
use crate::request::{self, FetchedScript, RequestError};
use crate::time_limits::TimeLimits;

/// Maximum number of tries after temporary errors.
const TRIES: u32 = 4;

/// Fetches a script. `progress` receives redirects and further tries.
pub fn fetch(
    address: &Address,
    env: &Env,
    limits: &TimeLimits,
    mut progress: impl FnMut(&str),
) -> Result<FetchedScript, Failure> {
    let deadline = Instant::now() + limits.total;
    let mut pause = limits.pause;
    let mut tried = 1;
    let mut earlier: Option<Failure> = None;
    loop {
        let error = match request::request(address, env, limits, deadline, &mut progress) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        // After the deadline, the error before it is the more useful one.
        let failure = earlier.filter(|_| left.is_zero()).unwrap_or_else(|| error.failure.clone());
        match pause_before_retry(&error, tried, pause, left, limits) {
            Some(pause) => {
                progress(&format!("{}; trying again in {} s", failure.cause, pause.as_secs_f64().ceil()));
                // A pause and not a wait: the host gets time to recover.
                thread::sleep(pause);
            }
            None if tried > 1 => {
                let cause = format!("{} (tried {tried} times)", failure.cause);
                return Err(Failure { cause, ..failure });
            }
            None => return Err(failure),
        }
        earlier = Some(failure);
        tried += 1;
        pause *= 2;
    }
}

/// Returns the time to wait before the next try, or nothing if there is none.
fn pause_before_retry(
    error: &RequestError,
    tried: u32,
    pause: Duration,
    left: Duration,
    limits: &TimeLimits,
) -> Option<Duration> {
    if !error.is_temporary || tried >= TRIES {
        return None;
    }
    let pause = error.retry_after.map_or(pause, |asked| asked.max(pause).min(limits.longest_pause));
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_errors_are_retried_within_the_limits() {
        let limits = TimeLimits::new(1);
        let failure = Failure::unreachable("x", "y");
        let seconds = Duration::from_secs;
        let after = |is_temporary, retry_after, tried, left| {
            let error = RequestError { failure: failure.clone(), is_temporary, retry_after };
            pause_before_retry(&error, tried, seconds(2), seconds(left), &limits)
        };
        assert_eq!(after(false, None, 1, 100), None);
        assert_eq!(after(true, None, 3, 100), Some(seconds(2)));
        assert_eq!(after(true, None, 4, 100), None);
        assert_eq!(after(true, None, 1, 2), None, "no time is left for another try");
        assert_eq!(after(true, Some(seconds(7)), 1, 100), Some(seconds(7)));
        assert_eq!(
            after(true, Some(seconds(0)), 1, 100),
            Some(seconds(2)),
            "a host cannot shorten the pause"
        );
        assert_eq!(after(true, Some(seconds(3_600)), 1, 100), Some(seconds(30)));
    }
}
