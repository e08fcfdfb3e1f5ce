//! Time limits of a fetch.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct TimeLimits {
    /// For looking up a name, and again for the connection, TLS included.
    pub connect: Duration,
    /// For the next byte of an answer.
    pub stall: Duration,
    /// For everything, further tries included.
    pub total: Duration,
    /// Pause before the second try; doubled before each later one.
    pub pause: Duration,
    /// Longest pause that a host may ask for.
    pub longest_pause: Duration,
}

impl TimeLimits {
    /// Returns the documented limits, divided by `time_divisor`, which is more than 1 in tests only.
    pub fn new(time_divisor: u32) -> Self {
        let seconds = |number| Duration::from_secs(number) / time_divisor.max(1);
        Self {
            connect: seconds(10),
            stall: seconds(30),
            total: seconds(120),
            pause: seconds(1),
            longest_pause: seconds(30),
        }
    }
}
