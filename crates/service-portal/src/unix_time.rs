//! Seconds since the Unix epoch.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time; 0 for a clock before 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
