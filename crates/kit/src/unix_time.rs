//! Current time in seconds since the Unix epoch.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time in seconds; 0 for a clock before 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
