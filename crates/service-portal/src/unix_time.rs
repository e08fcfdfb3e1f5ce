//! Time as it is kept in files: seconds since the Unix epoch.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present second; a clock before 1970 counts as 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
