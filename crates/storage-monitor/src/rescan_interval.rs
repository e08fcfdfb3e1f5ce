//! Interval between two scans of everything.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::statfs::fstatfs;

/// Changes of a file system that inotify reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventCoverage {
    /// Every change.
    Complete,
    /// Changes by this machine, but not by others that use the same volume.
    Partial,
    /// None: the kernel's watches are used up.
    None,
}

/// File systems of this machine alone (statfs(2)); any other may be changed by another machine too.
const LOCAL: [u32; 9] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x794c_7630, // overlay
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
    0x8584_58f6, // ramfs
];

impl EventCoverage {
    /// Name in the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::None => "none",
        }
    }
}

/// Returns the coverage of the file system of a directory.
pub fn event_coverage(directory: impl AsFd) -> EventCoverage {
    match fstatfs(directory) {
        // The magic numbers are 32 bits wide, the field has more.
        Ok(found)
            if LOCAL.iter().any(|magic| i64::from(*magic) == found.filesystem_type().0 & 0xffff_ffff) =>
        {
            EventCoverage::Complete
        }
        _ => EventCoverage::Partial,
    }
}

/// Returns the interval between two scans of everything, from the coverage and the cost of a scan.
///
/// Scans take less than a thousandth of the time. With complete coverage they repair changed links; otherwise they also find
/// changes of the storage, and run twice as often.
pub fn rescan_interval(coverage: EventCoverage, cost: Duration) -> Duration {
    const MAX_INTERVAL: Duration = Duration::from_mins(30);
    match coverage {
        EventCoverage::Complete => (cost * 2_000).clamp(Duration::from_mins(1), MAX_INTERVAL),
        EventCoverage::Partial | EventCoverage::None => {
            (cost * 1_000).clamp(Duration::from_secs(5), MAX_INTERVAL)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_comes_less_often_and_what_is_not_reported_comes_soon() {
        let milliseconds = Duration::from_millis;
        let seconds = |coverage, cost| rescan_interval(coverage, milliseconds(cost)).as_secs();
        assert_eq!(
            [0, 30, 100, 60_000].map(|cost| seconds(EventCoverage::Complete, cost)),
            [60, 60, 200, 1800]
        );
        for coverage in [EventCoverage::Partial, EventCoverage::None] {
            assert_eq!([0, 5, 100, 60_000].map(|cost| seconds(coverage, cost)), [5, 5, 100, 1800]);
        }
    }

    #[test]
    fn a_file_system_that_no_other_machine_can_write_is_known() {
        let coverage = |path: &str| event_coverage(std::fs::File::open(path).unwrap());
        assert_eq!(coverage("/dev/shm"), EventCoverage::Complete);
        assert_eq!(coverage("/proc"), EventCoverage::Partial);
    }
}
