//! Pauses between attempts.

use std::hash::{BuildHasher, RandomState};

use tunnels::{Cause, Kind};

/// Pause after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// From 5 s to 5 min.
    Short,
    /// From 1 min to 30 min.
    Long,
    /// As long, for all tunnels.
    Shared,
}

impl Pause {
    /// Returns the pause for a cause.
    pub fn after(cause: Cause, kind: Kind) -> Self {
        match cause {
            Cause::RateLimited => Self::Shared,
            Cause::Unauthorized if kind == Kind::Quick => Self::Short,
            Cause::ServiceDown
            | Cause::ApiCertificate
            | Cause::EdgeBlocked
            | Cause::Unauthorized
            | Cause::BadToken
            | Cause::NoTokenFile
            | Cause::TooOld
            | Cause::CannotRun => Self::Long,
            _ => Self::Short,
        }
    }

    /// Returns the seconds after a number of earlier failures; `jitter` is a change in thousandths.
    pub fn seconds(self, failures: u32, jitter: i64) -> u64 {
        let (first, most) = if self == Self::Short { (5, 300) } else { (60, 1_800) };
        let seconds = (first << failures.min(10)).min(most);
        let thousandths = u64::try_from(1_000 + jitter).unwrap_or_default();
        seconds * thousandths / 1_000
    }
}

/// Returns a random change of a fifth at most, in thousandths.
pub fn jitter() -> i64 {
    // The keys of a hash map are random, and nothing here needs a better source.
    let random = RandomState::new().hash_one(0_u8) % 401;
    i64::try_from(random).unwrap_or_default() - 200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_vary_by_a_fifth() {
        assert_eq!(
            [0, 1, 2, 5, 6, 40].map(|failures| Pause::Short.seconds(failures, 0)),
            [5, 10, 20, 160, 300, 300]
        );
        assert_eq!(
            [0, 1, 4, 5, 99].map(|failures| Pause::Long.seconds(failures, 0)),
            [60, 120, 960, 1800, 1800]
        );
        assert_eq!([-200, 200].map(|jitter| Pause::Shared.seconds(0, jitter)), [48, 72]);
        let random: Vec<i64> = (0..100).map(|_| jitter()).collect();
        assert!(random.iter().all(|jitter| (-200..=200).contains(jitter)));
        assert!(random.iter().any(|jitter| *jitter < 0) && random.iter().any(|jitter| *jitter > 0));
    }
}
