//! Leaky bucket of failed attempts that many addresses share; once it is full, attempts are admitted at random.

use std::time::{Duration, Instant};

/// Size and drain rate of a bucket.
#[derive(Debug)]
pub struct Limit {
    /// Number of failures that have no effect.
    pub free: f64,
    /// Failures that drain each second; at least [`SINGLE_ATTEMPT_RATE`].
    pub drain: f64,
}

/// Seconds over which the rate of attempts is estimated.
const WINDOW: f64 = 10.0;
/// Estimated rate of an attempt that is the only one within the window.
const SINGLE_ATTEMPT_RATE: f64 = 1.0 / WINDOW;

/// Failures that have not drained yet, and the rate of attempts.
#[derive(Debug)]
pub struct Bucket {
    limit: &'static Limit,
    level: f64,
    /// Exponentially weighted average, in attempts a second.
    rate: f64,
    at: Instant,
}

impl Bucket {
    /// Creates an empty bucket.
    pub fn new(limit: &'static Limit, now: Instant) -> Self {
        Self { limit, level: 0.0, rate: 0.0, at: now }
    }

    /// Counts an attempt and returns the probability with which it must be admitted.
    ///
    /// For a full bucket, this is the drain rate divided by the rate of attempts. As many attempts are admitted as failures
    /// drain, however fast they arrive, and every attempt has a chance.
    pub fn admission_probability(&mut self, now: Instant) -> f64 {
        self.advance(now);
        self.rate += SINGLE_ATTEMPT_RATE;
        if self.level < self.limit.free { 1.0 } else { self.limit.drain / self.rate }
    }

    /// Adds a failure.
    pub fn add_failure(&mut self, now: Instant) {
        self.advance(now);
        self.level += 1.0;
    }

    /// Returns when all failures have drained.
    pub fn drained_at(&self) -> Instant {
        self.at + Duration::from_secs_f64(self.level / self.limit.drain)
    }

    fn advance(&mut self, now: Instant) {
        let since = now.duration_since(self.at).as_secs_f64();
        self.level = (self.level - since * self.limit.drain).max(0.0);
        self.rate *= (-since / WINDOW).exp();
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { free: 3.0, drain: 0.5 };

    fn full(now: Instant) -> Bucket {
        let mut bucket = Bucket::new(&LIMIT, now);
        (0..3).for_each(|_| bucket.add_failure(now));
        bucket
    }

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn everything_is_admitted_until_the_bucket_is_full() {
        let now = Instant::now();
        let mut bucket = Bucket::new(&LIMIT, now);
        bucket.add_failure(now);
        bucket.add_failure(now);
        assert!((0..1_000).all(|_| close(bucket.admission_probability(now), 1.0)));
        bucket.add_failure(now);
        assert!(
            close(bucket.admission_probability(now), 0.5 / 100.1),
            "a thousand and one within a window of 10 s"
        );
        assert!(
            close(bucket.admission_probability(now + Duration::from_secs(2)), 1.0),
            "one failure has drained"
        );
    }

    #[test]
    fn failures_drain_one_after_another() {
        let now = Instant::now();
        let mut bucket = full(now);
        assert_eq!(bucket.drained_at(), now + Duration::from_secs(6));
        bucket.add_failure(now + Duration::from_secs(4));
        assert_eq!(bucket.drained_at(), now + Duration::from_secs(8));
        bucket.add_failure(now + Duration::from_mins(1));
        assert_eq!(bucket.drained_at(), now + Duration::from_secs(62));
    }

    #[test]
    fn a_full_bucket_admits_as_many_as_drain() {
        for rate in [1_u32, 10, 1_000] {
            let (start, mut bucket) = (Instant::now(), full(Instant::now()));
            let mut admitted = 0.0;
            for number in 0..100 * rate {
                bucket.level = LIMIT.free + 50.0;
                let chance = bucket.admission_probability(start + Duration::from_secs(number.into()) / rate);
                // While the estimate grows, more are admitted.
                if number >= 50 * rate {
                    admitted += chance;
                }
            }
            assert!((22.0..25.5).contains(&admitted), "{rate} a second: {admitted} in 50 s");
        }
    }

    #[test]
    fn a_lone_attempt_is_admitted_soon_after_a_flood() {
        let now = Instant::now();
        let mut bucket = full(now);
        (0..60).for_each(|_| bucket.add_failure(now));
        assert!((0..1_000).map(|_| bucket.admission_probability(now)).last() < Some(0.01));
        assert!(
            bucket.admission_probability(now + Duration::from_mins(1)) >= 1.0,
            "though the bucket is full"
        );
        assert!(bucket.level > LIMIT.free);
    }
}
