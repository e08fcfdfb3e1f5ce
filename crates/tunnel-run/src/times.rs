//! Times, which tests divide.

use std::time::{Duration, Instant};

/// Interval in which everything is looked at.
pub const TICK: u64 = 1;
/// Time for which a new tunnel must be connected before its address is published: a visitor who is earlier gets an answer
/// without addresses, which resolvers keep for half an hour.
pub const SETTLE: u64 = 5;
/// Time in which a tunnel must connect.
pub const CONNECT: u64 = 60;
/// Time without a connection after which an address is withdrawn.
pub const WITHDRAW: u64 = 10;
/// Time without a connection after which a tunnel is replaced.
pub const REPLACE: u64 = 120;
/// Time without an answer of the metrics server after which cloudflared is restarted.
pub const HUNG: u64 = 60;
/// Time after SIGTERM at which SIGKILL follows.
pub const STOP: u64 = 2;
/// Time between two starts.
pub const SPACING: u64 = 2;
/// Time for which a service must be registered before its tunnel is opened.
pub const REGISTERED: u64 = 2;
/// Time for which a tunnel is kept after its service was removed, so that a restart keeps the address.
pub const LINGER: u64 = 30;
/// Time for which a refused connection of the origin counts.
pub const GATE_DOWN: u64 = 30;
/// Interval in which a missing cloudflared is looked for.
pub const SEARCH: u64 = 30;
/// Time after which an open tunnel counts as reliable: its next failure is its first.
pub const RELIABLE: u64 = 600;

/// Divisor of all times.
#[derive(Debug, Clone, Copy)]
pub struct Times(pub u32);

impl Times {
    /// Returns one of the times above.
    pub fn of(self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) / self.0.max(1)
    }

    /// True if one of the times above has passed since an instant.
    pub fn have_passed(self, seconds: u64, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) >= self.of(seconds)
    }
}
