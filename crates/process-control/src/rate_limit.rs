//! A limit on how often something happens: some at once, then one for each interval.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Leaky bucket.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    /// Time that all at once stand for.
    burst: Duration,
    /// Time until which the bucket is not empty.
    used_until: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// Allows `burst` at once, then one for each interval.
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self { interval, burst: interval * burst, used_until: Mutex::default() }
    }

    /// Counts one at this time, or returns the time until the next is allowed.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut used_until = self.used_until.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used_until.map_or(now, |until| until.max(now)) + self.interval;
        match used.saturating_duration_since(now + self.burst) {
            Duration::ZERO => {
                *used_until = Some(used);
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_allowed_at_once_and_then_one_for_each_interval() {
        let limit = RateLimit::new(3, Duration::from_secs(2));
        let start = Instant::now();
        let take =
            |seconds: u64| limit.take(start + Duration::from_secs(seconds)).map_err(|wait| wait.as_secs());
        assert_eq!([take(0), take(0), take(0), take(0), take(1)], [Ok(()), Ok(()), Ok(()), Err(2), Err(1)]);
        assert_eq!([take(2), take(2)], [Ok(()), Err(2)]);
        assert_eq!([take(60), take(60), take(60), take(60)], [Ok(()), Ok(()), Ok(()), Err(2)]);
    }
}
