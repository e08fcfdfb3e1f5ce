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

    /// Counts one at this time; returns false if it is one too many.
    pub fn take(&self, now: Instant) -> bool {
        let mut used_until = self.used_until.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used_until.map_or(now, |until| until.max(now)) + self.interval;
        let is_allowed = used <= now + self.burst;
        if is_allowed {
            *used_until = Some(used);
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_allowed_at_once_and_then_one_for_each_interval() {
        let limit = RateLimit::new(3, Duration::from_secs(2));
        let start = Instant::now();
        let take = |seconds: u64| limit.take(start + Duration::from_secs(seconds));
        assert_eq!([take(0), take(0), take(0), take(0), take(1)], [true, true, true, false, false]);
        assert_eq!([take(2), take(2)], [true, false]);
        assert_eq!([take(60), take(60), take(60), take(60)], [true, true, true, false]);
    }
}
