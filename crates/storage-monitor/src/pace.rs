//! How often everything is looked at, although nothing was heard.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::statfs::fstatfs;

/// What inotify tells about a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Events {
    /// Every change.
    Complete,
    /// What this machine does, and not what others do to the same volume.
    Partial,
    /// Nothing: the watches that the kernel grants are used up.
    None,
}

/// File systems of this machine alone (statfs(2)); of any other it must be assumed that somebody else changes it too.
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

impl Events {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::None => "none",
        }
    }

    /// What is told about two trees together.
    pub fn worst(self, other: Self) -> Self {
        self.max(other)
    }
}

/// What is told about the file system of a directory.
pub fn events_of(directory: impl AsFd) -> Events {
    match fstatfs(directory) {
        // The magic numbers are 32 bits wide, the field has more.
        Ok(found)
            if LOCAL.iter().any(|magic| i64::from(*magic) == found.filesystem_type().0 & 0xffff_ffff) =>
        {
            Events::Complete
        }
        _ => Events::Partial,
    }
}

/// The pause between two looks at everything, from what is heard in between and what a look costs.
///
/// Looks take less than a thousandth of the time. Where everything is heard, they repair what was done to the links
/// themselves; where not, they are how changes are found, and come twice as often.
pub fn pause(events: Events, cost: Duration) -> Duration {
    const LONGEST: Duration = Duration::from_mins(30);
    match events {
        Events::Complete => (cost * 2_000).clamp(Duration::from_mins(1), LONGEST),
        Events::Partial | Events::None => (cost * 1_000).clamp(Duration::from_secs(5), LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_comes_less_often_and_what_is_not_heard_comes_soon() {
        let milliseconds = Duration::from_millis;
        let seconds = |events, cost| pause(events, milliseconds(cost)).as_secs();
        assert_eq!([0, 30, 100, 60_000].map(|cost| seconds(Events::Complete, cost)), [60, 60, 200, 1800]);
        for events in [Events::Partial, Events::None] {
            assert_eq!([0, 5, 100, 60_000].map(|cost| seconds(events, cost)), [5, 5, 100, 1800]);
        }
    }

    #[test]
    fn a_file_system_that_nobody_else_can_write_is_known() {
        let events = |path: &str| events_of(std::fs::File::open(path).unwrap());
        assert_eq!(events("/dev/shm"), Events::Complete);
        assert_eq!(events("/proc"), Events::Partial);
    }
}
