//! Owner, mode, extended attributes, access control lists and times of one entry.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use crate::capabilities::Capabilities;
use crate::error::SideError;
use crate::metadata::{Metadata, Time};

const SET_ID: u32 = 0o6000;

/// Access control lists are attributes to the kernel (acl(5)).
pub(crate) fn is_access_list(name: &[u8]) -> bool {
    name.starts_with(b"system.posix_acl_")
}

/// True if a copy keeps this attribute: users and programs set it, not one mount or one machine's policy.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || is_access_list(name)
        || name == b"security.capability"
        || (name.starts_with(b"trusted.") && !name.starts_with(b"trusted.overlay."))
}

/// Returns the names of the kept attributes, sorted.
pub(crate) fn names(node: &Node<'_>) -> Result<Vec<CString>, Errno> {
    let list = node.list()?;
    let mut names: Vec<_> = list
        .split_inclusive(|&byte| byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        .filter(|name| is_kept(name.to_bytes()))
        .map(CStr::to_owned)
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Result of copying attributes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AttributesResult {
    /// True if the target's attributes differed.
    pub differed: bool,
    /// Names that the target refused.
    pub dropped: Vec<String>,
}

/// Copies the attributes of the source, or only compares them.
///
/// `blank`: the target is known to have none. Attributes that the target cannot hold count as equal.
pub(crate) fn copy_attributes(
    source: &Node<'_>,
    target: &Node<'_>,
    blank: bool,
    write: bool,
    can: &Capabilities,
) -> Result<AttributesResult, SideError> {
    let possible = |name: &CString| {
        let name = name.to_bytes();
        if is_access_list(name) { can.access_lists } else { can.attributes || !name.starts_with(b"user.") }
    };
    let mut wanted = names(source).map_err(SideError::Source)?;
    wanted.retain(possible);
    let mut there = if blank { vec![] } else { names(target).map_err(SideError::Target)? };
    there.retain(possible);
    let mut result = AttributesResult::default();
    for name in there.iter().filter(|name| !wanted.contains(name)) {
        result.differed = true;
        if write {
            match target.remove(name) {
                Ok(()) | Err(Errno::ENODATA) => {}
                Err(cause) => return Err(SideError::Target(cause)),
            }
        }
    }
    for name in &wanted {
        let value = match source.get(name) {
            Ok(value) => value,
            Err(Errno::ENODATA) => continue,
            Err(cause) => return Err(SideError::Source(cause)),
        };
        if there.contains(name) && target.get(name).is_ok_and(|found| found == value) {
            continue;
        }
        if !write {
            result.differed = true;
            continue;
        }
        match target.set(name, &value) {
            Ok(()) => result.differed = true,
            // Only root may set some, and some file systems take only some.
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOTSUP | Errno::EINVAL) => {
                result.dropped.push(name.to_string_lossy().into_owned());
            }
            Err(cause) => return Err(SideError::Target(cause)),
        }
    }
    Ok(result)
}

/// Returns the mode that the target's entry is to have.
///
/// A program with a set-id bit that cannot keep its owner would run as another user, so the bits go.
pub(crate) fn wanted_mode(source: &Metadata, can: &Capabilities) -> u32 {
    if source.is_file() && !can.owner { source.mode & !SET_ID } else { source.mode }
}

/// True if owner and mode equal the source's, as far as the target can keep them.
pub(crate) fn same_access(source: &Metadata, target: &Metadata, can: &Capabilities) -> bool {
    (!can.owner || source.owner == target.owner)
        && (!can.mode || source.is_link() || wanted_mode(source, can) == target.mode)
}

/// True if two times are equal at the target's granularity.
pub(crate) fn same_time(source: Time, target: Time, can: &Capabilities) -> bool {
    let nanoseconds = |time: Time| i128::from(time.0) * 1_000_000_000 + i128::from(time.1);
    nanoseconds(source).abs_diff(nanoseconds(target)) < u128::from(can.time_granularity.max(1))
}

/// Returns a time that the source's file does not have and will not get; it marks an incomplete copy.
pub(crate) fn impossible_time(source: Time, can: &Capabilities) -> Time {
    let steps = i64::try_from(can.time_granularity / 1_000_000_000).unwrap_or(1);
    (source.0.saturating_sub(2 * (steps + 1)), source.1)
}

fn stamp((seconds, nanoseconds): Time) -> TimeSpec {
    TimeSpec::new(seconds, nanoseconds.into())
}

/// Sets the times of an open file or directory.
pub(crate) fn set_times(open: BorrowedFd<'_>, accessed: Time, modified: Time) -> Result<(), Errno> {
    futimens(open, &stamp(accessed), &stamp(modified))
}

/// Sets the times of an entry that is not open; of a link itself.
pub(crate) fn set_times_at(
    directory: BorrowedFd<'_>,
    name: &CStr,
    accessed: Time,
    modified: Time,
) -> Result<(), Errno> {
    utimensat(directory, name, &stamp(accessed), &stamp(modified), UtimensatFlags::NoFollowSymlink)
}

/// Gives an open file or directory owner and mode, with as few calls as possible.
///
/// `now` is what it has. Attributes must be set afterwards if the owner changes: that takes a file's capabilities away.
pub(crate) fn set_access(
    open: BorrowedFd<'_>,
    source: &Metadata,
    now: ((u32, u32), u32),
    can: &Capabilities,
) -> Result<(), Errno> {
    let (owner, mode) = now;
    let give = can.owner && owner != source.owner;
    if give {
        fchown(open, Some(Uid::from_raw(source.owner.0)), Some(Gid::from_raw(source.owner.1)))?;
    }
    let wanted = wanted_mode(source, can);
    // Giving a file away takes its set-id bits, giving a directory away does not.
    if can.mode && (mode != wanted || (give && wanted & SET_ID != 0)) {
        fchmod(open, Mode::from_bits_truncate(wanted))?;
    }
    Ok(())
}

/// Gives a link or special file its owner.
pub(crate) fn set_owner_at(directory: BorrowedFd<'_>, name: &CStr, owner: (u32, u32)) -> Result<(), Errno> {
    let (user, group) = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
    fchownat(directory, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_mount_or_a_policy_is_not_copied() {
        for kept in ["user.x", "system.posix_acl_default", "security.capability", "trusted.x"] {
            assert!(is_kept(kept.as_bytes()), "{kept}");
        }
        for left in ["security.selinux", "trusted.overlay.opaque", "system.nfs4_acl", "security.ima"] {
            assert!(!is_kept(left.as_bytes()), "{left}");
        }
    }

    #[test]
    fn times_are_equal_within_the_steps_of_the_target() {
        let exact = Capabilities::FULL;
        let coarse = Capabilities { time_granularity: 2_000_000_000, ..exact };
        assert!(same_time((5, 1), (5, 1), &exact) && !same_time((5, 1), (5, 2), &exact));
        assert!(same_time((5, 999_999_999), (4, 0), &coarse) && !same_time((6, 0), (4, 0), &coarse));
        for can in [exact, coarse] {
            assert!(!same_time((5, 7), impossible_time((5, 7), &can), &can));
        }
    }
}
